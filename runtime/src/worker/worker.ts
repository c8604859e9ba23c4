/** A worker from the runtime's side: one hostile process, held to the protocol. */

import type { Duplex } from 'node:stream';
import { concat } from '@enclaim/attestation/bytes';
import { RefusalError } from '../errors.ts';
import { encodeFrame, FrameReader } from '../frames.ts';
import type { CallBudget } from '../governor/resources.ts';
import { Account } from './account.ts';
import { reasonOf } from './call-end.ts';
import { parseFromWorker } from './message-schema.ts';
import {
  type CallMessage,
  FRAME_LIMIT,
  type FromWorker,
  type Json,
  MOST_OPERATIONS,
  type Operation,
  type ToWorker,
} from './protocol.ts';

/** A worker process as the pool sees it. */
export interface WorkerProcess {
  /** The worker's only descriptor, from the other end. */
  readonly socket: Duplex;
  /** Ends the process at once. */
  kill(): void;
  /** Microseconds of processor that it has used, by the kernel's count. @throws Error where it is gone */
  processorTime(): number;
}

/** Starts a worker process. The guest starts them confined; tests and development as they can. */
export type WorkerFactory = () => Promise<WorkerProcess>;

/** One call, and what the runtime does for it. */
export interface Call {
  readonly message: CallMessage;
  /** Carries out an operation. Whatever it throws refuses the operation; a RefusalError's message goes to the handler. */
  perform(operation: Operation): Json | Promise<Json>;
  /** Ends the call: the caller has gone, or its time is over. */
  readonly signal: AbortSignal;
  /** What it may use, where its worker is metered. */
  readonly budget?: CallBudget;
}

interface Running {
  readonly call: Call;
  readonly resolve: (response: Json) => void;
  readonly reject: (error: Error) => void;
  operations: number;
  /** Characters of its operations that are under way. */
  unanswered: number;
  /** Whether anything was done that a second run would do again. */
  acted: boolean;
}

/** What of the handler bundle every worker needs. */
export interface HandlerBundle {
  readonly code: string;
  readonly methods: readonly string[];
  /** Whether calls have budgets. */
  readonly metered: boolean;
}

/** The worker ended under a call that another worker can run from its beginning: it had done nothing yet. */
export class WorkerLostError extends RefusalError {
  /** Whether the worker was ended for what it did, so that a call which was alone in it has done that. */
  readonly judged: boolean;

  constructor(reason: string, judged: boolean) {
    super('worker', `the worker was ended: ${reason}`);
    this.judged = judged;
  }
}

const READY_MS = 20_000;
/** Bytes that may wait to be written to a worker that does not read. */
const MOST_UNREAD = 32 * 1024 * 1024;
/** Characters that one call may have under way in operations: twice the largest message. */
const MOST_UNANSWERED = 2 * FRAME_LIMIT;
/** Milliseconds between two looks at the kernel's count of a metered worker. */
const AUDIT_MS = 100;
/** Operations that leave no trace: a call that did only these can start over. */
const TRACELESS: ReadonlySet<Operation['kind']> = new Set(['get', 'list']);

/** One worker process. It is ended, with all its calls, at the first thing it says that the protocol does not have. */
export class Worker {
  /** Resolves with the reason when the worker has ended. */
  readonly ended: Promise<string>;
  readonly #process: WorkerProcess;
  readonly #stall: number;
  readonly #frames = new FrameReader(FRAME_LIMIT);
  readonly #running = new Map<number, Running>();
  /** Calls that were cancelled and may still run: a handler that spins does not hear of it. */
  readonly #cancelled = new Set<number>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<string>();
  #loaded = false;
  #watch: NodeJS.Timeout | undefined;
  #audit: NodeJS.Timeout | undefined;
  #account: Account | undefined;
  /** What calls of one turn of the loop have to say goes out together. */
  #unsaid: Uint8Array[] = [];
  #unsaidLength = 0;
  #asked = 0;
  #answered = 0;
  #reason: string | undefined;

