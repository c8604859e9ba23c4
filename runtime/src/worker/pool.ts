/**
 * The pool of worker processes: hands out calls, replaces workers that die, and runs the calls
 * again that died with them.
 */

import { CallEnd, type CallSignal } from '../call-signal.ts';
import { RefusalError } from '../errors.ts';
import { reasonOf, whileItLasts } from '../governor/deadline.ts';
import { type Guest, type Load, type Place, Places, type Room } from '../governor/places.ts';
import type { Call } from './call.ts';
import type { JsonText } from './json-text.ts';
import type { Made, Operation } from './protocol.ts';
import { type HandlerBundle, Worker, type WorkerFactory, WorkerLostError } from './worker.ts';

/** Calls whose handlers may run in one worker at once. */
const MAX_RUNNING_CALLS = 64;
/** A call whose handler may run has one place, and none while it waits for its caller. */
const ONE_PLACE: Load = { running: [1], away: [0] };
/** A call that is no stream waits for no caller, so that it is never ended for that. */
const NEVER_ENDED = (): void => {};
/** Message of the refusal if too many calls are waiting. */
const CROWDED = 'too many calls wait for a worker';
/**
 * Calls that may wait, for each place. They wait as raw bytes, because nothing is decoded before.
 */
const MAX_WAITING_PER_PLACE = 4;
/**
 * Calls that have begun and wait for their callers, for each place. Their handlers' data stays in
 * the worker's memory meanwhile.
 */
const MAX_AWAY_PER_PLACE = 4;
/**
 * Milliseconds that a stream may wait for its caller at a stretch, if the policy has no limit for
 * the time of a call.
 */
const IDLE_MS = 15_000;
/**
 * The room of calls that are run again: one place. Unary calls go first, because a stream may wait
 * for a caller.
 */
const ALONE: Room = {
  whole: [1],
  ...{
    waiting: 4 * MAX_RUNNING_CALLS,
    away: 4 * MAX_RUNNING_CALLS,
    unaryFirst: /* layer: calls of one message first (off: false) */ true,
    crowded: CROWDED,
  },
};
/**
 * Workers that may die under one call that runs alone, without having been ended for their conduct.
 */
const MAX_LOST_WORKERS = 2;
/** Failed starts in a row after which the pool gives a worker up. */
const MAX_FAILED_STARTS = 3;

/** How a pool is run. */
export interface PoolOptions {
  readonly factory: WorkerFactory;
  readonly size: number;
  /** Milliseconds within which a worker that has calls must turn its loop; else it is ended. */
  readonly stall?: number;
  /** Receives the reason of every end of a worker, except of those that the pool's end causes. */
  readonly onLost?: (reason: string) => void;
}

/**
 * A fixed number of workers, each replaced when it dies, and one more for calls that run alone
 * after their worker died.
 */
