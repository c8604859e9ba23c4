/**
 * Signed notes (C2SP signed-note) with Ed25519 keys, and cosignatures of checkpoints (C2SP
 * tlog-cosignature) with Ed25519 and ML-DSA-44 keys.
 */

import { importKey, verifySignature } from '#crypto';
import { concat, fromBase64, fromHex, fromUtf8, Reader, toBase64, toHex, u64be, utf8 } from '../bytes.ts';
import { sha256 } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { type Checkpoint, parseCheckpoint } from './checkpoint.ts';

/**
 * Kind of signature of a key. `ed25519` signs the text itself. Witnesses sign with a time:
 * `cosignature/v1` the text (Ed25519), `ml-dsa-44` origin, size and root of a checkpoint.
 */
export type NoteAlgorithm = 'ed25519' | 'cosignature/v1' | 'ml-dsa-44';

/** The form of a kind of signature. Lengths are in bytes. */
interface AlgorithmForm {
  /** Signature type of C2SP signed-note. */
  readonly byte: number;
  readonly keyLength: number;
  readonly signatureLength: number;
  /** Whether eight bytes of time stand before the signature. */
  readonly timed: boolean;
  readonly scheme: 'ed25519' | 'ml-dsa-44';
  /** DER of a SubjectPublicKeyInfo, up to the key. */
  readonly spkiPrefix: Uint8Array;
}

/** RFC 8410. */
const ED25519 = {
  keyLength: 32,
  signatureLength: 64,
  scheme: 'ed25519',
  spkiPrefix: fromHex('302a300506032b6570032100'),
} as const;

const ALGORITHMS: Readonly<Record<NoteAlgorithm, AlgorithmForm>> = {
  ed25519: { byte: 1, timed: false, ...ED25519 },
  'cosignature/v1': { byte: 4, timed: true, ...ED25519 },
  // RFC 9881.
  'ml-dsa-44': {
    byte: 6,
    timed: true,
    keyLength: 1312,
    signatureLength: 2420,
    scheme: 'ml-dsa-44',
    spkiPrefix: fromHex('30820532300b06096086480165030403110382052100'),
  },
};
const MAX_NOTE = 1 << 20;
const MAX_SIGNATURES = 100;
const MAX_TIMESTAMP = 2n ** 63n - 1n;
/** Greatest length of a cosigner's name and of an origin under ML-DSA-44, in bytes. */
const MAX_NAME_BYTES = 255;

/** A verifier key: a name, and the key that signs under it. */
export interface NoteKey {
  readonly name: string;
  /** First four bytes of SHA-256(name ‖ newline ‖ algorithm ‖ key), hexadecimal. */
  readonly id: string;
  readonly algorithm: NoteAlgorithm;
  /** 32 bytes of Ed25519, 1312 of ML-DSA-44. */
  readonly publicKey: Uint8Array;
}

/**
 * A signature line.
 *
 * **Trust**: any writer can put any name on a line; only verification shows its signer.
 */
export interface NoteSignature {
  readonly name: string;
  readonly id: string;
  /** The bytes after the key id. */
  readonly signature: Uint8Array;
}

/** A signature that verified. */
export interface VerifiedSignature {
  readonly key: NoteKey;
  /** The witness's time of a cosignature, in seconds since 1970. */
  readonly timestamp?: bigint;
}

