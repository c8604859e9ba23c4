/**
 * Quote batches: the leaves that one hardware signature covers (docs/reference/formats.md, "Quote
 * batch").
 */

import { concat, fromUtf8, Reader, u32be, utf8 } from './bytes.ts';
import { labelled, type Sha256 } from './digest.ts';
import { DecodeError } from './errors.ts';
import { labelBytes } from './labels.ts';
import { leafHash, rootFromPath } from './merkle.ts';

/** Types of leaves. The number is a leaf's first byte on the wire. */
export const LEAF_TYPES = { nonce: 1, checkpoint: 2, padding: 3 } as const;

/** Largest text of a checkpoint in a leaf: an origin of 128 characters, a size and a root. */
const MAX_CHECKPOINT_BYTES = 256;
/** Bytes of a padding leaf's payload. */
export const PADDING_BYTES = 32;

/**
 * A client's nonce and the channel it came in on. `exporter` is null if one end could not export.
 */
export interface NonceLeaf {
  readonly type: 'nonce';
  /** 32 bytes. */
  readonly nonce: Uint8Array;
  /** SHA-256 of the server's SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /**
   * 32 bytes of TLS exporter (RFC 8446 section 7.5) under {@link EXPORTER_LABEL}, without context.
   */
  readonly exporter: Uint8Array | null;
}

/** Label under which both ends export keying material. */
export const EXPORTER_LABEL = 'EXPORTER-enclaim-channel-v1';
const FIELD = 32;

/** Leaf data: type byte, u32 length, payload. */
function encodeLeaf(type: keyof typeof LEAF_TYPES, payload: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(LEAF_TYPES[type]), u32be(payload.length), payload);
}

/** The payload of leaf data of one type. @throws DecodeError */
function payloadOf(type: keyof typeof LEAF_TYPES, data: Uint8Array, fits: (length: number) => boolean): Reader {
  const reader = new Reader(data);
  const found = reader.u8();
  // layer: type of a leaf
  if (found !== LEAF_TYPES[type]) throw new DecodeError('range', `leaf type ${found} where a ${type} is expected`, 0);
  const length = reader.u32be();
  if (!fits(length)) throw new DecodeError('range', `a ${type} leaf of ${length} bytes`, 1);
  if (length !== reader.left) {
    throw new DecodeError('range', `a ${type} leaf of ${length} bytes in ${reader.left}`, 1);
  }
  return reader;
}

/** Leaf data of a nonce. */
export function encodeNonceLeaf(leaf: Omit<NonceLeaf, 'type'>): Uint8Array {
  return encodeLeaf('nonce', concat(leaf.nonce, leaf.spki, leaf.exporter ?? new Uint8Array()));
}

/**
 * The nonce leaf of leaf data.
 *
 * **Trust**: authentic only once it was found under a signed root.
 * @throws DecodeError
 */
export function decodeNonceLeaf(data: Uint8Array): NonceLeaf {
  const reader = payloadOf('nonce', data, (length) => length === 2 * FIELD || length === 3 * FIELD);
  const [nonce, spki] = [reader.take(FIELD), reader.take(FIELD)];
  const exporter = reader.left === 0 ? null : reader.take(FIELD);
  return { type: 'nonce', nonce, spki, exporter };
}

/**
 * Leaf data of a checkpoint.
 * @param text of a checkpoint without signatures (`formatCheckpoint`)
 */
export function encodeCheckpointLeaf(text: string): Uint8Array {
  return encodeLeaf('checkpoint', utf8(text));
}

/**
 * The text of the checkpoint in leaf data.
 *
 * **Trust**: authentic only once it was found under a signed root.
 * @throws DecodeError
 */
export function decodeCheckpointLeaf(data: Uint8Array): string {
  const reader = payloadOf('checkpoint', data, (length) => length > 0 && length <= MAX_CHECKPOINT_BYTES);
  return fromUtf8(reader.take(reader.left));
}

/**
 * Leaf data that means nothing.
 *
 * **Leak**: batches are filled up with these, so that their sizes do not tell a client how many
 * clients ask.
 * @param random {@link PADDING_BYTES} random bytes
 */
export function encodePaddingLeaf(random: Uint8Array): Uint8Array {
  return encodeLeaf('padding', random);
}

/** A leaf with its way to the root of its batch. */
export interface BatchPath {
  readonly data: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
}

/**
 * The root a batch path leads to.
 * @throws DecodeError `range` if path, index and size do not fit
 */
export function batchRoot(leaf: BatchPath): Sha256 {
  const root = rootFromPath(leafHash(leaf.data), leaf.index, leaf.size, leaf.path);
  if (root === undefined) throw new DecodeError('range', 'batch path does not fit its index and size', 0);
  return root;
}

/**
 * `extraData` of a TPM quote: one digest over the 64 bytes that other platforms carry as they are.
 */
export function tpmExtraData(root: Uint8Array, bootDigest: Uint8Array): Sha256 {
  return labelled('tpm', root, bootDigest);
}

/**
 * The message that a developer's key signs in place of hardware.
 *
 * Without a label of its own, a peer could present a signature that the key made for something
 * else.
 */
export function simulatedMessage(root: Uint8Array, bootDigest: Uint8Array): Uint8Array {
  return concat(labelBytes('simulated'), root, bootDigest);
}
