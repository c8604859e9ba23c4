/** A worker from the runtime's side: one hostile process, held to the protocol. */

import type { Duplex } from 'node:stream';
import { RefusalError } from '../errors.ts';
import { FrameReader, type FrameText } from '../frames.ts';
import { reasonOf } from '../governor/deadline.ts';
import { LiveMap } from '../live-map.ts';
import { Account } from './account.ts';
import type { Call } from './call.ts';
import { HandlerStatus } from './handler-status.ts';
import { Heartbeat } from './heartbeat.ts';
import type { JsonText } from './json-text.ts';
import { parseFromWorker } from './message-schema.ts';
import { type Asking, Operations } from './operations.ts';
import { framedCall, Outbox } from './outbox.ts';
import { type FromWorker, MAX_FRAME_BYTES, type Made } from './protocol.ts';
import { TurnBudget } from './turn-budget.ts';

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

/** A call that this worker runs. */
interface Running extends Asking {
  readonly resolve: (made: Made) => void;
  readonly reject: (error: Error) => void;
  /** Ends the call because its signal did. */
  readonly abort: () => void;
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
/** Milliseconds between two audits of a metered worker by the kernel's count. */
const AUDIT_MS = 100;
const ONCE = { once: true } as const;

/** One worker process. At its first message outside the protocol it is ended with all its calls. */
export class Worker {
  /** Resolves with the reason when the worker has ended. */
  readonly ended: Promise<string>;
  readonly #process: WorkerProcess;
  readonly #frames = new FrameReader(MAX_FRAME_BYTES);
  readonly #running = new LiveMap<number, Running>();
  readonly #outbox: Outbox;
  readonly #heartbeat: Heartbeat;
  readonly #turn: TurnBudget;
  readonly #operations: Operations;
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<string>();
  #loaded = false;
  #audit: NodeJS.Timeout | undefined;
  #account: Account | undefined;
  #reason: string | undefined;

