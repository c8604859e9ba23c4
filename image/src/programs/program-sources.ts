/**
 * Origins: the sources, packages, options and tools that the programs of an image were made of.
 * They tell an auditor why a program differs. The program's own digest tells that it differs.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { DigestText } from '@enclaim/attestation/digest';
import { version as esbuildVersion } from 'esbuild';
import * as z from 'zod';
import { ImageError } from '../errors.ts';
import { ZSTD_METHOD } from '../formats/zstd.ts';
import { type CompiledEntry, ENTRY_OPTIONS } from './compile.ts';

/** The sources, packages, options and tools that programs were made of. */
export interface Origins {
  /**
   * Programs that took part, by name: `node`, `esbuild`, `esbuild binary`, `zstd`. Versions, or
   * digests.
   */
  readonly tools: Readonly<Record<string, string>>;
  /** Options of the compiler by name, as JSON. */
  readonly options: Readonly<Record<string, string>>;
  /** Versions of the npm packages that something was taken from. */
  readonly packages: Readonly<Record<string, string>>;
  /** Source files of each program by path below the project's root, with their digests. */
  readonly programs: Readonly<Record<string, Readonly<Record<string, DigestText<'sha256'>>>>>;
}

const text = z.string().max(4096);
const sha256 = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]);

/** Shape of origins inside a manifest. */
export const originsSchema: z.ZodType<Origins> = z.strictObject({
  tools: z.record(text, text),
  options: z.record(text, text),
  packages: z.record(text, text),
  programs: z.record(text, z.record(text, sha256)),
});

/** The npm package that a source belongs to, or null for one of ours. */
export function packageOf(source: string): string | null {
  return /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(source)?.[1] ?? null;
}

/**
 * Origins of programs that were just compiled below `root`.
 * @throws ImageError `file-missing` for a source that is gone meanwhile
 */
export async function originsOf(root: string, programs: readonly CompiledEntry[]): Promise<Origins> {
  const sources = [...new Set(programs.flatMap((program) => program.sources))].sort();
  const digests = new Map(await Promise.all(sources.map(async (path) => [path, await digestOf(root, path)] as const)));
  const manifests = new Map(
    sources.flatMap((path) => {
      const name = packageOf(path);
      return name === null
        ? []
        : [[name, `${path.slice(0, path.lastIndexOf(`${name}/`))}${name}/package.json`] as const];
    }),
  );
  const packages = [...manifests].map(async ([name, file]) => {
    return [name, String(JSON.parse(String(await readSource(root, file))).version)] as const;
  });
  return {
    tools: {
      node: process.version,
      esbuild: esbuildVersion,
      'esbuild binary': await digestOf('/', createRequire(import.meta.url).resolve('@esbuild/linux-x64/bin/esbuild')),
      zstd: ZSTD_METHOD,
    },
    options: Object.fromEntries(Object.entries(ENTRY_OPTIONS).map(([name, value]) => [name, JSON.stringify(value)])),
    packages: Object.fromEntries(await Promise.all(packages)),
    programs: Object.fromEntries(
      programs.map(({ entry, sources: own }) => [
        entry.path,
        Object.fromEntries(own.map((path) => [path, digests.get(path) ?? unread(path)])),
      ]),
    ),
  };
}

async function digestOf(root: string, path: string): Promise<DigestText<'sha256'>> {
  return `sha256:${createHash('sha256')
    .update(await readSource(root, path))
    .digest('hex')}`;
}

async function readSource(root: string, path: string): Promise<Uint8Array> {
  return readFile(join(root, path)).catch((cause) => {
    throw new ImageError('file-missing', `cannot read ${path}`, { cause });
  });
}

function unread(path: string): never {
  throw new ImageError('file-missing', `cannot read ${path}`);
}
