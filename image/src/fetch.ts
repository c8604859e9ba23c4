/** Locked inputs from the cache, a Debian mirror or the npm registry: whoever sends them, the hash decides. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ImageError } from './errors.ts';
import type { LockedDeb, LockedInput, LockedNpm } from './lock.ts';
import { aptMirrors } from './mirror.ts';

/** Where to keep and find inputs. */
export interface FetchOptions {
  /** Cache folder; default `defaultCache()`. */
  readonly cache?: string;
  /** Debian mirror bases, tried in order; default: those of this machine's apt. */
  readonly mirrors?: readonly string[];
  /** Told once for each input that is not in the cache. */
  readonly onDownload?: (input: LockedInput) => void;
  readonly signal?: AbortSignal;
}

/** The project's root, where default folders lie. */
export const projectRoot: string = fileURLToPath(new URL('../..', import.meta.url));

/** `$ENCLAIM_CACHE`, or `.cache` below the project's root. */
export function defaultCache(): string {
  return process.env.ENCLAIM_CACHE ?? join(projectRoot, '.cache');
}

/**
 * Makes every input present in the cache and returns its file by input name. Needs no network for what is there.
 *
 * A cached file is hashed on every use, so that a damaged cache is noticed and fetched again. **Trust**: whoever writes to
 * the cache can change a file after that; {@link readLocked} returns what was hashed.
 * @throws ImageError `mirror-unknown`, `fetch-failed`, `hash-mismatch`, `output-failed`
 */
