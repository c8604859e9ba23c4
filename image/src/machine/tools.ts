/** The programs that make a machine: QEMU and OVMF from locked packages, swtpm from the computer. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { access, constants, readFile, rename, rm } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { unpackDeb } from '../deb.ts';
import { ImageError } from '../errors.ts';
import { defaultCache, type FetchOptions, fetchLocked, projectRoot } from '../fetch.ts';
import { type LockedInput, parseLock } from '../lock.ts';
import { MachineError } from './error.ts';

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
export interface ToolOptions extends Pick<FetchOptions, 'cache' | 'mirrors' | 'onDownload' | 'signal'> {
  /** Folders that are searched for programs, as in `$PATH`, which is the default. */
  readonly path?: string;
}

const HINT = 'run scripts/setup';

/**
 * Finds every tool, fetching and unpacking the locked packages of this Debian release where the cache lacks them. On another
 * system QEMU is the one on the path: it is on the host's side, so no guarantee rests on it.
 *
 * @throws MachineError `tool-missing`, naming the tool; ImageError where a locked package cannot be had.
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
  const locked = await lockedInputs();
  const own = locked[await release()];
  const unpacked = await unpack([...(locked.any ?? []), ...(own ?? [])], options);
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

async function lockedInputs(): Promise<Readonly<Record<string, readonly LockedInput[]>>> {
  const { inputs } = JSON.parse(await readFile(join(projectRoot, 'image/machine.lock.json'), 'utf8'));
  return Object.fromEntries(
    Object.entries(inputs).map(([name, list]) => [
      name,
      parseLock(JSON.stringify({ version: 1, inputs: list })).inputs,
    ]),
  );
}

/** The Debian release, such as `bookworm`; empty elsewhere. */
async function release(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return /^ID=debian$/m.test(text) ? (/^VERSION_CODENAME=(\S+)$/m.exec(text)?.[1] ?? '') : '';
}

/** Unpacks once per set of hashes; the folder appears whole or not at all, also with two processes at it. */
async function unpack(inputs: readonly LockedInput[], options: ToolOptions): Promise<string> {
  const key = createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16);
  const folder = join(options.cache ?? defaultCache(), `machine-${key}`);
  if (existsSync(folder)) return folder;
  const files = await fetchLocked(inputs, options);
  const partial = `${folder}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    for (const file of files.values()) await unpackDeb(await readFile(file), partial);
    await rename(partial, folder);
  } catch (cause) {
    if (existsSync(folder)) return folder; // another process was first
    throw cause instanceof ImageError ? cause : new ImageError('output-failed', `cannot write ${folder}`, { cause });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return folder;
}
