/**
 * Fetches locked inputs, which it looks for by hash: in cache, sources, mirrors and npm, archives.
 * **Trust**: the hash alone decides what is believed.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ImageError } from '../errors.ts';
import { Refused } from './download.ts';
import type { LockedInput } from './lock.ts';
import { hasSources, type Place, type PlaceOptions, placesFor, projectRoot, readBounded } from './places.ts';

/** Where to keep and find inputs. */
export interface FetchOptions extends PlaceOptions {
  /** Cache folder; default `defaultCache()`. */
  readonly cache?: string;
  /** Called once for each input that lies neither in the cache nor in the sources. */
  readonly onDownload?: (input: LockedInput) => void;
}

/** A place where an input was looked for, and why it is not from there. */
export interface Failure {
  readonly place: string;
  readonly reason: string;
}

/**
 * The place where an input was found, with the file in the cache that holds it now. If it was not
 * found: null, and every place without it.
 */
export interface Finding {
  readonly input: LockedInput;
  readonly found: { readonly path: string; readonly place: string } | null;
  readonly failures: readonly Failure[];
}

export { projectRoot } from './places.ts';

/**
 * `$ENCLAIM_CACHE`, or `.cache` below the project's root. An installed package keeps nothing in its
 * own folder, but in `~/.cache/enclaim`.
 */
export function defaultCache(): string {
  const own = hasSources(projectRoot) ? join(projectRoot, '.cache') : join(homedir(), '.cache/enclaim');
  return process.env.ENCLAIM_CACHE ?? own;
}

/**
 * Makes every input present in the cache and returns its file by input name. Needs no network for
 * what is there.
 *
 * A cached file is hashed on every use, so that a damaged cache is noticed and fetched again.
 * **Trust**: a process that may write to the cache can change a file after that; {@link readLocked}
 * returns what was hashed.
 * @throws ImageError `input-nowhere`, which names every input that is in no place; `output-failed`
 */
export async function fetchLocked(
  inputs: readonly LockedInput[],
  options: FetchOptions = {},
): Promise<ReadonlyMap<string, string>> {
  const findings = await findInputs(inputs, options);
  refuseNowhere(findings);
  return new Map(findings.map(({ input, found }) => [input.name, found?.path ?? '']));
}

/**
 * Looks for every input, and continues if one is nowhere. Afterwards all that were found are in the
 * cache.
 * @throws ImageError `output-failed`
 */