  /** @param stall milliseconds within which a worker that has calls must turn its loop */
  constructor(process: WorkerProcess, stall: number) {
    this.#process = process;
    this.ended = this.#ended.promise;
    this.#ready.promise.catch(() => {});
    const { socket } = process;
    const outbox = new Outbox(socket, () => this.end('it does not read'));
    const turn = new TurnBudget(() => this.#goOn());
    this.#outbox = outbox;
    this.#turn = turn;
    this.#operations = new Operations({
      ...{ outbox, turn },
      pause: () => this.#pause(),
      end: (reason) => this.end(reason),
    });
    this.#heartbeat = new Heartbeat({
      stall,
      isBusy: () => this.#running.size > 0,
      ping: (ping) => outbox.send({ kind: 'ping', ping }),
      onSilent: () => this.end(`it did not answer for ${stall} ms`),
      onIdle: () => this.#stopAudit(),
    });
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

  /**
   * Gives the worker its handlers and resolves when it has them.
   *
   * @throws RefusalError `worker`, whose text comes from the worker
   */
  async load({ code, methods, metered }: HandlerBundle): Promise<void> {
    const timer = setTimeout(() => this.end(`it was not ready within ${READY_MS} ms`), READY_MS);
    if (metered) this.#account = new Account(() => this.#process.processorTime());
    this.#outbox.send({ kind: 'load', code, methods, metered });
    try {
      await this.#ready.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Runs one call.
   *
   * @param json the request
   * @throws RefusalError `worker`, `budget`; WorkerLostError
   */
  run(id: number, call: Call, json: JsonText | undefined = call.json): Promise<Made> {
    return new Promise((resolve, reject) => {
      if (this.#reason !== undefined) throw new WorkerLostError(this.#reason, false);
      const frame = framedCall(id, call.message, json);
      this.#begin(id, frame, call, resolve, reject);
    });
  }

  #begin(
    id: number,
    frame: FrameText,
    call: Call,
    resolve: (made: Made) => void,
    reject: (error: Error) => void,
  ): void {
    const running: Running = {
      call,
      resolve,
      reject,
      stop: (refusal) => this.#stop(id, running, refusal),
      abort: () => running.stop(reasonOf(call.signal)),
      operations: 0,
      unanswered: 0,
      waiting: [],
      held: false,
      last: undefined,
      acted: false,
    };
    if (call.budget !== undefined) this.#account?.open(id, call.budget, running.stop);
    this.#running.set(id, running);
    this.#outbox.write(frame);
    if (this.over) return;
    if (call.signal.aborted) running.abort();
    else call.signal.addEventListener('abort', running.abort, ONCE);
    this.#heartbeat.begin();
    if (this.#account !== undefined) this.#audit ??= setInterval(() => this.#examine(), AUDIT_MS);
  }

  /** Keeps nothing of a call that is over. */
  #forget(id: number, { call, abort }: Running): void {
    call.signal.removeEventListener('abort', abort);
    // layer: end of a call
    this.#running.delete(id);
    // A report may stop the call while the account still looks at it.
    if (this.#account !== undefined) queueMicrotask(() => this.#account?.close(id));
  }

  /**
   * Ends the process and fails its calls.
   *
   * @param judged true if the worker is ended for its conduct, false if it is gone already
   */
  end(reason: string, judged = true): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#outbox.close();
    this.#heartbeat.close();
    this.#stopAudit();
    const lost = new WorkerLostError(reason, judged);
    this.#ready.reject(lost);
    for (const [id, running] of this.#running) {
      const { reject, acted } = running;
      this.#forget(id, running);
      this.#operations.forget(running);
      reject(acted ? new RefusalError('worker', lost.message) : lost);
    }
    this.#process.socket.destroy();
    this.#process.kill();
    this.#ended.resolve(reason);
  }

  #stop(id: number, running: Running, refusal: RefusalError): void {
    if (this.#running.get(id) !== running) return;
    this.#forget(id, running);
    this.#operations.forget(running);
    running.reject(refusal);
    this.#heartbeat.cancel(id);
    this.#outbox.send({ kind: 'cancel', call: id });
  }

  #stopAudit(): void {
    clearInterval(this.#audit);
    this.#audit = undefined;
  }

  #examine(): void {
    try {
      // layer: the kernel's count
      if (this.#account?.exceeded()) this.end('a call used more processor than it declares');
    } catch {
      this.end('the kernel no longer counts it', false);
    }
  }

  #receive(chunk: Uint8Array): void {
    this.#turn.count(() => this.#read(chunk));
    if (this.#turn.spent) this.#pause();
  }

  #read(chunk: Uint8Array): void {
    try {
      for (const text of this.#frames.push(chunk)) {
        if (this.#reason !== undefined) return;
        this.#obey(/* layer: protocol */ parseFromWorker(text), text);
      }
    } catch {
      this.end('it said something that is not in the protocol');
    }
  }

  /** Reads no message and starts no operation until the loop has turned. */
  #pause(): void {
    if (this.#reason === undefined && this.#turn.pause()) this.#process.socket.pause();
  }

  #goOn(): void {
    if (this.#reason !== undefined) return;
    this.#operations.goOn();
    if (this.#turn.spent) this.#pause();
    else this.#process.socket.resume();
  }

  /** Acts on a message. @throws RangeError if it is out of the protocol */
  #obey(message: FromWorker, text: string): void {
    switch (message.kind) {
      case 'ready':
        // layer: report before ready
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
        this.#close(message.call, ({ resolve }) => resolve(message.json));
        return;
      case 'status':
        this.#close(message.call, ({ resolve }) => resolve(new HandlerStatus(message.code, message.text)));
        return;
      case 'failed':
        this.#close(message.call, ({ reject }) => reject(new RefusalError('worker', 'the handler threw')));
        return;
      case 'ended':
        this.#heartbeat.over(message.call);
        return;
      case 'used': {
        // layer: reports of metered workers
        if (this.#account === undefined) throw new RangeError('a report of a worker that is not metered');
        const verdict = this.#account.take(message);
        if (verdict === 'collect') this.#outbox.send({ kind: 'collect' });
        else if (verdict === 'exceeded') this.end('calls used more memory than they declare together');
        return;
      }
      case 'pong':
        this.#heartbeat.pong(message.ping);
        return;
      default: {
        // An operation of a cancelled call goes unanswered: nothing may happen in the call's name
        // any more.
        const running = this.#named(message.call);
        if (running !== undefined) this.#operations.take(running, message, text);
      }
    }
  }

  #loadOnce(): void {
    // layer: ready, once
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
      this.#forget(id, running);
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
    // layer: table of calls
    const running = this.#running.get(id);
    if (running === undefined && this.#heartbeat.isCancelled(id)) return undefined;
    // layer: calls by name
    if (running === undefined || running.last !== undefined) throw new RangeError('a message for a call that is over');
    return running;
  }
}
