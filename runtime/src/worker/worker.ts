/** A worker from the runtime's side: one hostile process, held to the protocol. */

import type { Duplex } from 'node:stream';
import { concat } from '@enclaim/attestation/bytes';
import { RefusalError } from '../errors.ts';
import { encodeFrame, FrameReader } from '../frames.ts';
import type { CallBudget } from '../governor/call-budget.ts';
import { reasonOf } from '../governor/deadline.ts';
import { Account } from './account.ts';
import { HandlerStatus } from './handler-status.ts';
import { parseFromWorker } from './message-schema.ts';
import {
  type CallMessage,
  type FromWorker,
  type Json,
  MAX_FRAME_BYTES,
  MAX_OPERATIONS,
  type Made,
  type Operation,
  type ToWorker,
} from './protocol.ts';

/** A worker process as the pool sees it. */
export interface WorkerProcess {
  /** The worker's only descriptor, from the other end. */
  readonly socket: Duplex;
  /** Ends the process at once. */
  kill(): void;
  /**
   * Microseconds of processor that it has used, by the kernel's count.
   *
   * @throws Error if the process is gone
   */
  processorTime(): number;
}

/** Starts a worker process. The guest confines it; tests and development start it as they can. */
export type WorkerFactory = () => Promise<WorkerProcess>;

/** One call, and what the runtime does for it. */
export interface Call {
  readonly message: CallMessage;
  /** Key under which it is counted while it waits for a place. By default the call itself. */
  readonly connection?: unknown;
  /**
   * Reads the request after the call got its place. Present if the message does not have the
   * request yet.
   */
  request?(): Promise<Json>;
  /**
   * A promise that operations of a kind, and those behind them, wait for before they start;
   * undefined if there is none.
   */
  awaits?(kind: Operation['kind']): Promise<unknown> | undefined;
  /**
   * Performs an operation. Any error that it throws refuses the operation; a RefusalError's message
   * goes to the handler.
   */
  perform(operation: Operation): Json | Promise<Json>;
  /** Ends the call: the caller has gone, or its time is over. */
  readonly signal: AbortSignal;
  /** The call's limits, if its worker is metered. */
  readonly budget?: CallBudget;
}

interface Running {
  readonly call: Call;
  readonly resolve: (made: Made) => void;
  readonly reject: (error: Error) => void;
  /** Ends the call before its handler does. */
  readonly stop: (refusal: RefusalError) => void;
  operations: number;
  /** Characters of its unanswered operations. */
  unanswered: number;
  /**
   * Operations that have not started, in order. Kept as text, so that their memory is what is
   * counted for them.
   */
  waiting: Waiting[];
  /** Whether an advance of `waiting` is already scheduled. */
  held: boolean;
  /**
   * Settles the call after its last message, once every operation that it sent before has started.
   */
  last: (() => void) | undefined;
  /** Whether the call did anything that running it again would repeat. */
  acted: boolean;
}

/** An operation that has not started. */
interface Waiting {
  readonly kind: Operation['kind'];
  readonly text: string;
}

/** The parts of the handler bundle that every worker needs. */
export interface HandlerBundle {
  readonly code: string;
  readonly methods: readonly string[];
  /** Whether calls have budgets. */
  readonly metered: boolean;
}

/**
 * The worker ended under a call that had done nothing yet, so another worker can run the call from
 * its beginning.
 */
export class WorkerLostError extends RefusalError {
  /**
   * Whether the worker was ended for its conduct: if the call was alone in it, the call is the
   * cause.
   */
  readonly judged: boolean;

  constructor(reason: string, judged: boolean) {
    super('worker', `the worker was ended: ${reason}`);
    this.judged = judged;
  }
}

/**
 * Limit for a worker that hangs at its start. Beside other work a machine may take a hundred times
 * as long to start one as it does alone.
 */
const READY_MS = 120_000;
/** Bytes that may wait to be written to a worker that does not read. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;
/**
 * Bytes that may wait for a worker when another operation is started. The answer to that operation
 * may be large.
 */
const MAX_QUEUED_BYTES = MAX_FRAME_BYTES;
/** Messages in one write. With more, the worker would idle while the runtime puts them together. */
const MAX_FRAMES_PER_WRITE = 16;
/** Characters that one call may have under way in operations: twice the largest message. */
const MAX_PENDING_CHARS_PER_CALL = 2 * MAX_FRAME_BYTES;
/** Characters that all calls of a worker may have in unanswered operations. */
const MAX_PENDING_CHARS = 8 * MAX_FRAME_BYTES;
/** Milliseconds between two audits of a metered worker by the kernel's count. */
const AUDIT_MS = 100;
/**
 * Milliseconds of runtime work that a worker may cause at a stretch. Then the loop turns, for the
 * rest of the runtime.
 */
