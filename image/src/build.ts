/** The base image, from the lock to files on disk. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { readUki } from '@enclaim/attestation/measure';
import { type CompiledEntry, compileEntries } from './compile.ts';
import {
  COMMAND_LINE,
  FOLDERS,
  KERNEL_FILE,
  KERNEL_PACKAGE,
  KERNEL_RELEASE,
  MODULE_LIST,
  MODULES,
  RELEASE_FILE,
  STUB_FILE,
  STUB_PACKAGE,
  TAKEN_FILES,
} from './contents.ts';
import type { CpioEntry } from './cpio.ts';
import { readDeb } from './deb.ts';
import { elfSection, neededLibraries, stripElf } from './elf.ts';
import { ENTRIES, type Entry } from './entries.ts';
import { ImageError } from './errors.ts';
import { defaultCache, type FetchOptions, fetchLocked, projectRoot, writeWhole } from './fetch.ts';
import { packInitrd } from './initrd.ts';
import { type Lock, type LockedInput, parseLock } from './lock.ts';
import { type Artefact, formatManifest, type Manifest, type ManifestContent, type Sized } from './manifest.ts';
import { decompressXz, fileAt, readTar, type TarFiles } from './tar.ts';
import { appendSections } from './uki.ts';

/** Told as each begins. */
export type BuildPhase = 'fetch' | 'unpack' | 'compile' | 'pack' | 'assemble';

/** How to build. Nothing here but `root`, `lock` and `entries` can change a byte of the image. */
export interface BuildOptions extends FetchOptions {
  /** Folder with our sources and their node_modules; default: this project. */
  readonly root?: string;
  /** Default: `image/lock.json` below `root`. */
  readonly lock?: Lock;
  readonly entries?: readonly Entry[];
  /** Whether packed segments may be taken from the cache; an audit packs everything anew. Default true. */
  readonly reuse?: boolean;
  readonly onPhase?: (phase: BuildPhase) => void;
}

/** A base image in memory. */
export interface Image {
  readonly uki: Uint8Array;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly manifest: Manifest;
}

/** An entry of the initrd with its origin. */
interface Item {
  readonly entry: CpioEntry;
  readonly from: string;
  readonly reason: string;
}

/**
 * Builds the base image in memory.
 * @throws ImageError
 */
export async function buildImage(options: BuildOptions = {}): Promise<Image> {
  const root = resolve(options.root ?? projectRoot);
  const phase = options.onPhase ?? (() => {});
  const lock = options.lock ?? (await readLock(join(root, 'image/lock.json')));
  phase('fetch');
  const paths = await fetchLocked(lock.inputs, options);
  phase('unpack');
  const inputs = await unpackInputs(lock, paths);
  const kernel = fileOf(inputs, KERNEL_PACKAGE, KERNEL_FILE);
  const system = [...takenItems(inputs), ...(await moduleItems(inputs)), ...folderItems()];
  refuseOpenClosure(system);
  phase('compile');
  const programs = programItems(await compileEntries(root, options.entries ?? ENTRIES), await releaseName(root));
  phase('pack');
  const cache = options.reuse === false ? null : (options.cache ?? defaultCache());
  const initrd = await packInitrd(
    [system, programs].map((items) => items.map(({ entry }) => entry)),
    cache,
  );
  phase('assemble');
  const stub = fileOf(inputs, STUB_PACKAGE, STUB_FILE);
  const sections = [
    {
      name: '.cmdline',
      data: Buffer.from(COMMAND_LINE),
      from: 'image/src/contents.ts',
      reason: 'command line of a launch that passes none',
    },
    {
      name: '.uname',
      data: Buffer.from(KERNEL_RELEASE),
      from: KERNEL_PACKAGE,
      reason: 'release of the kernel, for people',
    },
    { name: '.initrd', data: initrd, from: 'the contents below', reason: 'the root file system' },
    // Last, because the stub may unpack it in place.
    { name: '.linux', data: kernel, from: `${KERNEL_PACKAGE}: ${KERNEL_FILE}`, reason: 'the kernel' },
  ];
  const uki = appendSections(stub, sections);
  const references = { tpm: await readUki(uki) };
  const manifest: Manifest = {
    enclaim: 'image/1',
    id: references.tpm.id,
    artefacts: {
      uki: artefactOf('enclaim.efi', uki),
      kernel: artefactOf('vmlinuz', kernel),
      initrd: artefactOf('initrd.zst', initrd),
    },
    references,
    inputs: lock.inputs,
    sections: [
      {
        name: 'stub',
        ...digestOf(stub),
        from: `${STUB_PACKAGE}: ${STUB_FILE}`,
        reason: 'measures the sections and starts the kernel',
      },
      ...sections.map(({ name, data, from, reason }) => ({ name, ...digestOf(data), from, reason })),
    ],
    contents: [...system, ...programs].map(contentOf).sort((a, b) => (a.path < b.path ? -1 : 1)),
  };
  return { uki, kernel, initrd, manifest };
}

