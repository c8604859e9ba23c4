/** The initrd: two cpio archives, each a zstd frame of its own; the kernel unpacks them one after the other. */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { type CpioEntry, encodeCpio } from './cpio.ts';
import { ImageError } from './errors.ts';
import { writeWhole } from './fetch.ts';

/** Level 19: 4 MB less than level 15, which the firmware would hash three times at each boot. */
const LEVEL = 19;

/**
 * Packs the segments in order. Node and the libraries change rarely and take half a minute to compress, our programs
 * change daily and take none: hence separate segments, and a cache of packed ones by content.
 * @param cache - Folder for packed segments, or null to pack everything anew.
 * @throws ImageError `output-failed`
 */
export async function packInitrd(
  segments: readonly (readonly CpioEntry[])[],
  cache: string | null,
): Promise<Uint8Array> {
  return Buffer.concat(await Promise.all(segments.map((entries) => packSegment(encodeCpio(entries), cache))));
}

async function packSegment(archive: Uint8Array, cache: string | null): Promise<Uint8Array> {
  if (cache === null) return compress(archive);
  const key = createHash('sha256').update(archive).digest('hex');
  const file = join(cache, 'segments', `${key}-zstd${process.versions.zstd}-${LEVEL}`);
  const known = await readFile(file).catch(() => undefined);
  if (known !== undefined && (await unpacksTo(known, archive))) return known;
  const packed = await compress(archive);
  await mkdir(join(cache, 'segments'), { recursive: true });
  await writeWhole(file, packed);
  return packed;
}

async function compress(archive: Uint8Array): Promise<Uint8Array> {
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL };
  const packed = await promisify(zstdCompress)(archive, { params, pledgedSrcSize: archive.length });
  if (!(await unpacksTo(packed, archive)))
    throw new ImageError('output-failed', 'zstd does not give back what it was given');
  return packed;
}

/** A cache is a convenience: nothing of it is used that does not unpack to exactly these bytes. */
async function unpacksTo(packed: Uint8Array, archive: Uint8Array): Promise<boolean> {
  const unpacked = await promisify(zstdDecompress)(packed, { maxOutputLength: archive.length + 1 }).catch(
    () => undefined,
  );
  return unpacked?.equals(archive) === true;
}
