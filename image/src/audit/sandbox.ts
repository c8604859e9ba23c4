/**
 * Sandbox for a foreign program that an audit runs: without a network, and as another user, as far
 * as this machine permits.
 */
import { execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { closeSync, existsSync, openSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';

/** How a program is kept in. */
export interface Sandbox {
  /** Words before the command. */
  readonly prefix: readonly string[];
  /**
   * Whether the program has no network and sees no process of the host, and whether it runs as
   * another user than this one.
   */
  readonly isolation: { readonly offline: boolean; readonly otherUser: boolean };
}

/** The folder, programs and environment that a program is given. */
export interface Surroundings {
  readonly folder: string;
  /** Where its commands are, before those of the system. */
  readonly programs: string;
  readonly env: Readonly<Record<string, string>>;
  /** Ends it before its end. */
  readonly signal?: AbortSignal | undefined;
}

/** A program that ended badly. */
export class SandboxError extends Error {
  override readonly name = 'SandboxError';
  /** The end of its standard error. */
  readonly stderr: string;

  constructor(message: string, stderr: string) {
    super(message);
    this.stderr = stderr;
  }
}

const MINUTES = 60_000;
/** Milliseconds to read what the program said before its end. */
const PATIENCE = 1000;
const MAX_SAID_BYTES = 1 << 16;
const SYSTEM = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'] as const;

/**
 * The first process of a namespace. All processes in it end with this shell. The shell is root
 * there and the program is not, so the program can neither end nor leave it.
 *
 * Folders where services of the host listen and people live are hidden. `$1` is the folder that
 * stays; it may lie in one of those.
 */
const FIRST = `
set -e
umask 022
cd "$1"
for place in /run /var/run /tmp /var/tmp /dev/shm /dev/pts /home /root; do
  if [ -d "$place" ] && [ ! -L "$place" ]; then ${systemProgram('mount')} -n -t tmpfs -o mode=755 none "$place"; fi
done
if [ -e /dev/vsock ]; then ${systemProgram('mount')} -n --bind /dev/null /dev/vsock; fi
${systemProgram('mkdir')} -p "$1"
${systemProgram('mount')} -n --no-canonicalize --bind . "$1"
cd "$1"
shift
"$@"
exit $?`;

/**
 * Makes a sandbox. It has no network if this machine lets a process have a network, processes and
 * mounts of its own. It has a user of its own if this process runs as root. From then on that user
 * can enter the folder, and write to what `writable` names below it.
 * @param folder whole, without links
 */
export async function makeSandbox(folder: string, writable: readonly string[]): Promise<Sandbox> {
  for (const path of writable) await mkdir(path, { recursive: true });
  const isRoot = process.getuid?.() === 0;
  const runs = (words: readonly string[]): Promise<boolean> => works([...words, systemProgram('true')]);
  // The kernel ends it when this process dies, of whatever cause.
  const tied = [systemProgram('setpriv'), '--pdeathsig=KILL', '--'];
  const id = isRoot ? await freshId(runs) : null;
  const other = id === null ? [] : asUser(id);
  // Who is root of a namespace alone lays that down instead.
  const powerless = [systemProgram('setpriv'), '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all', '--'];
  const alone = [
    systemProgram('unshare'),
    ...(isRoot ? [] : ['--user', '--map-root-user']),
    ...['--net', '--ipc', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--'],
    ...[systemProgram('sh'), '-c', FIRST, 'sh', folder],
    ...(id === null ? powerless : []),
  ];
  const offline = await runs([...alone, ...other]);
  if (id !== null) {
    for (const path of writable) await chownAll(path, id);
    await chown(folder, 0, id);
    await chmod(folder, 0o710);
  }
  return {
    prefix: [...((await runs(tied)) ? tied : []), ...(offline ? alone : []), ...other],
    isolation: { offline, otherUser: id !== null },
  };
}

/**
 * Returns an unused number for a user and group.
 *
 * **Trust**: without this, two audits with one number could write to each other's folders. The
 * number is above those that systemd gives to containers. If only 2^16 are mapped, it is among
 * those that systemd gives to services.
 */
async function freshId(runs: (words: readonly string[]) => Promise<boolean>): Promise<number | null> {
  for (const id of [randomInt(0x7000_0000, 0x7fff_fffe), randomInt(61_184, 65_520)])
    if (await runs(asUser(id))) return id;
  return null;
}

/** Tied anew: the kernel forgets it with the change of user. */
function asUser(id: number): string[] {
  const ids = [`--reuid=${id}`, `--regid=${id}`, '--clear-groups', '--no-new-privs'];
  return [systemProgram('setpriv'), ...ids, '--pdeathsig=KILL', '--'];
}

async function chownAll(folder: string, id: number): Promise<void> {
  for (const path of ['', ...(await readdir(folder, { recursive: true }))]) await chown(join(folder, path), id, id);
}

/** Whether what runs inside can read a file. */
export async function canRead({ prefix }: Sandbox, file: string): Promise<boolean> {
  return works([...prefix, systemProgram('test'), '-r', file]);
}

/**
 * Removes what could be written to, as the user that wrote it.
 *
 * **Trust**: a process that still exchanges folders for links there leads no user with more rights
 * behind them.
 * @throws Error if something cannot be removed
 */
export async function removeInside({ prefix }: Sandbox, writable: readonly string[]): Promise<void> {
  for (let tries = 1; ; tries++) {
    await works([...prefix, systemProgram('chmod'), '-R', 'u+rwx', ...writable]);
    await works([...prefix, systemProgram('find'), ...writable, '-mindepth', '1', '-delete']);
    try {
      for (const folder of writable) if (existsSync(folder)) await rmdir(folder);
      return;
    } catch (error) {
      if (tries === 10) throw error;
      await wait(PATIENCE / 10); // what was ended may take a moment to
    }
  }
}

/**
 * Runs a program to its end, or for a quarter of an hour.
 * @throws SandboxError if it ends badly
 */
export async function runInside(
  { prefix }: Sandbox,
  { folder, programs, env, signal }: Surroundings,
  words: readonly string[],
): Promise<void> {
  // Node looks a command up in the PATH that it hands on. Therefore the program's own PATH begins
  // behind the sandbox.
  const path = SYSTEM.join(':');
  const set = [systemProgram('env'), `--chdir=${folder}`, `PATH=${programs}:${path}`];
  const [command = '', ...args] = [...prefix, ...set, ...words];
  // A session of its own has no terminal, on which it could write lines of ours or type commands.
  const nothing = openSync('/dev/null', 'r+');
  const stdio = await standardError(nothing);
  const child = spawn(command, args, { cwd: '/', env: { ...env, PATH: path }, stdio, detached: true });
  // Closed at once: a child may end before the next turn, and its end would be missed.
  closeSync(nothing);
  let said = '';
  const { stderr } = child;
  stderr?.setEncoding('utf8').on('data', (piece: string) => {
    said = (said + piece).slice(-MAX_SAID_BYTES);
  });
  const end = (): void => {
    killGroup(child.pid);
    setTimeout(() => stderr?.destroy(), PATIENCE).unref(); // what left the group may hold it open
  };
  const timer = setTimeout(end, 15 * MINUTES);
  child.once('exit', end);
  signal?.addEventListener('abort', end, { once: true });
  if (signal?.aborted) end();
  const how = await new Promise<string>((resolve) => {
    child.once('error', ({ message }) => resolve(message));
    child.once('close', (code, signal) => resolve(`ended with ${code ?? signal}`));
  });
  clearTimeout(timer);
  signal?.removeEventListener('abort', end);
  if (how !== 'ended with 0') throw new SandboxError(how, said);
}

/** The last lines of a program. They begin and look like none of ours. */
export function lastLines(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  const said = (stderr?.trim() || message).slice(-2000).replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd');
  return said.split('\n').slice(-20).join('\n  ');
}

/**
 * Pipes standard error only.
 *
 * **Trust**: without this, the program would get every descriptor that this process inherited. Each
 * of them is replaced by /dev/null.
 */
async function standardError(nothing: number): Promise<(number | 'pipe' | 'ignore')[]> {
  const open = new Set((await readdir('/proc/self/fd').catch(() => [])).map(Number));
  const length = Math.max(2, ...open) + 1;
  return Array.from({ length }, (_, n) => (n === 2 ? 'pipe' : open.has(n) ? nothing : 'ignore'));
}

function killGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL');
  } catch {
    // Nothing is left of it.
  }
}

async function works([command = '', ...args]: readonly string[]): Promise<boolean> {
  return promisify(execFile)(command, args, { cwd: '/', timeout: MINUTES, killSignal: 'SIGKILL' }).then(
    () => true,
    () => false,
  );
}

/** Whole path of a program of this machine, in whatever PATH it is started. */
function systemProgram(name: string): string {
  const paths = SYSTEM.map((folder) => join(folder, name));
  return paths.find((path) => existsSync(path)) ?? join(SYSTEM[0], name);
}
