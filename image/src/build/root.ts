/**
 * The root file system of the image: the files that the tables of contents.ts name, taken from
 * inputs and checked for closure.
 */
import { basename } from 'node:path';
import { FOLDERS, MADE_FILES, MODULES, TAKEN_FILES } from '../contents.ts';
import { ImageError } from '../errors.ts';
import type { CpioEntry } from '../formats/cpio.ts';
import { elfSection, neededLibraries, stripElf } from '../formats/elf.ts';
import { decompressXz } from '../formats/tar.ts';
import { fileOf, type Inputs } from '../inputs/unpack.ts';
import type { CompiledEntry } from '../programs/compile.ts';
import type { Kernel } from './kernel.ts';

/** An entry of the initrd with its origin. */
export interface RootItem {
  readonly entry: CpioEntry;
  readonly from: string;
  readonly reason: string;
}

/**
 * The items that do not change with our programs: Node, libraries, modules, folders.
 * @throws ImageError `file-missing` if a needed file is not there, or a file there is not needed
 */
export async function systemItems(inputs: Inputs, kernel: Kernel): Promise<RootItem[]> {
  const files = takenItems(inputs);
  refuseOpenClosure(files);
  return [...files, ...(await moduleItems(inputs, kernel)), ...folderItems()];
}

function takenItems(inputs: Inputs): RootItem[] {
  return TAKEN_FILES.map(({ path, input, file, mode, reason, strip }) => {
    const bytes = fileOf(inputs, input, file);
    const data = strip ? stripElf(bytes) : bytes;
    return { entry: { path, type: 'file', mode, data }, from: `${input}: ${file}${strip ? ', stripped' : ''}`, reason };
  });
}

/** Every library that something in the image needs is in it, and every library in it is needed. */
function refuseOpenClosure(items: readonly RootItem[]): void {
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
async function moduleItems(inputs: Inputs, { input }: Kernel): Promise<RootItem[]> {
  const files = inputs.get(input) ?? new Map();
  const loaded: string[] = [];
  const items: RootItem[] = [];
  for (const { name, reason } of MODULES) {
    const path = [...files.keys()].find((candidate) => candidate.endsWith(`/${name}.ko.xz`));
    if (path === undefined) throw new ImageError('file-missing', `no module ${name} in ${input}`);
    const data = await decompressXz(fileOf(inputs, input, path));
    const missing = moduleDependencies(data).filter((dependency) => !loaded.includes(dependency));
    if (missing.length > 0)
      throw new ImageError('file-missing', `module ${name} needs ${missing.join(', ')} before it`);
    loaded.push(name.replaceAll('-', '_'));
    const entry = { path: modulePath(name), type: 'file', mode: 0o644, data } as const;
    items.push({ entry, from: `${input}: ${path}`, reason });
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

function folderItems(): RootItem[] {
  return FOLDERS.map(({ path, mode, reason }) => ({
    entry: { path, type: 'directory', mode },
    from: 'image/src/contents.ts',
    reason: `mount point: ${reason}`,
  }));
}

/**
 * Our programs, and the files that the build writes itself.
 * @param release - What the image calls itself.
 * @throws ImageError `file-missing` if no program can be PID 1
 */
export function programItems(programs: readonly CompiledEntry[], release: string): RootItem[] {
  const first = programs.find(({ entry }) => entry.executable)?.entry.path;
  if (first === undefined) throw new ImageError('file-missing', 'no entry is executable: nothing could be PID 1');
  const modules = MODULES.map(({ name, optional }) => ({
    path: `/${modulePath(name)}`,
    ...(optional ? { optional } : {}),
  }));
  const file = (path: string, data: Uint8Array, mode = 0o644): CpioEntry => ({ path, type: 'file', mode, data });
  const { init, modules: list, release: name } = MADE_FILES;
  const from = 'image/src/build/root.ts';
  return [
    ...programs.map(({ entry: { path, executable, source, reason }, code }) => ({
      entry: file(path, code, executable ? 0o755 : 0o644),
      from: source,
      reason,
    })),
    { entry: file(list.path, Buffer.from(`${JSON.stringify(modules)}\n`)), from, reason: list.reason },
    { entry: file(name.path, Buffer.from(`${release}\n`)), from, reason: name.reason },
    { entry: { path: init.path, type: 'symlink', target: first }, from, reason: init.reason },
  ];
}
