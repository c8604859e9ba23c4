/**
 * Places where a locked input is looked for, and how its bytes are read there. **Trust**: none of
 * them is believed.
 */
import { execFile } from 'node:child_process';
import { constants, existsSync } from 'node:fs';
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ImageError } from '../errors.ts';
import { download, type Patience, Refused } from './download.ts';
import type { LockedInput } from './lock.ts';
import { aptMirrors } from './mirror.ts';

/** Where to look beside the cache. */
export interface PlaceOptions {
  /** Debian mirror bases, tried in order; default: those of this machine's apt. */
  readonly mirrors?: readonly string[];
  /**
   * Archives by content, tried in order after the mirrors: a folder or an http(s) URL, with
   * `sha256/HEX` for each input. Default: {@link archivesOf} the environment.
   */
  readonly archives?: readonly string[];
  /**
   * Folders like an archive's that lie in sources, tried before any mirror; default: this
   * project's.
   */
  readonly repositories?: readonly string[];
  /** Registry that npm asks; default: the one it is configured for. */
  readonly registry?: string;
  readonly patience?: Patience;
  readonly signal?: AbortSignal;
}

/** One place. `read` ends with a {@link Refused} if this input alone is not to be had there. */
export interface Place {
  /** As it is named in errors and lists. */
  readonly name: string;
  readonly isNear: boolean;
  read(input: LockedInput): Promise<Uint8Array>;
}

/** The project's root, where default folders lie. */
export const projectRoot: string = fileURLToPath(new URL('../../..', import.meta.url));

/** Whether a folder holds the project's sources, and not only the JavaScript of its package. */
export function hasSources(root: string): boolean {
  return existsSync(join(root, 'guest/src/main.ts'));
}

/**
 * Inputs of suites that move on within weeks: they lie among the sources (image/inputs/README.md).
 */
export const REPOSITORY: string = join(projectRoot, 'image/inputs');

/** Archives that `$ENCLAIM_ARCHIVE` names, between commas. */
export function archivesOf(environment: Readonly<Record<string, string | undefined>> = process.env): string[] {
  return (environment.ENCLAIM_ARCHIVE ?? '')
    .split(',')
    .map((place) => place.trim())
    .filter((place) => place !== '');
}

/** The places for an input, in the order in which they are tried. */
export async function placesFor(input: LockedInput, options: PlaceOptions): Promise<Place[]> {
  const { repositories = [REPOSITORY], archives = archivesOf() } = options;
  const { mirrors = input.kind === 'deb' ? await aptMirrors() : [] } = options;
  const origins = input.kind === 'npm' ? [registry(options)] : mirrors.map((base) => mirror(base, options));
  return [
    ...repositories.map((folder) => ({
      ...archive(folder, options),
      name: folder === REPOSITORY ? 'sources' : folder,
    })),
    ...(origins.length > 0 ? origins : [none('mirrors', 'apt names none here, and --mirror does not')]),
    ...(archives.length > 0
      ? archives.map((place) => archive(place, options))
      : [none('archives', 'ENCLAIM_ARCHIVE names none')]),
  ];
}

/** A place without inputs: it stands for places that the caller could name, but did not. */
function none(name: string, reason: string): Place {
  return { name, isNear: true, read: () => Promise.reject(new Refused(reason)) };
}

function mirror(base: string, { signal, patience }: PlaceOptions): Place {
  const read = async (input: LockedInput): Promise<Uint8Array> => {
    if (input.kind !== 'deb') throw new Refused('no place for packages of npm');
    return download(withSlash(base) + input.path, input.size, signal, patience);
  };
  return { name: base, isNear: false, read };
}

function archive(place: string, { signal, patience }: PlaceOptions): Place {
  const isUrl = /^https?:\/\//i.test(place);
  const read = async ({ sha256, size }: LockedInput): Promise<Uint8Array> =>
    isUrl ? download(`${withSlash(place)}sha256/${sha256}`, size, signal, patience) : readFolder(place, sha256, size);
  return { name: place, isNear: !isUrl, read };
}

function registry(options: PlaceOptions): Place {
  const read = ({ name, version, size }: LockedInput): Promise<Uint8Array> => npmTarball(name, version, options, size);
  return { name: options.registry ?? 'npm', isNear: false, read };
}

async function readFolder(folder: string, sha256: string, size: number): Promise<Uint8Array> {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(folder)) throw new Refused('neither a folder nor an http(s) URL');
  return readBounded(join(folder, 'sha256', sha256), size);
}

/**
 * A file of at most `size` bytes: of a larger one, a pipe or a device nothing is read.
 * @throws Refused
 */
export async function readBounded(path: string, size: number): Promise<Uint8Array> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const found = await handle.stat();
      if (!found.isFile()) throw new Refused('not a file');
      if (found.size > size) throw new Refused(`${found.size} bytes, expected at most ${size}`);
      const bytes = Buffer.alloc(found.size);
      let length = 0;
      for (let read = 1; read > 0 && length < bytes.length; length += read)
        ({ bytesRead: read } = await handle.read(bytes, length, bytes.length - length, length));
      return bytes.subarray(0, length);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (cause instanceof Refused) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    throw new Refused(code === 'ENOENT' || code === 'ENOTDIR' ? 'not there' : `cannot be read (${code})`, { cause });
  }
}

/**
 * Most bytes that npm writes beside a tarball; then the most of a tarball of which no size is
 * locked.
 */
const NPM_ROOM = 1 << 24;
const MAX_TARBALL = 1 << 30;
const NPM_MINUTES = 30;

/**
 * A package's tarball as npm fetches it: npm knows this machine's registry, credentials and proxy,
 * and has a cache.
 *
 * **Trust**: the bytes are unchecked.
 * @param size - Larger files npm cannot write.
 * @throws ImageError `fetch-failed`
 */
export async function npmTarball(
  name: string,
  version: string,
  { signal, registry: from }: Pick<PlaceOptions, 'signal' | 'registry'> = {},
  size: number = MAX_TARBALL,
): Promise<Uint8Array> {
  const scratch = await mkdtemp(join(tmpdir(), 'enclaim-npm-'));
  try {
    const where = from === undefined ? [] : ['--registry', from];
    const pack = [
      'pack',
      `${name}@${version}`,
      '--prefer-offline',
      '--silent',
      '--pack-destination',
      scratch,
      ...where,
    ];
    // A registry could send without end, and npm would write it all.
    const limit = `ulimit -f ${Math.ceil((size + NPM_ROOM) / 512)} && exec "$0" "$@"`;
    await promisify(execFile)('sh', ['-c', limit, ...npmCommand(), ...pack], {
      cwd: scratch,
      maxBuffer: 1 << 24,
      timeout: NPM_MINUTES * 60_000,
      ...(signal ? { signal } : {}),
    });
    const [file = ''] = await readdir(scratch);
    return await readBounded(join(scratch, file), size);
  } catch (cause) {
    signal?.throwIfAborted();
    throw new ImageError('fetch-failed', `npm cannot fetch ${name} ${version}`, { cause });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The pinned npm if it is installed, else the one that runs this, else the machine's. */
export function npmCommand(): [string, ...string[]] {
  const pinned = join(projectRoot, 'scripts/bootstrap/node_modules/npm/bin/npm-cli.js');
  const script = [pinned, process.env.npm_execpath].find((path) => path?.endsWith('.js') && existsSync(path));
  return script === undefined ? ['npm'] : [process.execPath, script];
}

function withSlash(base: string): string {
  return base.replace(/\/*$/, '/');
}