export async function fetchLocked(
  inputs: readonly LockedInput[],
  options: FetchOptions = {},
): Promise<ReadonlyMap<string, string>> {
  const folder = join(options.cache ?? defaultCache(), 'inputs');
  await mkdir(folder, { recursive: true }).catch((cause) => {
    throw new ImageError('output-failed', `cannot make the cache folder ${folder}`, { cause });
  });
  const paths = new Map<string, string>();
  const queue = [...inputs];
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(options.signal ? [options.signal] : [])]);
  const worker = async (): Promise<void> => {
    try {
      for (let input = queue.shift(); input !== undefined && !signal.aborted; input = queue.shift()) {
        paths.set(input.name, await fetchOne(input, folder, { ...options, signal }));
      }
    } catch (error) {
      failed.abort(error); // ends the others; the first reason stays
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  signal.throwIfAborted();
  return paths;
}

/**
 * The bytes of an input, in memory when they are hashed.
 * @param paths - As `fetchLocked` returns them.
 * @throws ImageError `fetch-failed` for an input that is not there, `hash-mismatch` for one that was changed since
 */
export async function readLocked(input: LockedInput, paths: ReadonlyMap<string, string>): Promise<Uint8Array> {
  const bytes = await readFile(paths.get(input.name) ?? '').catch((cause) => {
    throw new ImageError('fetch-failed', `${input.name} is not in the cache`, { cause });
  });
  const wrong = wrongness(input, bytes);
  if (wrong !== undefined) throw new ImageError('hash-mismatch', wrong);
  return bytes;
}

async function fetchOne(input: LockedInput, folder: string, options: FetchOptions): Promise<string> {
  const target = join(folder, cacheName(input));
  if (existsSync(target) && wrongness(input, await readFile(target)) === undefined) return target;
  options.onDownload?.(input);
  const bytes = input.kind === 'deb' ? await downloadDeb(input, options) : await downloadNpm(input, options);
  await writeWhole(target, bytes);
  return target;
}

/** Named by content, so that two locks share a cache and no version can shadow another. */
function cacheName(input: LockedInput): string {
  return input.kind === 'deb' ? input.sha256 : Buffer.from(input.integrity.slice(7), 'base64').toString('hex');
}

function wrongness(input: LockedInput, bytes: Uint8Array): string | undefined {
  if (bytes.length !== input.size) return `${input.name}: ${bytes.length} bytes, the lock says ${input.size}`;
  const algorithm = input.kind === 'deb' ? 'sha256' : 'sha512';
  const digest = createHash(algorithm).update(bytes).digest('hex');
  return digest === cacheName(input)
    ? undefined
    : `${input.name}: ${algorithm} ${digest}, the lock says ${cacheName(input)}`;
}

async function downloadDeb(input: LockedDeb, options: FetchOptions): Promise<Uint8Array> {
  const mirrors = options.mirrors ?? (await aptMirrors());
  if (mirrors.length === 0) {
    throw new ImageError(
      'mirror-unknown',
      `${input.name} is not cached and apt names no Debian mirror here; name one with --mirror`,
    );
  }
  const failures: string[] = [];
  let mismatch = false;
  for (const mirror of mirrors) {
    const url = `${mirror.replace(/\/*$/, '/')}${input.path}`;
    try {
      const bytes = await download(url, input.size, options.signal);
      const wrong = wrongness(input, bytes);
      if (wrong === undefined) return bytes;
      mismatch = true;
      failures.push(wrong);
    } catch (error) {
      options.signal?.throwIfAborted();
      failures.push(`${url}: ${error instanceof Error ? error.message : error}`);
    }
  }
  throw new ImageError(
    mismatch ? 'hash-mismatch' : 'fetch-failed',
    `no mirror has ${input.name} ${input.version}: ${failures.join('; ')}`,
  );
}

const ATTEMPTS = 3;
const IDLE_MS = 60_000;

/**
 * The body of a URL, in three attempts. Stops reading soon after `size` bytes: an endless answer ends in a mismatch and
 * not in exhausted memory. **Trust**: nobody has looked at the bytes yet.
 */
export async function download(url: string, size: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
  for (let attempt = 1; ; attempt++) {
    const idle = new AbortController();
    const timer = setTimeout(() => idle.abort(new Error(`nothing received for ${IDLE_MS / 1000} s`)), IDLE_MS);
    try {
      const response = await fetch(url, { signal: signal ? AbortSignal.any([signal, idle.signal]) : idle.signal });
      if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status}`);
      const chunks: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of response.body) {
        timer.refresh();
        chunks.push(chunk);
        length += chunk.length;
        if (length > size) break;
      }
      return Buffer.concat(chunks);
    } catch (error) {
      const final = error instanceof Error && /^HTTP 4/.test(error.message);
      if (final || attempt === ATTEMPTS || signal?.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
    } finally {
      clearTimeout(timer);
    }
  }
}

async function downloadNpm(input: LockedNpm, options: FetchOptions): Promise<Uint8Array> {
  const bytes = await npmTarball(input.name, input.version, options);
  const wrong = wrongness(input, bytes);
  if (wrong !== undefined) throw new ImageError('hash-mismatch', wrong);
  return bytes;
}

/**
 * A package's tarball as npm fetches it: npm knows this machine's registry, credentials and proxy, and has a cache.
 * **Trust**: nobody has looked at the bytes yet.
 * @throws ImageError `fetch-failed`
 */
export async function npmTarball(name: string, version: string, { signal }: FetchOptions = {}): Promise<Uint8Array> {
  const scratch = await mkdtemp(join(tmpdir(), 'enclaim-npm-'));
  try {
    const [command, ...first] = npmCommand();
    const pack = ['pack', `${name}@${version}`, '--prefer-offline', '--silent', '--pack-destination', scratch];
    await promisify(execFile)(command, [...first, ...pack], {
      cwd: scratch,
      maxBuffer: 1 << 24,
      ...(signal ? { signal } : {}),
    });
    const [file] = await readdir(scratch);
    return await readFile(join(scratch, file ?? ''));
  } catch (cause) {
    signal?.throwIfAborted();
    throw new ImageError('fetch-failed', `npm cannot fetch ${name} ${version}`, { cause });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The pinned npm where it is installed, else the one that runs this, else the machine's. */
export function npmCommand(): [string, ...string[]] {
  const pinned = join(projectRoot, 'scripts/bootstrap/node_modules/npm/bin/npm-cli.js');
  const script = [pinned, process.env.npm_execpath].find((path) => path?.endsWith('.js') && existsSync(path));
  return script === undefined ? ['npm'] : [process.execPath, script];
}

/**
 * Writes a file so that a reader sees all of it or nothing, also across a crash and with two writers at once.
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
    throw new ImageError('output-failed', `cannot write ${target}`, { cause });
  }
}
