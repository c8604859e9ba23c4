/** Where an audit runs somebody else's program: without a network, and as another user, as far as this machine permits. */
import { execFile } from 'node:child_process';
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

/** A user that owns nothing. */
const NOBODY = 65534;
const MINUTES = 60_000;
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
  const alone = [
    systemProgram('unshare'),
    ...(isRoot ? [] : ['--user', '--map-current-user']),
    '--net',
    '--pid',
    '--fork',
    '--kill-child',
    '--',
  ];
  const user = isRoot
    ? [systemProgram('setpriv'), `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--no-new-privs', '--']
    : [];
  const runs = (words: readonly string[]): Promise<boolean> => works([...words, systemProgram('true')]);
  const offline = await runs([...alone, ...user]);
  const otherUser = isRoot && (await runs(user));
  return {
    prefix: [...(offline ? alone : []), ...(otherUser ? user : [])],
    isolation: { offline, otherUser },
  };
}

/** Whether what runs inside can read a file. */
export async function canRead({ prefix }: Sandbox, file: string): Promise<boolean> {
  return works([...prefix, systemProgram('test'), '-r', file]);
}

/** Runs a program to its end. @throws what `execFile` does */
export async function runInside(
  { prefix }: Sandbox,
  { folder, programs, env }: Surroundings,
  words: readonly string[],
): Promise<void> {
  // Node looks a command up in the PATH that it hands on: the program's own PATH begins behind the sandbox.
  const path = SYSTEM.join(':');
  const [command = '', ...args] = [...prefix, systemProgram('env'), `PATH=${programs}:${path}`, ...words];
  // SIGKILL: `unshare` waits for its child whatever else it is sent; with it the child and all below it end.
  const limits = { timeout: 15 * MINUTES, killSignal: 'SIGKILL', maxBuffer: 1 << 24 } as const;
  await promisify(execFile)(command, args, { cwd: folder, env: { ...env, PATH: path }, ...limits });
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