  /** @param stall milliseconds within which a worker that has calls must turn its loop */
  constructor(process: WorkerProcess, stall: number) {
    this.#process = process;
    this.#stall = stall;
    this.ended = this.#ended.promise;
    this.#ready.promise.catch(() => {});
    const { socket } = process;
    socket.on('data', (chunk: Uint8Array) => this.#receive(chunk));
    socket.on('error', () => this.end('its socket failed', false));
    socket.on('close', () => this.end('it has ended', false));
  }

  /** Number of calls under way. */
  get calls(): number {
    return this.#running.size;
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#reason !== undefined;
  }

  /** Gives the worker its handlers and resolves when it has them. @throws RefusalError `worker`, with text of the worker's */
  async load({ code, methods, metered }: HandlerBundle): Promise<void> {
    const timer = setTimeout(() => this.end(`it was not ready within ${READY_MS} ms`), READY_MS);
    if (metered) this.#account = new Account(() => this.#process.processorTime());
    this.#send({ kind: 'load', code, methods, metered });
    try {
      await this.#ready.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Runs one call. @throws RefusalError `worker`, `budget`; WorkerLostError */
  async run(id: number, call: Call): Promise<Json> {
    if (this.#reason !== undefined) throw new WorkerLostError(this.#reason, false);
    const frame = framed({ kind: 'call', call: id, ...call.message });
    const { promise, resolve, reject } = Promise.withResolvers<Json>();
    const stop = (refusal: RefusalError): void => {
      this.#running.delete(id);
      reject(refusal);
      this.#cancelled.add(id);
      this.#send({ kind: 'cancel', call: id });
    };
    const abort = (): void => stop(reasonOf(call.signal));
    if (call.budget !== undefined) this.#account?.open(id, call.budget, stop);
    this.#running.set(id, { call, resolve, reject, operations: 0, unanswered: 0, acted: false });
    this.#write(frame);
    if (call.signal.aborted) abort();
    else call.signal.addEventListener('abort', abort, { once: true });
    this.#watch ??= setInterval(() => this.#look(), this.#stall / 2);
    if (this.#account !== undefined) this.#audit ??= setInterval(() => this.#examine(), AUDIT_MS);
    try {
      return await promise;
    } finally {
      call.signal.removeEventListener('abort', abort);
      this.#running.delete(id);
      this.#account?.close(id);
    }
  }

  /** Ends the process and fails what it had. `judged`: for something it did, and not because it is gone already. */
  end(reason: string, judged = true): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    clearInterval(this.#watch);
    clearInterval(this.#audit);
    const lost = new WorkerLostError(reason, judged);
    this.#ready.reject(lost);
    for (const { reject, acted } of this.#running.values()) {
      reject(acted ? new RefusalError('worker', lost.message) : lost);
    }
    this.#process.socket.destroy();
    this.#process.kill();
    this.#ended.resolve(reason);
  }

  /** Ends a worker whose loop stands still, and stops looking at one that has nothing to do. */
  #look(): void {
    if (this.#running.size + this.#cancelled.size === 0) {
      clearInterval(this.#watch);
      clearInterval(this.#audit);
      this.#watch = this.#audit = undefined;
      this.#asked = this.#answered;
    } else if (this.#asked - this.#answered > 1) this.end(`it did not answer for ${this.#stall} ms`);
    else this.#send({ kind: 'ping', ping: this.#asked++ });
  }

  #examine(): void {
    try {
      if (this.#account?.exceeded()) this.end('a call used more processor than it declares');
    } catch {
      this.end('the kernel no longer counts it', false);
    }
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const text of this.#frames.push(chunk)) {
        if (this.#reason !== undefined) return;
        this.#obey(parseFromWorker(text), text.length);
      }
    } catch {
      this.end('it said something that is not in the protocol');
    }
  }

  #obey(message: FromWorker, length: number): void {
    switch (message.kind) {
      case 'ready':
        if (this.#account?.opened === false) throw new RangeError('ready without a report');
        this.#loadOnce();
        this.#ready.resolve();
        return;
      case 'unusable':
        this.#loadOnce();
        // A text of the worker's own: for whoever loads it, and in no refusal of a call.
        this.#ready.reject(new RefusalError('worker', `the handler bundle is unusable: ${message.reason}`));
        this.end('it did not take the handler bundle');
        return;
      case 'done':
        this.#close(message.call)?.resolve(message.response as Json);
        return;
      case 'failed':
        this.#close(message.call)?.reject(new RefusalError('worker', 'the handler threw'));
        return;
      case 'ended':
        this.#cancelled.delete(message.call);
        return;
      case 'used': {
        if (this.#account === undefined) throw new RangeError('a report of a worker that is not metered');
        const verdict = this.#account.take(message);
        if (verdict === 'collect') this.#send({ kind: 'collect' });
        else if (verdict === 'exceeded') this.end('calls used more memory than they declare together');
        return;
      }
      case 'pong':
        if (message.ping !== this.#answered++) throw new RangeError('a pong without a ping');
        return;
      default:
        void this.#perform(message, length);
    }
  }

  #loadOnce(): void {
    if (this.#loaded) throw new RangeError('ready or unusable a second time');
    this.#loaded = true;
  }

  /** Ends a call at once: what is said in one breath with its end comes after it. */
  #close(id: number): Running | undefined {
    const running = this.#running.get(id);
    this.#running.delete(id);
    return running;
  }

  async #perform(message: Operation, length: number): Promise<void> {
    const { operation } = message;
    // An operation of a call that is over goes unanswered: nothing may happen in its name any more.
    const running = this.#running.get(message.call);
    if (running === undefined) return;
    if (running.operations++ >= MOST_OPERATIONS) {
      this.end(`a call had more than ${MOST_OPERATIONS} operations under way`);
      return;
    }
    running.unanswered += length;
    if (running.unanswered > MOST_UNANSWERED) {
      this.end(`a call had more than ${MOST_UNANSWERED} characters of operations unanswered`);
      return;
    }
    if (!TRACELESS.has(message.kind)) running.acted = true;
    try {
      const value = await running.call.perform(message);
      this.#send({ kind: 'result', operation, value });
    } catch (error) {
      const { code, message: text } =
        error instanceof RefusalError ? error : { code: 'worker', message: 'the operation failed' };
      this.#send({ kind: 'refused', operation, code, message: text });
    } finally {
      running.operations--;
      running.unanswered -= length;
    }
  }

  #send(message: ToWorker): void {
    this.#write(framed(message));
  }

  #write(frame: Uint8Array): void {
    const { socket } = this.#process;
    if (this.#reason !== undefined) return;
    if (socket.writableLength + this.#unsaidLength > MOST_UNREAD) {
      this.end('it does not read');
      return;
    }
    if (this.#unsaid.length === 0) setImmediate(() => this.#flush());
    this.#unsaid.push(frame);
    this.#unsaidLength += frame.length;
  }

  #flush(): void {
    const said = concat(...this.#unsaid);
    this.#unsaid = [];
    this.#unsaidLength = 0;
    if (this.#reason === undefined) this.#process.socket.write(said);
  }
}

/** A message as a frame. A small request can be a large text: JSON writes a control character in six. @throws RefusalError `budget` */
function framed(message: ToWorker): Uint8Array {
  try {
    return encodeFrame(message, FRAME_LIMIT);
  } catch (cause) {
    throw new RefusalError('budget', 'a message is too large for a worker', { cause });
  }
}
