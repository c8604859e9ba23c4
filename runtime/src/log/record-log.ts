/**
 * The evidence log, first form: a chain of records on a file or a raw device. A record is durable
 * before anything that it covers leaves.
 */

import { concat, Reader } from '@enclaim/attestation/bytes';
import { type DigestText, digestText } from '@enclaim/attestation/digest';
import {
  decodeRecord,
  type EvidenceRecord,
  type FirstRecord,
  MAX_FIRST_RECORD_BYTES,
  recordDigest,
  recordHash,
  recordText,
} from '@enclaim/attestation/record';
import { Batcher } from '../batcher.ts';
import { RefusalError } from '../errors.ts';
import { FRAME_PREFIX_BYTES, type FrameText, joinFrames, measured } from '../frames.ts';
import type { Device } from './device.ts';

/** A record as its writer gives it. */
export type Entry = EvidenceRecord;

/** The end of the chain. */
export interface LogHead {
  /** Number of records. */
  readonly size: number;
  /** Hash of the last record; that of 32 zero bytes if there is none. */
  readonly hash: DigestText<'sha256'>;
  /** Time of the last record. */
  readonly time: string | null;
}

/** A record that has its place in the chain. */
export interface Placed {
  readonly hash: DigestText<'sha256'>;
  /**
   * Resolves once it is on stable storage; records of one write share it. Rejects with RefusalError
   * `log`; nothing can be appended from then on.
   */
  readonly durable: Promise<unknown>;
}

/** The writer of a record: a call, or the runtime itself for a boot, its end and its warnings. */
export type Writer = 'call' | 'runtime';

/**
 * Room left for records of calls. It is `none` if there is room for no more calls than are under
 * way, and `scarce` long before that.
 */
export type LogRoom = 'ample' | 'scarce' | 'none';

/**
 * Bytes reserved for the runtime's own records, enough for a thousand boots at about a KiB each. A
 * small log reserves a fraction of its size.
 */
const KEPT = { most: 1024 * 1024, part: 16 };
/** Below this, room for calls is scarce: at a thousand calls a second, a minute before the end. */
const SCARCE = { most: 64 * 1024 * 1024, part: 8 };
/** Below this no call is admitted. Calls under way may still write the records of their ends. */
const NONE = { most: 16 * 1024 * 1024, part: 32 };
/** Stands in place of a hash before the first record. */
export const ZERO_HASH: DigestText<'sha256'> = `sha256:${'00'.repeat(32)}`;
const PREFIX = FRAME_PREFIX_BYTES;
/** Records that may wait for the flush before theirs. */
const MAX_WAITING_RECORDS = 65_536;
/** Bytes of one read while an existing log is followed. */
const CHUNK = 1024 * 1024;

/**
 * A log of frames `u32 length ‖ canonical record`, each naming the hash of the record before. The
 * log ends at a length of zero, at the end of the file, or at a frame that does not continue the
 * chain. Such a tail was never acknowledged.
 */
export class RecordLog {
  readonly #device: Device;
  readonly #capacity: number;
  readonly #batcher = new Batcher((records: readonly FrameText[]) => this.#flush(records), MAX_WAITING_RECORDS);
  /**
   * The head and the end after the last record that has a place, whether or not it is on the disk
   * yet.
   */
  #head: LogHead;
  #end: number;
  /** The end of the last byte on the disk. */
  #flushed: number;
  #broken: unknown;
  #room: LogRoom = 'ample';
  readonly #listeners: ((room: LogRoom) => void)[] = [];

  /**
   * Whether bytes behind the end are no record of this chain. A crash in the middle of a flush
   * leaves such bytes, and so does a change of a record that was acknowledged. The record of the
   * boot says that there were some.
   */
  readonly discarded: boolean;

  private constructor(device: Device, capacity: number, head: LogHead, at: number, discarded: boolean) {
    this.#device = device;
    this.#capacity = capacity;
    this.#head = head;
    this.#end = at;
    this.#flushed = at;
    this.discarded = discarded;
    this.#look();
  }

  /**
   * Opens a log and follows its chain to the end.
   * @param capacity bytes that the file or device may hold
   */
  static async open(device: Device, capacity: number): Promise<RecordLog> {
    let head: LogHead = { size: 0, hash: ZERO_HASH, time: null };
    let at = 0;
    for await (const frame of frames(device, capacity)) {
      const next = followed(frame, head);
      if (next === undefined) break;
      head = next;
      at += PREFIX + frame.length;
    }
    return new RecordLog(device, capacity, head, at, await isWritten(device, at, capacity));
  }

  /** The end of the chain, which the next record will continue. */
  get head(): LogHead {
    return this.#head;
  }

