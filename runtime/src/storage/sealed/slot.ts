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
import type { IndexTable } from './index-table.ts';
import { PAGE_BYTES } from './packed-rows.ts';
import { rowAt } from './row-bytes.ts';
import { type EpochSeals, release, TAG_BYTES } from './seals.ts';

/** Bytes of a slot's head. */
export const HEAD_BYTES: number = SLOT_HEAD_BYTES;
const HASH_BYTES = 32;
const PREFIX_BYTES = 4;
/**
 * Bytes of a chunk, sealed: those of one write. **Cost**: one is put together and sealed in a turn
 * of the loop.
 */
const CHUNK_BYTES = 512 * 1024;
const KIND_BYTES = 1;
/** Bytes of rows in a chunk. */
const CHUNK_ROWS_BYTES: number = CHUNK_BYTES - PREFIX_BYTES - KIND_BYTES - TAG_BYTES;
/** Bytes of rows that are added at once, at most: those of a page. */
const MAX_VIEW_BYTES: number = KIND_BYTES + PAGE_BYTES;
const NAME_LENGTH_BYTES = 2;

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
  /** By the numbers that rows have; null where no row has a number. */
  readonly labels: readonly (string | null)[];
  readonly owners: readonly (string | null)[];
  readonly collections: readonly SlotCollection[];
  readonly extents: readonly (readonly [number: number, block: number, count: number])[];
  readonly rows: number;
  readonly bytes: number;
  /** The key of blinded terms, base64. Absent where no collection has an index. */
  readonly blinding?: string;
  /** Where the state comes from. Absent in an index of before there were successions. */
  readonly lineage?: Lineage;
  /** The launch that this epoch's key was to be handed over to; absent if to none. */
  readonly heir?: IndexedHeir;
}

/** A collection, as an index has it. */
export interface SlotCollection {
  readonly name: string;
  readonly retention: number | null;
  readonly used: Used;
  /** Shape by which the terms of its rows were made (`RecordForm`). Absent without terms. */
  readonly shape?: string;
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
  /** A recovery of a launch before, which is on the disk still, and counts for nothing. */
  readonly recoveredBefore?: DigestText<'sha256'>;
}

/** Bytes that are taken, by owner. */
export type Used = readonly (readonly [owner: string, bytes: number])[];

/** A slot's head, as it stands there. */
export interface SlotHead extends ClearSlotHead {
  readonly slot: number;
}

/**
 * Writes an index into a slot, piece by piece; it counts once the head is written. Rows have the
 * keys of values, so those that still wait are overwritten when it is disposed of.
 */
export class SlotWriter implements Disposable {
  readonly #disk: StateDisk;
  readonly #slot: number;
  readonly #epoch: number;
  readonly #seals: EpochSeals;
  #at = HEAD_BYTES;
  #chunks = 0;
  /** Where rows wait for a chunk of their own, behind its kind. */
  readonly #waiting: Buffer;
  /** Where chunks are sealed. **Cost**: one for all of them makes half the garbage. */
  #sealing: Buffer = Buffer.alloc(0);
  #bytes = 0;

  constructor(disk: StateDisk, { slot, epoch }: Pick<SlotHead, 'slot' | 'epoch'>, seals: EpochSeals) {
    this.#disk = disk;
    this.#slot = slot;
    this.#epoch = epoch;
    this.#seals = seals;
    this.#waiting = Buffer.allocUnsafe(Math.min(CHUNK_ROWS_BYTES, disk.slotBytes) + MAX_VIEW_BYTES);
    this.#waiting[0] = ROWS;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#disk.slotBytes - this.#at;
  }

