/** Folders for one run each. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NAME = /^enclaim-run-(\d+)-\w+$/;

/**
 * A new folder that only this user can read. What earlier runs left behind, because their process was killed with no chance
 * to clean up, is removed first.
 *
 * @param parent Default: the system's folder for temporary files.
 */
export async function makeRunFolder(parent: string = tmpdir()): Promise<string> {
  const abandoned = (await readdir(parent)).filter((name) => !isAlive(Number(NAME.exec(name)?.[1] ?? process.pid)));
  for (const name of abandoned) await rm(join(parent, name), { recursive: true, force: true }).catch(() => {}); // another user's
  return mkdtemp(join(parent, `enclaim-run-${process.pid}-`));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
