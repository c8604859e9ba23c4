/** Transparency logs: RFC 6962 proofs, notes, checkpoints, tiles and a whole log, all made by other implementations. */

import { isDeepStrictEqual } from 'node:util';
import { equalBytes, toHex, utf8 } from '../../../attestation/src/bytes.ts';
import { sha256 } from '../../../attestation/src/digest.ts';
import { DecodeError, EvidenceError } from '../../../attestation/src/errors.ts';
import {
  consistencyPath,
  inclusionPath,
  isSubtree,
  leafHash,
  merkleRoot,
  rootFromConsistency,
  rootFromPath,
} from '../../../attestation/src/merkle.ts';
import {
  encodeEntries,
  entryBundle,
  parseCheckpoint,
  parseEntries,
  parseLogProof,
  parseNote,
  parseNoteKey,
  parseTilePath,
  type ReadTile,
  TileTree,
  tileBytes,
  tilePath,
  tilesOf,
  verifyLogProof,
  verifyNote,
} from '../../../attestation/src/tlog/index.ts';
import { CannotFeed, type Case, fileOf, type Outcome } from '../topic.ts';

export const topic = 'tlog';

// biome-ignore lint/suspicious/noExplicitAny: each file of vectors has its own form
type Vector = any;

/** Whether one vector gives the stated result. */
type Judge = (vector: Vector) => boolean | Promise<boolean>;

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
const base64 = (text: string): Uint8Array => Buffer.from(text, 'base64');
const list = (texts: readonly string[] | null, read: (text: string) => Uint8Array): Uint8Array[] =>
  (texts ?? []).map(read);

const JUDGES: readonly (readonly [RegExp, Judge])[] = [
  [/^merkle-inclusion/, (v) => included(v.leafIdx, v.treeSize, v) !== v.wantErr],
  [
    /^merkle-subtreeinclusion/,
    (v) => (isSubtree(v.start, v.end) && included(v.leafIdx - v.start, v.end - v.start, v)) !== v.wantErr,
  ],
  [/^merkle-consistency/, (v) => consistent(v.root1, v.size1, v.size2, v) !== v.wantErr],
  [/^merkle-subtreeconsistency/, (v) => consistent(v.root1, v.end, v.size, v, v.start) !== v.wantErr],
  [/^gen-roots/, (v) => toHex(merkleRoot(leavesOf(v.size))) === v.root],
  [/^gen-inclusion/, judgeInclusion],
  [/^gen-consistency/, judgeConsistency],
  [/^gen-tiles$/, judgeTiles],
  [/^gen-tiles_large/, judgeLargeTiles],
  [/^gen-tile_paths/, (v) => tilePath({ ...v, level: v.level === -1 ? 'entries' : v.level }) === v.path],
  [/^gen-tile_path_parse/, judgeTilePath],
  [/^gen-entry_bundle_paths/, (v) => tilePath(entryBundle(v.seq, v.log_size)) === v.path],
  [/^gen-entry_bundles/, judgeBundle],
  [/^gen-checkpoint_bodies/, judgeCheckpoint],
  [/^gen-vkeys/, (v) => attempt(() => parseNoteKey(v.vkey)) === (v.ok ? 'ok' : 'refused')],
  [/^gen-notes/, judgeNote],
  [/^gen-signed_checkpoints/, judgeSigned],
  [/^gen-tlog_proof_parse/, judgeProof],
];

export async function run(test: Case, dir: string): Promise<Outcome> {
  if (test.files.log) return runLog(test, dir);
  const judge = JUDGES.find(([pattern]) => pattern.test(test.id))?.[1];
  if (judge === undefined) throw new CannotFeed('no judge for this case');
  const file = JSON.parse(Buffer.from(await fileOf(test, 'vectors', dir)).toString());
  const vectors: Vector[] = Array.isArray(file) ? file : file.vectors;
  const wrong: number[] = [];
  for (const [index, vector] of vectors.entries()) if (!(await judge(vector))) wrong.push(index);
  for (const leaf of file.leaf_hashes_first_20 ?? []) {
    if (toHex(leafHash(hex(leaf.record_hex))) !== leaf.leaf_hash) wrong.push(-1 - leaf.index);
  }
  const { count } = test.expected as { count: number };
  return {
    exact: wrong.length === 0 && vectors.length === count,
    expected: count,
    got: { count: vectors.length, wrong },
  };
}

