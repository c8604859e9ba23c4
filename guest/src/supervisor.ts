/** The supervisor's life: a boot in order, then the service of a few requests of the runtime. */

import { chownSync, closeSync, mkdirSync, readFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';
import { toBase64, u32be } from '@enclaim/attestation/bytes';
import type { BootMessage } from '@enclaim/runtime/control';
import { type MeasuredApp, measureApp } from './app.ts';
import {
  awaitDisk,
  type CgroupLimits,
  type ConfinedChild,
  type ConfinedOptions,
  cgroupFolder,
  connectUnix,
  type Disk,
  LinuxError,
  loadModules,
  makeCgroup,
  makeOuterCgroup,
  mountBase,
  readCommandLine,
  reapOrphans,
  removeCgroup,
  restrictForGood,
  socketPair,
  spawnConfined,
  verifyHardening,
} from './linux/index.ts';
import { joinNetwork, openNetwork, serverNames } from './network.ts';
import { type HardwareSources, openPlatform } from './platform/open.ts';
import type { GuestPlatform } from './platform/platform.ts';
import { Refusal } from './refusal.ts';
import { MAX_WORKERS, RuntimeLink } from './runtime-link.ts';
import { knownOf, StatedBoot } from './stated-boot.ts';
import { readTime } from './time.ts';
import { capacityOf, WORKER_HEAP, WORKER_LIMITS } from './worker-share.ts';

const NODE = '/usr/bin/node';
const RUNTIME = '/enclaim/runtime.mjs';
const WORKER = '/enclaim/worker.mjs';
const MODULES = '/enclaim/modules.json';
const RELEASE = '/enclaim/release';
const WORKER_FOLDER = '/run/enclaim';
const WORKER_SOCKET = `${WORKER_FOLDER}/workers.sock`;
const PORT = 50051;
const WORKER_GROUP = 'workers';
/** The contents of a worker's root: Node, its libraries, and the worker. */
const WORKER_ROOT = [NODE, '/lib/x86_64-linux-gnu', '/lib64', WORKER].map((from) => ({ from }));

/** Bytes of the VM's memory that all workers together may have. */
const workersMemory = (): number => Math.floor((totalmem() * 5) / 8);
/**
 * Number of workers in the VM, however many classes share them: one for each processor except the
 * runtime's own, as far as the memory allows.
 */
const workerCount = (): number =>
  Math.max(
    1,
    Math.min(availableParallelism() - 1, Math.floor(workersMemory() / WORKER_LIMITS.memory), MAX_READY_WORKERS),
  );
const MAX_READY_WORKERS = 16;

/**
 * Limits of the workers of all classes together. Each class has a worker, and budgets hold for the
 * sum.
 *
 * **Bound**: without budgets, or if handlers do not keep to them, this leaves the runtime the rest
 * of the machine's memory, and all processors except the workers'.
 */
const allWorkersLimits = (): CgroupLimits => ({
  memory: Math.max(WORKER_LIMITS.memory, workersMemory()),
  cpu: workerCount() * WORKER_LIMITS.cpu,
  tasks: MAX_WORKERS * WORKER_LIMITS.tasks,
});

/** User ids inside the VM. Every worker gets one of its own, counted from the first. */
const UID = { runtime: 1000, firstWorker: 2000, workers: 60_000 };

/** Facts of this boot that the runtime is told beside what was measured. */
type FoundAtBoot = Pick<BootMessage, 'time' | 'kernel' | 'nameServers'>;

/** A system that runs. */
export interface Supervised {
  /**
   * Lets calls under way end and flushes the log. Resolves when both are done, or when their time
   * is over.
   */
  drain(): Promise<void>;
}

/**
 * Boots and supervises; resolves only once everything runs.
 * @param hardware looked at once the kernel's modules are loaded
 * @throws Refusal, LinuxError, CommandLineError, TpmError, TsmError
 */
export async function supervise(hardware: () => HardwareSources): Promise<Supervised> {
  mountBase();
  reapOrphans();
  restrictForGood();
  say('guest: mounted');
  loadModules(JSON.parse(readFileSync(MODULES, 'utf8')));
  const commandLine = readCommandLine();
  verifyHardening(); // before anything of a network is heard
  const network = joinNetwork(commandLine.network, PORT);
  // Awaited below. A refusal that comes first must not be hidden by this one.
  network.catch(() => {});
  const platform = await openPlatform(hardware(), commandLine);
  const time = await refusable(platform, async () => readTime());
  const app = await refusable(platform, async () =>
    measureApp(await requiredDisk('app'), commandLine.policy, platform),
  );
  say(`guest: measured policy ${app.policyDigest} on ${platform.kind}`);
  const { addresses, dns } = await network;
  say(`guest: network ${addresses.join(' ')}`);
  return refusable(platform, async () => {
    const rules = openNetwork(commandLine.network, PORT, {
      policy: app.bundle.policy,
      user: UID.runtime,
      resolvers: dns,
    });
    // The second check: the interface has its settings now.
    const kernel = { settings: verifyHardening(), rules };
    const found = { time, kernel, nameServers: serverNames(dns) };
    return startRuntime(app, platform, await requiredDisk('state'), found);
  });
}

function say(line: string): void {
  process.stdout.write(`enclaim: ${line}\n`);
}

async function requiredDisk(use: string): Promise<Disk> {
  try {
    return await awaitDisk(use);
  } catch (cause) {
    if (!(cause instanceof LinuxError)) throw cause;
    throw new Refusal('disk', cause.message, { cause });
  }
}

/**
 * Runs a step. A refusal of it is measured too if there is a register, so that no later quote can
 * deny it.
 */
async function refusable<T>(platform: GuestPlatform, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof Refusal) await platform.refuse(error.message);
    throw error;
  }
}

