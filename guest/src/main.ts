/**
 * PID 1: mounts, measures the app bundle against the launch, starts the runtime, then only
 * supervises.
 */

import { LinuxError, neverExit, powerOff } from './linux/index.ts';
import { machineHardware } from './platform/machine.ts';
import { Refusal } from './refusal.ts';
import { type Supervised, supervise } from './supervisor.ts';

/** The last line on the console: never more than the reason. */
function lastWords(reason: unknown): string {
  if (reason instanceof Refusal) return `enclaim: refused: ${reason.message}`;
  if (reason instanceof LinuxError) return `enclaim: refused: ${reason.message}`;
  return `enclaim: refused: the guest failed: ${reason instanceof Error ? reason.message : String(reason)}`;
}

let supervised: Supervised | undefined;
neverExit(lastWords, () => supervised?.drain());
supervise(machineHardware).then(
  (running) => {
    supervised = running;
  },
  (reason: unknown) => {
    process.stdout.write(`${lastWords(reason)}\n`);
    powerOff();
  },
);