function attempt(run: () => unknown): 'ok' | 'refused' {
  try {
    run();
    return 'ok';
  } catch (error) {
    if (error instanceof DecodeError) return 'refused';
    throw error;
  }
}

function included(index: number, size: number, { leafHash: leaf, root, proof }: Vector): boolean {
  const found = rootFromPath(base64(leaf), index, size, list(proof, base64));
  return found !== undefined && equalBytes(found, base64(root));
}

function consistent(known: string, end: number, size: number, { root2, proof }: Vector, start = 0): boolean {
  const found = rootFromConsistency(base64(known), end, size, list(proof, base64), start);
  return found !== undefined && equalBytes(found, base64(root2));
}

let grown: Uint8Array[] = [];

/** Leaf hashes of the generated logs: record i is the text A-leaf-i (or as the vectors' own rule says). */
function leavesOf(size: number): Uint8Array[] {
  if (grown.length < size) {
    grown = [
      ...grown,
      ...Array.from({ length: size - grown.length }, (_, i) => leafHash(utf8(`${label}${grown.length + i}`))),
    ];
  }
  return grown.slice(0, size);
}

let label = 'A-leaf-';

/** Other sets name their leaves otherwise; every record shows the name. */
function learn(recordHex: string, index: number): void {
  const text = Buffer.from(recordHex, 'hex').toString();
  const found = text.slice(0, text.length - String(index).length);
  if (found !== label) [label, grown] = [found, []];
}

function judgeInclusion(v: Vector): boolean {
  if (v.record_hex !== undefined && toHex(leafHash(hex(v.record_hex))) !== v.leaf_hash) return false;
  const root = rootFromPath(hex(v.leaf_hash), v.index, v.size, list(v.proof, hex));
  return (root !== undefined && toHex(root) === v.root) === v.valid;
}

function judgeConsistency(v: Vector): boolean {
  const root = rootFromConsistency(hex(v.old_root), v.old_size, v.size, list(v.proof, hex));
  return (root !== undefined && toHex(root) === v.root) === v.valid;
}

/** All tiles of a log, and proofs made of nothing but those tiles. */
async function judgeTiles(v: Vector): Promise<boolean> {
  const leaves = leavesOf(v.size);
  const made = new Map(tilesOf(v.size).map((tile) => [tilePath(tile), tileBytes(leaves, tile)]));
  const digests = [...made].map(([path, bytes]) => [path, toHex(sha256(bytes))]);
  const stated = v.all_tiles_from_empty.map((tile: Vector) => [tile.path, tile.sha256]);
  const read: ReadTile = async (tile) => made.get(tilePath(tile)) ?? new Uint8Array();
  const tree = new TileTree(v.size, read);
  const middle = Math.floor(v.size / 2);
  return (
    isDeepStrictEqual(digests.toSorted(), stated.toSorted()) &&
    toHex(await tree.root()) === v.root &&
    isDeepStrictEqual(await tree.inclusion(middle), inclusionPath(leaves, middle)) &&
    (middle === 0 || isDeepStrictEqual(await tree.consistency(middle), consistencyPath(leaves, middle)))
  );
}

function judgeLargeTiles(v: Vector): boolean {
  const leaves = leavesOf(v.size);
  return v.tiles_new_or_changed_by_last_entry.every(({ path, sha256: digest, bytes }: Vector) => {
    const tile = tileBytes(leaves, parseTilePath(path));
    return tile.length === bytes && toHex(sha256(tile)) === digest;
  });
}

function judgeTilePath(v: Vector): boolean {
  if (!v.valid) return attempt(() => parseTilePath(v.path)) === 'refused';
  const { level, index, width } = parseTilePath(v.path);
  return isDeepStrictEqual([level === 'entries' ? -1 : level, index, width], [v.level, v.index, v.width]);
}

function judgeBundle(v: Vector): boolean {
  if (!v.valid) return attempt(() => parseEntries(hex(v.bundle_hex))) === 'refused';
  const entries = parseEntries(hex(v.bundle_hex));
  return isDeepStrictEqual(entries.map(toHex), v.entries_hex) && toHex(encodeEntries(entries)) === v.bundle_hex;
}

/** Two parsers are on record; ours agrees with the strict one. */
function judgeCheckpoint({ text, torchwood }: Vector): boolean {
  if (!torchwood.ok) return attempt(() => parseCheckpoint(text)) === 'refused';
  const { origin, size, root } = parseCheckpoint(text);
  return isDeepStrictEqual([origin, size, toHex(root)], [torchwood.origin, torchwood.size, torchwood.hash_hex]);
}

