/**
 * A log as a folder of static files, as C2SP tlog-tiles lays it out: `checkpoint`, `tile/0/…`,
 * `tile/entries/…`. Other tools read it, and a later copy goes on from it.
 */

import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { equalBytes } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import { leafHash } from '@enclaim/attestation/merkle';
import {
  encodeEntries,
  entryBundle,
  parseCheckpoint,
  parseEntries,
  parseNote,
  type ReadTile,
  type Tile,
  tilePath,
  tilesOf,
  VerifiedTiles,
} from '@enclaim/attestation/tlog';
import { type ReceiptOf, receiptUnder } from './cose-receipt.ts';
import { LogError } from './log-error.ts';
import type { LogEntry, LogReader, SeenLog, VerifiedCheckpoint } from './log-reader.ts';

/** Name of the file with the newest checkpoint. */
const CHECKPOINT = 'checkpoint';
/**
 * Name of a file of ours: a COSE receipt of the checkpoint's last record, by whose signature and
 * evidence receipts of other records are made from the folder alone ({@link receiptFrom}).
 */
const RECEIPT = 'receipt.cose';
const WIDTH = 256;

/** The result of a copy. */
export interface CopiedLog {
  readonly checkpoint: VerifiedCheckpoint;
  /** Number of tiles and bundles that were not there before. */
  readonly written: number;
}

/**
 * The log that a folder holds: size and root of its checkpoint. Undefined if there is none.
 *
 * **Trust**: the folder is this machine's own. Its checkpoint was verified before it was written.
 *
 * @throws LogError `checkpoint` if it cannot be read as one
 *
 * @example
 * ```ts
 * import { seenIn } from '@enclaim/client/log';
 *
 * console.log((await seenIn('log'))?.size);
 * ```
 */
