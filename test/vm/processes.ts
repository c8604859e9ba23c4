/** Processes of a test, found by a folder that only they name. */
import { readdirSync, readFileSync } from 'node:fs';

/** Pids of the QEMU and swtpm processes with `folder` in their arguments. */
export function machineProcesses(folder: string): number[] {
  const ours = (pid: string): boolean => {
    try {
      const argv = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
      return /qemu|swtpm/.test(argv[0] ?? '') && argv.some((argument) => argument.includes(folder));
    } catch {
      return false; // gone meanwhile
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && ours(name))
    .map(Number);
}
