/** A worker from the runtime's side: one hostile process, held to the protocol. */

import type { Duplex } from 'node:stream';
import { RefusalError } from '../errors.ts';
import { encodeFrame, FrameReader } from '../frames.ts';
import { FRAME_LIMIT, type FromWorker, type Json, type Operation, parseFromWorker, type ToWorker } from './protocol.ts';

/** A worker process as the pool sees it. */
export interface WorkerProcess {
  /** The worker's only descriptor, from the other end. */
  readonly socket: Duplex;
  /** Ends the process at once. */
  kill(): void;
}

/** Starts a worker process. The guest starts them confined; tests and development as they can. */
export type WorkerFactory = () => Promise<WorkerProcess>;

/** One call, as a worker is told of it. */
export interface Call {
  readonly method: string;
  readonly request: Json;
  readonly reads: readonly string[];
  readonly stores: readonly string[];
  readonly time: string;
  readonly id: string;
  /** Carries out an operation. Whatever it throws refuses the operation; a RefusalError's message goes to the handler. */
  perform(operation: Operation): Json;
  /** Ends the call: the caller has gone, or its time is over. */
  readonly signal: AbortSignal;
}

interface Running {
  readonly call: Call;
  readonly resolve: (response: Json) => void;
  readonly reject: (error: Error) => void;
}

/** What of the handler bundle every worker needs. */
export interface HandlerBundle {
  readonly code: string;
  readonly methods: readonly string[];
}

const READY_MS = 20_000;
/** Bytes that may wait to be written to a worker that does not read. */
const MOST_UNREAD = 32 * 1024 * 1024;

/** One worker process. It is ended, with all its calls, at the first thing it says that the protocol does not have. */
export class Worker {
  /** Resolves when the worker has ended, for whatever reason. */
  readonly ended: Promise<void>;
  readonly #process: WorkerProcess;
  readonly #frames = new FrameReader(FRAME_LIMIT);
  readonly #running = new Map<number, Running>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #reason: string | undefined;

  constructor(process: WorkerProcess) {
    this.#process = process;
    this.ended = this.#ended.promise;
    this.#ready.promise.catch(() => {});
    const { socket } = process;
    socket.on('data', (chunk: Uint8Array) => this.#receive(chunk));
    socket.on('error', () => this.end('its socket failed'));
    socket.on('close', () => this.end('it has ended'));
  }

  /** Number of calls under way. */
  get calls(): number {
    return this.#running.size;
  }

  /** Gives the worker its handlers and resolves when it has them. @throws RefusalError `worker` */
  async load({ code, methods }: HandlerBundle): Promise<void> {
    const timer = setTimeout(() => this.end(`it was not ready within ${READY_MS} ms`), READY_MS);
    this.#send({ kind: 'load', code, methods });
    try {
      await this.#ready.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Runs one call. @throws RefusalError `worker`, `budget` */
  run(id: number, call: Call): Promise<Json> {
    const { promise, resolve, reject } = Promise.withResolvers<Json>();
    if (this.#reason !== undefined) throw new RefusalError('worker', `the worker was ended: ${this.#reason}`);
    const abort = (): void => {
      reject(new RefusalError('budget', 'the call ran out of time or was given up'));
      this.end('a call had to be ended');
    };
    call.signal.addEventListener('abort', abort, { once: true });
    this.#running.set(id, { call, resolve, reject });
    const { signal: _, perform: __, ...told } = call;
    this.#send({ kind: 'call', call: id, ...told });
    return promise.finally(() => {
      call.signal.removeEventListener('abort', abort);
      this.#running.delete(id);
    });
  }

  /** Ends the process and fails what it had. */
  end(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    const error = new RefusalError('worker', `the worker was ended: ${reason}`);
    this.#ready.reject(error);
    for (const { reject } of this.#running.values()) reject(error);
    this.#process.socket.destroy();
    this.#process.kill();
    this.#ended.resolve();
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const text of this.#frames.push(chunk)) {
        if (this.#reason !== undefined) return;
        this.#obey(parseFromWorker(text));
      }
    } catch {
      this.end('it said something that is not in the protocol');
    }
  }

  #obey(message: FromWorker): void {
    switch (message.kind) {
      case 'ready':
        this.#ready.resolve();
        return;
      case 'unusable':
        this.end(`the handler bundle is unusable: ${message.reason}`);
        return;
      case 'done':
        this.#running.get(message.call)?.resolve(message.response as Json);
        return;
      case 'failed':
        this.#running.get(message.call)?.reject(new RefusalError('worker', 'the handler threw'));
        return;
      default:
        this.#perform(message);
    }
  }

  #perform(message: Operation): void {
    const { operation } = message;
    // An operation of a call that is over goes unanswered: nothing may happen in its name any more.
    const running = this.#running.get(message.call);
    if (running === undefined) return;
    try {
      this.#send({ kind: 'result', operation, value: running.call.perform(message) });
    } catch (error) {
      const text = error instanceof RefusalError ? error.message : 'the operation failed';
      this.#send({ kind: 'refused', operation, message: text });
    }
  }

  #send(message: ToWorker): void {
    const { socket } = this.#process;
    if (this.#reason !== undefined) return;
    if (socket.writableLength > MOST_UNREAD) this.end('it does not read');
    else socket.write(encodeFrame(message, FRAME_LIMIT));
  }
}
