/**
 * The initrd: two cpio archives, each a zstd frame of its own; the kernel unpacks them one after
 * the other.
 */
import { type CpioEntry, encodeCpio } from '../formats/cpio.ts';
import { packZstd } from '../formats/zstd.ts';
import { packedSegment, pruneSegments } from './segment-cache.ts';

/**
 * Packs an initrd. **Cost**: Node and the libraries change rarely and take long, our programs
 * change daily and take no time. Therefore each has a segment of its own, and packed segments are
 * cached by content.
 * @param cache - Folder for packed segments, or null to pack everything anew.
 * @throws ImageError `output-failed`
 */
export async function packInitrd(
  system: readonly CpioEntry[],
  programs: readonly CpioEntry[],
  cache: string | null,
): Promise<Uint8Array> {
  const pack = (archive: Uint8Array): Promise<Uint8Array> =>
    cache === null ? packZstd(archive) : packedSegment(archive, cache);
  const segments = await Promise.all([system, programs].map((entries) => pack(encodeCpio(entries))));
  if (cache !== null) await pruneSegments(cache);
  return Buffer.concat(segments);
}
