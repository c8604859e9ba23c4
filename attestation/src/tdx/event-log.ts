/** The event log of a TD: the firmware's (CCEL, UEFI 2.11, 38.1), then the guest's own records of what it extended itself. */

import { concat, toHex } from '../bytes.ts';
import { sha384 } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { parsePart } from '../part.ts';
import { HASH_ID } from '../tpm/algorithm.ts';
import { authenticateEventLog, EV_NO_ACTION, eventLogLength, parseEventLog } from '../tpm/event-log.ts';
import type { TdReport } from './quote.ts';

/** An event whose replay gave the quoted value of its register. */
export interface RtmrEventRecord {
  /** What was extended. */
  readonly digest: Uint8Array;
  /** What was measured, where the log gives it: the digest is its hash. */
  readonly content: Uint8Array | undefined;
}

/** The events of RTMR0 to RTMR3, each in order. */
export type RtmrEvents = readonly [Events, Events, Events, Events];
type Events = readonly RtmrEventRecord[];

/** Largest log that evidence may carry, in bytes: firmware reserves 64 KiB. */
export const EVENT_LOG_LIMIT: number = 128 * 1024;

/** Registers of a log are one more than those of a quote: 0 is MRTD, which nothing extends. */
const RTMR3 = 4;
const EV_IPL = 13;

/**
 * The log in the area that ACPI's CCEL table describes, as Linux gives it, with `records` of RTMR3 after it.
 * @param records what was extended: the digest of each is its SHA-384
 * @throws DecodeError where the area holds no crypto-agile log, or one that is too large
 */
export function tdxEventLog(area: Uint8Array, records: readonly Uint8Array[]): Uint8Array {
  const log = concat(area.subarray(0, eventLogLength(area)), ...records.map(rtmr3Record));
  if (log.length > EVENT_LOG_LIMIT) throw new DecodeError('range', `event log of ${log.length} bytes`, 0);
  return log;
}

/**
 * The events that led to the registers of a quote. Nothing of the log is believed but what the registers bear out: types,
 * and contents that are not what was hashed, are left out.
 * @throws EvidenceError `format`; `log` where a register has another value, or an event is of a register that is none
 */
export function replayTdxLog(bytes: Uint8Array, { rtmrs }: Pick<TdReport, 'rtmrs'>): RtmrEvents {
  if (bytes.length > EVENT_LOG_LIMIT) throw new EvidenceError('format', `event log of ${bytes.length} bytes`);
  const log = parsePart('format', 'event log', bytes, parseEventLog);
  const stray = log.events.find(
    ({ register, untrusted }) => untrusted.type !== EV_NO_ACTION && (register < 1 || register > rtmrs.length),
  );
  if (stray !== undefined) throw new EvidenceError('log', `the event log has an event of register ${stray.register}`);
  const [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs.map((value, index) => {
    try {
      return authenticateEventLog(log, 'sha384', [index + 1], new Map([[index + 1, value]]));
    } catch (cause) {
      if (!(cause instanceof EvidenceError)) throw cause;
      throw new EvidenceError('log', `the event log does not lead to RTMR${index}, ${toHex(value)}`, { cause });
    }
  });
  return [rtmr0 ?? [], rtmr1 ?? [], rtmr2 ?? [], rtmr3 ?? []];
}

/** TCG_PCR_EVENT2 with one digest, of the data itself. */
function rtmr3Record(data: Uint8Array): Uint8Array {
  const digest = sha384(data);
  const bytes = new Uint8Array(14 + digest.length + 4 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, RTMR3, true);
  view.setUint32(4, EV_IPL, true);
  view.setUint32(8, 1, true);
  view.setUint16(12, HASH_ID.sha384, true);
  bytes.set(digest, 14);
  view.setUint32(14 + digest.length, data.length, true);
  bytes.set(data, 18 + digest.length);
  return bytes;
}
