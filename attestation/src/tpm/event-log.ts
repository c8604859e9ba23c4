/**
 * Boot event logs: SHA-1 and crypto-agile formats, and their replay (TCG PC Client Platform
 * Firmware Profile 1.05, 10).
 */

import { equalBytes, Reader, toHex, utf8 } from '../bytes.ts';
import { HASH_LENGTH, type HashName, hash } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { HASH_ID, MAX_DIGEST } from './algorithm.ts';
import { extendPcr, PCR_COUNT, type PcrBanks, type PcrValues, zeroPcr } from './pcr.ts';

/**
 * Words of a log beside its digests.
 *
 * **Trust**: nothing measures them. A host that held the log could have written anything.
 */
export interface UntrustedDescription {
  /** TCG_PCClientPCREvent.eventType. Not measured: the same digest may stand under another type. */
  readonly type: number;
  /**
   * Event data. It is measured only if a digest is known to be its hash: see
   * `ReplayedEvent.content`.
   */
  readonly data: Uint8Array;
}

/** One entry of a log, as written. */
export interface LogEvent {
  /** Register, or the index of a measurement register in a CCEL. */
  readonly register: number;
  /** By bank; banks of hashes that are not known here are left out. */
  readonly digests: ReadonlyMap<HashName, Uint8Array>;
  readonly untrusted: UntrustedDescription;
}

/** A parsed log. **Trust**: none; replay it, and compare with authenticated registers. */
export interface EventLog {
  readonly format: 'sha1' | 'crypto-agile';
  /** The banks that every event may have a digest for. */
  readonly algorithms: readonly HashName[];
  /** In the order of extension, the header event of a crypto-agile log first. */
  readonly events: readonly LogEvent[];
}

/** An event of one bank whose replay gave the authenticated value of its register. */
export interface ReplayedEvent {
  readonly register: number;
  /**
   * The digest that was extended.
   *
   * **Trust**: authentic, as is its place among the events of this register.
   */
  readonly digest: Uint8Array;
  /** The event data if it hashes to `digest`: then it was measured and is authentic. */
  readonly content: Uint8Array | undefined;
  readonly untrusted: UntrustedDescription;
}

/** EV_NO_ACTION: informative, never extended. */
export const EV_NO_ACTION = 3;
/**
 * Type of events that hardware measured before the firmware (TCG PC Client Platform Firmware
 * Profile 1.06, table 14).
 */
const EV_EFI_HCRTM_EVENT = 0x8000_0010;

const MAX_LOG = 4 << 20;
/** Register, type, number of digests. */
const EVENT_HEAD = 12;
const MAX_EVENTS = 1 << 14;
const MAX_ALGORITHMS = 16;
const SPEC_ID = utf8('Spec ID Event03\0');
const STARTUP_LOCALITY = utf8('StartupLocality\0');

/**
 * Reads a whole log, such as binary_bios_measurements of Linux, or a CCEL cut to its used length.
 * @throws DecodeError
 */
export function parseEventLog(bytes: Uint8Array): EventLog {
  if (bytes.length > MAX_LOG) throw new DecodeError('range', `log of ${bytes.length} bytes, at most ${MAX_LOG}`, 0);
  const reader = new Reader(bytes);
  const header = parseEvent(reader, parseSha1Digest);
  const { type, data } = header.untrusted;
  const specId = type === EV_NO_ACTION && startsWith(data, SPEC_ID);
  const algorithms = specId ? parseSpecId(new Reader(data, reader.at - data.length)) : undefined;
  const parseDigests = algorithms ? (): Digests => parseAgileDigests(reader, algorithms) : parseSha1Digest;
  const events = [header];
  while (reader.left > 0) {
    if (events.length === MAX_EVENTS) throw new DecodeError('range', `more than ${MAX_EVENTS} events`, reader.at);
    events.push(parseEvent(reader, parseDigests));
  }
  if (algorithms === undefined) return { format: 'sha1', algorithms: ['sha1'], events };
  return { format: 'crypto-agile', algorithms: NAMES.filter((name) => algorithms.has(HASH_ID[name])), events };
}

