/** A newer lock: what each suite offers today, and the Node that this project runs on. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from './errors.ts';
import { type FetchOptions, npmTarball, projectRoot } from './fetch.ts';
import type { Lock, LockedInput } from './lock.ts';
import { newestInSuite } from './suite.ts';

/** An input whose version or hash changes. */
export interface LockChange {
  readonly name: string;
  readonly from: string;
  readonly to: string;
}

/**
 * The lock with every package at its suite's newest version, and Node at the version that scripts/bootstrap pins: the
 * image must hold the Node that its programs were tested on. No package goes back: who wants that edits the lock by hand.
 * @throws ImageError as `newestInSuite` and `npmTarball`; `file-missing` for a package that is not pinned
 */
export async function updateLock(
  lock: Lock,
  options: FetchOptions = {},
): Promise<{ lock: Lock; changes: LockChange[] }> {
  const debs = lock.inputs.filter((input) => input.kind === 'deb');
  const suites = [...new Set(debs.map(({ suite }) => suite))];
  const newest = await Promise.all(
    suites.map((suite) =>
      newestInSuite(
        suite,
        debs.filter((deb) => deb.suite === suite),
        options,
      ),
    ),
  );
  const byName = new Map<string, LockedInput>(newest.flat().map((deb) => [deb.name, deb]));
  const inputs: LockedInput[] = [];
  for (const input of lock.inputs) inputs.push(byName.get(input.name) ?? (await pinned(input.name, options)));
  const changes = lock.inputs.flatMap((input, index) => {
    const next = inputs[index] ?? input;
    if (next.version === input.version && hashOf(next) === hashOf(input)) return [];
    return [{ name: input.name, from: `${input.version} ${hashOf(input)}`, to: `${next.version} ${hashOf(next)}` }];
  });
  return { lock: { version: 1, inputs }, changes };
}

async function pinned(name: string, options: FetchOptions): Promise<LockedInput> {
  const file = join(projectRoot, 'scripts/bootstrap/package-lock.json');
  const { packages } = JSON.parse(await readFile(file, 'utf8'));
  const found = packages?.[`node_modules/${name}`];
  if (found === undefined) throw new ImageError('file-missing', `${file} does not pin ${name}`);
  const { version, integrity } = found;
  return { kind: 'npm', name, version, size: (await npmTarball(name, version, options)).length, integrity };
}

function hashOf(input: LockedInput): string {
  return input.kind === 'deb' ? `sha256:${input.sha256}` : input.integrity;
}
