/**
 * A release log as a folder of static files (C2SP tlog-tiles, tlog-checkpoint): any web server can
 * publish it. It is only appended to, and its key never signs two trees of one size.
 */
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { equalBytes, toBase64, toHex, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { DecodeError, EvidenceError } from '@enclaim/attestation/errors';
import { leafHash, MerkleTree } from '@enclaim/attestation/merkle';
import {
  encodeRelease,
  parseRelease,
  type Release,
  type SeenCheckpoint,
  verifyContinues,
} from '@enclaim/attestation/release';
import {
  type Checkpoint,
  encodeEntries,
  entryBundle,
  formatCheckpoint,
  formatLogProof,
  formatNote,
  type NoteKey,
  parseCheckpoint,
  parseEntries,
  signatureLine,
  type Tile,
  TileTree,
  tileBytes,
  tilePath,
  tilesOf,
  verifyNote,
} from '@enclaim/attestation/tlog';
import { ImageError } from '../errors.ts';
import { writeWhole } from '../inputs/fetch.ts';

/** The log's key, and how to sign for it. */
export interface LogSigner {
  readonly key: NoteKey;
  /** Ed25519 over the message, 64 bytes. */
  readonly sign: (message: Uint8Array) => Uint8Array;
  /**
   * File that remembers the last checkpoint signed, kept with the key and not with the log. By this
   * file a log folder that was put back to an older state is noticed before anything else is
   * signed.
   */
  readonly signedFile: string;
}

/** A release with the document that it names, which is kept beside the log. */
export interface ReleaseDocument {
  readonly release: Release;
  readonly document: Uint8Array;
}

/** A log folder of which every tile and entry was found under the signed root. */
export interface ReleaseFolder {
  readonly folder: string;
  /** The signed note. */
  readonly note: string;
  readonly checkpoint: Checkpoint;
  readonly entries: readonly Uint8Array[];
}

const CHECKPOINT = 'checkpoint';
/**
 * Most releases of one log: far more than an author publishes, and few enough to verify at once.
 */
const MAX_ENTRIES = 1 << 16;

/**
 * Begins an empty log.
 * @throws ImageError `log-invalid` if there is a log, or the key signed one before; `output-failed`
 */
export async function createReleaseLog(folder: string, signer: LogSigner): Promise<void> {
  await withLock(folder, async () => {
    for (const file of [join(folder, CHECKPOINT), signer.signedFile]) {
      if ((await readOrNull(file)) !== null) throw invalid(`${file} is there: the log was begun before`);
    }
    await publish(folder, [], signer);
  });
}

/**
 * Appends what is not in the log yet and signs the new checkpoint. If nothing is new, nothing is
 * signed. The next call finishes what a crash cut off.
 * @throws ImageError `log-invalid`, `log-busy`, `output-failed`; DecodeError, EvidenceError for a
 *   log that is damaged
 */
export async function appendReleases(
  folder: string,
  documents: readonly ReleaseDocument[],
  signer: LogSigner,
): Promise<ReleaseFolder> {
  await withLock(folder, async () => {
    const { entries } = await recover(folder, signer);
    const known = new Set(entries.map(toHex));
    const added = documents.map(({ release }) => encodeRelease(release)).filter((entry) => !known.has(toHex(entry)));
    for (const { release, document } of documents) await writeDocument(folder, release, document);
    if (added.length > 0) await publish(folder, [...entries, ...added], signer);
  });
  return readReleaseLog(folder, [signer.key]);
}

/**
 * Reads a whole log and verifies it: the note is signed by the log, every tile and bundle is the
 * one of the signed tree, every entry is a release, and every release's document is there.
 * @param keys the log's key first; keys of witnesses may follow, each of which must have cosigned
 * @throws ImageError `log-invalid`; DecodeError; EvidenceError `chain`, `signature`, `log`
 */
export async function readReleaseLog(folder: string, keys: readonly NoteKey[]): Promise<ReleaseFolder> {
  const log = await readTree(folder, String(await read(folder, CHECKPOINT)), keys);
  for (const entry of log.entries) {
    const release = parseRelease(entry);
    const document = await readOrNull(documentFile(folder, release));
    if (document === null) throw invalid(`the document of ${nameOf(release)} is not in the log's folder`);
    refuseOther(release, document);
  }
  return log;
}

/**
 * A C2SP tlog-proof that a release is in the log; the entry is its extra data.
 * @throws ImageError `log-invalid`
 */
export function proveRelease({ entries, note }: ReleaseFolder, release: Release): string {
  const entry = encodeRelease(release);
  const index = entries.findIndex((one) => equalBytes(one, entry));
  if (index < 0) throw invalid(`${nameOf(release)} is not in the log`);
  const path = new MerkleTree(entries.map(leafHash)).path(index);
  return formatLogProof({ extra: entry, index, path, checkpoint: note });
}

/**
 * Proof that the log continues a checkpoint seen before, as hashes in base64.
 * @throws EvidenceError `log`
 */
export async function proveContinues({ entries, checkpoint }: ReleaseFolder, seen: SeenCheckpoint): Promise<string[]> {
  if (seen.size > checkpoint.size) verifyContinues(checkpoint, { seen, consistency: [] });
  const leaves = entries.map(leafHash);
  const path = seen.size === 0 ? [] : await new TileTree(leaves.length, readLeaves(leaves)).consistency(seen.size);
  const consistency = path.map(toBase64);
  verifyContinues(checkpoint, { seen, consistency });
  return consistency;
}

/** An entry's kind and name, for people. */
export function nameOf(release: Release): string {
  return release.kind === 'image' ? `image ${release.reference.id}` : `policy ${release.policy}`;
}

/** Tiles from leaves in memory, for `TileTree`. */
function readLeaves(leaves: readonly Uint8Array[]): (tile: Tile) => Promise<Uint8Array> {
  return async (tile) => tileBytes(leaves, tile);
}

/**
 * Writes a tree in three steps: entries and tiles, under names that no signed tree of another size
 * uses; then the signed note beside the key; then the checkpoint in the folder. After a crash in
 * between, the log is as it was, or the next call publishes it.
 */
async function publish(folder: string, entries: readonly Uint8Array[], signer: LogSigner): Promise<void> {
  if (entries.length > MAX_ENTRIES) throw invalid(`${entries.length} entries, at most ${MAX_ENTRIES}`);
  const leaves = entries.map(leafHash);
  for (const [path, bytes] of filesOf(entries, leaves)) {
    const file = join(folder, path);
    // The file may be of a tree before this one, or of one that a crash cut off before it was
    // signed.
    const there = await readOrNull(file);
    if (there === null || !equalBytes(there, bytes)) await writeDurably(file, bytes);
  }
  const root = new MerkleTree(leaves).root;
  const text = formatCheckpoint({ origin: signer.key.name, size: leaves.length, root, extensions: [] });
  const note = formatNote(text, [signatureLine(signer.key, signer.sign(utf8(text)))]);
  await writeDurably(signer.signedFile, utf8(note));
  await writeDurably(join(folder, CHECKPOINT), utf8(note));
}

/** Every file that a tree of these entries consists of: bundles, then tiles. */
function* filesOf(entries: readonly Uint8Array[], leaves: readonly Uint8Array[]): Iterable<[string, Uint8Array]> {
  for (let start = 0; start < entries.length; start += 256) {
    const bundle = entryBundle(start, entries.length);
    yield [tilePath(bundle), encodeEntries(entries.slice(start, start + bundle.width))];
  }
  for (const tile of tilesOf(leaves.length)) yield [tilePath(tile), tileBytes(leaves, tile)];
}

/**
 * Returns the log as last signed. If a crash came between signing and publishing, the log is
 * published now.
 */
async function recover(folder: string, signer: LogSigner): Promise<ReleaseFolder> {
  const remembered = await readOrNull(signer.signedFile);
  if (remembered === null) throw invalid(`${signer.signedFile} is missing: what the key signed last is not known`);
  const signed = String(remembered);
  const found = String(await read(folder, CHECKPOINT));
  // This is done even if the folder has an older checkpoint. Either the tiles of the newer one are
  // there, or the folder was put back.
  const log = await readTree(folder, signed, [signer.key]).catch((cause) => {
    throw invalid(`the log is not the one that its key signed last: ${(cause as Error).message}`, cause);
  });
  if (found !== signed) {
    const published = await readTree(folder, found, [signer.key]);
    await proveContinues(log, { size: published.checkpoint.size, root: `sha256:${toHex(published.checkpoint.root)}` });
    await writeDurably(join(folder, CHECKPOINT), utf8(signed));
  }
  return log;
}

async function readTree(folder: string, note: string, keys: readonly NoteKey[]): Promise<ReleaseFolder> {
  const { text, verified } = await verifyNote(note, keys);
  for (const key of keys) {
    if (!verified.some((one) => one.key === key)) {
      throw new EvidenceError('chain', `${key.name}+${key.id} did not sign the checkpoint`);
    }
  }
  const checkpoint = parseCheckpoint(text);
  const { size, root, origin } = checkpoint;
  if (origin !== keys[0]?.name) throw new EvidenceError('chain', `checkpoint of ${origin}, expected ${keys[0]?.name}`);
  if (size > MAX_ENTRIES) throw invalid(`${size} entries, at most ${MAX_ENTRIES}`);
  const entries: Uint8Array[] = [];
  while (entries.length < size) {
    const bundle = entryBundle(entries.length, size);
    const found = parseEntries(await read(folder, tilePath(bundle)));
    if (found.length !== bundle.width) {
      throw new DecodeError('range', `${tilePath(bundle)} has ${found.length} entries, expected ${bundle.width}`, 0);
    }
    entries.push(...found);
  }
  const leaves = entries.map(leafHash);
  if (!equalBytes(new MerkleTree(leaves).root, root)) {
    throw new EvidenceError('log', `the entries are not those of the signed tree of ${size}`);
  }
  for (const [path, bytes] of filesOf(entries, leaves)) {
    if (!equalBytes(await read(folder, path), bytes))
      throw new EvidenceError('log', `${path} is not of the signed tree`);
  }
  return { folder, note, checkpoint, entries };
}

/** A release names its document by digest. */
function refuseOther(release: Release, document: Uint8Array): void {
  const found =
    release.kind === 'image'
      ? digestText('sha256', sha256(document)) === release.manifest
      : digestText('sha384', sha384(document)) === release.policy;
  if (!found) throw invalid(`the document of ${nameOf(release)} is another`);
}

async function writeDocument(folder: string, release: Release, document: Uint8Array): Promise<void> {
  refuseOther(release, document);
  const file = documentFile(folder, release);
  if ((await readOrNull(file)) === null) await writeDurably(file, document);
}

function documentFile(folder: string, release: Release): string {
  const digest = release.kind === 'image' ? release.manifest : release.policy;
  return join(folder, 'document', digest.replace(':', '-'));
}

async function read(folder: string, path: string): Promise<Uint8Array> {
  return readFile(join(folder, path)).catch((cause) => {
    throw invalid(`cannot read ${path} of the log in ${folder}`, cause);
  });
}

async function readOrNull(file: string): Promise<Uint8Array | null> {
  return readFile(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return null;
    throw invalid(`cannot read ${file}`, cause);
  });
}

/** A file, and the name of it, on stable storage. */
async function writeDurably(file: string, bytes: Uint8Array): Promise<void> {
  const folder = dirname(file);
  const made = await mkdir(folder, { recursive: true }).catch((cause) => {
    throw new ImageError('output-failed', `cannot make ${folder}`, { cause });
  });
  await writeWhole(file, bytes);
  for (let at = folder; ; at = dirname(at)) {
    await syncFolder(at);
    if (made === undefined || at.length < made.length) break;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Lets one writer work at a time. A lock that a crash left behind has to be removed by hand: only
 * people know that no process writes.
 */
async function withLock(folder: string, work: () => Promise<void>): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((cause) => {
    throw new ImageError('output-failed', `cannot make ${folder}`, { cause });
  });
  const file = join(folder, '.lock');
  const handle = await open(file, 'wx').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EEXIST')
      throw new ImageError('output-failed', `cannot write ${file}: ${cause.message}`, { cause });
    throw new ImageError('log-busy', `another writer has the log; where there is none, remove ${file}`, { cause });
  });
  try {
    await handle.close();
    await work();
  } finally {
    await rm(file, { force: true });
  }
}

function invalid(message: string, cause?: unknown): ImageError {
  return new ImageError('log-invalid', message, { cause });
}
