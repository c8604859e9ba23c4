/**
 * The lock: every input of the image by name, version, size and hash. Nothing else enters a build.
 */

import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { parseDocument } from '../document.ts';
import { ImageError } from '../errors.ts';

/** A Debian package. `path` is below a mirror's base, `size` in bytes. */
export interface LockedDeb {
  readonly kind: 'deb';
  readonly name: string;
  readonly version: string;
  readonly suite: string;
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/**
 * An npm tarball. `integrity` is an SRI string (SHA-512) as npm locks it, `size` in bytes. Both
 * hashes must hold.
 */
export interface LockedNpm {
  readonly kind: 'npm';
  readonly name: string;
  readonly version: string;
  readonly size: number;
  readonly integrity: string;
  readonly sha256: string;
}

/** An input; archives and the cache have it by its `sha256`, in hex. */
export type LockedInput = LockedDeb | LockedNpm;

/** A lock file as a whole; names are unique and sorted. */
export interface Lock {
  readonly version: 1;
  readonly inputs: readonly LockedInput[];
}

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const size = z
  .int()
  .positive()
  .max(1 << 30);

/**
 * Schema of an input, field by field. **Trust**: without this, a lock could smuggle a path, option
 * or host into a URL or a command line.
 */
export const lockedInputSchema: z.ZodType<LockedInput> = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('deb'),
    name: z.string().regex(/^[a-z0-9][a-z0-9.+-]{1,127}$/),
    version: z.string().regex(/^[A-Za-z0-9.+~:-]{1,128}$/),
    suite: z.string().regex(/^[a-z][a-z-]{1,63}$/),
    path: z.string().regex(/^pool(\/[A-Za-z0-9+~_-][A-Za-z0-9.+~_-]*){1,12}\.deb$/),
    size,
    sha256,
  }),
  z.strictObject({
    kind: z.literal('npm'),
    name: z.string().regex(/^(@[a-z0-9][a-z0-9._-]{0,99}\/)?[a-z0-9][a-z0-9._-]{0,99}$/),
    version: z.string().regex(/^\d[A-Za-z0-9.+-]{0,63}$/),
    size,
    integrity: z.string().regex(/^sha512-[A-Za-z0-9+/]{86}==$/),
    sha256,
  }),
]);

const lockSchema: z.ZodType<Lock> = z.strictObject({
  version: z.literal(1),
  inputs: z.array(lockedInputSchema).max(256),
});

/**
 * Reads a lock file.
 * @throws ImageError `lock-invalid`, naming the entry and field
 */
export function parseLock(text: string): Lock {
  const lock = parseDocument(lockSchema, text, 'lock-invalid', 'lock');
  const unsorted = lock.inputs.find((input, index) => index > 0 && (lock.inputs[index - 1]?.name ?? '') >= input.name);
  if (unsorted !== undefined) {
    throw new ImageError('lock-invalid', `lock entries must be unique and sorted: ${unsorted.name} is out of place`);
  }
  return lock;
}

/**
 * Writes a lock as `parseLock` reads it: sorted, one line for each entry, so that a change is a
 * one-line diff.
 */
export function formatLock(inputs: readonly LockedInput[]): string {
  return `{\n  "version": 1,\n  "inputs": [\n${formatInputs(inputs, '    ')}\n  ]\n}\n`;
}

/** Entries of a lock, sorted, a line each. */
export function formatInputs(inputs: readonly LockedInput[], indent: string): string {
  return sortInputs(inputs)
    .map((entry) => indent + JSON.stringify(entry))
    .join(',\n');
}

/** Inputs in the order of a lock. */
export function sortInputs(inputs: readonly LockedInput[]): LockedInput[] {
  return [...inputs].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Reads and parses a lock file. @throws ImageError `lock-invalid` */
export async function readLock(path: string): Promise<Lock> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new ImageError('lock-invalid', `cannot read ${path}`, { cause });
  });
  return parseLock(text);
}