export async function findInputs(inputs: readonly LockedInput[], options: FetchOptions = {}): Promise<Finding[]> {
  const folder = join(options.cache ?? defaultCache(), 'inputs');
  await mkdir(folder, { recursive: true }).catch((cause) => {
    throw new ImageError('output-failed', `cannot make the cache folder ${folder}`, { cause });
  });
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(options.signal ? [options.signal] : [])]);
  const search: Search = { folder, options: { ...options, signal }, signal, given: new Map() };
  const findings = new Map<LockedInput, Finding>();
  const queue = [...inputs];
  const worker = async (): Promise<void> => {
    try {
      for (let input = queue.shift(); input !== undefined && !signal.aborted; input = queue.shift())
        findings.set(input, await findOne(input, search));
    } catch (error) {
      // Ends the other searches. The first reason stays.
      failed.abort(error);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  signal.throwIfAborted();
  return inputs.flatMap((input) => findings.get(input) ?? []);
}

/** @throws ImageError `input-nowhere` if one of them was not found */
export function refuseNowhere(findings: readonly Finding[]): void {
  const nowhere = findings.filter(({ found }) => found === null);
  if (nowhere.length === 0) return;
  const lines = nowhere.map(
    ({ input: { name, version, sha256 }, failures }) =>
      `${name} ${version} (sha256:${sha256}): ${failures.map(({ place, reason }) => `${place}: ${reason}`).join('; ')}`,
  );
  const names = nowhere.map(({ input }) => input.name).join(', ');
  throw new ImageError('input-nowhere', [`nowhere to be had: ${names}`, ...lines, HINT].join('\n'));
}

const HINT =
  'ENCLAIM_ARCHIVE=PLACE,… names archives, each a folder or http(s) URL with sha256/HEX, as a release is published with ' +
  '(enclaim image inputs --save)';

/**
 * The bytes of an input, in memory when they are hashed.
 * @param paths - As `fetchLocked` returns them.
 * @throws ImageError `fetch-failed` for a missing input, `hash-mismatch` for one that was changed
 *   since
 */
export async function readLocked(input: LockedInput, paths: ReadonlyMap<string, string>): Promise<Uint8Array> {
  const bytes = await readFile(paths.get(input.name) ?? '').catch((cause) => {
    throw new ImageError('fetch-failed', `${input.name} is not in the cache`, { cause });
  });
  const wrong = wrongness(input, bytes);
  if (wrong !== undefined) throw new ImageError('hash-mismatch', `${input.name}: ${wrong}`);
  return bytes;
}

interface Search {
  readonly folder: string;
  readonly options: FetchOptions;
  readonly signal: AbortSignal;
  /**
   * Places that gave no answer, with the reason. **Cost**: they are not asked a second time,
   * because each may take minutes.
   */
  readonly given: Map<string, string>;
}

async function findOne(input: LockedInput, search: Search): Promise<Finding> {
  const { folder, options } = search;
  // Named by content, so that two locks share a cache and no version can shadow another.
  const path = join(folder, input.sha256);
  const cache: Place = { name: 'cache', isNear: true, read: ({ size }) => readBounded(path, size) };
  const failures: Failure[] = [];
  let told = false;
  for (const place of [cache, ...(await placesFor(input, options))]) {
    if (!place.isNear && !told) {
      options.onDownload?.(input);
      told = true;
    }
    const answer = await ask(place, input, search);
    if (typeof answer === 'string') {
      failures.push({ place: place.name, reason: answer });
      continue;
    }
    if (place !== cache) await writeWhole(path, answer);
    return { input, found: { path, place: place.name }, failures };
  }
  return { input, found: null, failures };
}

/** Bytes with the locked hash, or why they are not from this place. */
async function ask(place: Place, input: LockedInput, { given, signal }: Search): Promise<Uint8Array | string> {
  const before = given.get(place.name);
  if (before !== undefined) return before;
  try {
    const bytes = await place.read(input);
    return wrongness(input, bytes) ?? bytes;
  } catch (error) {
    signal.throwIfAborted();
    const reason = reasonOf(error);
    if (!(error instanceof Refused || error instanceof ImageError)) given.set(place.name, reason);
    return reason;
  }
}

/** Adds the reason that fetch has as its cause: `connect ECONNREFUSED`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof Refused) return error.message;
  const { message } = error.cause instanceof Error ? error.cause : { message: '' };
  return message === '' ? error.message : `${error.message} (${message.split('\n')[0]?.slice(0, 200)})`;
}

function wrongness(input: LockedInput, bytes: Uint8Array): string | undefined {
  if (bytes.length !== input.size)
    return `${bytes.length > input.size ? 'more' : bytes.length} bytes, the lock says ${input.size}`;
  const hash = (algorithm: string): Buffer => createHash(algorithm).update(bytes).digest();
  const sha256 = hash('sha256').toString('hex');
  if (sha256 !== input.sha256) return `sha256 ${sha256}, the lock says ${input.sha256}`;
  if (input.kind === 'deb') return undefined;
  const integrity = `sha512-${hash('sha512').toString('base64')}`;
  return integrity === input.integrity ? undefined : `${integrity}, the lock says ${input.integrity}`;
}

/**
 * Writes a file so that a reader sees all of it or nothing, also across a crash and with two
 * writers at once.
 * @throws ImageError `output-failed`
 */
export async function writeWhole(target: string, bytes: Uint8Array | string): Promise<void> {
  const partial = `${target}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const handle = await open(partial, 'wx', 0o644);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(partial, target);
  } catch (cause) {
    await rm(partial, { force: true });
    throw new ImageError('output-failed', `cannot write ${target}: ${(cause as Error).message}`, { cause });
  }
}