/**
 * The used length of a crypto-agile log in a larger area: firmware fills what follows the last
 * event with ones or zeros. An area whose events do not parse has no used length.
 * @throws DecodeError
 */
export function eventLogLength(area: Uint8Array): number {
  const reader = new Reader(area);
  const { type, data } = parseEvent(reader, parseSha1Digest).untrusted;
  if (type !== EV_NO_ACTION || !startsWith(data, SPEC_ID)) throw new DecodeError('magic', 'no Spec ID event', 0);
  const lengths = parseSpecId(new Reader(data, reader.at - data.length));
  while (reader.left > 0 && !isFiller(area.subarray(reader.at)))
    parseEvent(reader, () => parseAgileDigests(reader, lengths));
  return reader.at;
}

/**
 * Whether the rest is filler. No event is all ones (no register has that number) or all zeros (one
 * without a digest measures nothing).
 */
function isFiller(left: Uint8Array): boolean {
  const [fill] = left;
  return (fill === 0xff || fill === 0) && left.subarray(0, EVENT_HEAD).every((byte) => byte === fill);
}

/**
 * The register values that the log leads to, of every register with an event. A bank is left out if
 * an extended event has no digest for it, because its values cannot be known.
 * @throws EvidenceError `log` if StartupLocality is contradictory
 */
export function replayEventLog(log: EventLog): PcrBanks {
  const extended = log.events.filter(isExtended);
  const locality = startupLocality(log);
  const banks = new Map<HashName, Map<number, Uint8Array>>();
  for (const bank of log.algorithms) {
    const values = new Map<number, Uint8Array>();
    for (const { register, digests } of extended) {
      const digest = digests.get(bank);
      if (digest === undefined) {
        values.clear();
        break;
      }
      values.set(register, extendPcr(bank, values.get(register) ?? initialValue(bank, register, locality), digest));
    }
    if (values.size > 0 || extended.length === 0) banks.set(bank, values);
  }
  return banks;
}

/**
 * The events of `registers` in a log that replays to their authenticated values: a register without
 * an event must have its initial value. Events of other registers are left out.
 * @param values register values that a verified quote, or measurement registers of a verified
 * report, gave
 * @throws EvidenceError `log`
 */
export function authenticateEventLog(
  log: EventLog,
  bank: HashName,
  registers: readonly number[],
  values: PcrValues,
): readonly ReplayedEvent[] {
  const replayed = replayEventLog(log).get(bank);
  if (replayed === undefined) throw new EvidenceError('log', `the event log has no complete ${bank} bank`);
  const locality = startupLocality(log);
  for (const register of registers) {
    const found = replayed.get(register) ?? initialValue(bank, register, locality);
    const value = values.get(register);
    if (value === undefined || !equalBytes(found, value)) {
      const authentic = value === undefined ? 'not authenticated' : toHex(value);
      throw new EvidenceError('log', `the event log gives register ${register} as ${toHex(found)}, it is ${authentic}`);
    }
  }
  return log.events.filter(isExtended).flatMap(({ register, digests, untrusted }) => {
    const digest = digests.get(bank);
    if (digest === undefined || !registers.includes(register)) return [];
    const content = equalBytes(hash(bank, untrusted.data), digest) ? untrusted.data : undefined;
    return [{ register, digest, content, untrusted }];
  });
}

type Digests = ReadonlyMap<HashName, Uint8Array>;

const NAMES = Object.keys(HASH_ID) as HashName[];
const NAME_BY_ID = new Map(NAMES.map((name) => [HASH_ID[name], name]));

/** Layout of both formats (10.2.1, 10.2.2): register, type, digests, length of data, data. */
function parseEvent(reader: Reader, parseDigests: (reader: Reader) => Digests): LogEvent {
  const { at } = reader;
  const register = reader.u32le();
  const type = reader.u32le();
  if (register >= PCR_COUNT && type !== EV_NO_ACTION) throw new DecodeError('range', `register ${register}`, at);
  const digests = parseDigests(reader);
  return { register, digests, untrusted: { type, data: reader.take(reader.u32le()) } };
}