/** A note as parsed. */
export interface Note {
  /** The signed text, with its last newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** A note of which at least one signature verified. */
export interface VerifiedNote {
  readonly text: string;
  readonly verified: readonly VerifiedSignature[];
  readonly unverified: readonly NoteSignature[];
}

/** The verifier key of a name. @param publicKey 32 bytes of Ed25519, 1312 of ML-DSA-44. */
export function noteKey(name: string, algorithm: NoteAlgorithm, publicKey: Uint8Array): NoteKey {
  const tagged = concat(Uint8Array.of(ALGORITHMS[algorithm].byte), publicKey);
  return { name, id: toHex(sha256(concat(utf8(`${name}\n`), tagged)).subarray(0, 4)), algorithm, publicKey };
}

/** `name+id+key`, as verifier keys are published. */
export function formatNoteKey({ name, id, algorithm, publicKey }: NoteKey): string {
  return `${name}+${id}+${toBase64(concat(Uint8Array.of(ALGORITHMS[algorithm].byte), publicKey))}`;
}

/**
 * Reads a verifier key.
 * @throws DecodeError `syntax`; `version` for another algorithm; `canonical` for an id that is not
 * the key's.
 */
export function parseNoteKey(text: string): NoteKey {
  const [, name = '', id = '', encoded = ''] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/u.exec(text) ?? [];
  if (!isNoteName(name)) throw new DecodeError('syntax', 'not a verifier key of the form name+id+key', 0);
  const reader = new Reader(fromBase64(encoded));
  const byte = reader.u8();
  const algorithm = (Object.keys(ALGORITHMS) as NoteAlgorithm[]).find((one) => ALGORITHMS[one].byte === byte);
  if (algorithm === undefined) throw new DecodeError('version', `verifier key algorithm ${byte}`, 0);
  const key = noteKey(name, algorithm, reader.take(ALGORITHMS[algorithm].keyLength));
  reader.end('verifier key');
  if (key.id !== id) throw new DecodeError('canonical', `verifier key id ${id}, the key's is ${key.id}`, 0);
  return key;
}

/**
 * Reads a note of at most 1 MiB and 100 signatures.
 * @throws DecodeError `syntax`, `range`
 */
export function parseNote(note: string): Note {
  if (note.length > MAX_NOTE) throw new DecodeError('range', `note of ${note.length} characters`, 0);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\u0000-\u0009\u000b-\u001f]/.test(note) || !note.isWellFormed()) {
    throw new DecodeError('syntax', 'control character or lone surrogate in a note', 0);
  }
  const end = note.lastIndexOf('\n\n');
  if (end < 0 || !note.endsWith('\n')) throw new DecodeError('syntax', 'note without a signature block', 0);
  const lines = note.slice(end + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) throw new DecodeError('range', `${lines.length} signatures`, end);
  return { text: note.slice(0, end + 1), signatures: [...new Set(lines)].map(parseSignature) };
}

function parseSignature(line: string): NoteSignature {
  const [, name = '', encoded = ''] = /^— ([^ ]+) ([A-Za-z0-9+/=]+)$/u.exec(line) ?? [];
  if (!isNoteName(name)) throw new DecodeError('syntax', 'not a signature line', 0);
  const reader = new Reader(fromBase64(encoded));
  const id = toHex(reader.take(4));
  if (reader.left === 0) throw new DecodeError('syntax', 'empty signature', 0);
  return { name, id, signature: reader.take(reader.left) };
}

/**
 * Verifies every signature of a note whose key is given.
 * @param keys The keys that the caller trusts under these names.
 * @throws DecodeError if it is not a note; EvidenceError `signature` if one of a given key does not
 * verify, `key` if two given keys have one name and id, `chain` if no given key signed, or none
 * whose signature covers all lines; `version` (DecodeError) for ML-DSA-44 in a browser without it.
 */
export async function verifyNote(note: string, keys: readonly NoteKey[]): Promise<VerifiedNote> {
  const { text, signatures } = parseNote(note);
  const verified: VerifiedSignature[] = [];
  const unverified: NoteSignature[] = [];
  for (const line of signatures) {
    const known = keys.filter(({ name, id }) => name === line.name && id === line.id);
    const [key, another] = known;
    if (another !== undefined) throw new EvidenceError('key', `two keys are given for ${line.name}+${line.id}`);
    if (key === undefined) unverified.push(line);
    else if (!verified.some((one) => one.key === key)) verified.push(await verifyLine(text, line, key));
  }
  // layer: a given key signed
  if (verified.length === 0) throw new EvidenceError('chain', `none of the ${keys.length} given keys signed the note`);
  // Extension lines are not part of what ML-DSA-44 cosigners sign.
  if (verified.every(({ key }) => key.algorithm === 'ml-dsa-44') && parseCheckpoint(text).extensions.length > 0) {
    throw new EvidenceError('chain', 'no verified signature covers the extension lines of the checkpoint');
  }
  return { text, verified, unverified };
}