/**
 * Writes an image as a folder that is there completely or not at all; one of the same name is replaced.
 * @throws ImageError `output-failed`
 */
export async function writeImage(image: Image, folder: string): Promise<void> {
  const target = resolve(folder);
  const scratch = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    await mkdir(scratch, { recursive: true });
    const { uki, kernel, initrd } = image.manifest.artefacts;
    await writeWhole(join(scratch, uki.file), image.uki);
    await writeWhole(join(scratch, kernel.file), image.kernel);
    await writeWhole(join(scratch, initrd.file), image.initrd);
    await writeWhole(join(scratch, 'manifest.json'), formatManifest(image.manifest));
    await rename(target, `${scratch}.old`).catch(() => {}); // none before
    await rename(scratch, target);
  } catch (cause) {
    if (cause instanceof ImageError) throw cause;
    throw new ImageError('output-failed', `cannot write ${target}`, { cause });
  } finally {
    await Promise.all([scratch, `${scratch}.old`].map((path) => rm(path, { recursive: true, force: true })));
  }
}

/** Reads and parses a lock file. @throws ImageError `lock-invalid` */
export async function readLock(path: string): Promise<Lock> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new ImageError('lock-invalid', `cannot read ${path}`, { cause });
  });
  return parseLock(text);
}

type Inputs = ReadonlyMap<string, TarFiles>;

async function unpackInputs(lock: Lock, paths: ReadonlyMap<string, string>): Promise<Inputs> {
  const wanted = (input: LockedInput) => (path: string) =>
    TAKEN_FILES.some((file) => file.input === input.name && file.file === path);
  const unpack = async (input: LockedInput): Promise<[string, TarFiles]> => {
    const bytes = await readFile(paths.get(input.name) ?? '');
    return [
      input.name,
      input.kind === 'deb' ? await readDeb(bytes) : await readTar('package.tgz', bytes, wanted(input)),
    ];
  };
  return new Map(await Promise.all(lock.inputs.map(unpack)));
}

function fileOf(inputs: Inputs, input: string, path: string): Uint8Array {
  const files = inputs.get(input);
  if (files === undefined) throw new ImageError('file-missing', `the lock has no input ${input}`);
  return fileAt(files, path).data;
}

function takenItems(inputs: Inputs): Item[] {
  return TAKEN_FILES.map(({ path, input, file, mode, reason, strip }) => {
    const bytes = fileOf(inputs, input, file);
    const data = strip ? stripElf(bytes) : bytes;
    return { entry: { path, type: 'file', mode, data }, from: `${input}: ${file}${strip ? ', stripped' : ''}`, reason };
  });
}

/** Every library that something in the image needs is in it, and every library in it is needed. */
function refuseOpenClosure(items: readonly Item[]): void {
  const libraries = new Map<string, Uint8Array>();
  for (const { entry } of items) {
    if (entry.type === 'file' && /\.so\.\d+$/.test(entry.path)) libraries.set(basename(entry.path), entry.data);
  }
  const node = items.find(({ entry }) => entry.path === 'usr/bin/node')?.entry;
  const reached = new Set<string>();
  const queue = node?.type === 'file' ? neededLibraries(node.data) : [];
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    const library = libraries.get(name);
    if (library === undefined) throw new ImageError('file-missing', `library ${name} is needed but not in the image`);
    if (!reached.has(name)) queue.push(...neededLibraries(library));
    reached.add(name);
  }
  const idle = [...libraries.keys()].filter((name) => !reached.has(name));
  if (idle.length > 0) throw new ImageError('file-missing', `nothing in the image needs ${idle.join(', ')}`);
}

