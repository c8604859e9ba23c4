/**
 * The runtime's process in the VM: one socket to the supervisor, one device for the log, one port.
 */

import { createServer, Socket } from 'node:net';
import { fromBase64, Reader, toBase64 } from '@enclaim/attestation/bytes';
import { isAttestedOnly } from '@enclaim/policy-schema/admission';
import { type Answer, askedKeeper } from './asked-keeper.ts';
import {
  type BootMessage,
  CONTROL_FD,
  type FromRuntime,
  MAX_CONTROL_BYTES,
  MAX_QUESTION_BYTES,
  type ToRuntime,
} from './control.ts';
import { askServers } from './egress/resolver.ts';
import { RefusalError } from './errors.ts';
import { encodeFrame, FrameReader } from './frames.ts';
import { groupProcessorTime } from './governor/readings.ts';
import { type HardwareUse, platformOn } from './hardware/platforms.ts';
import { openDevice } from './log/device.ts';
import { startRuntime } from './runtime.ts';
import type { WorkerFactory, WorkerProcess } from './worker/worker.ts';

/** The supervisor at the other end of the control socket. */
class Supervisor {
  readonly boot: Promise<BootMessage>;
  /** Resolves when the supervisor asks for the end. */
  readonly drain: Promise<void>;
  readonly #socket = new Socket({ fd: CONTROL_FD, readable: true, writable: true });
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>();
  #next = 0;

  constructor() {
    const frames = new FrameReader(MAX_CONTROL_BYTES);
    const { promise, resolve } = Promise.withResolvers<BootMessage>();
    this.boot = promise;
    const end = Promise.withResolvers<void>();
    this.drain = end.promise;
    this.#socket.on('data', (chunk: Uint8Array) => {
      for (const text of frames.push(chunk)) {
        const message = JSON.parse(text) as ToRuntime;
        if (message.kind === 'boot') resolve(message);
        else if (message.kind === 'drain') end.resolve();
        else this.#settle(message);
      }
    });
    // Without its supervisor the runtime has no hardware to attest it.
    this.#socket.on('close', () => process.exit(1));
    this.#socket.on('error', () => process.exit(1));
  }

  /**
   * Sends a message.
   *
   * @throws RangeError beyond the limit of a request, because a client's credential may be of any
   * size
   */
  say(message: FromRuntime): void {
    this.#socket.write(encodeFrame(message, MAX_QUESTION_BYTES));
  }

  /** Sends a question, and resolves with its answer. */
  async ask<K extends Answer['kind']>(
    kind: K,
    question: (id: number) => FromRuntime,
  ): Promise<Extract<Answer, { kind: K }>> {
    const id = this.#next++;
    const waiting = Promise.withResolvers<Answer>();
    this.say(question(id));
    this.#waiting.set(id, waiting);
    const answer = await waiting.promise;
    if (answer.kind !== kind)
      throw new Error(answer.kind === 'failed' ? answer.reason : `answer ${answer.kind}, expected ${kind}`);
    return answer as Extract<Answer, { kind: K }>;
  }

  #settle(answer: Answer): void {
    this.#waiting.get(answer.id)?.resolve(answer);
    this.#waiting.delete(answer.id);
  }
}

/** The hardware, used through the supervisor. */
function hardwareOf(supervisor: Supervisor): HardwareUse {
  return {
    state: async (statement) => {
      await supervisor.ask('stated', (id) => ({ kind: 'state', id, statement: toBase64(statement) }));
    },
    // The supervisor has the statement, and computes its digest itself.
    quote: async (data) =>
      (await supervisor.ask('quoted', (id) => ({ kind: 'quote', id, root: toBase64(data.subarray(0, 32)) }))).quote,
    activate: async (blob, secret) => {
      const [credentialBlob, encryptedSecret] = [toBase64(blob), toBase64(secret)];
      const answer = await supervisor.ask('activated', (id) => ({
        kind: 'activate',
        id,
        credentialBlob,
        encryptedSecret,
      }));
      return fromBase64(answer.secret);
    },
  };
}

/**
 * Makes a factory of workers. The supervisor starts them; each connects to a socket and sends the
 * id that it was requested under.
 */
async function workerFactory(
  supervisor: Supervisor,
  { path, cgroups }: BootMessage['workers'],
): Promise<WorkerFactory> {
  const expected = new Map<number, (process: WorkerProcess) => void>();
  let next = 0;
  const server = createServer((socket) => {
    socket.once('readable', () => {
      const prefix = socket.read(4) as Buffer | null;
      const id = prefix === null ? -1 : new Reader(prefix).u32be();
      const expect = expected.get(id);
      expected.delete(id);
      if (expect === undefined) socket.destroy();
      else
        expect({
          socket,
          kill: () => supervisor.say({ kind: 'end', id }),
          processorTime: () => groupProcessorTime(`${cgroups}${id}`),
        });
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return () =>
    new Promise((resolve) => {
      const id = next++;
      expected.set(id, resolve);
      supervisor.say({ kind: 'start', id });
    });
}

async function main(): Promise<void> {
  const supervisor = new Supervisor();
  try {
    const boot = await supervisor.boot;
    const { bundle, workers } = boot;
    const { size, capacity } = workers;
    const { admission, close } = await startRuntime({
      platform: platformOn(boot.hardware, boot.commandLine, hardwareOf(supervisor)),
      bundle: {
        policy: fromBase64(bundle.policy),
        descriptors: fromBase64(bundle.descriptors),
        handlers: fromBase64(bundle.handlers),
        policyDigest: bundle.policyDigest,
        digest: bundle.digest,
      },
      image: boot.image,
      log: { device: await openDevice(boot.log.path), capacity: boot.log.capacity },
      workers: { factory: await workerFactory(supervisor, workers), size, missing: [], capacity },
      // IPv6 and IPv4: the supervisor decides which of the two exists
      listen: { host: '::', port: boot.port },
      time: boot.time,
      kernel: boot.kernel,
      keeper:
        boot.keeper === null ? undefined : askedKeeper(boot.keeper, (kind, question) => supervisor.ask(kind, question)),
      resolve: askServers(boot.nameServers),
    });
    const { policy, exposed, withheld } = admission;
    const plain = exposed.filter(({ id }) => !isAttestedOnly(policy, id)).length;
    supervisor.say({ kind: 'serving', exposed: exposed.length, plain, withheld: withheld.length });
    await supervisor.drain;
    await close();
    supervisor.say({ kind: 'drained' });
  } catch (error) {
    const reason =
      error instanceof RefusalError
        ? `${error.code}: ${error.message}`
        : `the runtime failed: ${(error as Error).message}`;
    supervisor.say({ kind: 'refused', reason: reason.slice(0, 1000) });
  }
}

await main();