const MAX_TURN_MS = 20;
/** Operations without side effects: a call that did only these can start over. */
const TRACELESS: ReadonlySet<Operation['kind']> = new Set(['get', 'list']);

/** One worker process. At its first message outside the protocol it is ended with all its calls. */
export class Worker {
  /** Resolves with the reason when the worker has ended. */
  readonly ended: Promise<string>;
  readonly #process: WorkerProcess;
  readonly #stall: number;
  readonly #frames = new FrameReader(MAX_FRAME_BYTES);
  readonly #running = new Map<number, Running>();
  /**
   * Calls that were cancelled and may still run, because a handler that spins does not notice the
   * cancel; and the ping that follows each.
   */
  readonly #cancelled = new Map<number, number>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<string>();
  #loaded = false;
  #watch: NodeJS.Timeout | undefined;
  #audit: NodeJS.Timeout | undefined;
  #account: Account | undefined;
  /** Frames of one turn of the loop, written together. */
  #unsaid: Uint8Array[] = [];
  #unsaidLength = 0;
  /** Characters of unanswered operations. */
  #unanswered = 0;
  /**
   * Resolves when the worker has taken what was written to it. Present while an operation waits for
   * that.
   */
  #room: PromiseWithResolvers<void> | undefined;
  #asked = 0;
  #answered = 0;
  /**
   * Milliseconds of work done for it since the loop turned, and the calls whose operations wait for
   * the next turn.
   */
  #worked = 0;
  #pausing = false;
  readonly #paused: Running[] = [];
  #reason: string | undefined;