/** Modules unpacked, so that the guest's kernel need not; their signatures are inside them. */
async function moduleItems(inputs: Inputs): Promise<Item[]> {
  const files = inputs.get(KERNEL_PACKAGE) ?? new Map();
  const loaded: string[] = [];
  const items: Item[] = [];
  for (const { name, reason } of MODULES) {
    const path = [...files.keys()].find((candidate) => candidate.endsWith(`/${name}.ko.xz`));
    if (path === undefined) throw new ImageError('file-missing', `no module ${name} in ${KERNEL_PACKAGE}`);
    const data = await decompressXz(fileOf(inputs, KERNEL_PACKAGE, path));
    const missing = moduleDependencies(data).filter((dependency) => !loaded.includes(dependency));
    if (missing.length > 0)
      throw new ImageError('file-missing', `module ${name} needs ${missing.join(', ')} before it`);
    loaded.push(name.replaceAll('-', '_'));
    items.push({
      entry: { path: modulePath(name), type: 'file', mode: 0o644, data },
      from: `${KERNEL_PACKAGE}: ${path}`,
      reason,
    });
  }
  return items;
}

/** The `depends=` line of a module's .modinfo, names with underscores. */
function moduleDependencies(module: Uint8Array): string[] {
  const lines = Buffer.from(elfSection(module, '.modinfo')).toString('latin1').split('\0');
  const line = lines.find((candidate) => candidate.startsWith('depends='));
  return (line ?? 'depends=')
    .slice(8)
    .split(',')
    .filter((name) => name !== '')
    .map((name) => name.replaceAll('-', '_'));
}

function modulePath(name: string): string {
  return `lib/modules/${name}.ko`;
}

function folderItems(): Item[] {
  return FOLDERS.map(({ path, mode, reason }) => ({
    entry: { path, type: 'directory', mode },
    from: 'image/src/contents.ts',
    reason: `mount point: ${reason}`,
  }));
}

function programItems(programs: readonly CompiledEntry[], release: string): Item[] {
  const list = MODULES.map(({ name, optional }) => ({
    path: `/${modulePath(name)}`,
    ...(optional ? { optional } : {}),
  }));
  const items = programs.map(({ entry, code }): Item => {
    const mode = entry.executable ? 0o755 : 0o644;
    return { entry: { path: entry.path, type: 'file', mode, data: code }, from: entry.source, reason: entry.reason };
  });
  const first = programs.find(({ entry }) => entry.executable)?.entry;
  if (first === undefined)
    throw new ImageError('file-missing', 'no entry is executable: the kernel would have nothing to start');
  const table = 'image/src/contents.ts';
  return [
    ...items,
    {
      entry: { path: RELEASE_FILE, type: 'file', mode: 0o644, data: Buffer.from(`${release}\n`) },
      from: 'package.json',
      reason: 'the name that the image gives itself in boot statements',
    },
    {
      entry: { path: 'init', type: 'symlink', target: first.path },
      from: table,
      reason: 'what the kernel starts: Node with the supervisor',
    },
    {
      entry: { path: MODULE_LIST, type: 'file', mode: 0o644, data: Buffer.from(`${JSON.stringify(list)}\n`) },
      from: table,
      reason: 'kernel modules in the order of loading',
    },
  ];
}

/** Such as `enclaim-0.1.0`. */
async function releaseName(root: string): Promise<string> {
  const { name, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  return `${name}-${version}`;
}

function contentOf({ entry, from, reason }: Item): ManifestContent {
  const mode = entry.type === 'symlink' ? 0o777 : entry.mode;
  const data =
    entry.type === 'directory'
      ? { size: 0, sha256: null }
      : digestOf(entry.type === 'file' ? entry.data : Buffer.from(entry.target));
  return { path: entry.path, type: entry.type, mode: `0${mode.toString(8)}`, ...data, from, reason };
}

/** How a manifest names a file of these bytes. */
export function artefactOf(file: string, bytes: Uint8Array): Artefact {
  return { file, ...digestOf(bytes) };
}

function digestOf(bytes: Uint8Array): Sized {
  return { size: bytes.length, sha256: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}
