/** Callers who watch the log: each is sent the newest checkpoint, at most one a tick. */

import type { GrpcCall } from './grpc-call.ts';
import { LogRefusal } from './log-refusal.ts';

/** Concurrent watches of one connection. A watch has no end of its own. */
export const MAX_LOG_WATCHES = 4;
/** The same of all connections. */
export const MAX_LOG_WATCHES_IN_ALL = 256;
/** Milliseconds of a tick. */
const TICK_MS = 1000;
/** Ticks without a new checkpoint after which a watcher is sent the last one again. */
const HEARTBEAT_TICKS = 30;

/** A checkpoint as watchers are sent it. */
export interface WatchedCheckpoint {
  readonly size: number;
  /** Bytes of the message. */
  readonly message: () => Uint8Array;
}

interface Watcher {
  readonly call: GrpcCall;
  /** Size of the checkpoint that it has. */
  size: number;
  /** Ticks since anything was sent. */
  quiet: number;
  /** Whether it still takes the last message. */
  isTaking: boolean;
}

/** The watches of one server. */
export class LogWatchers {
  readonly #newest: () => WatchedCheckpoint | undefined;
  readonly #watchers = new Set<Watcher>();
  readonly #timer: NodeJS.Timeout;

  constructor(newest: () => WatchedCheckpoint | undefined) {
    this.#newest = newest;
    this.#timer = setInterval(() => this.tick(), TICK_MS).unref();
  }

  /**
   * Lets a call watch from a size on.
   *
   * @throws LogRefusal `busy`
   */
  add(call: GrpcCall, size: number): void {
    const own = [...this.#watchers].filter((each) => each.call.connection === call.connection);
    if (
      /* layer: watches of a connection */ own.length >= MAX_LOG_WATCHES ||
      this.#watchers.size >= MAX_LOG_WATCHES_IN_ALL
    )
      throw new LogRefusal('busy', `${own.length} watches of this connection, ${this.#watchers.size} of all`);
    const watcher: Watcher = { call, size, quiet: 0, isTaking: false };
    this.#watchers.add(watcher);
    call.onLeave(() => this.#watchers.delete(watcher));
    call.outlive();
    this.#tell(watcher);
  }

  /** Sends what is new to those who have taken what they were sent before. */
  tick(): void {
    for (const watcher of this.#watchers) this.#tell(watcher);
  }

  /** Ends all watches. */
  stop(end: (call: GrpcCall) => void): void {
    clearInterval(this.#timer);
    for (const { call } of this.#watchers) end(call);
    this.#watchers.clear();
  }

  #tell(watcher: Watcher): void {
    if (watcher.isTaking) return;
    const newest = this.#newest();
    const isDue = newest !== undefined && newest.size > watcher.size;
    if (newest === undefined || (!isDue && ++watcher.quiet < HEARTBEAT_TICKS)) return;
    Object.assign(watcher, { size: Math.max(watcher.size, newest.size), quiet: 0, isTaking: true });
    void watcher.call
      .send(newest.message())
      // A watcher that has left is deleted.
      .catch(() => {})
      .finally(() => {
        watcher.isTaking = false;
      });
  }
}
