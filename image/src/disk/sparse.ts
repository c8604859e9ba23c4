/** A large file that is mostly zeros: only what is not is held. */

/** Bytes at a place of a file. */
export interface Extent {
  /** Byte offset, a multiple of {@link SECTOR}; so is the length. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** A file of `size` bytes: zero outside its extents, which are in order and do not overlap. */
export interface SparseFile {
  readonly size: number;
  readonly extents: readonly Extent[];
}

/** Logical block of every disk that is written here. */
export const SECTOR = 512;

/**
 * Puts extents in order.
 * @throws RangeError if they overlap, leave the file or do not lie on sectors: a writer's own
 *   mistake
 */
export function sparseFile(size: number, extents: readonly Extent[]): SparseFile {
  const sorted = extents.filter(({ bytes }) => bytes.length > 0).sort((a, b) => a.at - b.at);
  let end = 0;
  for (const { at, bytes } of sorted) {
    if (at < end || at % SECTOR !== 0 || bytes.length % SECTOR !== 0)
      throw new RangeError(`extent of ${bytes.length} bytes at ${at}, after ${end}`);
    end = at + bytes.length;
  }
  if (end > size) throw new RangeError(`extents end at ${end}, the file at ${size}`);
  return { size, extents: sorted };
}

/** Returns the same extents, `by` bytes further on. */
export function moved(extents: readonly Extent[], by: number): Extent[] {
  return extents.map(({ at, bytes }) => ({ at: at + by, bytes }));
}

/** `value` or the next multiple of `unit` above it. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** The bytes with zeros up to a whole number of sectors. */
export function wholeSectors(bytes: Uint8Array): Uint8Array {
  if (bytes.length % SECTOR === 0) return bytes;
  const padded = new Uint8Array(roundUp(bytes.length, SECTOR));
  padded.set(bytes);
  return padded;
}