  /** @param stall milliseconds within which a worker that has calls must turn its loop */
  constructor(process: WorkerProcess, stall: number) {
    this.#process = process;
    this.#stall = stall;
    this.ended = this.#ended.promise;
    this.#ready.promise.catch(() => {});
    const { socket } = process;
    socket.on('data', (chunk: Uint8Array) => this.#receive(chunk));
    socket.on('drain', () => this.#makeRoom());
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

  /**
   * Gives the worker its handlers and resolves when it has them.
   *
   * @throws RefusalError `worker`, whose text comes from the worker
   */
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
  async run(id: number, call: Call): Promise<Made> {
    if (this.#reason !== undefined) throw new WorkerLostError(this.#reason, false);
    const frame = framed({ kind: 'call', call: id, ...call.message });
    const { promise, resolve, reject } = Promise.withResolvers<Made>();
    const running: Running = {
      call,
      resolve,
      reject,
      stop: (refusal) => this.#stop(id, running, refusal),
      operations: 0,
      unanswered: 0,
      waiting: [],
      held: false,
      last: undefined,
      acted: false,
    };
    const abort = (): void => running.stop(reasonOf(call.signal));
    if (call.budget !== undefined) this.#account?.open(id, call.budget, running.stop);
    this.#running.set(id, running);
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

  /**
   * Ends the process and fails its calls.
   *
   * @param judged true if the worker is ended for its conduct, false if it is gone already
   */
  end(reason: string, judged = true): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    clearInterval(this.#watch);
    clearInterval(this.#audit);
    const lost = new WorkerLostError(reason, judged);
    this.#ready.reject(lost);
    for (const running of this.#running.values()) {
      const { reject, acted } = running;
      this.#forget(running);
      reject(acted ? new RefusalError('worker', lost.message) : lost);
    }
    this.#process.socket.destroy();
    this.#process.kill();
    this.#ended.resolve(reason);
  }

  #stop(id: number, running: Running, refusal: RefusalError): void {
    if (this.#running.get(id) !== running) return;
    this.#running.delete(id);
    this.#forget(running);
    running.reject(refusal);
    this.#cancelled.set(id, this.#asked);
    this.#send({ kind: 'cancel', call: id });
  }

  /** Ends a worker whose loop does not turn, and stops the timers of one without calls. */
  #look(): void {
    if (this.#running.size + this.#cancelled.size === 0) {
      clearInterval(this.#watch);
      clearInterval(this.#audit);
      this.#watch = this.#audit = undefined;
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
    const [from, before] = [performance.now(), this.#worked];
    try {
      for (const text of this.#frames.push(chunk)) {
        if (this.#reason !== undefined) return;
        this.#obey(parseFromWorker(text), text);
      }
    } catch {
      this.end('it said something that is not in the protocol');
    }
    this.#worked = before + performance.now() - from;
    if (this.#tiring) this.#pause();
  }

  /** Whether the loop should turn before the runtime does more for this worker. */
  get #tiring(): boolean {
    return this.#worked > MAX_TURN_MS;
  }

  /** Reads no message and starts no operation until the loop has turned. */
  #pause(): void {
    if (this.#pausing || this.#reason !== undefined) return;
    this.#pausing = true;
    this.#process.socket.pause();
    setImmediate(() => this.#goOn());
  }

  /**
   * Starts operations that waited for this turn, call by call. A call that used the turn up comes
   * last in the next.
   */
  #goOn(): void {
    this.#pausing = false;
    this.#worked = 0;
    if (this.#reason !== undefined) return;
    for (let next = this.#paused.shift(); next !== undefined; next = this.#paused.shift()) {
      next.held = false;
      this.#advance(next);
      if (this.#tiring) break;
    }
    if (this.#tiring) this.#pause();
    else this.#process.socket.resume();
  }

  #obey(message: FromWorker, text: string): void {
    switch (message.kind) {
      case 'ready':
        if (this.#account?.opened === false) throw new RangeError('ready without a report');
        this.#loadOnce();
        this.#ready.resolve();
        return;
      case 'unusable':
        this.#loadOnce();
        // The reason is the worker's own text. It goes to the caller of `load` and into no refusal
        // of a call.
        this.#ready.reject(new RefusalError('worker', `the handler bundle is unusable: ${message.reason}`));
        this.end('it did not take the handler bundle');
        return;
      case 'done':
        this.#close(message.call, ({ resolve }) => resolve(message.response as Json));
        return;
      case 'status':
        this.#close(message.call, ({ resolve }) => resolve(new HandlerStatus(message.code, message.text)));
        return;
      case 'failed':
        this.#close(message.call, ({ reject }) => reject(new RefusalError('worker', 'the handler threw')));
        return;
      case 'ended':
        if (!this.#cancelled.delete(message.call)) throw new RangeError('the end of a call that was not cancelled');
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
        for (const next of this.#cancelled.values()) {
          // The ping was sent after the cancel, so its answer comes after the end of the cancelled
          // call.
          if (next <= message.ping) throw new RangeError('a cancelled call goes on');
        }
        return;
      default:
        this.#ask(message, text);
    }
  }

  #loadOnce(): void {
    if (this.#loaded) throw new RangeError('ready or unusable a second time');
    this.#loaded = true;
  }

  /**
   * Settles a call on the worker's `done`, `status` or `failed`. Operations that it sent before are
   * started first. Without this, whether they happen would depend on what they wait for. A later
   * message for the call is a breach of the protocol.
   */
  #close(id: number, settle: (running: Running) => void): void {
    const running = this.#named(id);
    if (running === undefined) return;
    const last = (): void => {
      this.#running.delete(id);
      settle(running);
    };
    if (running.waiting.length === 0) last();
    else running.last = last;
  }

  /**
   * The call that a message names; undefined if the call was cancelled.
   *
   * @throws RangeError for any other call, and for one that has sent its last message
   */
  #named(id: number): Running | undefined {
    const running = this.#running.get(id);
    if (running === undefined && this.#cancelled.has(id)) return undefined;
    if (running === undefined || running.last !== undefined) throw new RangeError('a message for a call that is over');
    return running;
  }

  /** Takes an operation, and starts it if nothing hinders it. */
  #ask(message: Operation, text: string): void {
    const { kind } = message;
    // An operation of a cancelled call goes unanswered: nothing may happen in the call's name any
    // more.
    const running = this.#named(message.call);
    if (running === undefined) return;
    if (running.operations >= MAX_OPERATIONS) {
      this.end(`a call had more than ${MAX_OPERATIONS} operations under way`);
      return;
    }
    if (running.unanswered + text.length > MAX_PENDING_CHARS_PER_CALL) {
      this.end(`a call had more than ${MAX_PENDING_CHARS_PER_CALL} characters of operations unanswered`);
      return;
    }
    if (this.#unanswered + text.length > MAX_PENDING_CHARS) {
      // **Leak**: the sum depends on other calls, and a handler that could go on would measure it.
      // So the call ends.
      running.stop(new RefusalError('budget', 'calls have too much under way'));
      return;
    }
    this.#count(running, 1, text.length);
    if (!TRACELESS.has(kind)) running.acted = true;
    if (running.waiting.length === 0 && !this.#tiring && this.#hindrance(running, kind) === undefined) {
      this.#begin(running, message, text.length);
    } else {
      running.waiting.push({ kind, text });
      this.#advance(running);
    }
  }

  /** Starts waiting operations in order: the call's label depends on the order. */
  #advance(running: Running): void {
    if (running.held) return;
    for (let first = running.waiting[0]; first !== undefined; first = running.waiting[0]) {
      if (this.#tiring) {
        running.held = true;
        this.#paused.push(running);
        this.#pause();
        return;
      }
      const hindrance = this.#hindrance(running, first.kind);
      if (hindrance !== undefined) {
        running.held = true;
        void hindrance.then(() => {
          running.held = false;
          this.#advance(running);
        });
        return;
      }
      running.waiting.shift();
      const from = performance.now();
      const message = parseFromWorker(first.text) as Operation;
      this.#worked += performance.now() - from;
      this.#begin(running, message, first.text.length);
    }
    running.last?.();
  }

  /** The promise that an operation waits for; undefined if nothing hinders it. */
  #hindrance({ call }: Running, kind: Operation['kind']): Promise<unknown> | undefined {
    if (this.#untaken <= MAX_QUEUED_BYTES) return call.awaits?.(kind);
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  /**
   * Performs an operation. A result that is already there is written at once: as text it takes a
   * small part of the memory.
   */
  #begin(running: Running, message: Operation, length: number): void {
    const { operation } = message;
    const from = performance.now();
    const answer = (value: Json): void => {
      this.#send({ kind: 'result', operation, value });
      this.#count(running, -1, -length);
    };
    const refuse = (error: unknown): void => {
      if (error instanceof RefusalError && error.final) running.stop(error);
      else this.#refuse(operation, error);
      this.#count(running, -1, -length);
    };
    try {
      const made = running.call.perform(message);
      if (made instanceof Promise) made.then(answer).catch(refuse);
      else answer(made);
    } catch (error) {
      refuse(error);
    }
    this.#worked += performance.now() - from;
  }

  #refuse(operation: number, error: unknown): void {
    const { code, message } =
      error instanceof RefusalError ? error : { code: 'worker', message: 'the operation failed' };
    this.#send({ kind: 'refused', operation, code, message });
  }

  #count(running: Running, operations: number, characters: number): void {
    running.operations += operations;
    running.unanswered += characters;
    this.#unanswered += characters;
  }

  /** Drops the operations of a call that have not started. */
  #forget(running: Running): void {
    for (const { text } of running.waiting) this.#count(running, -1, -text.length);
    running.waiting = [];
  }

  /** Bytes that the worker has not taken yet. */
  get #untaken(): number {
    return this.#process.socket.writableLength + this.#unsaidLength;
  }

  #makeRoom(): void {
    if (this.#room === undefined || this.#untaken > MAX_QUEUED_BYTES) return;
    this.#room.resolve();
    this.#room = undefined;
  }

  #send(message: ToWorker): void {
    this.#write(framed(message));
  }

  #write(frame: Uint8Array): void {
    if (this.#reason !== undefined) return;
    if (this.#untaken > MAX_UNREAD_BYTES) {
      this.end('it does not read');
      return;
    }
    if (this.#unsaid.length === 0) setImmediate(() => this.#flush());
    this.#unsaid.push(frame);
    this.#unsaidLength += frame.length;
    if (this.#unsaid.length >= MAX_FRAMES_PER_WRITE) this.#flush();
  }

  #flush(): void {
    if (this.#unsaid.length === 0) return;
    const said = concat(...this.#unsaid);
    this.#unsaid = [];
    this.#unsaidLength = 0;
    if (this.#reason === undefined) this.#process.socket.write(said);
  }
}

/**
 * A message as a frame. A small request can be a large text, because JSON writes a control
 * character in six.
 *
 * @throws RefusalError `budget`
 */
function framed(message: ToWorker): Uint8Array {
  try {
    return encodeFrame(message, MAX_FRAME_BYTES);
  } catch (cause) {
    throw new RefusalError('budget', 'a message is too large for a worker', { cause });
  }
}
