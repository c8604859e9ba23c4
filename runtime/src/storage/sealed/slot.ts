/** Slots of the disk: the whole index under the key of one epoch (formats, "Sealed state"). */

import { createHash } from 'node:crypto';
import type { DigestText } from '@enclaim/attestation/digest';
import {
  type ClearSlotHead,
  parseSlotHead,
  SLOT_BLOB_AT,
  SLOT_HEAD_BYTES,
  SLOT_MAGIC,
  SLOT_VERSION,
} from '@enclaim/attestation/log-disk';
import type { StatedPassage } from '../../control.ts';
import { RefusalError } from '../../errors.ts';
import type { StateDisk } from '../../log/state-disk.ts';
import type { IndexedRow, IndexTable } from './index-table.ts';
import { type EpochSeals, TAG_BYTES } from './seals.ts';

/** Bytes of a slot's head. */
export const HEAD_BYTES: number = SLOT_HEAD_BYTES;
const HASH_BYTES = 32;
const PREFIX_BYTES = 4;
/** Bytes of a chunk, sealed: those of one write. */
const CHUNK_BYTES = 2 * 1024 * 1024;

const IMAGE = 0;
const ROWS = 1;
const GONE = 2;
const NAMES = 3;

/** The moment of the log at which an index was whole. */
export interface SlotFacts {
  /** End of the log: position behind the last block, that block's position and hash, size. */
  readonly position: number;
  readonly block: number;
  readonly prior: string;
  readonly size: number;
  readonly root: string;
  /** Milliseconds of the store's clock. */
  readonly time: number;
  /** Bytes of the last chunk, as it stands there, which has no other bound than its slot. */
  readonly last: number;
}

/** Facts of an index beside its rows. */
export interface SlotNames {
  readonly labels: readonly string[];
  readonly owners: readonly string[];
  readonly collections: readonly { readonly name: string; readonly retention: number | null; readonly used: Used }[];
  readonly extents: readonly (readonly [number: number, block: number, count: number])[];
  readonly rows: number;
  readonly bytes: number;
  /** Where the state comes from. Absent in an index of before there were successions. */
  readonly lineage?: Lineage;
  /** The launch that this epoch's key was to be handed over to; absent if to none. */
  readonly heir?: IndexedHeir;
}

/** An heir, as the launch before notes it for its own next boot. */
export interface IndexedHeir {
  readonly passage: StatedPassage;
  /** Digest of the succession. */
  readonly digest: string;
}

/** How a state came from another launch. */
export interface Coming {
  readonly passage: StatedPassage;
  /** The succession, by its digest in hexadecimal digits. */
  readonly digest: string;
  /** Name of the state before. */
  readonly state: DigestText<'sha256'>;
  /** The epoch of the launch before whose key was taken over. */
  readonly epoch: number;
}

/** A state's name, and what is still to be done about the launch before. */
export interface Lineage {
  /** Changes with each succession, and with nothing else. */
  readonly name: DigestText<'sha256'>;
  /** The slot of even epochs. The first epoch after a succession has the slot that was not read. */
  readonly even: number;
  /**
   * The way that it came, until that is recorded and the epochs of the launch before are ended.
   */
  readonly unretired?: Coming;
  /** The recovery that this state goes on from, until that is recorded. */
  readonly recovered?: DigestText<'sha256'>;
}

/** Bytes that are taken, by owner. */
export type Used = readonly (readonly [owner: string, bytes: number])[];

/** A slot's head, as it stands there. */
export interface SlotHead extends ClearSlotHead {
  readonly slot: number;
}

/** Writes an index into a slot, piece by piece; it counts once the head is written. */
export class SlotWriter {
  readonly #disk: StateDisk;
  readonly #slot: number;
  readonly #epoch: number;
  readonly #seals: EpochSeals;
  #at = HEAD_BYTES;
  #chunks = 0;
  /** Rows that wait for a chunk of their own. */
  #pending: Buffer[] = [];
  #bytes = 0;

  constructor(disk: StateDisk, { slot, epoch }: Pick<SlotHead, 'slot' | 'epoch'>, seals: EpochSeals) {
    this.#disk = disk;
    this.#slot = slot;
    this.#epoch = epoch;
    this.#seals = seals;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#disk.slotBytes - this.#at;
  }