export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #bundle: HandlerBundle;
  readonly #places: Places;
  readonly #workers = new Set<Worker>();
  /** Starts of workers that replace dead ones. */
  readonly #coming = new Set<Promise<void>>();
  readonly #alone = new Places(ALONE);
  #lone: Worker | undefined;
  #loneComing: Promise<Worker> | undefined;
  #nextCall = 0;
  #closed = false;

  private constructor(options: PoolOptions, bundle: HandlerBundle) {
    this.#options = options;
    this.#bundle = bundle;
    const places = MAX_RUNNING_CALLS * options.size;
    const [waiting, away] = [places * MAX_WAITING_PER_PLACE, places * MAX_AWAY_PER_PLACE];
    this.#places = new Places({ whole: [places], waiting, away, unaryFirst: false, crowded: CROWDED });
  }

  /**
   * Starts the workers and resolves once all of them have loaded the bundle.
   *
   * @throws RefusalError `worker`, whose text comes from a worker
   */
  static async start(options: PoolOptions, bundle: HandlerBundle): Promise<WorkerPool> {
    const pool = new WorkerPool(options, bundle);
    try {
      await Promise.all(Array.from({ length: options.size }, () => pool.#add()));
    } catch (error) {
      pool.close();
      throw error;
    }
    return pool;
  }

  /** Number of calls under way. */
  get calls(): number {
    return [...this.#workers].reduce((sum, { calls }) => sum + calls, this.#lone?.calls ?? 0);
  }

  /**
   * Runs a handler once there is a place for it. A call whose worker dies before the call has done
   * anything runs again, alone. So only a call that kills workers fails, and no call beside it.
   *
   * @throws RefusalError `budget` if too many calls wait, or the caller lets it wait; `worker` if
   * the handler threw or its worker died; any error of reading its request
   */
  run(call: Call): Promise<Made> {
    const { connection = call, message, signal } = call;
    const { request, response } = message.grants.streams;
    if (request || response) return this.#runStream(call);
    return this.#run(call, { connection, stream: false, signal, end: NEVER_ENDED });
  }

  async #runStream(call: Call): Promise<Made> {
    using asked = streamGuest(call);
    return await this.#run(call, asked.guest);
  }

  async #run(call: Call, guest: Guest): Promise<Made> {
    let { json } = call;
    let place: Place | undefined;
    try {
      place = this.#places.takeFree(guest, ONE_PLACE) ?? (await this.#places.take(guest, ONE_PLACE));
      // The request is read only now, so that a waiting call is small.
      const read = call.request?.();
      if (read !== undefined) json = read instanceof Promise ? await read : read;
      const worker = this.#freest() ?? (await this.#replacement(guest.signal));
      if (worker !== undefined) return await this.#runIn(worker, call, json, guest, place);
    } catch (error) {
      if (!(error instanceof WorkerLostError) || guest.signal.aborted) throw error;
    } finally {
      place?.[Symbol.dispose]();
    }
    return this.#runAlone({ ...call, json }, guest);
  }

  /** Ends all workers. */
  close(): void {
    this.#closed = true;
    for (const worker of this.#workers) worker.end('the pool was closed');
    this.#lone?.end('the pool was closed');
  }

  /** The worker with the fewest calls; undefined if all are being replaced. */
  #freest(): Worker | undefined {
    let best: Worker | undefined;
    for (const worker of this.#workers) if (!worker.over && (!best || worker.calls < best.calls)) best = worker;
    return best;
  }

  /**
   * The first worker that replaces another, while all are being replaced; undefined if none comes.
   */
  async #replacement(signal: CallSignal): Promise<Worker | undefined> {
    for (;;) {
      const best = this.#freest();
      if (best !== undefined) return best;
      const dying = this.#workers.values().find(({ over }) => over);
      if (dying !== undefined) await dying.ended;
      else if (/* layer: new calls wait for the new worker */ this.#coming.size > 0)
        await whileItLasts(signal, Promise.race(this.#coming));
      else return undefined;
    }
  }

  /** Runs a call in a worker. While it waits for its caller it holds no place. */
  #runIn(
    worker: Worker,
    call: Call,
    json: JsonText | undefined,
    { stream, signal, end }: Guest,
    place: Place,
  ): Promise<Made> {
    if (!stream) return worker.run(this.#nextCall++, call, json);
    const perform = (operation: Operation): JsonText | Promise<JsonText> => {
      const made = call.perform(operation);
      if (!(made instanceof Promise) || (operation.kind !== 'next' && operation.kind !== 'send')) return made;
      // A call with a budget ends by its wall time.
      // layer: who waits for a caller holds no place (off: made)
      return place.whileAway(call.budget === undefined ? notForEver(made, end) : made);
    };
    return worker.run(this.#nextCall++, { ...call, perform, signal }, json);
  }

  /**
   * Runs a call while no other handler runs in the same worker: any other call there is waiting for
   * its caller.
   */
  async #runAlone(call: Call, guest: Guest): Promise<Made> {
    using place = await this.#alone.take(guest, ONE_PLACE);
    for (let lost = 1; ; ) {
      if (this.#closed || guest.signal.aborted) throw reasonOf(guest.signal);
      const worker = await whileItLasts(guest.signal, this.#loneWorker());
      const alone = worker.calls === 0;
      try {
        return await this.#runIn(worker, call, call.json, guest, place);
      } catch (error) {
        if (!(error instanceof WorkerLostError)) throw error;
        // If other calls were in the worker, the culprit is unknown. They ended with the worker, so
        // the next worker has this call alone.
        if (alone && (error.judged || lost++ >= MAX_LOST_WORKERS)) throw error;
      }
    }
  }

  async #loneWorker(): Promise<Worker> {
    if (this.#lone !== undefined && !this.#lone.over) return this.#lone;
    this.#loneComing ??= this.#start()
      .catch((cause) => {
        // A worker's text about its start must not reach callers.
        throw new RefusalError('worker', 'no worker could be started', { cause });
      })
      .finally(() => {
        this.#loneComing = undefined;
      });
    this.#lone = await this.#loneComing;
    return this.#lone;
  }

  async #start(): Promise<Worker> {
    const worker = new Worker(await this.#options.factory(), this.#options.stall ?? 2000);
    await worker.load(this.#bundle);
    if (this.#closed) worker.end('the pool was closed');
    else void worker.ended.then((reason) => this.#closed || this.#options.onLost?.(reason));
    return worker;
  }

  async #add(): Promise<void> {
    const worker = await this.#start();
    this.#workers.add(worker);
    void worker.ended.then(() => {
      this.#workers.delete(worker);
      if (this.#closed) return;
      const coming = this.#replace().finally(() => this.#coming.delete(coming));
      this.#coming.add(coming);
    });
  }

  async #replace(): Promise<void> {
    for (let failed = 0; failed < MAX_FAILED_STARTS && !this.#closed; failed++) {
      try {
        await this.#add();
        return;
      } catch {
        // The loop tries again. If no worker is left and none is being started, calls run one by
        // one or are refused.
      }
    }
  }
}

/** Returns the promise, and ends the call if it takes too long. */
function notForEver<T>(awaited: Promise<T>, end: Guest['end']): Promise<T> {
  const late = (): void =>
    /* layer: end of a stream that is idle (off: undefined) */ end(
      new RefusalError('budget', `the caller let the call wait for ${IDLE_MS} ms`),
    );
  const timer = setTimeout(late, IDLE_MS);
  return awaited.finally(() => clearTimeout(timer));
}

/**
 * A stream as it asks for places. The pool can end it if it waits too long for its caller, or if
 * another call needs the room.
 */
function streamGuest(call: Call): Disposable & { readonly guest: Guest } {
  const { connection = call, signal } = call;
  const ending = new CallEnd();
  const over = (): void => ending.abort(signal.reason);
  if (signal.aborted) over();
  signal.addEventListener('abort', over, { once: true });
  return {
    guest: { connection, stream: true, signal: ending, end: (refusal) => ending.abort(refusal) },
    [Symbol.dispose]: () => signal.removeEventListener('abort', over),
  };
}
