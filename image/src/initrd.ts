/** The initrd: two cpio archives, each a zstd frame of its own; the kernel unpacks them one after the other. */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CpioEntry, encodeCpio } from './cpio.ts';
import { writeWhole } from './fetch.ts';
import { packZstd, unpacksTo, ZSTD_METHOD } from './zstd.ts';

/**
 * Packs an initrd. Node and the libraries change rarely and take long, our programs change daily and take none: hence
 * segments of their own, and a cache of packed ones by content.
 * @param cache - Folder for packed segments, or null to pack everything anew.
 * @throws ImageError `output-failed`
 */
export async function packInitrd(
  system: readonly CpioEntry[],
  programs: readonly CpioEntry[],
  cache: string | null,
): Promise<Uint8Array> {
  return Buffer.concat(await Promise.all([system, programs].map((entries) => packSegment(encodeCpio(entries), cache))));
}

async function packSegment(archive: Uint8Array, cache: string | null): Promise<Uint8Array> {
  if (cache === null) return packZstd(archive);
  const key = createHash('sha256').update(archive).digest('hex');
  const file = join(cache, 'segments', `${key}-${ZSTD_METHOD}`);
  const known = await readFile(file).catch(() => undefined);
  // A cache is a convenience: nothing of it is used that does not unpack to exactly these bytes.
  if (known !== undefined && (await unpacksTo(known, archive))) return known;
  const packed = await packZstd(archive);
  await mkdir(join(cache, 'segments'), { recursive: true });
  await writeWhole(file, packed);
  return packed;
}
