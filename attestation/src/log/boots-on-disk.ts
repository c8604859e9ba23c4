/**
 * Boots of a log on its disk: where each began, and which of its records stand under a kept quote
 * of it (docs/reference/formats.md, "Kept quotes").
 */

import { equalBytes } from '../bytes.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import type { KnownTree, LogAudit } from './audit-log.ts';
import type { Block } from './block.ts';
import { beganWith, type KeptQuote, type QuotedBoot, quotedBoot, quoteIn } from './kept-quote.ts';
import { SECTOR_BYTES } from './layout.ts';
import { LogDisk, type ReadDisk } from './log-disk.ts';
import { openLog } from './read-log.ts';
import { decodeEntry } from './record.ts';

/**
 * Boots of one disk that are listed, the newest; and quotes in blocks.
 *
 * **Bound**: the disk is the host's, and each quote is a read of a block and some of tiles.
 */
export const MAX_DISK_BOOTS = 4096;

/** A boot on a disk. */
export interface DiskBoot<V> {
  /** Its id. */
  readonly id: string;
  /** Records that it found. */
  readonly began: number;
  /** Index after its last record. */
  readonly end: number;
  /** Index after the last record under a kept quote of it; `began` if none is kept. */
  readonly quoted: number;
  /** Judgement on that quote. */
  readonly judged?: V;
}

/** A quote that says nothing of any boot. */
export interface IdleQuote {
  readonly at: string;
  /**
   * `damaged`: a crash may leave it so. `uncompared`: it is over records that are no longer held.
   * `refused`: it is of another log or boot, or not genuine.
   */
  readonly kind: 'damaged' | 'uncompared' | 'refused';
  readonly message: string;
}

/** Boots of a disk, the oldest first, and quotes that are of none. */
export interface DiskBoots<V> {
  readonly boots: readonly DiskBoot<V>[];
  readonly idle: readonly IdleQuote[];
  /** Boots and quotes that are not listed, beyond {@link MAX_DISK_BOOTS}. */
  readonly omitted: number;
}

interface Boot<V> {
  readonly id: string;
  readonly began: number;
  quoted: number;
  judged?: V;
}

/** A log, as far as boots and quotes are held against it. */
interface Compared {
  readonly head: KnownTree;
  rootAt(size: number): Promise<Uint8Array>;
}

/** Hears of the blocks of a log, and finds its boots. */
export class BootsOnDisk {
  readonly #boots: { readonly id: string; readonly began: number }[] = [];
  /** Positions of blocks with a quote. */
  readonly #carried: number[] = [];
  #omitted = 0;

  /** Hears of the next block, as `auditLog` follows them. */
  hear(block: Block): void {
    const id = bootOf(block);
    if (id !== undefined) this.#push(this.#boots, { id, began: block.first });
    if (quoteIn(block) !== undefined) this.#push(this.#carried, block.position);
  }

  #push<T>(list: T[], item: T): void {
    if (list.push(item) <= MAX_DISK_BOOTS) return;
    // layer: few boots are listed
    list.shift();
    this.#omitted++;
  }

  /**
   * The boots, by the records that they wrote and the quotes that are kept of them.
   *
   * **Trust**: without a judge all of it is the word of who held the disk.
   * @param audit of the same disk, whose blocks were heard
   * @param judge verifies a quote (`enclaim.v1.LogProof`); an EvidenceError refuses it
   */
  async list<V>(
    read: ReadDisk,
    capacity: number,
    { head, first }: LogAudit,
    judge?: (quote: Uint8Array) => Promise<V>,
  ): Promise<DiskBoots<V>> {
    const boots: Boot<V>[] = this.#boots.map((each) => ({ ...each, quoted: each.began }));
    // The records of older boots are not held, or not listed.
    const least = this.#omitted > 0 ? (boots[0]?.began ?? first) : first;
    const idle: IdleQuote[] = [];
    const log = await comparedOn(read, capacity, head);
    for await (const { at, kept } of this.#quotes(new LogDisk(read, capacity))) {
      const fault = await faultOf(kept, log, boots, least, judge);
      if (fault !== undefined) idle.push({ at, ...fault });
    }
    const sorted = boots.toSorted((one, other) => one.began - other.began);
    const listed = sorted.map((boot, i) => ({ ...boot, end: sorted[i + 1]?.began ?? head.size }));
    return { boots: listed, idle, omitted: this.#omitted };
  }

  /** All quotes, the newest first: those of the two places, then those in blocks. */
  async *#quotes(disk: LogDisk): AsyncGenerator<{ readonly at: string; readonly kept: KeptQuote | DecodeError }> {
    for (const [place, kept] of (await disk.quotes()).entries())
      if (!(kept instanceof DecodeError && kept.code === 'magic')) yield { at: `place ${place}`, kept };
    const journal = disk.journal(SECTOR_BYTES);
    for (const position of this.#carried.toReversed()) {
      const kept = quoteIn(await journal.block(position));
      if (kept !== undefined) yield { at: `block ${position}`, kept };
    }
  }
}