const NOTE_ERRORS: readonly (readonly [RegExp, string])[] = [
  [/^malformed note/, 'malformed'],
  [/^ambiguous key/, 'key'],
  [/^invalid signature/, 'signature'],
  [/^note has no verifiable/, 'chain'],
];

async function judgeNote(v: Vector): Promise<boolean> {
  // One note is told as a rule, being long.
  const text: string = v.note ?? manySignatures;
  if (v.note)
    manySignatures = text.replace(/(— PeterNeumann .*\n)(?:.*\n)*$/, (_all, line: string) => line.repeat(101));
  const names = (lines: readonly { name: string; id: string }[]): string[] =>
    lines.map(({ name, id }) => `${name}+${id}`);
  try {
    const note = await verifyNote(text, (v.vkeys ?? []).map(parseNoteKey));
    const got = [note.text, names(note.verified.map(({ key }) => key)), names(note.unverified)];
    return v.ok && isDeepStrictEqual(got, [v.text, v.verified, v.unverified]);
  } catch (error) {
    const layer =
      error instanceof EvidenceError ? error.code : error instanceof DecodeError ? 'malformed' : String(error);
    return !v.ok && layer === NOTE_ERRORS.find(([pattern]) => pattern.test(v.error))?.[1];
  }
}

let manySignatures = '';

async function judgeSigned(v: Vector): Promise<boolean> {
  const [log, witness] = [parseNoteKey(v.log_vkey), parseNoteKey(v.witness_vkey)];
  const { origin, size, root } = parseCheckpoint((await verifyNote(v.checkpoint, [log])).text);
  const cosigned = await verifyNote(v.cosigned_checkpoint, [log, witness]);
  const record = hex(v.proof_record_hex);
  learn(v.proof_record_hex, v.proof_index);
  const entry = await verifyLogProof(v.tlog_proof, record, [log, witness]);
  return isDeepStrictEqual(
    [origin, size, toHex(root), Number(cosigned.verified[1]?.timestamp), entry.index, entry.checkpoint.size],
    [v.origin, v.size, v.root, v.cosignature_timestamp, v.proof_index, v.size],
  );
}

function judgeProof(v: Vector): boolean {
  if (!v.ok) return attempt(() => parseLogProof(v.text)) === 'refused';
  const { extra, index, path, checkpoint } = parseLogProof(v.text);
  return isDeepStrictEqual(
    [Buffer.from(extra ?? []).toString(), index, path.length, checkpoint],
    [v.extra ?? '', v.index, v.hashes, v.checkpoint],
  );
}

/** A whole log on disk: every checkpoint's root follows from the tiles, and the tiles from the entries. */
async function runLog(test: Case, dir: string): Promise<Outcome> {
  const files = test.files.log as readonly string[];
  const { checkpoints } = test.expected as {
    checkpoints: Record<string, { size: number; root: string; origin: string }>;
  };
  // A tile's path is part of the format, below whatever folder; a checkpoint is what reads as one.
  const read: ReadTile = async (tile) => readRole(files.find((file) => file.endsWith(`/${tilePath(tile)}`)) ?? '', dir);
  const found = await Promise.all(files.filter((file) => !file.includes('/tile/')).map((file) => readRole(file, dir)));
  const signed = found.map((file) => parseCheckpoint(parseNote(Buffer.from(file).toString()).text));
  const got: Record<string, unknown> = {};
  for (const [name, expected] of Object.entries(checkpoints)) {
    const { origin, size, root } = signed.find((one) => one.size === expected.size) ?? refuseSize(expected.size);
    const entries = size === 0 ? [] : parseEntries(await read(entryBundle(0, size)));
    const roots = [await new TileTree(size, read).root(), merkleRoot(entries.map(leafHash))].map(toHex);
    got[name] = roots.every((one) => one === toHex(root)) ? { size, root: toHex(root), origin } : roots;
  }
  return { exact: isDeepStrictEqual(got, checkpoints), expected: checkpoints, got };
}

function readRole(path: string, dir: string): Promise<Uint8Array> {
  return fileOf({ id: '', files: { path }, expected: null }, 'path', dir);
}

function refuseSize(size: number): never {
  throw new CannotFeed(`no checkpoint of size ${size} among the files`);
}
