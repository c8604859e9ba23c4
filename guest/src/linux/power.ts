/** The end of PID 1: it never exits (the kernel would panic), it powers the machine off. */
import { writeSync } from 'node:fs';
import { LinuxError } from './error.ts';
import { check, libc } from './libc.ts';

const RB_POWER_OFF = 0x4321fedc;
const RB_DISABLE_CAD = 0;
const CONSOLE = 1;

/**
 * Writes what is unwritten to the disks and the console, and powers the machine off.
 *
 * @throws LinuxError EPERM if this process is not PID 1, so that no test ends the machine it runs
 *   on.
 */
export function powerOff(): never {
  if (process.pid !== 1) throw new LinuxError('EPERM', 'reboot', 'only PID 1 powers off');
  libc().sync();
  libc().tcdrain(CONSOLE);
  check('reboot', libc().reboot(RB_POWER_OFF));
  for (;;); // reboot(2) does not return to PID 1, and nothing may run after it
}

/**
 * Routes every way that this process could end into `powerOff`: uncaught errors, unhandled
 * rejections, `process.exit`, an empty event loop and the signals that would end it.
 *
 * @param lastWords The one line for the console that says why; never anything a caller of the
 *   runtime sent.
 * @param drain What is done first if a signal asks for the end. It is not done a second time, and
 *   the end is not delayed if it returns nothing to wait for.
 */
export function neverExit(lastWords: (reason: unknown) => string, drain?: () => Promise<void> | undefined): void {
  const end = (reason: unknown): never => {
    try {
      writeSync(CONSOLE, `${lastWords(reason).slice(0, 500)}\n`);
    } finally {
      powerOff();
    }
  };
  let asked = false;
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
  process.on('exit', (code) => end(new Error(`exit with code ${code}`)));
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPWR', 'SIGUSR2'] as const) {
    process.on(signal, () => {
      const reason = new Error(`signal ${signal}`);
      const drained = asked ? undefined : drain?.();
      asked = true;
      if (drained === undefined) end(reason);
      else drained.then(powerOff, end);
    });
  }
  // Ctrl-Alt-Del becomes a SIGINT instead of an immediate reset.
  check('reboot', libc().reboot(RB_DISABLE_CAD));
}
