/** The guest as it is, which asks itself to end some time after it serves: as a host's Ctrl-Alt-Del would. */
import { machineHardware } from '../../guest/src/hardware.ts';
import { neverExit, powerOff } from '../../guest/src/linux/index.ts';
import { type Supervised, supervise } from '../../guest/src/supervisor.ts';

const SERVES_MS = 60_000;

const lastWords = (reason: unknown): string => `enclaim: refused: ${reason instanceof Error ? reason.message : reason}`;
let supervised: Supervised | undefined;
neverExit(lastWords, () => supervised?.drain());
supervise(machineHardware).then(
  (running) => {
    supervised = running;
    setTimeout(() => process.kill(process.pid, 'SIGTERM'), SERVES_MS);
  },
  (reason: unknown) => {
    process.stdout.write(`${lastWords(reason)}\n`);
    powerOff();
  },
);
