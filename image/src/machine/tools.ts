/**
 * The programs that make a machine: QEMU and OVMF from locked packages, swtpm from the computer.
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { type Dirent, existsSync } from 'node:fs';
import { access, constants, readdir, readFile, readlink, rename, rm, stat } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ImageError } from '../errors.ts';
import { fileAt, linkTarget } from '../formats/tar.ts';
import { readDeb, unpackDeb } from '../inputs/deb.ts';
import { defaultCache, type FetchOptions, fetchLocked, readLocked } from '../inputs/fetch.ts';
import type { LockedInput } from '../inputs/lock.ts';
import { debianRelease, type MachineLock, readMachineLock } from '../inputs/machine-lock.ts';
import { MachineError } from './error.ts';
import { digestOfTree, keyOf, type Tree, UNPACKED } from './unpacked.ts';

/** Absolute paths of everything that {@link renderMachine} names. */
export interface MachineTools {
  readonly qemu: string;
  /** Folders with QEMU's firmware files (`-L`); empty for a QEMU that knows its own. */
  readonly qemuData: readonly string[];
  /** OVMF for a machine with a TPM: code (read-only) and the template of its variable store. */
  readonly firmware: { readonly code: string; readonly variables: string };
  readonly swtpm: string;
  readonly swtpmSetup: string;
  readonly swtpmLocalca: string;
  /** util-linux; sets the signal that ends a child when this process dies. */
  readonly setpriv: string;
}

/** Options of {@link findTools}. */
export interface ToolOptions extends FetchOptions {
  /** Folders that are searched for programs, as in `$PATH`, which is the default. */
  readonly path?: string;
  /** Default: the project's `image/machine.lock.json`. */
  readonly lock?: MachineLock;
}

const HINT = 'run scripts/setup';

/**
 * Finds every tool, and fetches and unpacks the locked packages of this Debian release if the cache
 * lacks them. On another system QEMU is the one on the path. It is on the host's side, so no
 * guarantee rests on it.
 *
 * @throws MachineError `tool-missing`, naming the tool; ImageError as {@link unpackPackages}.
 */
export async function findTools(options: ToolOptions = {}): Promise<MachineTools> {
  const path = options.path ?? process.env.PATH ?? '';
  const [swtpm, swtpmSetup, swtpmLocalca, setpriv] = await Promise.all([
    find('swtpm', path),
    find('swtpm_setup', path),
    find('swtpm_localca', path),
    find('setpriv', path),
  ]);
  await find('certtool', path); // swtpm_localca calls it by name
  const locked = options.lock ?? (await readMachineLock());
  const own = locked[await debianRelease()];
  const unpacked = await unpackPackages([...(locked.any ?? []), ...(own ?? [])], options);
  const tools: MachineTools = {
    qemu: own ? join(unpacked, 'usr/bin/qemu-system-x86_64') : await find('qemu-system-x86_64', path),
    qemuData: own ? [join(unpacked, 'usr/share/qemu'), join(unpacked, 'usr/share/seabios')] : [],
    firmware: {
      code: join(unpacked, 'usr/share/OVMF/OVMF_CODE_4M.fd'),
      variables: join(unpacked, 'usr/share/OVMF/OVMF_VARS_4M.fd'),
    },
    swtpm,
    swtpmSetup,
    swtpmLocalca,
    setpriv,
  };
  await runs(tools.qemu);
  return tools;
}

async function find(name: string, path: string): Promise<string> {
  for (const folder of path.split(delimiter)) {
    const file = join(folder, name);
    if (isAbsolute(folder) && (await isProgram(file))) return file;
  }
  throw new MachineError('tool-missing', `${name} is not on the path; ${HINT}`);
}

