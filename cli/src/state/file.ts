/**
 * The file of an exported state disk (docs/reference/formats.md, "Exported state"): a header in the
 * clear, the blocks of the disk that are not zeros, and the hash of it all.
 */

import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { concat, equalBytes, u32be, utf8 } from '@enclaim/attestation/bytes';
import { decodeCanonical, encodeCanonical } from '@enclaim/attestation/canonical';
import type { DigestText } from '@enclaim/attestation/digest';
import { DecodeError } from '@enclaim/attestation/errors';
import { logLayout, type ReadDisk } from '@enclaim/attestation/log-disk';
import { type SealedTo, sealedTo } from '@enclaim/image/machine';
import * as z from 'zod';

const MAGIC = utf8('ENCLSTX\0');
const VERSION = 1;
/** Bytes before the header: magic, version, the header's length. */
const PREFIX_BYTES = 16;
/** Bytes of the header of an exported state. */
export const MAX_STATE_HEADER_BYTES: number = 16 * 1024;
/** Bytes of a block of the disk, of which an exported state has those that are not zeros. */
const BLOCK_BYTES = 1024 * 1024;
const FRAME_BYTES = 8;
const HASH_BYTES = 32;
/** The number in place of a block's, before the hash at the end. */
const END = 0xffffffff;

/** The facts of an exported state, in the clear. **Trust**: on the word of who wrote the file. */
export interface StateHeader {
  readonly enclaim: 'state/1';
  /** RFC 3339, UTC, milliseconds. */
  readonly made: string;
  /**
   * `folder`: of a state folder that no machine ran on, so that it was the newest. `disk`: of a
   * disk alone, which can be a snapshot of any moment.
   */
  readonly source: 'folder' | 'disk';
  /** Bytes of the disk. */
  readonly capacity: number;
  /** Blocks that are not zeros. */
  readonly blocks: number;
  /** The checkpoint: size and root of the log's tree, and the oldest record that is held. */
  readonly log: { readonly size: number; readonly root: DigestText<'sha256'>; readonly minimum: number };
  /** The newest record; null where the log has none. */
  readonly newest: {
    readonly time: string;
    readonly system: string;
    readonly policy: DigestText<'sha384'>;
  } | null;
  /** Epochs of both slots; null where there is no index that is whole. */
  readonly epochs: readonly (number | null)[];
  /** The launch that the state is sealed to, as the folder's note has it. */
  readonly launch: SealedTo | null;
}

const digest = <A extends 'sha256' | 'sha384'>(algorithm: A, digits: number): z.ZodType<DigestText<A>> =>
  z
    .string()
    .regex(new RegExp(`^${algorithm}:[0-9a-f]{${digits}}$`))
    .transform((text) => text as DigestText<A>);
const count = z.int().nonnegative();
const time = z.iso.datetime({ precision: 3 });
const header: z.ZodType<StateHeader> = z.strictObject({
  enclaim: z.literal('state/1'),
  made: time,
  source: z.enum(['folder', 'disk']),
  capacity: count,
  blocks: count,
  log: z.strictObject({ size: count, root: digest('sha256', 64), minimum: count }),
  newest: z.strictObject({ time, system: z.string().max(256), policy: digest('sha384', 96) }).nullable(),
  epochs: z.array(z.int().positive().nullable()).length(2),
  launch: sealedTo.nullable(),
});

/** The newest epoch of an exported state; null where it has no sealed state. */
export function epochOf({ epochs }: Pick<StateHeader, 'epochs'>): number | null {
  const known = epochs.flatMap((epoch) => epoch ?? []);
  return known.length === 0 ? null : Math.max(...known);
}

/** Bytes of a disk that its blocks which are not zeros take. */
export function bytesOf({ blocks }: Pick<StateHeader, 'blocks'>): number {
  return blocks * BLOCK_BYTES;
}

/** The blocks of a disk that are not zeros, in order. */
async function* blocksOn(read: ReadDisk, capacity: number): AsyncGenerator<readonly [number, Uint8Array]> {
  for (let number = 0; number * BLOCK_BYTES < capacity; number++) {
    const length = lengthOf(number, capacity);
    const bytes = await read(number * BLOCK_BYTES, length);
    if (bytes.length !== length) throw new RangeError(`a disk of ${capacity} bytes that ends in block ${number}`);
    if (!isZero(bytes)) yield [number, bytes];
  }
}

/** The number of those. */
export async function countBlocks(read: ReadDisk, capacity: number): Promise<number> {
  let blocks = 0;
  for await (const _ of blocksOn(read, capacity)) blocks++;
  return blocks;
}

/**
 * Writes an exported state.
 * @throws RangeError if the disk has other blocks by now than its header says
 */