/**
 * Starts the runtime, tells it everything, and resolves when it serves.
 * @throws Refusal `runtime`
 */
async function startRuntime(
  app: MeasuredApp,
  platform: GuestPlatform,
  state: Disk,
  found: FoundAtBoot,
): Promise<Supervised> {
  const [ours, theirs] = socketPair();
  chownSync(state.path, UID.runtime, UID.runtime);
  mkdirSync(WORKER_FOLDER, { mode: 0o700 });
  chownSync(WORKER_FOLDER, UID.runtime, UID.runtime);
  const runtime = await spawnConfined(runtimeOptions(theirs));
  closeSync(theirs);
  const boot = bootMessage(app, platform, state, found);
  const socket = new Socket({ fd: ours, readable: true, writable: true });
  const link = new RuntimeLink(socket, {
    platform,
    stated: new StatedBoot(knownOf(boot), () => platform.keeper?.begun() ?? null),
    startWorker: workerStarter(),
    kill: () => runtime.kill('SIGKILL'),
    failed: (refusal) =>
      queueMicrotask(() => {
        // The caller's promise is settled by then: PID 1's handler of uncaught errors powers off.
        throw refusal;
      }),
    say,
  });
  void runtime.exit.then(({ code, signal }) => link.fail(`the runtime ended with ${signal ?? code}`));
  link.tell(boot);
  await link.serving;
  return { drain: () => link.drain() };
}

/**
 * How the runtime is started: with its end of the control socket, and without a console.
 *
 * **Leak**: the host reads the console, and an error's text may hold what a caller sent.
 */
export function runtimeOptions(control: number): ConfinedOptions {
  return {
    argv: [NODE, '--no-warnings', RUNTIME],
    uid: UID.runtime,
    gid: UID.runtime,
    namespaces: ['ipc', 'uts'],
    fds: [null, null, null, control],
  };
}

function bootMessage(
  { bundle, digest, policyDigest }: MeasuredApp,
  platform: GuestPlatform,
  state: Disk,
  found: FoundAtBoot,
): BootMessage {
  const size = workerCount();
  return {
    kind: 'boot',
    image: readFileSync(RELEASE, 'utf8').trim(),
    bundle: {
      policy: toBase64(bundle.policy),
      descriptors: toBase64(bundle.descriptors),
      handlers: toBase64(bundle.handlers),
      policyDigest,
      digest,
    },
    hardware: platform.hardware(),
    keeper: platform.keeper?.kind ?? null,
    commandLine: platform.commandLine,
    log: { path: state.path, capacity: state.size },
    workers: {
      path: WORKER_SOCKET,
      size,
      cgroups: `${cgroupFolder(WORKER_GROUP)}/`,
      capacity: capacityOf(size),
    },
    port: PORT,
    ...found,
  };
}

/**
 * Starts workers: each has its own user, no network, a root of four entries, a cgroup and one
 * socket. Their own program takes the rest away.
 */
function workerStarter(): (id: number) => Promise<ConfinedChild> {
  let started = 0;
  makeOuterCgroup(WORKER_GROUP, allWorkersLimits());
  return async (id) => {
    const uid = UID.firstWorker + (started++ % UID.workers);
    const cgroup = makeCgroup(`${WORKER_GROUP}/${id}`, WORKER_LIMITS);
    const fd = connectUnix(WORKER_SOCKET);
    try {
      const worker = await spawnConfined({
        argv: [
          NODE,
          '--no-warnings',
          '--permission',
          '--allow-ffi', // given up, with the one file it may read, before the handlers are there
          `--allow-fs-read=${WORKER}`,
          '--no-experimental-sqlite',
          `--max-old-space-size=${WORKER_HEAP}`,
          // Without this, a handler could add a private field to a frozen object.
          '--js-nonextensible-applies-to-private',
          WORKER,
        ],
        uid,
        gid: uid,
        namespaces: ['mount', 'net', 'ipc', 'uts', 'pid', 'cgroup'],
        root: WORKER_ROOT,
        fds: [null, null, null, fd],
        cgroup,
      });
      void worker.exit.then(() => removeCgroup(cgroup));
      // The runtime learns only now whose socket this is. Without this order, it could give
      // handlers to a worker that has not all its limits yet.
      writeSync(fd, u32be(id));
      return worker;
    } finally {
      closeSync(fd);
    }
  };
}
