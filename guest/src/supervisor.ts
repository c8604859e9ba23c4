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
import { MOST_WORKERS, RuntimeLink } from './runtime-link.ts';
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
/** What a worker's root holds: Node, its libraries, and the worker. */
const WORKER_ROOT = [NODE, '/lib/x86_64-linux-gnu', '/lib64', WORKER].map((from) => ({ from }));

/** What all workers may have of the VM's memory. */
const workersMemory = (): number => Math.floor((totalmem() * 5) / 8);
/** Workers of the VM, however many classes share them: one for each processor but the runtime's own, as far as memory goes. */
const workerCount = (): number =>
  Math.max(1, Math.min(availableParallelism() - 1, Math.floor(workersMemory() / WORKER_LIMITS.memory), MOST_READY));
const MOST_READY = 16;

/**
 * What the workers of all classes have together. Each class has a worker, and budgets hold for the sum; without budgets, or
 * where handlers do not keep to them, this leaves the runtime the rest of the machine's memory, and all but their processors.
 */
const allWorkersLimits = (): CgroupLimits => ({
  memory: Math.max(WORKER_LIMITS.memory, workersMemory()),
  cpu: workerCount() * WORKER_LIMITS.cpu,
  tasks: MOST_WORKERS * WORKER_LIMITS.tasks,
});

/** User ids inside the VM. Every worker gets one of its own, counted from the first. */
const UID = { runtime: 1000, firstWorker: 2000, workers: 60_000 };

/** What the runtime is told of this boot beside what was measured. */
type FoundAtBoot = Pick<BootMessage, 'time' | 'kernel' | 'nameServers'>;

/** A system that runs. */
export interface Supervised {
  /** Lets calls under way end and the log be flushed; resolves when they have, or when they have had their time. */
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
  network.catch(() => {}); // awaited below; a refusal that comes first must not be hidden by this one
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
    const kernel = { settings: verifyHardening(), rules }; // again, now that the interface has its settings
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

/** Runs a step; a refusal of it is measured too where there is a register, so that no later quote can deny it. */
async function refusable<T>(platform: GuestPlatform, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof Refusal) await platform.refuse(error.message);
    throw error;
  }
}

/** Starts the runtime, tells it everything, and resolves when it serves. @throws Refusal `runtime` */
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
    stated: new StatedBoot(knownOf(boot)),
    startWorker: workerStarter(),
    kill: () => runtime.kill('SIGKILL'),
    failed: (refusal) =>
      queueMicrotask(() => {
        throw refusal; // nobody awaits it any more: PID 1's handler of uncaught errors powers off
      }),
    say,
  });
  void runtime.exit.then(({ code, signal }) => link.fail(`the runtime ended with ${signal ?? code}`));
  link.tell(boot);
  await link.serving;
  return { drain: () => link.drain() };
}

/** The runtime: its end of the control socket, and no console. The host reads that, and an error's text may hold what a caller sent. */
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

/** Starts workers: own user, no network, a root of four entries, a cgroup, one socket. Their own program takes the rest away. */
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
          '--js-nonextensible-applies-to-private', // nothing is added to a frozen object, not even a private field
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
      // Only now does the runtime know whose socket this is: it gives handlers to a worker that has all its limits.
      writeSync(fd, u32be(id));
      return worker;
    } finally {
      closeSync(fd);
    }
  };
}
