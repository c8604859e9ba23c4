/** A running machine: from files to a guest that serves, and back to nothing. */
import { copyFile, mkdir, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type MachineArguments, type MachineDescription, renderMachine, VARIABLES_FILE } from './arguments.ts';
import { type Child, startChild, tied } from './child.ts';
import { MachineError } from './error.ts';
import { makeOwnFolder } from './own-folder.ts';
import { type DiskWish, type MachineWish, planMachine, type RunPlace } from './plan.ts';
import { freePort, portTaken } from './port.ts';
import { hasNote, launchOf, noteLaunch, refuseOtherLaunch, type SealedTo } from './sealed-to.ts';
import { timeToRun, watchSilence } from './silence.ts';
import { holdState } from './state-lock.ts';
import { findTools, type MachineTools, type ToolOptions } from './tools.ts';
import { prepareTpm, startTpm, type TpmState } from './tpm.ts';
import { ConsoleWatch, type MachinePhase } from './watch.ts';

/** Options of a run: where {@link startMachine} boots, and callbacks. */
interface RunOptions {
  /** Port on 127.0.0.1; default 0, a free one. */
  readonly port?: number;
  /**
   * Keeps the TPM and the state disk from run to run; by default both are new and end with the
   * machine.
   */
  readonly stateFolder?: string;
  /**
   * Milliseconds without a line on the console, in which QEMU did not wait for a processor, after
   * which a guest that does not serve is given up; default 300 000.
   */
  readonly silence?: number;
  readonly tools?: ToolOptions;
  readonly onPhase?: (phase: MachinePhase) => void;
  /** Hears, before anything boots, of the policy whose state is handed over to this launch. */
  readonly onHeir?: (predecessor: string) => void;
  /** Hears why a boot is begun anew: the emulator lost a timer, for which the guest waits. */
  readonly onAgain?: (reason: string) => void;
  /** Ends the machine, at any phase. */
  readonly signal?: AbortSignal;
}

/**
 * Options of {@link startMachine} for an image and an app bundle, or for a disk with both on it.
 */
export interface MachineOptions extends MachineWish, RunOptions {}
export interface DiskMachineOptions extends DiskWish, RunOptions {}

