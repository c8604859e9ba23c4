/**
 * The supervisor's end of the control socket: what a runtime may ask for, and how much of it at
 * once.
 */

import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBase64, toBase64 } from '@enclaim/attestation/bytes';
import {
  type FromRuntime,
  MAX_CONTROL_BYTES,
  MAX_QUESTION_BYTES,
  parseFromRuntime,
  type ToRuntime,
} from '@enclaim/runtime/control';
import { encodeFrame, FrameReader } from '@enclaim/runtime/frames';
import { passageOf } from '@enclaim/runtime/keeper';
import type { ConfinedChild } from './linux/index.ts';
import type { GuestPlatform, PlatformKeeper } from './platform/platform.ts';
import { Refusal } from './refusal.ts';
import type { StatedBoot } from './stated-boot.ts';

/** Questions that may wait for the hardware: 64 activations and a quote, and as many again. */
const MAX_QUESTIONS = 128;
/**
 * Most workers at once, including those that start or have been told to end.
 *
 * A policy has at most 16 classes. Each has one worker for all its calls, one for calls that run
 * alone, and as many that are being replaced.
 */
export const MAX_WORKERS = 64;
/**
 * Milliseconds for the runtime to end: three times what it gives its calls, to allow for a slow
 * machine.
 */
const DRAIN_MS = 30_000;
/** Milliseconds for the kernel to send what closed connections still hold. */
const LAST_BYTES_MS = 500;

/** The parts of the guest that the link's messages act on. */
export interface RuntimeLinkOptions {
  readonly platform: Pick<GuestPlatform, 'quote' | 'activate' | 'keeper'>;
  readonly stated: StatedBoot;
  /** Starts a confined worker that comes in under this id; resolves when it has. */
  readonly startWorker: (id: number) => Promise<Pick<ConfinedChild, 'kill' | 'exit'>>;
  /** Ends the runtime at once. */
  readonly kill: () => void;
  /** Called at the end if the runtime has served. Before that, `serving` rejects. */
  readonly failed: (refusal: Refusal) => void;
  /** Writes a line to the console. */
  readonly say: (line: string) => void;
}

/**
 * The control link to a runtime. The supervisor trusts the runtime less than itself: it ends the
 * runtime at its first breach of the protocol.
 */
export class RuntimeLink {
  /** Settles when the runtime serves, or says why it will not. */
  readonly serving: Promise<void>;
  readonly #socket: Socket;
  readonly #options: RuntimeLinkOptions;
  /** Workers by id; null while one starts. */
  readonly #workers = new Map<number, Pick<ConfinedChild, 'kill'> | null>();
  readonly #serving = Promise.withResolvers<void>();
  readonly #drained = Promise.withResolvers<void>();
  #served = false;
  #over = false;
  #asked = 0;

