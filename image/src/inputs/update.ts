/**
 * Makes a newer lock: each suite's present versions, for a new image or in place of an input that
 * is nowhere; and the project's Node.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ImageError } from '../errors.ts';
import { newestInSuite } from './debian-suite.ts';
import type { FetchOptions } from './fetch.ts';
import { type Lock, type LockedDeb, type LockedInput, sortInputs } from './lock.ts';
import { hasSources, npmTarball, projectRoot } from './places.ts';

/** An input whose version or hash changes. */
export interface LockChange {
  readonly name: string;
  readonly from: string;
  readonly to: string;
}

/**
 * Makes the lock with every package at its suite's newest version, and Node at the version that
 * scripts/bootstrap pins: the image must hold the Node that its programs were tested on. No package
 * goes back. An author who wants that edits the lock by hand.
 * @throws ImageError as `newestInSuite` and `npmTarball`; `file-missing` for a package that is not
 *   pinned
 */
export async function updateLock(
  lock: Lock,
  options: FetchOptions = {},
): Promise<{ lock: Lock; changes: LockChange[] }> {
  if (!hasSources(projectRoot))
    throw new ImageError(
      'source-invalid',
      'the lock is part of the sources, which this package does not carry: use a checkout',
    );
  const newest = await newestOf(
    lock.inputs.filter((input) => input.kind === 'deb'),
    options,
  );
  const inputs: LockedInput[] = [];
  for (const input of lock.inputs) inputs.push(newest.get(input.name) ?? (await pinned(input.name, options)));
  return { lock: { version: 1, inputs: sortInputs(inputs) }, changes: changesOf(lock.inputs, inputs) };
}

/** The inputs with their substitutes, and where they differ from the lock. */
export interface Substitutes {
  readonly inputs: readonly LockedInput[];
  readonly changes: readonly LockChange[];
}

/**
 * Returns the inputs of a lock with the newest version of those that are nowhere, as the signed
 * index of their suite gives it. Packages of one source are replaced together: QEMU's parts fit no
 * other version. **An image built of them has another measurement.**
 * @param nowhere - Some of the inputs.
 * @throws ImageError `input-nowhere` for a package of npm, and if the newest is the one that is
 *   nowhere; as `newestInSuite`
 */
export async function substitute(
  inputs: readonly LockedInput[],
  nowhere: readonly LockedInput[],
  options: FetchOptions = {},
): Promise<Substitutes> {
  const lost = nowhere.find((input) => input.kind !== 'deb');
  if (lost !== undefined)
    throw new ImageError(
      'input-nowhere',
      `${lost.name} ${lost.version} is no package of a suite: nothing stands in for it`,
    );
  const sources = new Set(nowhere.map(sourceOf));
  const newest = await newestOf(
    inputs.filter((input) => input.kind === 'deb' && sources.has(sourceOf(input))) as LockedDeb[],
    options,
  );
  const own = inputs.map((input) => newest.get(input.name) ?? input);
  const same = nowhere.find(({ name, sha256 }) => newest.get(name)?.sha256 === sha256);
  if (same !== undefined)
    throw new ImageError(
      'input-nowhere',
      `${same.name} ${same.version} is the newest that its suite has, and is nowhere`,
    );
  return { inputs: sortInputs(own), changes: changesOf(inputs, own) };
}

/** Suite and folder of its source package. */
function sourceOf(input: LockedInput): string {
  return input.kind === 'deb' ? `${input.suite} ${dirname(input.path)}` : '';
}

/** The newest version of each package in its suite, by the name that the lock has. */
async function newestOf(debs: readonly LockedDeb[], options: FetchOptions): Promise<Map<string, LockedDeb>> {
  const suites = [...Map.groupBy(debs, ({ suite }) => suite)];
  const found = await Promise.all(
    suites.map(async ([suite, locked]) => {
      const newest = await newestInSuite(suite, locked, options);
      return locked.flatMap(({ name }, index): [string, LockedDeb][] => {
        const deb = newest[index];
        return deb === undefined ? [] : [[name, deb]];
      });
    }),
  );
  return new Map(found.flat());
}

/** @param after - In the order of `before`. */
function changesOf(before: readonly LockedInput[], after: readonly LockedInput[]): LockChange[] {
  return before.flatMap((input, index) => {
    const next = after[index] ?? input;
    if (next.version === input.version && hashOf(next) === hashOf(input)) return [];
    const renamed = next.name === input.name ? '' : `${next.name} `;
    const to = `${renamed}${next.version} ${hashOf(next)}`;
    return [{ name: input.name, from: `${input.version} ${hashOf(input)}`, to }];
  });
}

async function pinned(name: string, options: FetchOptions): Promise<LockedInput> {
  const file = join(projectRoot, 'scripts/bootstrap/package-lock.json');
  const { packages } = JSON.parse(await readFile(file, 'utf8'));
  const found = packages?.[`node_modules/${name}`];
  if (found === undefined) throw new ImageError('file-missing', `${file} does not pin ${name}`);
  const { version, integrity } = found;
  const bytes = await npmTarball(name, version, options);
  const hash = (algorithm: string): Buffer => createHash(algorithm).update(bytes).digest();
  const own = `sha512-${hash('sha512').toString('base64')}`;
  if (own !== integrity) throw new ImageError('hash-mismatch', `${name} ${version}: ${own}, pinned is ${integrity}`);
  return { kind: 'npm', name, version, size: bytes.length, integrity, sha256: hash('sha256').toString('hex') };
}

function hashOf(input: LockedInput): string {
  return `sha256:${input.sha256}`;
}
