/** Evidence of a TDX guest: a quote over root and boot statement, and Intel's word on the platform's patch level. */

import { concat, equalBytes } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import type { Evidence } from '../gen/enclaim/v1/evidence_pb.js';
import type { Anchors } from '../references.ts';
import { verifyTdx } from '../tdx/index.ts';
import { type Check, passed } from '../verdict.ts';
import type { Context, Hardware, Signed } from './authenticated.ts';
import { describeRoot, siliconPins } from './silicon.ts';

/** Proves the hardware part. @throws EvidenceError */
export async function verifyTdxHardware(
  { hardware }: Evidence,
  { root, boot }: Signed,
  anchors: Anchors,
  { now }: Context,
): Promise<{ hardware: Hardware; checks: Check[] }> {
  if (hardware.case !== 'tdx') throw new EvidenceError('platform', 'evidence of platform tdx without a quote');
  const { quote, collateral, commandLine } = hardware.value;
  const tdx = await verifyTdx({ quote, collateral: collateral ?? 'none' }, siliconPins('intel', anchors), { now });
  if (!equalBytes(tdx.quote.report.reportData, concat(root, boot))) {
    throw new EvidenceError('nonce', 'the quote was made for another batch or another boot');
  }
  return {
    hardware: { kind: 'tdx', tdx, commandLine },
    checks: [
      passed(
        'quote.signature',
        `version ${tdx.quote.version}, signed by a quoting enclave of platform ${tdx.platform.fmspc}`,
      ),
      passed('quote.key', describeRoot('Intel', tdx.chain.pin, anchors)),
      passed('quote.statement', 'the quote covers the boot statement: its keys, log, policy and bundle'),
    ],
  };
}
