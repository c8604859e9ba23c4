/**
 * Milliseconds of runtime work that a worker may cause at a stretch. Then the loop turns, for the
 * rest of the runtime.
 */
const MAX_TURN_MS = 20;

/** Measures the work that one worker causes, and lets the loop turn once that is too much. */
export class TurnBudget {
  readonly #onTurn: () => void;
  /** Milliseconds of work done for it since the loop turned. */
  #worked = 0;
  #pausing = false;

  /** @param onTurn is called when the loop has turned after a pause */
  constructor(onTurn: () => void) {
    this.#onTurn = onTurn;
  }

  /** Whether the loop should turn before the runtime does more for this worker. */
  get spent(): boolean {
    // layer: turns of the loop (off: false)
    return this.#worked > MAX_TURN_MS;
  }

  /** Does work and counts its time. Work within work counts once. */
  count(work: () => void): void {
    const [from, before] = [performance.now(), this.#worked];
    try {
      work();
    } finally {
      this.#worked = before + performance.now() - from;
    }
  }

  /** Begins a pause, if there is none. Returns whether it began one. */
  pause(): boolean {
    if (this.#pausing) return false;
    this.#pausing = true;
    setImmediate(() => {
      this.#pausing = false;
      this.#worked = 0;
      this.#onTurn();
    });
    return true;
  }
}