function isProgram(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** A QEMU whose shared libraries are not installed is a file that exists and does not run. */
async function runs(qemu: string): Promise<void> {
  try {
    await promisify(execFile)(qemu, ['--version']);
  } catch (cause) {
    const library = /error while loading shared libraries: (\S+):/.exec(
      String((cause as { stderr?: string }).stderr),
    )?.[1];
    const what = library === undefined ? `${qemu} does not run` : `QEMU needs the library ${library}`;
    throw new MachineError('tool-missing', `${what}; ${HINT}`, { cause });
  }
}

/**
 * A folder with the contents of packages, unpacked once.
 *
 * **Trust**: the folder is compared with the packages on every use. A program in it is run, and a
 * cache is believed only if a hash says so.
 * @param known - What packages unpack to; those that are not in it are unpacked.
 * @throws ImageError as `fetchLocked`, `readLocked` and `unpackDeb`; `hash-mismatch` if the folder
 *   holds anything else
 */
export async function unpackPackages(
  inputs: readonly LockedInput[],
  options: FetchOptions = {},
  known: Readonly<Record<string, string>> = UNPACKED,
): Promise<string> {
  const key = keyOf(inputs);
  const folder = join(options.cache ?? defaultCache(), `machine-${key.slice(0, 16)}`);
  const paths = await fetchLocked(inputs, options);
  if (!existsSync(folder)) await unpackTo(folder, inputs, paths);
  const found = await treeOfFolder(folder);
  if (known[key] === digestOfTree(found)) return folder;
  const wanted = trees.get(key) ?? (await treeOfPackages(inputs, paths));
  trees.set(key, wanted);
  const other = [...wanted.keys(), ...found.keys()].find((path) => wanted.get(path) !== found.get(path));
  if (other !== undefined) {
    const [is, expected] = [found.get(other) ?? 'missing', wanted.get(other) ?? 'nothing'];
    throw new ImageError('hash-mismatch', `${join(folder, other)} is ${is}, expected ${expected}; remove ${folder}`);
  }
  return folder;
}

/** The folder appears whole or not at all, also with two processes at it. */
async function unpackTo(
  folder: string,
  inputs: readonly LockedInput[],
  paths: ReadonlyMap<string, string>,
): Promise<void> {
  const partial = `${folder}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    for (const input of inputs) await unpackDeb(await readLocked(input, paths), partial);
    await rename(partial, folder);
  } catch (cause) {
    if (existsSync(folder)) return; // another process was first
    throw cause instanceof ImageError ? cause : new ImageError('output-failed', `cannot write ${folder}`, { cause });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

/** Trees of packages that this process has read. */
const trees = new Map<string, Tree>();

/** The tree that {@link unpackDeb} makes of the packages. */
export async function treeOfPackages(
  inputs: readonly LockedInput[],
  paths: ReadonlyMap<string, string>,
): Promise<Tree> {
  const tree = new Map<string, string>();
  for (const input of inputs) {
    const files = await readDeb(await readLocked(input, paths));
    for (const [path, file] of files) {
      if (file.type === 'symlink') tree.set(path, describeLink(linkTarget(path, file)));
      else if (file.type !== 'directory') tree.set(path, describeFile(file.mode | 0o600, fileAt(files, path).data));
    }
  }
  return tree;
}

/** Folder by folder: a recursive `readdir` follows links. */
export async function treeOfFolder(folder: string, below: string = folder): Promise<Tree> {
  const tree = new Map<string, string>();
  for (const entry of await readdir(below, { withFileTypes: true }).catch(() => [])) {
    const path = join(below, entry.name);
    if (entry.isDirectory()) for (const [name, is] of await treeOfFolder(folder, path)) tree.set(name, is);
    else tree.set(relative(folder, path), await describe(path, folder, entry).catch(() => 'unreadable'));
  }
  return tree;
}

async function describe(path: string, folder: string, entry: Dirent): Promise<string> {
  if (entry.isSymbolicLink()) return describeLink(relative(folder, resolve(dirname(path), await readlink(path))));
  if (!entry.isFile()) return 'neither file nor link';
  return describeFile((await stat(path)).mode & 0o7777, await readFile(path));
}

function describeFile(mode: number, bytes: Uint8Array): string {
  return `file 0${mode.toString(8)} sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function describeLink(target: string): string {
  return `link to ${target}`;
}
