/** A key that a boot leaves for its heir on the disk (docs/reference/formats.md, "Succession"). */

import { concat, equalBytes, u32be, utf8 } from '../bytes.ts';
import { sha256 } from '../digest.ts';
import { MAX_SUCCESSION_BYTES } from '../succession.ts';
import type { LogDisk } from './log-disk.ts';

/** Bytes at the end of a slot. */
export const HEIR_BYTES: number = 136 * 1024;
const MAGIC = utf8('ENCLHEIR');
const HEAD_BYTES = 24;
const HASH_BYTES = 32;
/** Bytes of a sealed key, at most: those of a slot's own. */
const MAX_BLOB_BYTES = 2048;

/** An heir's key, and why it may have it. */
export interface Heir {
  /** The epoch whose key it is, and that of the slot. */
  readonly epoch: number;
  /** The key, sealed to the heir's registers and to the epoch. */
  readonly blob: Uint8Array;
  /** Canonical bytes of a signed succession. */
  readonly succession: Uint8Array;
}

/** Bytes of the whole area. @throws RangeError for parts that are too long */
export function encodeHeir({ epoch, blob, succession }: Heir): Uint8Array {
  if (blob.length > MAX_BLOB_BYTES || succession.length > MAX_SUCCESSION_BYTES)
    throw new RangeError(`an heir's key of ${blob.length} bytes, a succession of ${succession.length}`);
  const numbers = [Math.floor(epoch / 2 ** 32), epoch >>> 0, blob.length, succession.length];
  const body = concat(MAGIC, ...numbers.map(u32be), blob, succession);
  return concat(body, sha256(body), new Uint8Array(HEIR_BYTES - HASH_BYTES - body.length));
}

/** The parts of the area; undefined for any bytes that are not whole. */
export function decodeHeir(bytes: Uint8Array): Heir | undefined {
  if (bytes.length !== HEIR_BYTES || !equalBytes(bytes.subarray(0, MAGIC.length), MAGIC)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [high, low, blob, succession] = [8, 12, 16, 20].map((at) => view.getUint32(at)) as [
    number,
    number,
    number,
    number,
  ];
  const epoch = high * 2 ** 32 + low;
  if (blob > MAX_BLOB_BYTES || succession > MAX_SUCCESSION_BYTES || !Number.isSafeInteger(epoch)) return undefined;
  const [key, end] = [HEAD_BYTES + blob, HEAD_BYTES + blob + succession];
  if (!equalBytes(sha256(bytes.subarray(0, end)), bytes.subarray(end, end + HASH_BYTES))) return undefined;
  return { epoch, blob: bytes.slice(HEAD_BYTES, key), succession: bytes.slice(key, end) };
}

/**
 * Everything that a disk has for heirs, with the slot at whose end it is.
 *
 * **Trust**: the disk is the host's. Whether a key opens, the heir's TPM decides.
 */
export async function heirsOn(disk: LogDisk): Promise<(Heir & { readonly slot: number })[]> {
  const { base, length } = disk.layout.slots;
  if (length < HEIR_BYTES) return [];
  const areas = [0, 1].map((slot) => disk.bytes(base + (slot + 1) * length - HEIR_BYTES, HEIR_BYTES));
  return (await Promise.all(areas)).flatMap((bytes, slot) => {
    const heir = decodeHeir(bytes);
    return heir === undefined ? [] : [{ ...heir, slot }];
  });
}
