/**
 * Installs packages of npm for untrusted sources: only what a lock names from registries, each
 * under its hash.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import * as z from 'zod';
import { parseDocument } from '../document.ts';
import { ImageError } from '../errors.ts';
import { npmCommand } from '../inputs/places.ts';
import { lastLines } from './sandbox.ts';

/** Files that npm reads beside the lock or in its place, or that name programs for it to run. */
export const OTHER_LOCKS: ReadonlySet<string> = new Set(['npm-shrinkwrap.json', 'yarn.lock']);

// npm reads a name, a version or an address that looks like one as the place of a repository.
// Therefore each is checked by its form.
const NAME = '(?:@[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}/)?[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}';
const name = z.string().regex(new RegExp(`^${NAME}$`));
const version = z.string().regex(/^\d+\.\d+\.\d+(?:[-+][A-Za-z0-9.+-]{1,64})?$/);
const integrity = z.string().regex(/^sha512-[A-Za-z0-9+/]{86}==$/);
const folder = z.string().regex(/^[a-z][a-z-]{0,63}$/);
const installed = z
  .string()
  .max(512)
  .regex(/^(?:[a-z][a-z-]*\/)?node_modules\/(?:@?[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*@?[A-Za-z0-9_-][A-Za-z0-9._-]*$/);
const tarball = z
  .string()
  .regex(/^https:\/\/[a-z0-9.-]+(?::\d+)?\/[A-Za-z0-9@._~/%+-]+\.tgz$/)
  .refine((url) => !/^https:\/\/(?:[^/]*\.)?(?:github\.com|gitlab\.com|bitbucket\.org|sr\.ht)[:/]/.test(url), {
    error: 'a host of repositories',
  });

// npm asks an address while it still decides what to install. Therefore only versions and tags of a
// registry are allowed.
const VERSIONS = String.raw`(?!\.)(?!.*\.(?:tgz|tar|tar\.gz)$)[A-Za-z0-9 .*^~<>=|+_-]{0,256}`;
const spec = z.string().regex(new RegExp(`^(?:npm:${NAME}@)?${VERSIONS}$`, 'i'), { error: 'a place, and no versions' });
const dependencies = z.record(name, spec).exactOptional();
const override = z.union([z.literal('.'), z.string().regex(new RegExp(`^${NAME}(?:@${VERSIONS})?$`, 'i'))]);
const ofTheRoot = z.string().regex(new RegExp(`^\\$${NAME}$`));
const overrides: z.ZodType = z.record(override, z.union([spec, ofTheRoot, z.lazy(() => overrides)]));
const specs = {
  dependencies,
  optionalDependencies: dependencies,
  peerDependencies: dependencies,
  devDependencies: dependencies,
  overrides: overrides.optional(),
};

const common = {
  ...specs,
  name: name.exactOptional(),
  version: version.exactOptional(),
  hasShrinkwrap: z.undefined().optional(),
};
/**
 * The checked fields of a lock of npm: nothing is installed outside of its folder, and nothing
 * without a hash.
 */
const packageLock = z.looseObject({
  lockfileVersion: z.literal(3),
  packages: z
    .record(
      z.union([z.literal(''), folder, installed]),
      z.union([
        z.looseObject({ ...common, link: z.literal(true), resolved: folder }),
        z.looseObject({ ...common, integrity, resolved: tarball, link: z.undefined().optional() }),
        z.looseObject({
          ...common,
          integrity: integrity.exactOptional(),
          inBundle: z.literal(true).exactOptional(),
          resolved: z.undefined().optional(),
          link: z.undefined().optional(),
        }),
      ]),
    )
    .refine(
      (packages) =>
        Object.entries(packages).every(
          ([path, one]) => path.includes('node_modules/') || !(one.resolved || one.integrity || one.link),
        ),
      { error: 'a package in a folder of the sources' },
    ),
});
const packageJson = z.looseObject({ ...specs, workspaces: z.array(folder).exactOptional() });
const folderJson = z.looseObject({ ...specs, workspaces: z.undefined().optional() });

/**
 * Checks a project's lock.
 * @throws ImageError `source-invalid` for a lock that could make npm do more than fetch from
 *   registries
 */
export async function checkLock(project: string): Promise<void> {
  const { workspaces = [] } = await readChecked(join(project, 'package.json'), packageJson);
  const { packages } = await readChecked(join(project, 'package-lock.json'), packageLock);
  // npm follows a link to any folder, and reads there what to fetch.
  const linked = Object.values(packages).flatMap(({ link, resolved }) => (link ? [resolved] : []));
  for (const one of new Set([...workspaces, ...linked])) {
    await readChecked(join(project, one, 'package.json'), folderJson);
  }
}

const OPTIONS = [
  '--ignore-scripts',
  '--no-audit',
  '--no-fund',
  '--loglevel=error',
  '--prefer-offline',
  // A dependency that the lock leaves out would be looked for where its name says.
  '--allow-git=none',
  '--allow-file=none',
  '--allow-directory=none',
];
/**
 * Variables for an npm that knows no such options. **Trust**: git could lead such an npm to foreign
 * programs.
 */
const PROGRAMS = { npm_config_git: '/bin/false', npm_config_script_shell: '/bin/false' };

/**
 * Packages of a checked lock, none of whose scripts run.
 * @param more further options of npm
 * @throws ImageError `fetch-failed`, `source-invalid`
 */
export async function installLocked(
  project: string,
  signal?: AbortSignal,
  more: readonly string[] = [],
): Promise<void> {
  const [command, ...first] = npmCommand();
  const limits = { timeout: 15 * 60_000, maxBuffer: 1 << 24, ...(signal && { signal }) };
  const env = { ...process.env, ...PROGRAMS };
  await promisify(execFile)(command, [...first, 'ci', ...OPTIONS, ...more], { cwd: project, env, ...limits }).catch(
    (cause) => {
      signal?.throwIfAborted();
      throw new ImageError('fetch-failed', `npm ci: ${lastLines(cause)}`, { cause });
    },
  );
  // Packages for other machines stand in the lock without a hash. They are not installed.
  const { packages } = await readChecked(join(project, 'node_modules/.package-lock.json'), packageLock);
  // What a package brings along inside of itself is under the hash of that package.
  const loose = Object.entries(packages).find(
    ([path, one]) =>
      path.includes('node_modules/') &&
      !(one.link || one.integrity || (one.inBundle && path.includes('/node_modules/'))),
  );
  if (loose !== undefined) throw new ImageError('source-invalid', `${loose[0]} is installed without a hash`);
}

async function readChecked<T>(file: string, schema: z.ZodType<T>): Promise<T> {
  const text = await readFile(file, 'utf8').catch((cause) => {
    throw new ImageError('source-invalid', `cannot read ${basename(file)}`, { cause });
  });
  return parseDocument(schema, text, 'source-invalid', basename(file));
}