/** A machine whose guest serves. */
export interface RunningMachine {
  /** Port on 127.0.0.1 that leads to the guest. */
  readonly port: number;
  /** Process ids: QEMU, and swtpm if there is one. */
  readonly processes: readonly number[];
  /** The authority that certified the TPM, or null on a platform without swtpm. */
  readonly tpmAuthority: TpmState['authority'] | null;
  /** Text of firmware and guest, for one reader. **Trust**: the host can write anything here. */
  readonly console: AsyncIterable<string>;
  /**
   * Settles when QEMU has ended and everything is cleaned up: its exit code and the guest's
   * refusal, if it spoke one.
   */
  readonly ended: Promise<{ readonly code: number | null; readonly refusal: string | null }>;
  /** Ends the machine; settles when no process and no temporary file is left. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const STATE_BYTES = 1 << 30;
/**
 * Milliseconds of silence. An emulated processor may need minutes for a boot, of which the quiet
 * kernel is the longest part without a line.
 */
const SILENCE_MS = 300_000;
/** A boot says some dozens; a guest that goes on and on does not get anywhere either. */
const MAX_CONSOLE_LINES = 10_000;
const PORT_ATTEMPTS = 5;
/** Boots until an emulator is given up that loses timers. */
const EMULATED_BOOTS = 3;
/**
 * Complaints of the guest, 21 s apart, by which a timer is lost. One may be of a computer so busy
 * that it did not run the processor.
 */
const MAX_LATE_TIMERS = 3;
const LAST_LINES = 20;

/**
 * Boots a machine and waits until its guest serves. On every other end, also an abort at any
 * moment, no process and no temporary file is left.
 *
 * @throws MachineError; ImageError if a locked tool cannot be had; the reason of `signal`.
 */
export async function startMachine(options: MachineOptions | DiskMachineOptions): Promise<RunningMachine> {
  const tried = { 'port-taken': 0, 'timer-lost': 0 };
  for (;;) {
    try {
      return await boot(options, options.signal ?? new AbortController().signal);
    } catch (error) {
      if (!(error instanceof MachineError)) throw error;
      if (error.code === 'timer-lost') {
        // To the guest it is a loss of power, as it may come at any time.
        if (++tried['timer-lost'] === EMULATED_BOOTS) throw error;
        options.onAgain?.(error.message);
        continue;
      }
      // A free port that was found can be taken before QEMU binds it. A port that the caller asked
      // for is not replaced.
      const raced = !options.port && error.code === 'port-taken';
      if (!raced || ++tried['port-taken'] === PORT_ATTEMPTS) throw error;
    }
  }
}

/**
 * The command lines that {@link startMachine} would run; the run folder is a name only.
 *
 * @throws MachineError, ImageError as {@link startMachine}.
 */
export async function describeMachine(options: MachineOptions | DiskMachineOptions): Promise<MachineArguments> {
  const runFolder = join(tmpdir(), 'enclaim-run');
  const description = await planMachine(options, placeOf(options, runFolder, options.port ?? 0));
  return renderMachine(description, await findTools(options.tools));
}

async function boot(options: MachineOptions | DiskMachineOptions, signal: AbortSignal): Promise<RunningMachine> {
  const { onPhase = () => {}, silence = SILENCE_MS } = options;
  await using cleanup = new AsyncDisposableStack();
  signal.throwIfAborted();

  onPhase('tools');
  const runFolder = await makeOwnFolder(tmpdir(), 'enclaim-run');
  cleanup.defer(() => rm(runFolder, { recursive: true, force: true }));
  const place = placeOf(options, runFolder, await freePort(options.port ?? 0));
  const description = await planMachine(options, place);
  const isSealed = 'isSealed' in options && options.isSealed === true;
  // A launch that seals nothing would be refused on the disk of one that does.
  const sealedTo = isSealed || (await hasNote(place.stateFolder)) ? await sealingLaunch(description) : null;
  const predecessor = sealedTo === null ? null : await refuseOtherLaunch(place.stateFolder, sealedTo);
  if (predecessor !== null) options.onHeir?.(predecessor);
  const tools = await findTools({ ...options.tools, signal });
  const { qemu, swtpm } = renderMachine(description, tools);
  await prepareFiles(description, place, tools);
  if (options.stateFolder !== undefined) cleanup.use(await holdState(place.stateFolder));
  signal.throwIfAborted();

  let tpmAuthority: RunningMachine['tpmAuthority'] = null;
  const processes: number[] = [];
  if (swtpm !== null) {
    onPhase('tpm');
    tpmAuthority = (await prepareTpm(place.stateFolder, tools, signal)).authority;
    const tpm = cleanup.adopt(await startTpm(swtpm, runFolder, tools, signal), (child) => child.stop());
    processes.push(tpm.pid);
  }

  onPhase('firmware');
  const watch = new ConsoleWatch(onPhase);
  const child = await startChild(tied(tools.setpriv, qemu), {
    temporary: runFolder,
    onLine: (line) => watch.line(line),
  });
  cleanup.adopt(child, () => child.stop());
  processes.unshift(child.pid);
  const isEmulated = description.accelerator === 'tcg';
  await untilServing(child, watch, { port: place.port, silence, isEmulated, signal });
  signal.throwIfAborted();
  if (isSealed && sealedTo !== null) await noteLaunch(place.stateFolder, sealedTo);
  return handOver(cleanup.move(), { child, watch, signal, port: place.port, processes, tpmAuthority });
}

/** The launch that state is sealed to; null where a disk boots, with a command line of its own. */
async function sealingLaunch({ boot, commandLine }: MachineDescription): Promise<SealedTo | null> {
  return boot.kind === 'uki' && commandLine !== null ? launchOf(boot.uki, commandLine) : null;
}

/** Why a guest is waited for no longer. */
interface GivenUp {
  readonly reason: string;
  /** Default `boot-timeout`. */
  readonly code?: 'timer-lost';
}

/** Waits for the one good outcome and names every other. */
async function untilServing(
  child: Child,
  watch: ConsoleWatch,
  { port, silence, isEmulated, signal }: { port: number; silence: number; isEmulated: boolean; signal: AbortSignal },
): Promise<void> {
  const { promise: given, resolve: giveUp } = Promise.withResolvers<GivenUp>();
  const silent = watchSilence(
    silence,
    () => timeToRun(child.pid),
    () => giveUp({ reason: `guest does not serve, and said nothing for ${silence / 1000} s` }),
  );
  watch.onLine = (count) => {
    silent.broken();
    if (isEmulated && watch.timersLost >= MAX_LATE_TIMERS)
      giveUp({ code: 'timer-lost', reason: 'the emulator lost a timer of the guest, which waits for it' });
    if (count > MAX_CONSOLE_LINES) giveUp({ reason: `guest does not serve after ${MAX_CONSOLE_LINES} lines` });
  };
  const abort = (): void => giveUp({ reason: 'aborted' });
  signal.addEventListener('abort', abort);
  // A signal that was aborted while QEMU started says so no more.
  if (signal.aborted) abort();
  const outcome = await Promise.race([watch.served, child.ended, given]);
  watch.onLine = () => {};
  silent.end();
  signal.removeEventListener('abort', abort);
  signal.throwIfAborted();
  if (outcome === undefined) return;

  const context = { console: watch.lines.tail(LAST_LINES) };
  if (watch.refusal !== null) throw new MachineError('guest-refused', watch.refusal, context);
  if ('reason' in outcome) throw new MachineError(outcome.code ?? 'boot-timeout', outcome.reason, context);
  const errors = child.errors().join('; ');
  if (errors.includes('Could not set up host forwarding')) throw portTaken(port);
  const how = outcome.code ?? outcome.signal;
  throw new MachineError(
    'exited',
    `QEMU ended with ${how} before the guest served: ${errors || 'it said nothing'}`,
    context,
  );
}

/** From here on the machine lives until its QEMU ends, the caller stops it or the signal aborts. */
function handOver(
  cleanup: AsyncDisposableStack,
  parts: {
    readonly child: Child;
    readonly watch: ConsoleWatch;
    readonly signal: AbortSignal;
  } & Pick<RunningMachine, 'port' | 'processes' | 'tpmAuthority'>,
): RunningMachine {
  const { child, watch, signal, ...visible } = parts;
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= cleanup.disposeAsync();
    return stopping;
  };
  const abort = (): void => void stop();
  signal.addEventListener('abort', abort, { once: true });
  const ended = child.ended.then(async ({ code }) => {
    signal.removeEventListener('abort', abort);
    watch.lines.end();
    await stop();
    return { code, refusal: watch.refusal };
  });
  return { ...visible, console: watch.lines, ended, stop, [Symbol.asyncDispose]: stop };
}

function placeOf({ stateFolder }: RunOptions, runFolder: string, port: number): RunPlace {
  return { runFolder, stateFolder: stateFolder === undefined ? join(runFolder, 'state') : resolve(stateFolder), port };
}

async function prepareFiles({ state }: MachineDescription, place: RunPlace, tools: MachineTools): Promise<void> {
  try {
    await mkdir(place.stateFolder, { recursive: true, mode: 0o700 });
    if (state !== null) await makeDisk(state);
    await copyFile(tools.firmware.variables, join(place.runFolder, VARIABLES_FILE));
  } catch (cause) {
    throw new MachineError('disk-missing', `cannot write in ${place.stateFolder} or ${place.runFolder}`, { cause });
  }
}

/** A sparse file, made at full size in one step; an existing one is kept as it is. */
async function makeDisk(path: string): Promise<void> {
  const handle = await open(path, 'a', 0o600);
  try {
    if ((await handle.stat()).size === 0) await handle.truncate(STATE_BYTES);
  } finally {
    await handle.close();
  }
}