/** The boot whose first record a block begins with. */
function bootOf({ entries: [entry], first }: Block): string | undefined {
  try {
    const record = entry === undefined ? undefined : decodeEntry(entry);
    return record?.layer === 'admission' && record.figures['log.began'] === first ? record.id : undefined;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** Gives a quote to its boot, or says why it is of none. */
async function faultOf<V>(
  kept: KeptQuote | DecodeError,
  log: Compared,
  boots: Boot<V>[],
  least: number,
  judge?: (quote: Uint8Array) => Promise<V>,
): Promise<Omit<IdleQuote, 'at'> | undefined> {
  if (kept instanceof DecodeError) return { kind: 'damaged', message: kept.message };
  try {
    const quoted = quotedBoot(kept.quote);
    await demandTrees(quoted, log);
    const boot = ownerOf(quoted, log, boots, least);
    const judged = await judge?.(kept.quote);
    const { size } = quoted.checkpoint;
    if (!boots.includes(boot)) boots.push(boot);
    if (size > boot.quoted) Object.assign(boot, { quoted: size, ...(judged !== undefined && { judged }) });
    return undefined;
  } catch (error) {
    if (error instanceof RangeError) return { kind: 'uncompared', message: error.message };
    if (error instanceof EvidenceError) return { kind: 'refused', message: `${error.code}: ${error.message}` };
    if (error instanceof DecodeError) return { kind: 'refused', message: error.message };
    throw error;
  }
}

/**
 * Demands that both trees of a quote are of the log.
 *
 * @throws EvidenceError `log`; RangeError for trees that are no longer held
 */
async function demandTrees({ statement, checkpoint }: QuotedBoot, log: Compared): Promise<void> {
  if (checkpoint.size > log.head.size)
    throw new EvidenceError('log', `over ${checkpoint.size} records, the log has ${log.head.size}`);
  for (const [what, { size, root }] of [
    ['its checkpoint', checkpoint],
    ['what its boot found', beganWith(statement)],
  ] as const) {
    // layer: quotes on a disk are of its tree
    if (!equalBytes(await rootFor(what, size, log), root))
      throw new EvidenceError('log', `${what} is another tree of ${size} records than the log's`);
  }
}

async function rootFor(what: string, size: number, log: Compared): Promise<Uint8Array> {
  try {
    return await log.rootAt(size);
  } catch (error) {
    if (error instanceof RangeError) throw new RangeError(`${what} cannot be compared: ${error.message}`);
    throw error;
  }
}

/** The boot that a quote is of. @throws EvidenceError if there is none */
function ownerOf<V>({ statement, checkpoint }: QuotedBoot, log: Compared, boots: readonly Boot<V>[], least: number) {
  const { bootId: id } = statement;
  const { size: began } = statement.log;
  const end = boots.reduce((next, boot) => (boot.began > began ? Math.min(next, boot.began) : next), log.head.size);
  // layer: quotes on a disk end where the next boot began
  if (checkpoint.size > end)
    throw new EvidenceError('log', `over ${checkpoint.size} records, the next boot began at ${end}`);
  const known = boots.find((boot) => boot.began === began);
  const boot: Boot<V> | undefined = known ?? (began < least ? { id, began, quoted: began } : undefined);
  if (boot?.id !== id) throw new EvidenceError('log', `boot ${id} wrote no record ${began}`);
  return boot;
}

/** Roots of the log, where it can be opened. */
async function comparedOn(read: ReadDisk, capacity: number, head: KnownTree): Promise<Compared> {
  try {
    const { stored } = await openLog(read, capacity);
    return { head, rootAt: (size) => stored.rootAt(size) };
  } catch (error) {
    // What stops a boot is a fault of the audit already.
    if (error instanceof DecodeError) return { head, rootAt: () => Promise.reject(error) };
    throw error;
  }
}