export async function writeState(file: FileHandle, facts: StateHeader, read: ReadDisk): Promise<void> {
  const hash = createHash('sha256');
  const write = async (bytes: Uint8Array): Promise<void> => {
    hash.update(bytes);
    await file.appendFile(bytes);
  };
  const head = encodeCanonical(header.parse(facts));
  if (head.length > MAX_STATE_HEADER_BYTES) throw new RangeError(`a header of ${head.length} bytes`);
  await write(concat(MAGIC, u32be(VERSION), u32be(head.length), head));
  let blocks = 0;
  for await (const [number, bytes] of blocksOn(read, facts.capacity)) {
    const small = deflateRawSync(bytes);
    const data = small.length < bytes.length ? small : bytes;
    await write(concat(u32be(number), u32be(data.length), data));
    blocks++;
  }
  if (blocks !== facts.blocks) throw new RangeError(`${blocks} blocks, where there were ${facts.blocks}`);
  await write(u32be(END));
  await file.appendFile(hash.digest());
}

/**
 * An exported state that is read from any bytes.
 *
 * **Bound**: no more than one block is in memory, and no more bytes leave it than its header says.
 */
export class StateFile {
  readonly header: StateHeader;
  readonly #file: FileHandle;
  readonly #hash: Hash;
  #at: number;

  private constructor(file: FileHandle, facts: StateHeader, hash: Hash, at: number) {
    this.#file = file;
    this.header = facts;
    this.#hash = hash;
    this.#at = at;
  }

  /** @throws DecodeError */
  static async open(file: FileHandle): Promise<StateFile> {
    const prefix = await bytesAt(file, 0, PREFIX_BYTES);
    const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.length);
    if (!equalBytes(prefix.subarray(0, MAGIC.length), MAGIC))
      throw new DecodeError('magic', 'not an exported state', 0);
    const [version, length] = [view.getUint32(8), view.getUint32(12)];
    if (version !== VERSION)
      throw new DecodeError('version', `an exported state of version ${version}, and not ${VERSION}`, 8);
    if (length > MAX_STATE_HEADER_BYTES) throw new DecodeError('range', `a header of ${length} bytes`, 12);
    const head = await bytesAt(file, PREFIX_BYTES, length);
    const facts = decodeCanonical(header, head, MAX_STATE_HEADER_BYTES);
    logLayout(facts.capacity);
    return new StateFile(file, facts, createHash('sha256').update(prefix).update(head), PREFIX_BYTES + length);
  }

  /**
   * The blocks of the disk, each with its offset there. They are those that were exported once the
   * last one was followed by no error.
   * @throws DecodeError
   */
  async *blocks(): AsyncGenerator<readonly [number, Uint8Array]> {
    const { capacity, blocks } = this.header;
    let before = -1;
    for (let left = blocks; left > 0; left--) {
      const [number, length] = await this.#numbers();
      const most = lengthOf(number, capacity);
      // layer: blocks of an exported state in their order
      if (number <= before || most <= 0)
        throw new DecodeError('range', `block ${number} behind block ${before}`, this.#at);
      // layer: blocks of an exported state are bounded
      if (length > most) throw new DecodeError('range', `a block of ${length} bytes, packed`, this.#at);
      const data = unpacked(await this.#take(length), most, this.#at);
      if (isZero(data)) throw new DecodeError('canonical', 'a block of zeros', this.#at);
      yield [number * BLOCK_BYTES, data];
      before = number;
    }
    await this.#finish();
  }

  async #finish(): Promise<void> {
    const end = await this.#take(4);
    if (!equalBytes(end, u32be(END))) throw new DecodeError('range', 'more blocks than the header says', this.#at);
    const expected = this.#hash.digest();
    const found = await bytesAt(this.#file, this.#at, HASH_BYTES);
    // layer: hash of an exported state
    if (!equalBytes(found, expected)) throw new DecodeError('canonical', 'the hash at the end is another', this.#at);
    const { size } = await this.#file.stat();
    if (size !== this.#at + HASH_BYTES) throw new DecodeError('trailing', 'bytes behind the hash', this.#at);
  }

  async #numbers(): Promise<[number, number]> {
    const bytes = await this.#take(FRAME_BYTES);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return [view.getUint32(0), view.getUint32(4)];
  }

  async #take(length: number): Promise<Uint8Array> {
    const bytes = await bytesAt(this.#file, this.#at, length);
    this.#at += length;
    this.#hash.update(bytes);
    return bytes;
  }
}

/** The bytes of a block. @param length those that it has on the disk */
function unpacked(data: Uint8Array, length: number, at: number): Uint8Array {
  if (data.length === length) return data;
  try {
    const bytes = inflateRawSync(data, {
      maxOutputLength: /* layer: unpacked blocks are bounded (off: 1073741824) */ length,
    });
    if (bytes.length === length) return bytes;
  } catch (cause) {
    throw new DecodeError('syntax', `a block that does not unpack: ${(cause as Error).message}`, at, { cause });
  }
  throw new DecodeError('range', 'a block that unpacks to fewer bytes', at);
}

/** Bytes of a block of a disk; none or fewer than none behind its end. */
function lengthOf(number: number, capacity: number): number {
  return Math.min(BLOCK_BYTES, capacity - number * BLOCK_BYTES);
}

const ZEROS = new Uint8Array(BLOCK_BYTES);
function isZero(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) === 0;
}

/** Bytes of a file. @throws DecodeError `truncated` where it ends before */
async function bytesAt(file: FileHandle, at: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done);
    if (bytesRead === 0) throw new DecodeError('truncated', `the file ends, ${length} bytes are expected`, at);
    done += bytesRead;
  }
  return bytes;
}
