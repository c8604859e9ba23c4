/**
 * Evidence of an SEV-SNP guest: a report over root and boot statement, and the chain that its chip
 * is known by.
 */

import { concat, equalBytes } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import type { Evidence } from '../gen/enclaim/v1/evidence_pb.js';
import type { Anchors } from '../references/references.ts';
import { verifySnp } from '../snp/index.ts';
import { type Check, passed } from '../verdict/verdict.ts';
import type { Context, Hardware, Signed } from './authenticated.ts';
import { describeRoot, siliconPins } from './silicon.ts';

/** Proves the hardware part. @throws EvidenceError */
export async function verifySnpHardware(
  { hardware }: Evidence,
  { root, boot }: Signed,
  anchors: Anchors,
  context: Context,
): Promise<{ hardware: Hardware; checks: Check[] }> {
  if (hardware.case !== 'snp') throw new EvidenceError('platform', 'evidence of platform snp without a report');
  const { report, certificates, crl, commandLine } = hardware.value;
  const [leaf, ...intermediates] = certificates;
  if (leaf === undefined) throw new EvidenceError('collateral', 'a report without the certificate of its key');
  const pins = siliconPins('amd', anchors);
  const revocation = crl.length === 0 ? ('none' as const) : crl;
  const snp = await verifySnp({ report, leaf, intermediates, crl: revocation }, pins, context);
  if (!equalBytes(snp.report.reportData, concat(root, boot))) {
    throw new EvidenceError('nonce', 'the report was made for another batch or another boot');
  }
  const { signer, product } = snp.endorsement;
  return {
    hardware: { kind: 'snp', snp, commandLine },
    checks: [
      passed('quote.signature', `report signed by the ${signer} of a ${product} at its reported TCB`),
      passed('quote.key', describeRoot('AMD', snp.chain.pin, anchors)),
      passed('quote.statement', 'the report covers the boot statement: its keys, log, policy and bundle'),
    ],
  };
}