  /**
   * Writes all rows of a table, some in each turn of the loop.
   *
   * **Cost**: rows are copied as they lie in memory.
   */
  async all(table: Pick<IndexTable, 'behind'>): Promise<void> {
    for (let page = table.behind(); page !== undefined; page = table.behind(page.last)) {
      this.#add(page.rows);
      if (this.#bytes >= CHUNK_ROWS_BYTES) await this.#flush();
    }
  }

  /** Writes rows that lie one behind the other. */
  async rows(rows: Buffer): Promise<void> {
    for (let at = 0; at < rows.length; ) {
      const { end } = rowAt(rows, at);
      this.#add(rows.subarray(at, end));
      if (this.#bytes >= CHUNK_ROWS_BYTES) await this.#flush();
      at = end;
    }
  }

  /** Writes the names of rows that went. */
  async gone(names: readonly Uint8Array[]): Promise<void> {
    await this.#flush();
    for (let from = 0; from < names.length; from += 256)
      await this.#chunk(
        GONE,
        names.slice(from, from + 256).flatMap((name) => [lengthOf(name), name]),
      );
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

  [Symbol.dispose](): void {
    this.#waiting.fill(0, KIND_BYTES);
    this.#bytes = 0;
  }

  #add(rows: Uint8Array): void {
    this.#waiting.set(rows, KIND_BYTES + this.#bytes);
    this.#bytes += rows.length;
  }

  async #flush(): Promise<void> {
    const plain = this.#waiting.subarray(0, KIND_BYTES + this.#bytes);
    this.#bytes = 0;
    if (plain.length > KIND_BYTES) await this.#sealed(plain);
  }

  #chunk(kind: number, parts: readonly Uint8Array[]): Promise<number> {
    return this.#sealed(Buffer.concat([Buffer.of(kind), ...parts]));
  }

  /** Seals a chunk and writes it. What it was made of is overwritten. @returns its bytes */
  async #sealed(plain: Buffer): Promise<number> {
    const length = plain.length + TAG_BYTES;
    if (this.#sealing.length < PREFIX_BYTES + length) this.#sealing = Buffer.allocUnsafe(PREFIX_BYTES + length);
    const bytes = this.#sealing.subarray(0, PREFIX_BYTES + length);
    try {
      this.#seals.index.sealInto(this.#chunks, numbered(this.#chunks), plain, bytes.subarray(PREFIX_BYTES));
    } finally {
      plain.fill(0, KIND_BYTES);
    }
    bytes.writeUInt32BE(length);
    if (bytes.length > this.left)
      throw new RefusalError('state', `an index of more than ${this.#disk.slotBytes} bytes`);
    await this.#disk.writeSlot(this.#slot, this.#at, bytes);
    this.#at += bytes.length;
    this.#chunks++;
    return length;
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
  let names: SlotNames | undefined;
  let at = HEAD_BYTES;
  const reader = new Ahead(disk, slot);
  for (let number = 0; number < chunks; number++) {
    const length = (await reader.bytes(at, PREFIX_BYTES)).readUInt32BE();
    if (number < chunks - 1 ? length > 2 * CHUNK_BYTES : length !== last)
      throw new RefusalError('state', `a chunk of ${length} bytes`);
    const plain = seals.index.open(number, numbered(number), await reader.bytes(at + PREFIX_BYTES, length));
    at += PREFIX_BYTES + length;
    try {
      const [kind, body] = [plain[0], plain.subarray(1)];
      if (kind === ROWS) table.load(body);
      else if (kind === GONE) forgetRows(body, table);
      else if (kind === NAMES) names = JSON.parse(body.toString()) as SlotNames;
    } finally {
      plain.fill(0);
      release(plain);
    }
  }
  if (names === undefined) throw new RefusalError('state', 'an index that is cut off');
  return names;
}

/** Bytes of a slot that are read at once: a chunk, and what stands before the next one. */
const AHEAD_BYTES: number = CHUNK_BYTES + 2 * PAGE_BYTES;

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
      const most = Math.min(Math.max(length, AHEAD_BYTES), this.#disk.slotBytes - at);
      const { buffer, byteOffset, length: read } = await this.#disk.readSlot(this.#slot, at, most);
      this.#chunk = Buffer.from(buffer, byteOffset, read);
      this.#chunkAt = at;
    }
    return this.#chunk.subarray(at - this.#chunkAt, at - this.#chunkAt + length);
  }
}

function lengthOf(name: Uint8Array): Buffer {
  const bytes = Buffer.alloc(NAME_LENGTH_BYTES);
  bytes.writeUInt16BE(name.length);
  return bytes;
}

function forgetRows(bytes: Buffer, table: IndexTable): void {
  for (let at = 0; at < bytes.length; ) {
    const end = at + NAME_LENGTH_BYTES + bytes.readUInt16BE(at);
    table.forget(bytes.subarray(at + NAME_LENGTH_BYTES, end));
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
