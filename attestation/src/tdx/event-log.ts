/**
 * The event log of a TD: the firmware's events (CCEL, UEFI 2.11, 38.1), then the guest's records of
 * what it extended itself.
 */

import { concat, equalBytes, toHex, utf8 } from '../bytes.ts';
import { sha384 } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { parsePart } from '../parse-part.ts';
import { HASH_ID } from '../tpm/algorithm.ts';
import { authenticateEventLog, EV_NO_ACTION, eventLogLength, type LogEvent, parseEventLog } from '../tpm/event-log.ts';
import type { TdReport } from './quote.ts';

/** An event whose replay gave the quoted value of its register. */
export interface RtmrEventRecord {
  /** The digest that was extended. */
  readonly digest: Uint8Array;
  /** The measured data, if the log gives it: the digest is its hash. */
  readonly content: Uint8Array | undefined;
}

/** The events of RTMR0 to RTMR3, each in order. */
export type RtmrEvents = readonly [Events, Events, Events, Events];
type Events = readonly RtmrEventRecord[];

/** Largest log that evidence may carry, in bytes: firmware reserves 64 KiB. */
export const MAX_EVENT_LOG_BYTES: number = 128 * 1024;

/** Registers of a log are one more than those of a quote: 0 is MRTD, which nothing extends. */
const RTMR3 = 4;
const EV_IPL = 13;

/** TCG_EfiSpecIDEvent of version 2.0 with one algorithm, in the event that begins every log. */
const SPEC_ID = concat(
  utf8('Spec ID Event03\0'),
  u32le(0),
  Uint8Array.of(0, 2, 0, 2),
  u32le(1),
  u16le(HASH_ID.sha384, 48),
  Uint8Array.of(0),
);
const HEADER = concat(u32le(0, EV_NO_ACTION), new Uint8Array(20), u32le(SPEC_ID.length), SPEC_ID);

/**
 * The log for evidence: the proved part of the area that ACPI's CCEL table describes, then
 * `records` of RTMR3.
 *
 * **Leak**: the host may have made that table, and so choose which memory of the guest is read
 * here. Bytes that the registers do not confirm are left out, and never reach a client: data that
 * does not hash to its digest, and the words of the header.
 * @param records the extended data; the digest of each is its SHA-384
 * @param own the guest's registers after `records`
 * @throws DecodeError if the area holds no crypto-agile log, or one that is too large
 * @throws EvidenceError `log` if it does not lead to the registers
 */
export function tdxEventLog(
  area: Uint8Array,
  records: readonly Uint8Array[],
  own: Pick<TdReport, 'rtmrs'>,
): Uint8Array {
  const firmware = parseEventLog(area.subarray(0, eventLogLength(area))).events.filter(isExtended);
  const events = [
    ...firmware.map(({ register, digests, untrusted: { type, data } }) => {
      const digest = digests.get('sha384') ?? new Uint8Array();
      return encodeEvent(register, type, digest, equalBytes(sha384(data), digest) ? data : new Uint8Array());
    }),
    ...records.map((record) => encodeEvent(RTMR3, EV_IPL, sha384(record), record)),
  ];
  const log = concat(HEADER, ...events);
  if (log.length > MAX_EVENT_LOG_BYTES) throw new DecodeError('range', `event log of ${log.length} bytes`, 0);
  replayTdxLog(log, own);
  return log;
}

/**
 * The events that led to the registers of a quote.
 *
 * **Trust**: only what the registers confirm is believed, so that types are left out.
 * @throws EvidenceError `format`; `log` if a register has another value, an event is of a register
 * that is none, or has data that was not hashed
 */
export function replayTdxLog(bytes: Uint8Array, { rtmrs }: Pick<TdReport, 'rtmrs'>): RtmrEvents {
  if (bytes.length > MAX_EVENT_LOG_BYTES) throw new EvidenceError('format', `event log of ${bytes.length} bytes`);
  const log = parsePart('format', 'event log', bytes, parseEventLog);
  const events = log.events.slice(1);
  if (!equalBytes(bytes.subarray(0, HEADER.length), HEADER) || !events.every(isExtended)) {
    throw new EvidenceError('format', 'the event log holds something other than events of SHA-384');
  }
  const stray = events.find(({ register }) => register < 1 || register > rtmrs.length);
  if (stray !== undefined) throw new EvidenceError('log', `the event log has an event of register ${stray.register}`);
  const [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs.map((value, index) => {
    try {
      return authenticateEventLog(log, 'sha384', [index + 1], new Map([[index + 1, value]]));
    } catch (cause) {
      if (!(cause instanceof EvidenceError)) throw cause;
      throw new EvidenceError('log', `the event log does not lead to RTMR${index}, ${toHex(value)}`, { cause });
    }
  });
  const replayed = [rtmr0 ?? [], rtmr1 ?? [], rtmr2 ?? [], rtmr3 ?? []] as const;
  if (replayed.flat().some(({ content, untrusted }) => content === undefined && untrusted.data.length > 0)) {
    throw new EvidenceError('log', 'the event log has data that was not measured');
  }
  return replayed;
}

function isExtended({ untrusted }: LogEvent): boolean {
  return untrusted.type !== EV_NO_ACTION;
}

/** TCG_PCR_EVENT2 with one digest. */
function encodeEvent(register: number, type: number, digest: Uint8Array, data: Uint8Array): Uint8Array {
  return concat(u32le(register, type, 1), u16le(HASH_ID.sha384), digest, u32le(data.length), data);
}

function u32le(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value, true);
  return new Uint8Array(view.buffer);
}

function u16le(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((value) => [value & 0xff, value >> 8]));
}