  /** Bytes left for records of calls. */
  get left(): number {
    return Math.max(0, this.#capacity - part(KEPT, this.#capacity) - PREFIX - this.#end);
  }

  /** The same, as a grade. */
  get room(): LogRoom {
    return this.#room;
  }

  /** Registers a listener that is called whenever the grade changes. */
  onRoom(listener: (room: LogRoom) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Gives a record its place. Records placed at about the same time share one write. Some room is
   * for the runtime's own records alone.
   *
   * @throws RefusalError `log` if it is not a record, the log is full, or an earlier write failed;
   * `budget` if too many records wait
   */
  place(entry: Entry, writer: Writer = 'call'): Placed {
    // After a failed write the content of the disk is unknown: only a restart may read it again.
    if (this.#broken !== undefined) throw new RefusalError('log', 'the log failed earlier', { cause: this.#broken });
    if (this.#batcher.full) throw new RefusalError('budget', `${MAX_WAITING_RECORDS} records are already waiting`);
    const { text, frame } = encoded(chained(entry, this.#head.hash));
    const end = this.#end + PREFIX + frame.length;
    const kept = writer === 'runtime' ? 0 : part(KEPT, this.#capacity);
    if (end + PREFIX > this.#capacity - kept) {
      throw new RefusalError('log', `the log is full: ${this.#capacity} bytes, ${this.#head.size} records`);
    }
    const hash = recordDigest(text);
    this.#head = { size: this.#head.size + 1, hash, time: entry.time };
    this.#end = end;
    const { batch: durable } = this.#batcher.place(frame);
    this.#look(); // last, because a listener may itself place a record, which must follow this one
    return { hash, durable };
  }

  /**
   * Appends a record and resolves with its hash once it is on stable storage.
   *
   * @throws RefusalError as {@link place}
   */
  async append(entry: Entry, writer: Writer = 'call'): Promise<DigestText<'sha256'>> {
    const { hash, durable } = this.place(entry, writer);
    await durable;
    return hash;
  }

  #look(): void {
    const { left } = this;
    const room = left < part(NONE, this.#capacity) ? 'none' : left < part(SCARCE, this.#capacity) ? 'scarce' : 'ample';
    if (room === this.#room) return;
    this.#room = room;
    for (const tell of this.#listeners) tell(room);
  }

  async #flush(records: readonly FrameText[]): Promise<undefined[]> {
    if (this.#broken !== undefined) throw new RefusalError('log', 'the log failed earlier', { cause: this.#broken });
    // The zero length behind the last frame keeps older bytes of a device from being read as
    // frames.
    const data = joinFrames(records, PREFIX);
    try {
      for (let done = 0; done < data.length; ) {
        const { bytesWritten } = await this.#device.write(data, done, data.length - done, this.#flushed + done);
        if (bytesWritten === 0) throw new RangeError('the device takes no more');
        done += bytesWritten;
      }
    } catch (cause) {
      this.#broken = cause;
      throw new RefusalError('log', 'the record could not be made durable', { cause });
    }
    this.#flushed += data.length - PREFIX;
    return [];
  }
}

/** The bytes `most`, but at most the given fraction of the log. */
function part({ most, part }: { readonly most: number; readonly part: number }, capacity: number): number {
  return Math.min(most, Math.floor(capacity / part));
}

/** An entry as this form of the log holds it. */
function chained({ v: _, claims, ...entry }: Entry, prev: FirstRecord['prev']): FirstRecord {
  return { ...entry, v: 1, claim: claims[0] ?? null, controls: [], prev };
}

/** A record as text, and as a frame. @throws RefusalError `log` if it could not be read back */
function encoded(record: FirstRecord): { readonly text: string; readonly frame: FrameText } {
  try {
    const text = recordText(record);
    return { text, frame: measured([text], MAX_FIRST_RECORD_BYTES) };
  } catch (cause) {
    throw new RefusalError('log', 'not a record', { cause });
  }
}

/** Whether a length other than zero stands at `at`. */
async function isWritten(device: Device, at: number, capacity: number): Promise<boolean> {
  const length = Math.min(PREFIX, capacity - at);
  if (length <= 0) return false;
  const { bytesRead, buffer } = await device.read(new Uint8Array(length), 0, length, at);
  return buffer.subarray(0, bytesRead).some((byte) => byte !== 0);
}

/** The head after a frame that continues the chain at `head`, else undefined. */
function followed(frame: Uint8Array, head: LogHead): LogHead | undefined {
  try {
    const record = decodeRecord(frame);
    if (record.v !== 1) return undefined;
    if (record.prev !== head.hash) return undefined;
    return { size: head.size + 1, hash: digestText('sha256', recordHash(frame)), time: record.time };
  } catch {
    return undefined;
  }
}

/** Frames from the start of a log, until one cannot be a frame. */
async function* frames(device: Device, capacity: number): AsyncGenerator<Uint8Array> {
  let buffer = new Uint8Array();
  let at = 0;
  const fill = async (wanted: number): Promise<boolean> => {
    while (buffer.length < wanted) {
      const length = Math.min(CHUNK, capacity - at);
      if (length <= 0) return false;
      const { bytesRead, buffer: chunk } = await device.read(new Uint8Array(length), 0, length, at);
      if (bytesRead === 0) return false;
      buffer = concat(buffer, chunk.subarray(0, bytesRead)) as Uint8Array<ArrayBuffer>;
      at += bytesRead;
    }
    return true;
  };
  while (await fill(PREFIX)) {
    const length = new Reader(buffer).u32be();
    if (length === 0 || length > MAX_FIRST_RECORD_BYTES || !(await fill(PREFIX + length))) return;
    yield buffer.slice(PREFIX, PREFIX + length);
    buffer = buffer.subarray(PREFIX + length);
  }
}
