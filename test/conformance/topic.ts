/** A conformance topic: one folder of vectors made by others, and the code that must agree with it. */
import { readFile } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

/** One case of a `manifest.json`. Beyond these keys a topic reads what its own manifests define. */
export interface Case {
  readonly id: string;
  readonly files: Readonly<Record<string, string | readonly string[]>>;
  readonly expected: unknown;
  readonly [key: string]: unknown;
}

/** What a case gave. `expected` and `got` are shown for a miss, so keep them small. */
export interface Outcome {
  readonly exact: boolean;
  readonly expected: unknown;
  readonly got: unknown;
}

/**
 * What a topic throws where it cannot give a case to the code, or cannot tell what the case asks for: a shortfall of the
 * conformance run, not of the code. Such a case is no match either, and is shown apart.
 */
export class CannotFeed extends Error {
  override readonly name = 'CannotFeed';
}

/**
 * What a module in `topics/` exports: `topic` equals the manifest's `topic`, `run` judges one case.
 * A throw is a miss, but for `CannotFeed`; a topic that expects a refusal catches it and compares layer and reason.
 * `cases` are all of the manifest: where a case speaks of another one, that is where its files are.
 */
export interface Topic {
  readonly topic: string;
  run(test: Case, dir: string, cases: readonly Case[]): Promise<Outcome>;
}

/** The outcome that is exact where `got` deeply equals `expected`. */
export function compare(expected: unknown, got: unknown): Outcome {
  return { exact: isDeepStrictEqual(expected, got), expected, got };
}

/** Bytes of the file that the case lists under `name`. */
export async function fileOf(test: Case, name: string, dir: string): Promise<Uint8Array> {
  const path = test.files[name];
  if (typeof path !== 'string') throw new CannotFeed(`case ${test.id} has no single file of the role ${name}`);
  return readInside(dir, path);
}

/** Bytes of every file that the case lists under `name`: one path or a list of paths. */
export async function filesOf(test: Case, name: string, dir: string): Promise<Uint8Array[]> {
  return Promise.all([test.files[name] ?? []].flat().map((path) => readInside(dir, path)));
}

async function readInside(dir: string, path: string): Promise<Uint8Array> {
  const full = resolve(dir, path);
  if (relative(dir, full).startsWith('..')) throw new RangeError(`${path} leaves ${dir}`);
  const file = await readFile(full).catch((cause: Error) => {
    throw new CannotFeed(`${path} cannot be read`, { cause });
  });
  return new Uint8Array(file);
}