async function verifyLine(text: string, { signature }: NoteSignature, key: NoteKey): Promise<VerifiedSignature> {
  const fail = (why: string): EvidenceError =>
    new EvidenceError('signature', `signature of ${key.name}+${key.id} ${why}`);
  const { timed, scheme, signatureLength, spkiPrefix } = ALGORITHMS[key.algorithm];
  if (signature.length !== signatureLength + (timed ? 8 : 0)) throw fail(`has ${signature.length} bytes`);
  const reader = new Reader(signature);
  const timestamp = timed ? reader.u64be() : undefined;
  if (timestamp !== undefined && timestamp > MAX_TIMESTAMP) throw fail(`is of the second ${timestamp}`);
  const message = timestamp === undefined ? utf8(text) : cosignedMessage(key, text, timestamp);
  const imported = await importKey(concat(spkiPrefix, key.publicKey));
  if (!(await verifySignature({ kind: scheme }, imported, message, reader.take(signatureLength)))) {
    throw fail('does not verify');
  }
  return timestamp === undefined ? { key } : { key, timestamp };
}

/**
 * The bytes that a witness signs of a checkpoint's text, by the kind of its key.
 * @param timestamp Seconds since 1970.
 * @throws DecodeError if the key is ML-DSA-44 and the text no checkpoint, or its origin or the
 * key's name above 255 bytes.
 */
export function cosignedMessage(key: NoteKey, text: string, timestamp: bigint): Uint8Array {
  if (key.algorithm !== 'ml-dsa-44') return utf8(cosignedText(text, timestamp));
  return subtreeMessage(key.name, parseCheckpoint(text), timestamp);
}

/** **Spec**: C2SP tlog-cosignature, "ML-DSA-44 signed message", with the whole tree as subtree. */
function subtreeMessage(name: string, { origin, size, root }: Checkpoint, timestamp: bigint): Uint8Array {
  const [label, start, end] = [utf8('subtree/v1\n\0'), u64be(0n), u64be(BigInt(size))];
  return concat(label, shortOpaque(name), u64be(timestamp), shortOpaque(origin), start, end, root);
}

function shortOpaque(text: string): Uint8Array {
  const bytes = utf8(text);
  if (bytes.length > MAX_NAME_BYTES) throw new DecodeError('range', `name of ${bytes.length} bytes`, 0);
  return concat(Uint8Array.of(bytes.length), bytes);
}

/** The text that a witness signs with Ed25519. @param timestamp Seconds since 1970. */
export function cosignedText(text: string, timestamp: bigint): string {
  return `cosignature/v1\ntime ${timestamp}\n${text}`;
}

/**
 * A signature line over a note's text.
 * @param timestamp Of a cosignature, in seconds since 1970.
 */
export function signatureLine(key: NoteKey, signature: Uint8Array, timestamp?: bigint): string {
  const time = timestamp === undefined ? new Uint8Array() : u64be(timestamp);
  return lineOf({ name: key.name, id: key.id, signature: concat(time, signature) });
}

/** The first line of each of these keys in a note, as it stands there. @throws as `parseNote` */
export function linesOfKeys(note: string, keys: readonly NoteKey[]): string[] {
  const { signatures } = parseNote(note);
  const lines = keys.map(({ name, id }) => signatures.find((line) => line.name === name && line.id === id));
  return lines.flatMap((line) => (line === undefined ? [] : [lineOf(line)]));
}

function lineOf({ name, id, signature }: NoteSignature): string {
  return `— ${name} ${toBase64(concat(fromHex(id), signature))}\n`;
}

/** A note of a text, which ends in a newline, and its signature lines. */
export function formatNote(text: string, lines: readonly string[]): string {
  return `${text}\n${lines.join('')}`;
}

/** A note's bytes as text. @throws DecodeError `syntax` */
export function noteFromBytes(bytes: Uint8Array): string {
  if (bytes.length > MAX_NOTE) throw new DecodeError('range', `note of ${bytes.length} bytes`, 0);
  return fromUtf8(bytes);
}

/** Whether a key may have this name (C2SP signed-note). */
export function isNoteName(name: string): boolean {
  // Unicode's White_Space, as C2SP signed-note and Go's unicode.IsSpace have it: JavaScript's \s
  // lacks U+0085 and has U+FEFF.
  return name !== '' && !/[\p{White_Space}+]/u.test(name);
}