  constructor(socket: Socket, options: RuntimeLinkOptions) {
    this.#socket = socket;
    this.#options = options;
    this.serving = this.#serving.promise;
    const frames = new FrameReader(MAX_QUESTION_BYTES);
    socket.on('data', (chunk: Uint8Array) => {
      try {
        for (const text of frames.push(chunk)) if (!this.#over) this.#obey(parseFromRuntime(text));
      } catch {
        this.fail('the runtime said something that is not in the protocol');
      }
    });
    socket.on('error', () => this.fail('the control socket failed'));
    socket.on('close', () => this.fail('the control socket closed'));
  }

  /** Says something to the runtime, if it is still there. */
  tell(message: ToRuntime): void {
    if (this.#over) return;
    if (this.#socket.writableLength > MAX_CONTROL_BYTES) this.fail('the runtime does not read what it asked for');
    else this.#socket.write(encodeFrame(message, MAX_CONTROL_BYTES));
  }

  /** Asks the runtime to end, and does not wait for ever. */
  async drain(): Promise<void> {
    this.#options.say('draining');
    this.tell({ kind: 'drain' });
    const drained = this.#drained.promise.then(() => true);
    if (await Promise.race([drained, sleep(DRAIN_MS, false)])) this.#options.say('drained');
    await sleep(LAST_BYTES_MS);
  }

  /**
   * Ends everything, at any time: without a runtime there is nothing to supervise. The runtime is
   * dead before the power is off.
   */
  fail(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.kill();
    const refusal = new Refusal('runtime', reason);
    if (this.#served) this.#options.failed(refusal);
    else this.#serving.reject(refusal);
  }

  #obey(message: FromRuntime): void {
    switch (message.kind) {
      case 'serving':
        if (this.#served) throw new RangeError('serving twice');
        this.#served = true;
        this.#options.say(served(message));
        this.#serving.resolve();
        return;
      case 'drained':
        this.#drained.resolve();
        return;
      case 'refused':
        this.fail(message.reason);
        return;
      case 'start':
        void this.#startWorker(message.id).catch((error: Error) =>
          this.fail(`no worker could be started: ${error.message}`),
        );
        return;
      case 'end':
        this.#workers.get(message.id)?.kill('SIGKILL');
        return;
      default:
        this.#answer(message.id, () => answerTo(message, this.#options));
    }
  }

  #answer(id: number, make: () => Promise<ToRuntime>): void {
    if (++this.#asked > MAX_QUESTIONS) throw new RangeError(`more than ${MAX_QUESTIONS} questions at once`);
    void make()
      .catch((error: Error): ToRuntime => ({ kind: 'failed', id, reason: error.message.slice(0, 500) }))
      .then((answer) => {
        this.#asked--;
        this.tell(answer);
      });
  }

  async #startWorker(id: number): Promise<void> {
    if (this.#workers.has(id)) throw new RangeError(`worker ${id} is there`);
    if (this.#workers.size === MAX_WORKERS) throw new RangeError(`more than ${MAX_WORKERS} at once`);
    this.#workers.set(id, null);
    const worker = await this.#options.startWorker(id);
    this.#workers.set(id, worker);
    void worker.exit.then(() => this.#workers.delete(id));
  }
}

/**
 * A line for the console: how many methods are served, and on which protocols. On plain h2 a caller
 * gets no evidence.
 */
function served({ exposed, plain, withheld }: Extract<FromRuntime, { kind: 'serving' }>): string {
  const protocols = plain === exposed ? 'on enclaim-h2 and plain h2' : `on enclaim-h2; ${plain} of them on plain h2`;
  return `serving: ${exposed} methods exposed ${protocols}, ${withheld} withheld`;
}

/** A message that asks something of the hardware. */
export type Question = Exclude<FromRuntime, { kind: 'serving' | 'drained' | 'refused' | 'start' | 'end' }>;

/**
 * The answer to a question of the runtime.
 * @throws Error what the platform, or the statement's holder, refuses with
 */
export async function answerTo(
  question: Question,
  { platform, stated }: Pick<RuntimeLinkOptions, 'platform' | 'stated'>,
): Promise<ToRuntime> {
  const { id } = question;
  switch (question.kind) {
    case 'state':
      stated.state(fromBase64(question.statement));
      return { kind: 'stated', id };
    case 'quote':
      return { kind: 'quoted', id, quote: await platform.quote(stated.covered(fromBase64(question.root))) };
    case 'activate': {
      const [blob, secret] = [fromBase64(question.credentialBlob), fromBase64(question.encryptedSecret)];
      return { kind: 'activated', id, secret: toBase64(await platform.activate(blob, secret)) };
    }
    case 'epoch':
      return { kind: 'epoch', id, epoch: await keeperOf(platform).epoch() };
    case 'seal': {
      stated.useKeeper();
      const blob = await keeperOf(platform).seal(fromBase64(question.key), question.epoch);
      return { kind: 'sealed', id, blob: toBase64(blob) };
    }
    case 'open':
      stated.useKeeper();
      return { kind: 'opened', id, key: toBase64(await keeperOf(platform).open(fromBase64(question.blob))) };
    case 'advance':
      stated.useKeeper();
      return { kind: 'epoch', id, epoch: await keeperOf(platform).advance() };
    case 'bequeath': {
      stated.useKeeper();
      const blob = await keeperOf(platform).heirs.handOver(fromBase64(question.key), passageOf(question.passage));
      return { kind: 'sealed', id, blob: toBase64(blob) };
    }
    case 'inherit': {
      stated.useKeeper();
      const key = await keeperOf(platform).heirs.takeOver(fromBase64(question.blob), passageOf(question.passage));
      return { kind: 'opened', id, key: toBase64(key) };
    }
    case 'heir':
      return { kind: 'epoch', id, epoch: await keeperOf(platform).heirs.epochOfHeir(passageOf(question.passage)) };
    case 'resume':
      stated.useKeeper();
      await keeperOf(platform).heirs.resume(passageOf(question.passage));
      return { kind: 'resumed', id };
    case 'recover':
      stated.useKeeper();
      await keeperOf(platform).recover(question.recovery);
      return { kind: 'recovered', id };
    case 'retire':
      stated.useKeeper();
      await keeperOf(platform).heirs.retire(passageOf(question.passage), question.epoch);
      return { kind: 'retired', id };
  }
}

function keeperOf({ keeper }: Pick<GuestPlatform, 'keeper'>): PlatformKeeper {
  if (keeper === undefined) throw new RangeError('this platform keeps no keys over boots');
  return keeper;
}
