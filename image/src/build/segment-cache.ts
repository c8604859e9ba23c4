/** Packed segments of initrds on disk, by content: what the last builds used, and no more. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { packZstd, unpacksTo, ZSTD_METHOD } from '../formats/zstd.ts';
import { writeWhole } from '../inputs/fetch.ts';

/**
 * Most segments kept: enough for a dozen versions of our programs and every version of Node and
 * libraries among them.
 */
const KEPT = 24;
const DAY_MS = 24 * 60 * 60 * 1000;
const KEPT_MS = 30 * DAY_MS;

/**
 * Returns a packed archive from the cache, and packs it first if it is not there.
 * @throws ImageError `output-failed`
 */
export async function packedSegment(archive: Uint8Array, cache: string): Promise<Uint8Array> {
  const folder = join(cache, 'segments');
  const file = join(folder, `${createHash('sha256').update(archive).digest('hex')}-${ZSTD_METHOD}`);
  const known = await readFile(file).catch(() => undefined);
  // A cache is a convenience: nothing of it is used that does not unpack to exactly these bytes.
  if (known !== undefined && (await unpacksTo(known, archive))) {
    const now = new Date();
    // It may be gone meanwhile: another build pruned it, and this one has the bytes.
    await utimes(file, now, now).catch(() => {});
    return known;
  }
  const packed = await packZstd(archive);
  await mkdir(folder, { recursive: true });
  await writeWhole(file, packed);
  return packed;
}

/**
 * Removes segments that none of the last builds used, and leftovers of killed builds. Two builds at
 * once do not disturb each other. The segments of either are among the newest, and each is read
 * whole before it is believed.
 * @param now - Milliseconds since 1970.
 */
export async function pruneSegments(cache: string, now: number = Date.now()): Promise<void> {
  const folder = join(cache, 'segments');
  const names = await readdir(folder).catch(() => []);
  const used = await Promise.all(
    names.map(async (name) => ({ name, time: (await stat(join(folder, name)).catch(() => null))?.mtimeMs ?? now })),
  );
  const partial = used.filter(({ name, time }) => name.endsWith('.tmp') && now - time > DAY_MS);
  const whole = used.filter(({ name }) => !name.endsWith('.tmp')).sort((a, b) => b.time - a.time);
  const idle = whole.filter(({ time }, index) => index >= KEPT || now - time > KEPT_MS);
  await Promise.all([...partial, ...idle].map(({ name }) => rm(join(folder, name), { force: true })));
}
