/** The bytes of a sparse file, for tests of what reads disks. */
import type { SparseFile } from '../../src/disk/sparse.ts';

/** `length` bytes from `at` on. */
export function bytesAt({ extents }: Pick<SparseFile, 'extents'>, at: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  for (const extent of extents) {
    const from = Math.max(at, extent.at);
    const to = Math.min(at + length, extent.at + extent.bytes.length);
    if (from < to) out.set(extent.bytes.subarray(from - extent.at, to - extent.at), from - at);
  }
  return out;
}