function parseSha1Digest(reader: Reader): Digests {
  return new Map([['sha1', reader.take(HASH_LENGTH.sha1)]]);
}

/**
 * TPML_DIGEST_VALUES in little-endian. Lengths of unknown algorithms are known from the header
 * alone.
 */
function parseAgileDigests(reader: Reader, lengths: ReadonlyMap<number, number>): Digests {
  const { at } = reader;
  const count = reader.u32le();
  if (count > lengths.size) throw new DecodeError('range', `${count} digests, the header names ${lengths.size}`, at);
  const digests = new Map<HashName, Uint8Array>();
  const seen = new Set<number>();
  for (let i = 0; i < count; i++) {
    const { at } = reader;
    const id = reader.u16le();
    const length = lengths.get(id);
    if (length === undefined || seen.has(id)) {
      throw new DecodeError('range', `algorithm 0x${id.toString(16)} is not in the header, or stands twice`, at);
    }
    seen.add(id);
    const digest = reader.take(length);
    const name = NAME_BY_ID.get(id);
    if (name !== undefined) digests.set(name, digest);
  }
  return digests;
}

/** TCG_EfiSpecIDEvent (10.4.5.1): the digest lengths, by algorithm, of the log that follows. */
function parseSpecId(reader: Reader): ReadonlyMap<number, number> {
  reader.skip(SPEC_ID.length + 4); // platform class: client or server
  const { at } = reader;
  const [minor, major] = [reader.u8(), reader.u8()];
  if (major !== 2 || minor !== 0) throw new DecodeError('version', `event log of version ${major}.${minor}`, at);
  reader.skip(2); // errata, width of UINTN
  const count = reader.u32le();
  if (count === 0 || count > MAX_ALGORITHMS) throw new DecodeError('range', `${count} algorithms`, at + 4);
  const lengths = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const { at } = reader;
    const [id, length] = [reader.u16le(), reader.u16le()];
    const name = NAME_BY_ID.get(id);
    if (lengths.has(id) || length > MAX_DIGEST || (name !== undefined && length !== HASH_LENGTH[name])) {
      throw new DecodeError('range', `algorithm 0x${id.toString(16)} with digests of ${length} bytes`, at);
    }
    lengths.set(id, length);
  }
  reader.skip(reader.u8()); // vendor information
  reader.end('the Spec ID event');
  return lengths;
}

function isExtended({ untrusted }: LogEvent): boolean {
  return untrusted.type !== EV_NO_ACTION;
}

/**
 * The locality that TPM2_Startup was sent from, which register 0 starts with (Part 1, 17.5;
 * Profile, 10.4.5.3). If hardware measured before the TPM was started (H-CRTM), it starts with 4
 * although no event says so.
 *
 * **Trust**: the event is not measured, and need not be. A wrong one leads to another value of
 * register 0.
 */
function startupLocality(log: EventLog): number {
  let locality: number | undefined;
  for (const event of log.events) {
    const { data } = event.untrusted;
    if (isExtended(event) || event.register !== 0 || !startsWith(data, STARTUP_LOCALITY)) continue;
    const value = data.length === STARTUP_LOCALITY.length + 1 ? data.at(-1) : undefined;
    if (value === undefined || ![0, 3, 4].includes(value) || locality !== undefined) {
      throw new EvidenceError('log', 'the event log states no, an impossible or a second startup locality');
    }
    locality = value;
  }
  return locality ?? (log.events.some(isHcrtm) ? 4 : 0);
}

function isHcrtm({ register, untrusted }: LogEvent): boolean {
  return register === 0 && untrusted.type === EV_EFI_HCRTM_EVENT;
}

function initialValue(bank: HashName, register: number, locality: number): Uint8Array {
  const value = zeroPcr(bank);
  if (register === 0) value[value.length - 1] = locality;
  return value;
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, prefix.length), prefix);
}
