/** The guest as it is, which asks itself to end once it was sent so many bytes: as a host's Ctrl-Alt-Del would. */
import { readFileSync } from 'node:fs';
import { neverExit, powerOff } from '../../guest/src/linux/index.ts';
import { machineHardware } from '../../guest/src/platform/machine.ts';
import { type Supervised, supervise } from '../../guest/src/supervisor.ts';

/** More than callers send who do not mean it. */
const ENDS_AFTER_BYTES = 8 * 1024 * 1024;
const LOOKS_MS = 500;

/** What came in over all networks but the loopback (proc_net(5): the first number of a line is the bytes received). */
function received(): number {
  const lines = readFileSync('/proc/net/dev', 'latin1').split('\n');
  return lines.reduce((sum, line) => sum + Number(/^\s*(?!lo:)\w+:\s*(\d+)/.exec(line)?.[1] ?? 0), 0);
}

const lastWords = (reason: unknown): string => `enclaim: refused: ${reason instanceof Error ? reason.message : reason}`;
let supervised: Supervised | undefined;
neverExit(lastWords, () => supervised?.drain());
supervise(machineHardware).then(
  (running) => {
    supervised = running;
    const looks = setInterval(() => {
      if (received() < ENDS_AFTER_BYTES) return;
      clearInterval(looks);
      process.kill(process.pid, 'SIGTERM');
    }, LOOKS_MS);
  },
  (reason: unknown) => {
    process.stdout.write(`${lastWords(reason)}\n`);
    powerOff();
  },
);
