/**
 * The head of a slot of sealed state, as far as it stands there in the clear
 * (docs/reference/formats.md, "Sealed state").
 */

import { equalBytes, Reader, utf8 } from '../bytes.ts';
import { sha256 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import type { LogDisk } from './log-disk.ts';
import { safeNumber } from './superblock.ts';

/** First bytes of a slot that has an index. */
export const SLOT_MAGIC: Uint8Array = utf8('ENCLSTA\0');
/** Version of the form of a slot. */
export const SLOT_VERSION = 2;
/** Bytes of a slot's head. */
export const SLOT_HEAD_BYTES = 4096;
/** Offset of the keeper's blob in a head. */
export const SLOT_BLOB_AT = 28;
/** Bytes of a blob, at most: what a head has room for. */
export const MAX_SLOT_BLOB_BYTES = 2048;
/** Chunks of a slot. **Bound**: each is a read. */
const MAX_CHUNKS = 2 ** 24;
const HASH_BYTES = 32;

/** A slot's head. */
export interface ClearSlotHead {
  readonly epoch: number;
  readonly chunks: number;
  /** The epoch's key, as the keeper sealed it. */
  readonly blob: Uint8Array;
  /** Facts under the epoch's key. */
  readonly sealed: Uint8Array;
  /** Bytes that the seal of the facts covers. */
  readonly covered: Uint8Array;
}

/**
 * The head of {@link SLOT_HEAD_BYTES} bytes; undefined for any bytes that are not whole.
 *
 * **Trust**: the host's bytes. Whether the blob opens, the keeper decides.
 * @throws DecodeError `version`
 */
export function parseSlotHead(bytes: Uint8Array): ClearSlotHead | undefined {
  if (bytes.length !== SLOT_HEAD_BYTES || !equalBytes(bytes.subarray(0, SLOT_MAGIC.length), SLOT_MAGIC))
    return undefined;
  const hashed = SLOT_HEAD_BYTES - HASH_BYTES;
  if (!equalBytes(sha256(bytes.subarray(0, hashed)), bytes.subarray(hashed))) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint32(8);
  if (version !== SLOT_VERSION)
    throw new DecodeError('version', `an index of version ${version}, and not ${SLOT_VERSION}`, 8);
  const [chunks, blobBytes, sealedBytes] = [view.getUint32(12), view.getUint16(24), view.getUint16(26)];
  const epoch = epochIn(bytes.subarray(16, 24));
  const end = SLOT_BLOB_AT + blobBytes;
  const isSound = blobBytes <= MAX_SLOT_BLOB_BYTES && end + sealedBytes <= hashed && chunks <= MAX_CHUNKS;
  if (!isSound || epoch < 1) return undefined;
  return {
    ...{ epoch, chunks, blob: bytes.subarray(SLOT_BLOB_AT, end), sealed: bytes.subarray(end, end + sealedBytes) },
    covered: bytes.subarray(0, end),
  };
}

/** The epoch of a head; 0 where it is no number that JavaScript has exactly. */
function epochIn(bytes: Uint8Array): number {
  try {
    return safeNumber(new Reader(bytes));
  } catch {
    return 0;
  }
}

/**
 * Epochs of a disk's two slots; null where there is no head that is whole.
 *
 * **Trust**: the disk is the host's.
 * @throws DecodeError `version`
 */
export async function epochsOn(disk: LogDisk): Promise<(number | null)[]> {
  const { base, length } = disk.layout.slots;
  if (length < SLOT_HEAD_BYTES) return [null, null];
  const heads = await Promise.all([0, 1].map((slot) => disk.bytes(base + slot * length, SLOT_HEAD_BYTES)));
  return heads.map((bytes) => parseSlotHead(bytes)?.epoch ?? null);
}
