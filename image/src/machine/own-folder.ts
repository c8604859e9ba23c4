/** Folders that belong to one running process. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Makes a folder `NAME-PID-XXXXXX` that only this user can read. First removes folders of that name
 * whose process is gone, because it was killed with no chance to clean up.
 */
export async function makeOwnFolder(parent: string, name: string): Promise<string> {
  const owner = new RegExp(`^${RegExp.escape(name)}-(\\d+)-\\w{6}$`);
  const abandoned = (await readdir(parent)).filter((entry) => isGone(Number(owner.exec(entry)?.[1] ?? process.pid)));
  // One that cannot be removed is another user's.
  for (const entry of abandoned) await rm(join(parent, entry), { recursive: true, force: true }).catch(() => {});
  return mkdtemp(join(parent, `${name}-${process.pid}-`));
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