  /** Writes the image of an index. */
  async image(image: Uint8Array): Promise<void> {
    const most = CHUNK_BYTES - PREFIX_BYTES - TAG_BYTES - 1;
    for (let at = 0; at < image.length; at += most) await this.#chunk(IMAGE, [image.subarray(at, at + most)]);
  }

  /** Writes rows. */
  async rows(rows: readonly IndexedRow[]): Promise<void> {
    for (const row of rows) {
      const bytes = encodeRow(row);
      if (this.#bytes + bytes.length > CHUNK_BYTES - PREFIX_BYTES - TAG_BYTES - 1) await this.#flush();
      this.#pending.push(bytes);
      this.#bytes += bytes.length;
    }
  }

  /** Writes which rows went. */
  async gone(rows: readonly { readonly collection: number; readonly key: Uint8Array }[]): Promise<void> {
    await this.#flush();
    for (let from = 0; from < rows.length; from += 256)
      await this.#chunk(GONE, rows.slice(from, from + 256).map(encodeName));
  }

  /** Writes the rest and then the head. */
  async finish(names: SlotNames, facts: Omit<SlotFacts, 'last'>, blob: Uint8Array): Promise<void> {
    await this.#flush();
    const last = await this.#chunk(NAMES, [Buffer.from(JSON.stringify(names))]);
    const text = Buffer.from(JSON.stringify({ ...facts, last } satisfies SlotFacts));
    const head = Buffer.alloc(HEAD_BYTES);
    head.set(SLOT_MAGIC);
    head.writeUInt32BE(SLOT_VERSION, 8);
    head.writeUInt32BE(this.#chunks, 12);
    head.writeBigUInt64BE(BigInt(this.#epoch), 16);
    head.writeUInt16BE(blob.length, 24);
    head.writeUInt16BE(text.length + TAG_BYTES, 26);
    head.set(blob, SLOT_BLOB_AT);
    const end = SLOT_BLOB_AT + blob.length;
    head.set(this.#seals.head.seal(0, head.subarray(0, end), text), end);
    head.set(hashOf(head), HEAD_BYTES - HASH_BYTES);
    await this.#disk.writeSlot(this.#slot, 0, head);
  }

  async #flush(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    this.#bytes = 0;
    if (pending.length > 0) await this.#chunk(ROWS, pending);
  }

  /** Seals a chunk. @returns its bytes */
  async #chunk(kind: number, parts: readonly Uint8Array[]): Promise<number> {
    const plain = Buffer.concat([Buffer.of(kind), ...parts]);
    const sealed = this.#seals.index.seal(this.#chunks, numbered(this.#chunks), plain);
    plain.fill(0);
    const bytes = Buffer.alloc(PREFIX_BYTES + sealed.length);
    bytes.writeUInt32BE(sealed.length);
    bytes.set(sealed, PREFIX_BYTES);
    if (bytes.length > this.left)
      throw new RefusalError('state', `an index of more than ${this.#disk.slotBytes} bytes`);
    await this.#disk.writeSlot(this.#slot, this.#at, bytes);
    this.#at += bytes.length;
    this.#chunks++;
    return sealed.length;
  }
}

/** The head of a slot; undefined if there is none that is whole. */
export async function readHead(disk: StateDisk, slot: number): Promise<SlotHead | undefined> {
  if (disk.slotBytes < HEAD_BYTES) return undefined;
  const bytes = Buffer.from(await disk.readSlot(slot, 0, HEAD_BYTES));
  try {
    const head = parseSlotHead(bytes);
    return head && { slot, ...head };
  } catch (cause) {
    throw new RefusalError('state', (cause as Error).message, { cause });
  }
}

/** The facts of a head. @throws RefusalError `state` */
export function openFacts({ sealed, covered }: SlotHead, seals: EpochSeals): SlotFacts {
  return JSON.parse(seals.head.open(0, covered, sealed).toString()) as SlotFacts;
}

/**
 * Loads the index of a slot into an empty table.
 *
 * **Bound**: the length that stands before a chunk is the host's. The sealed facts have that of the
 * last one, which may be long.
 *
 * @throws RefusalError `state`
 */
export async function readIndex(
  disk: StateDisk,
  { slot, chunks }: SlotHead,
  { last }: Pick<SlotFacts, 'last'>,
  seals: EpochSeals,
  table: IndexTable,
): Promise<SlotNames> {
  const image: Buffer[] = [];
  let names: SlotNames | undefined;
  let at = HEAD_BYTES;
  const reader = new Ahead(disk, slot);
  const loaded = (): void => {
    if (image.length > 0) table.load(Buffer.concat(image.splice(0)));
  };
  for (let number = 0; number < chunks; number++) {
    const length = (await reader.bytes(at, PREFIX_BYTES)).readUInt32BE();
    if (number < chunks - 1 ? length > 2 * CHUNK_BYTES : length !== last)
      throw new RefusalError('state', `a chunk of ${length} bytes`);
    const plain = seals.index.open(number, numbered(number), await reader.bytes(at + PREFIX_BYTES, length));
    at += PREFIX_BYTES + length;
    const [kind, body] = [plain[0], plain.subarray(1)];
    if (kind !== IMAGE) loaded();
    if (kind === IMAGE) image.push(body);
    else if (kind === ROWS) table.together(() => restoreRows(body, table));
    else if (kind === GONE) table.together(() => forgetRows(body, table));
    else if (kind === NAMES) names = JSON.parse(body.toString()) as SlotNames;
  }
  if (names === undefined) throw new RefusalError('state', 'an index that is cut off');
  return names;
}

/** Reads a slot from its begin on, much at once. */
class Ahead {
  readonly #disk: StateDisk;
  readonly #slot: number;
  #chunk: Buffer = Buffer.alloc(0);
  #chunkAt = 0;

  constructor(disk: StateDisk, slot: number) {
    this.#disk = disk;
    this.#slot = slot;
  }

  async bytes(at: number, length: number): Promise<Buffer> {
    if (at + length > this.#disk.slotBytes) throw new RefusalError('state', 'an index beyond its slot');
    if (at < this.#chunkAt || at + length > this.#chunkAt + this.#chunk.length) {
      const most = Math.min(Math.max(length, 2 * CHUNK_BYTES), this.#disk.slotBytes - at);
      this.#chunk = Buffer.from(await this.#disk.readSlot(this.#slot, at, most));
      this.#chunkAt = at;
    }
    return this.#chunk.subarray(at - this.#chunkAt, at - this.#chunkAt + length);
  }
}

const NO_DUE = -1;

function encodeRow(row: IndexedRow): Buffer {
  const name = encodeName(row);
  const out = Buffer.allocUnsafe(name.length + 13 + row.rest.length);
  let at = name.copy(out);
  at = out.writeDoubleBE(row.due ?? NO_DUE, at);
  at = out.writeUInt32BE(row.tag, at);
  at = out.writeUInt8(row.rest.length, at);
  out.set(row.rest, at);
  return out;
}

function encodeName({ collection, key }: { readonly collection: number; readonly key: Uint8Array }): Buffer {
  const out = Buffer.allocUnsafe(4 + key.length);
  out.writeUInt16BE(collection);
  out.writeUInt16BE(key.length, 2);
  out.set(key, 4);
  return out;
}

function restoreRows(bytes: Buffer, table: IndexTable): void {
  for (let at = 0; at < bytes.length; ) {
    const [collection, keyEnd] = [bytes.readUInt16BE(at), at + 4 + bytes.readUInt16BE(at + 2)];
    const [due, tag, length] = [
      bytes.readDoubleBE(keyEnd),
      bytes.readUInt32BE(keyEnd + 8),
      bytes.readUInt8(keyEnd + 12),
    ];
    const key = bytes.subarray(at + 4, keyEnd);
    const rest = bytes.subarray(keyEnd + 13, keyEnd + 13 + length);
    table.restore({ collection, key, due: due === NO_DUE ? null : due, tag, rest });
    at = keyEnd + 13 + length;
  }
}

function forgetRows(bytes: Buffer, table: IndexTable): void {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt16BE(at + 2);
    table.forget(bytes.readUInt16BE(at), bytes.subarray(at + 4, end));
    at = end;
  }
}

function numbered(number: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

function hashOf(head: Uint8Array): Buffer {
  return createHash('sha256')
    .update(head.subarray(0, HEAD_BYTES - HASH_BYTES))
    .digest();
}
