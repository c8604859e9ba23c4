/** The parts of a worker that its heartbeat acts on. */
export interface HeartbeatOptions {
  /** Milliseconds within which a worker that has calls must turn its loop. */
  readonly stall: number;
  /** Whether the worker runs any call. */
  readonly isBusy: () => boolean;
  readonly ping: (ping: number) => void;
  /** Called once a ping has had no answer in time. */
  readonly onSilent: () => void;
  /** Called once neither a call nor a cancelled one is left. */
  readonly onIdle: () => void;
}

/**
 * Pings one worker while it has calls. Its answers show that its loop turns, and that calls which
 * were cancelled are over.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  /**
   * Calls that were cancelled and may still run, because a handler that spins does not notice the
   * cancel; and the ping that follows each.
   */
  readonly #cancelled = new Map<number, number>();
  #asked = 0;
  #answered = 0;
  #watch: NodeJS.Timeout | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Pings from now on, until the worker is idle. */
  begin(): void {
    this.#watch ??= setInterval(() => this.#look(), this.#options.stall / 2);
  }

  /** Pings no more. */
  close(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /** Awaits the end of a call that was cancelled, from before the next ping. */
  cancel(call: number): void {
    this.#cancelled.set(call, this.#asked);
  }

  /** Whether a call was cancelled and may still run. */
  isCancelled(call: number): boolean {
    return this.#cancelled.has(call);
  }

  /** Takes the end of a cancelled call. @throws RangeError for any other */
  over(call: number): void {
    // layer: ends that were asked for
    if (!this.#cancelled.delete(call)) throw new RangeError('the end of a call that was not cancelled');
  }

  /** Takes an answer. @throws RangeError if it is out of turn, or a cancelled call goes on */
  pong(ping: number): void {
    // layer: count of pings
    if (ping !== this.#answered++) throw new RangeError('a pong without a ping');
    for (const next of this.#cancelled.values()) {
      // The ping was sent after the cancel, so its answer comes after the end of the cancelled
      // call.
      if (next <= ping) throw new RangeError('a cancelled call goes on');
    }
  }

  #look(): void {
    const { isBusy, ping, onSilent, onIdle } = this.#options;
    if (!isBusy() && this.#cancelled.size === 0) {
      this.close();
      onIdle();
    } else if (this.#asked - this.#answered > 1) onSilent();
    else ping(this.#asked++);
  }
}
