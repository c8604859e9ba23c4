/** Where an audit runs somebody else's program: without a network, and as another user, as far as this machine permits. */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** How a program is kept in. */
export interface Sandbox {
  /** Words before the command. */
  readonly prefix: readonly string[];
  /** Whether the program can reach no network, and runs as another user than this one. */
  readonly isolation: { readonly offline: boolean; readonly otherUser: boolean };
}

/** What a program is given. */
export interface Surroundings {
  readonly folder: string;
  /** Where its commands are, before those of the system. */
  readonly programs: string;
  readonly env: Readonly<Record<string, string>>;
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

/** A user that owns nothing. */
const NOBODY = 65534;
const MINUTES = 60_000;
/** For reading what was said before the end. */
const PATIENCE = 1000;
const MOST_SAID = 1 << 16;
const SYSTEM = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'] as const;

/** Without a network where this machine lets a process have a network of its own; as nobody where this one is root. */
export async function makeSandbox(writable: readonly string[]): Promise<Sandbox> {
  const isRoot = process.getuid?.() === 0;
  for (const folder of writable) {
    await mkdir(folder, { recursive: true });
    if (!isRoot) continue;
    for (const path of ['', ...(await readdir(folder, { recursive: true }))]) {
      await chown(join(folder, path), NOBODY, NOBODY);
    }
  }
  // The kernel ends it when this process dies, of whatever cause.
  const tied = [systemProgram('setpriv'), '--pdeathsig=KILL', '--'];
  const alone = [
    systemProgram('unshare'),
    ...(isRoot ? [] : ['--user', '--map-current-user']),
    '--net',
    '--pid',
    '--fork',
    '--kill-child',
    '--',
  ];
  // Another user is tied anew: the kernel forgets it with the change.
  const ids = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--no-new-privs'];
  const other = isRoot ? [systemProgram('setpriv'), ...ids, '--pdeathsig=KILL', '--'] : [];
  const runs = (words: readonly string[]): Promise<boolean> => works([...words, systemProgram('true')]);
  const offline = await runs([...alone, ...other]);
  const otherUser = isRoot && (await runs(other));
  return {
    prefix: [...((await runs(tied)) ? tied : []), ...(offline ? alone : []), ...(otherUser ? other : [])],
    isolation: { offline, otherUser },
  };
}

/** Whether what runs inside can read a file. */
export async function canRead({ prefix }: Sandbox, file: string): Promise<boolean> {
  return works([...prefix, systemProgram('test'), '-r', file]);
}

/**
 * Runs a program to its end, or for a quarter of an hour.
 * @throws SandboxError where it ends badly
 */
export async function runInside(
  { prefix }: Sandbox,
  { folder, programs, env }: Surroundings,
  words: readonly string[],
): Promise<void> {
  // Node looks a command up in the PATH that it hands on: the program's own PATH begins behind the sandbox.
  const path = SYSTEM.join(':');
  const [command = '', ...args] = [...prefix, systemProgram('env'), `PATH=${programs}:${path}`, ...words];
  // A session of its own has no terminal, on which it could write lines of ours or type commands.
  const child = spawn(command, args, {
    cwd: folder,
    env: { ...env, PATH: path },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    said = (said + piece).slice(-MOST_SAID);
  });
  const end = (): void => {
    killGroup(child.pid);
    setTimeout(() => child.stderr.destroy(), PATIENCE).unref(); // what left the group may hold it open
  };
  const timer = setTimeout(end, 15 * MINUTES);
  child.once('exit', end);
  const how = await new Promise<string>((resolve) => {
    child.once('error', ({ message }) => resolve(message));
    child.once('close', (code, signal) => resolve(`ended with ${code ?? signal}`));
  });
  clearTimeout(timer);
  if (how !== 'ended with 0') throw new SandboxError(how, said);
}

/** What a program said last. Its lines begin and look like none of ours. */
export function lastLines(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  const said = (stderr?.trim() || message).slice(-2000).replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd');
  return said.split('\n').slice(-20).join('\n  ');
}

function killGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL');
  } catch {
    // Nothing is left of it.
  }
}

async function works([command = '', ...args]: readonly string[]): Promise<boolean> {
  return promisify(execFile)(command, args, { timeout: MINUTES }).then(
    () => true,
    () => false,
  );
}

/** Whole path of a program of this machine, in whatever PATH it is started. */
function systemProgram(name: string): string {
  const paths = SYSTEM.map((folder) => join(folder, name));
  return paths.find((path) => existsSync(path)) ?? join(SYSTEM[0], name);
}
