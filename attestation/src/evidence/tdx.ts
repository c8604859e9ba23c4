/**
 * Evidence of a TDX guest: a quote over root and boot statement, and Intel's word on the platform's
 * patch level.
 */

import { concat, equalBytes } from '../bytes.ts';
import { digestText, sha256 } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import type { Evidence } from '../gen/enclaim/v1/evidence_pb.js';
import type { Anchors } from '../references/references.ts';
import type { BootStatement } from '../statement.ts';
import { type RtmrEvents, replayTdxLog, type TdReport, verifyTdx } from '../tdx/index.ts';
import { type Check, notRun, passed } from '../verdict/verdict.ts';
import type { Context, Hardware, Signed } from './authenticated.ts';
import { describeRoot, siliconPins } from './silicon.ts';

/** Proves the hardware part. @throws EvidenceError */
export async function verifyTdxHardware(
  { hardware }: Evidence,
  statement: BootStatement,
  { root, boot }: Signed,
  anchors: Anchors,
  context: Context,
): Promise<{ hardware: Hardware; checks: Check[] }> {
  if (hardware.case !== 'tdx') throw new EvidenceError('platform', 'evidence of platform tdx without a quote');
  const { quote, collateral, commandLine, eventLog } = hardware.value;
  const tdx = await verifyTdx({ quote, collateral: collateral ?? 'none' }, siliconPins('intel', anchors), context);
  if (!equalBytes(tdx.quote.report.reportData, concat(root, boot))) {
    throw new EvidenceError('nonce', 'the quote was made for another batch or another boot');
  }
  const events = verifyEventLog(eventLog, statement, tdx.quote.report);
  return {
    hardware: { kind: 'tdx', tdx, commandLine, events },
    checks: [
      passed(
        'quote.signature',
        `version ${tdx.quote.version}, signed by a quoting enclave of platform ${tdx.platform.fmspc}`,
      ),
      passed('quote.key', describeRoot('Intel', tdx.chain.pin, anchors)),
      passed('quote.statement', 'the quote covers the boot statement: its keys, log, policy and bundle'),
      events === null
        ? notRun('quote.events', 'the evidence has no event log: registers are compared as values')
        : passed(
            'quote.events',
            `the event log leads to RTMR0 to 3 in ${events.map((each) => each.length).join(', ')} events`,
          ),
    ],
  };
}

/**
 * Checks that the log leads to the quoted registers, and that it is the one that the guest found
 * and stated.
 *
 * Without the second check, a host could change event types and contents that were not hashed: the
 * registers say nothing of them. It could also leave the log out unnoticed.
 */
function verifyEventLog(log: Uint8Array, { events: stated }: BootStatement, report: TdReport): RtmrEvents | null {
  const events = log.length === 0 ? null : replayTdxLog(log, report);
  const given = events === null ? undefined : digestText('sha256', sha256(log));
  if (given !== stated)
    throw new EvidenceError('binding', `event log ${given ?? 'none'}, stated is ${stated ?? 'none'}`);
  return events;
}
