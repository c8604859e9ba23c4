/**
 * The log of before, for comparison: a chain of records, each naming the hash of the one before.
 * Of its kinds of refusal only what the hot path pays is kept.
 */

import { concat, Reader } from '@enclaim/attestation/bytes';
import { type DigestText, digestText } from '@enclaim/attestation/digest';
import {
  decodeRecord,
  type FirstRecord,
  MAX_FIRST_RECORD_BYTES,
  recordDigest,
  recordHash,
  recordText,
} from '@enclaim/attestation/record';
import { Batcher } from '../runtime/src/batcher.ts';
import { type FrameText, joinFrames, measured } from '../runtime/src/frames.ts';
import type { Device } from '../runtime/src/log/device.ts';

const ZERO_HASH: DigestText<'sha256'> = `sha256:${'00'.repeat(32)}`;
const PREFIX = 4;
const CHUNK = 1024 * 1024;

/** A log of frames `u32 length ‖ record`. */
export class ChainLog {
  readonly #device: Device;
  readonly #batcher = new Batcher((records: readonly FrameText[]) => this.#flush(records), 65_536);
  #hash: DigestText<'sha256'>;
  #at: number;

  private constructor(device: Device, hash: DigestText<'sha256'>, at: number) {
    this.#device = device;
    this.#hash = hash;
    this.#at = at;
  }

  /** Opens a log and follows its chain to the end. */
  static async open(device: Device, capacity: number): Promise<ChainLog> {
    let hash = ZERO_HASH;
    let at = 0;
    for await (const frame of frames(device, capacity)) {
      const record = decodeRecord(frame);
      if (record.v !== 1 || record.prev !== hash) break;
      hash = digestText('sha256', recordHash(frame));
      at += PREFIX + frame.length;
    }
    return new ChainLog(device, hash, at);
  }

  place(entry: Omit<FirstRecord, 'prev'>): { readonly durable: Promise<unknown> } {
    const text = recordText({ ...entry, prev: this.#hash });
    const frame = measured([text], MAX_FIRST_RECORD_BYTES);
    this.#hash = recordDigest(text);
    return { durable: this.#batcher.place(frame).batch };
  }

  async #flush(records: readonly FrameText[]): Promise<undefined[]> {
    const data = joinFrames(records, PREFIX);
    for (let done = 0; done < data.length; ) {
      const { bytesWritten } = await this.#device.write(data, done, data.length - done, this.#at + done);
      done += bytesWritten;
    }
    this.#at += data.length - PREFIX;
    return [];
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
