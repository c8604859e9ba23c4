/** The evidence log, first form: a chain of records on a file or a raw device, durable before anything leaves. */

import type { FileHandle } from 'node:fs/promises';
import { concat, Reader, toHex, u32be } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { decodeRecord, type EvidenceRecord, encodeRecord, RECORD_LIMIT, recordHash } from '@enclaim/attestation/record';
import { Batcher } from './batcher.ts';
import { RefusalError } from './errors.ts';

/** What a writer of records says; the log adds place and chain. */
export type Entry = Omit<EvidenceRecord, 'prev'>;

/** Where the log stands. */
export interface LogHead {
  /** Number of records. */
  readonly size: number;
  /** Hash of the last record; 32 zero bytes where there is none. */
  readonly hash: Uint8Array;
}

const ZERO_HASH = new Uint8Array(32);
const NO_RECORD = digestText('sha256', ZERO_HASH);
const PREFIX = 4;
/** Records that may wait for the flush of those before them. */
const MOST_WAITING = 65_536;
/** Bytes read at once while an old log is followed. */
const CHUNK = 1024 * 1024;

/**
 * Frames of `u32 length ‖ canonical record`, each naming the hash of the one before. A length of zero, the end of
 * the file, or a frame that does not continue the chain ends the log: such a tail was never acknowledged.
 */
export class RecordLog {
  readonly #handle: FileHandle;
  readonly #capacity: number;
  readonly #batcher = new Batcher((entries: readonly Entry[]) => this.#commit(entries), MOST_WAITING);
  #head: LogHead;
  #at: number;
  #broken: unknown;

  /**
   * Whether bytes were found behind the end that are no record of this chain. A crash in the middle of a flush leaves
   * such bytes, and so does whoever changes a record that was acknowledged: the boot's own record says that it was so.
   */
  readonly discarded: boolean;

  private constructor(handle: FileHandle, capacity: number, head: LogHead, at: number, discarded: boolean) {
    this.#handle = handle;
    this.#capacity = capacity;
    this.#head = head;
    this.#at = at;
    this.discarded = discarded;
  }

  /**
   * Opens a log and follows its chain to the end.
   * @param capacity bytes that the file or device may hold
   */
  static async open(handle: FileHandle, capacity: number): Promise<RecordLog> {
    let head: LogHead = { size: 0, hash: ZERO_HASH };
    let at = 0;
    for await (const frame of frames(handle, capacity)) {
      const hash = followed(frame, head);
      if (hash === undefined) break;
      head = { size: head.size + 1, hash };
      at += PREFIX + frame.length;
    }
    return new RecordLog(handle, capacity, head, at, await isWritten(handle, at, capacity));
  }

  get head(): LogHead {
    return this.#head;
  }

  /**
   * Appends a record and resolves with its hash once it is on stable storage. Records of one moment share one flush.
   * @throws RefusalError `log` where it could not be made durable; from then on every append fails. `budget` where too many wait
   */
  async append(entry: Entry): Promise<Uint8Array> {
    try {
      encodeRecord({ ...entry, prev: NO_RECORD }); // what could not be read back must not take its batch along
    } catch (cause) {
      throw new RefusalError('log', 'not a record', { cause });
    }
    return this.#batcher.add(entry);
  }

  async #commit(entries: readonly Entry[]): Promise<Uint8Array[]> {
    // After a failed flush nobody knows what is on the disk: only a restart may read it again.
    if (this.#broken !== undefined) throw new RefusalError('log', 'the log failed earlier', { cause: this.#broken });
    let { hash } = this.#head;
    const hashes: Uint8Array[] = [];
    const parts: Uint8Array[] = [];
    for (const entry of entries) {
      const bytes = encodeRecord({ ...entry, prev: digestText('sha256', hash) });
      hash = recordHash(bytes);
      hashes.push(hash);
      parts.push(u32be(bytes.length), bytes);
    }
    // The zero length behind the last frame keeps older bytes of a device from being read as more of it.
    const data = concat(...parts, u32be(0));
    if (this.#at + data.length > this.#capacity) {
      throw new RefusalError('log', `the log is full: ${this.#capacity} bytes, ${this.#head.size} records`);
    }
    try {
      for (let done = 0; done < data.length; ) {
        done += (await this.#handle.write(data, done, data.length - done, this.#at + done)).bytesWritten;
      }
      await this.#handle.datasync();
    } catch (cause) {
      this.#broken = cause;
      throw new RefusalError('log', 'the record could not be made durable', { cause });
    }
    this.#at += data.length - PREFIX;
    this.#head = { size: this.#head.size + hashes.length, hash };
    return hashes;
  }
}

/** Whether a length other than zero stands at `at`. */
async function isWritten(handle: FileHandle, at: number, capacity: number): Promise<boolean> {
  const length = Math.min(PREFIX, capacity - at);
  if (length <= 0) return false;
  const { bytesRead, buffer } = await handle.read(new Uint8Array(length), 0, length, at);
  return buffer.subarray(0, bytesRead).some((byte) => byte !== 0);
}

/** The hash of a frame that continues the chain at `head`, else undefined. */
function followed(frame: Uint8Array, head: LogHead): Uint8Array | undefined {
  try {
    const record = decodeRecord(frame);
    return record.prev === `sha256:${toHex(head.hash)}` ? recordHash(frame) : undefined;
  } catch {
    return undefined;
  }
}

/** Frames from the start of a log, until one cannot be a frame. */
async function* frames(handle: FileHandle, capacity: number): AsyncGenerator<Uint8Array> {
  let buffer = new Uint8Array();
  let at = 0;
  const fill = async (wanted: number): Promise<boolean> => {
    while (buffer.length < wanted) {
      const length = Math.min(CHUNK, capacity - at);
      if (length <= 0) return false;
      const { bytesRead, buffer: chunk } = await handle.read(new Uint8Array(length), 0, length, at);
      if (bytesRead === 0) return false;
      buffer = concat(buffer, chunk.subarray(0, bytesRead)) as Uint8Array<ArrayBuffer>;
      at += bytesRead;
    }
    return true;
  };
  while (await fill(PREFIX)) {
    const length = new Reader(buffer).u32be();
    if (length === 0 || length > RECORD_LIMIT || !(await fill(PREFIX + length))) return;
    yield buffer.slice(PREFIX, PREFIX + length);
    buffer = buffer.subarray(PREFIX + length);
  }
}