export async function seenIn(folder: string): Promise<SeenLog | undefined> {
  const note = await readFile(join(folder, CHECKPOINT), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (note === undefined) return undefined;
  try {
    const { size, root } = parseCheckpoint(parseNote(note).text);
    return { size, root };
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new LogError('checkpoint', `${join(folder, CHECKPOINT)} is no checkpoint: ${cause.message}`, { cause });
  }
}

/**
 * Brings a folder up to the newest checkpoint of a log. Each file is verified, then written whole;
 * the checkpoint is the last, so that a copy which is interrupted can be begun again.
 *
 * @param withEntries also the entries themselves, which are for readers alone
 * @throws LogError
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { connect } from '@enclaim/client';
 * import { copyLog, LogReader, seenIn } from '@enclaim/client/log';
 *
 * await using channel = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 * });
 * const seen = await seenIn('log'); // the next copy must continue it
 * const log = new LogReader(channel, seen === undefined ? {} : { seen });
 * const { checkpoint } = await copyLog(log, 'log', { withEntries: false });
 * console.log(checkpoint.size);
 * ```
 */
export async function copyLog(
  log: LogReader,
  folder: string,
  { withEntries }: { readonly withEntries: boolean },
): Promise<CopiedLog> {
  const checkpoint = await log.checkpoint();
  const { size, minimum } = checkpoint;
  let written = 0;
  for (const tile of tilesOf(size)) {
    if (!isHeld(tile, minimum)) continue;
    written += await writeTile(folder, tile, () => log.tile(Number(tile.level), tile.index));
  }
  for (let first = withEntries ? Math.ceil(minimum / WIDTH) * WIDTH : size; first < size; first += WIDTH) {
    const bundle = entryBundle(first, size);
    written += await writeTile(folder, bundle, async () => {
      const entries = await Array.fromAsync(log.entries(first, first + bundle.width));
      return encodeEntries(entries.map(({ data }) => data));
    });
  }
  if (size > checkpoint.began) await writeWhole(join(folder, RECEIPT), await log.receipt({ index: size - 1 }));
  await writeWhole(join(folder, CHECKPOINT), checkpoint.note);
  return { checkpoint, written };
}

/** Whether the machine holds a tile: it keeps none of whose records it keeps none. */
function isHeld({ level, index, width }: Tile, minimum: number): boolean {
  return (index * WIDTH + width) * WIDTH ** Number(level) > minimum;
}

/** Writes a tile that is not there, and takes its narrower forms away. @returns how many were */
async function writeTile(folder: string, tile: Tile, read: () => Promise<Uint8Array>): Promise<number> {
  const file = join(folder, tilePath(tile));
  if (await stat(file).catch(() => undefined)) return 0;
  await writeWhole(file, await read());
  // Once the full tile is there, no reader needs narrower ones (C2SP tlog-tiles).
  if (tile.width === WIDTH) await rm(`${file}.p`, { recursive: true, force: true });
  return 1;
}

/**
 * A COSE receipt of what a copy of a log holds, made without the machine: under the signature of
 * the copy's newest checkpoint, with its evidence.
 *
 * @param source hashes of the copy's tree from elsewhere; by default the copy's own tiles
 * @throws LogError `tile`; DecodeError, EvidenceError `log` if the copy is damaged; RangeError
 *
 * @example
 * ```ts
 * import { writeFile } from 'node:fs/promises';
 * import { receiptFrom } from '@enclaim/client/log';
 *
 * await writeFile('7.cose', await receiptFrom('log', { index: 7 }));
 * ```
 */
export async function receiptFrom(
  folder: string,
  of: ReceiptOf,
  source: Parameters<typeof receiptUnder>[2] = (tree) => new VerifiedTiles(tree, tilesIn(folder)),
): Promise<Uint8Array> {
  const signed = await read(join(folder, RECEIPT));
  return receiptUnder(signed, of, source);
}

/**
 * Entries of a copy that was made with entries, from an index on, each held against the tree of the
 * copy's checkpoint.
 *
 * @throws LogError `tile` for what is not in the copy, `checkpoint`; DecodeError, EvidenceError
 * `log` if it is damaged
 *
 * @example
 * ```ts
 * import { copiedEntries } from '@enclaim/client/log';
 *
 * for await (const { index, data } of copiedEntries('log', 7)) console.log(index, data.length);
 * ```
 */
export async function* copiedEntries(folder: string, first: number): AsyncGenerator<LogEntry> {
  const tree = await seenIn(folder);
  if (tree === undefined) throw new LogError('checkpoint', `there is no checkpoint in ${folder}`);
  const tiles = new VerifiedTiles(tree, tilesIn(folder));
  for (let at = first; at < tree.size; ) {
    const bundle = entryBundle(at, tree.size);
    const entries = parseEntries(await read(join(folder, tilePath(bundle))));
    if (entries.length !== bundle.width)
      throw new LogError('tile', `${tilePath(bundle)} of ${entries.length} entries, where ${bundle.width} belong`);
    for (const [i, data] of entries.entries()) {
      const index = bundle.index * WIDTH + i;
      if (index < at) continue;
      if (!equalBytes(leafHash(data), await tiles.leaf(index)))
        throw new LogError('tile', `entry ${index} is not the one of the copy's tree`);
      yield { index, data };
    }
    at = bundle.index * WIDTH + entries.length;
  }
}

/**
 * The path of a record to the root of the first `size` records, by the tiles of a copy.
 *
 * **Trust**: the copy may be of a log that its holder made up. Only a root from elsewhere, under a
 * quote, makes the path worth something.
 *
 * @throws LogError `checkpoint` if the copy has fewer records, `tile`; DecodeError, EvidenceError
 * `log` if it is damaged; RangeError for a record that is not among the first `size`
 *
 * @example
 * ```ts
 * import { copiedInclusion } from '@enclaim/client/log';
 *
 * console.log((await copiedInclusion('log', 7, 12)).length);
 * ```
 */
export async function copiedInclusion(folder: string, index: number, size: number): Promise<Uint8Array[]> {
  const tree = await seenIn(folder);
  if (tree === undefined) throw new LogError('checkpoint', `there is no checkpoint in ${folder}`);
  if (size > tree.size)
    throw new LogError('checkpoint', `the copy in ${folder} has ${tree.size} records, and ${size} are needed`);
  if (!(index >= 0 && index < size)) throw new RangeError(`record ${index} of ${size}`);
  return new VerifiedTiles(tree, tilesIn(folder)).inclusion(index, size);
}

/** Tiles of a copy. @throws LogError `tile` for one that is not there */
function tilesIn(folder: string): ReadTile {
  return (tile) => read(join(folder, tilePath(tile)));
}

/** @throws LogError `tile` */
function read(file: string): Promise<Uint8Array> {
  return readFile(file).catch((cause: Error) => {
    throw new LogError('tile', `not in the copy: ${cause.message}`, { cause });
  });
}

async function writeWhole(file: string, content: Uint8Array | string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.tmp`, content);
  await rename(`${file}.tmp`, file);
}
