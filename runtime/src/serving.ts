/**
 * Whether a boot serves: the causes that stand against it, each brought and taken back by one part.
 */

/**
 * A part that can stand against serving: the log's room, the hardware's quotes, epochs of the
 * stored state, witnesses that are away, or that cosigned another tree.
 */
export type Cause = 'room' | 'quotes' | 'epochs' | 'witnesses' | 'fork';

/** Calls as they are ended and let in again. */
interface Answering {
  stop(message: string): void;
  resume(): void;
}

/** Health as peers see it. */
interface Telling {
  serve(): void;
  pause(): void;
}

/**
 * Joins the causes. Calls are answered while no cause stops them; health says SERVING while there
 * is none.
 */
export class Serving {
  readonly #calls: Answering;
  readonly #health: Telling;
  /** Why calls are refused, by its cause; null where the cause only turns health. */
  readonly #causes = new Map<Cause, string | null>();

  constructor(calls: Answering, health: Telling) {
    this.#calls = calls;
    this.#health = health;
  }

  /** Health turns to NOT_SERVING. Calls are still answered. */
  pause(cause: Cause): void {
    this.#causes.set(cause, null);
    this.#tell();
  }

  /** Calls are refused with this message, and health turns to NOT_SERVING. */
  stop(cause: Cause, message: string): void {
    this.#causes.set(cause, message);
    this.#tell();
  }

  /** The cause is gone, or never was. */
  allow(cause: Cause): void {
    this.#causes.delete(cause);
    this.#tell();
  }

  #tell(): void {
    const message = [...this.#causes.values()].find((one) => one !== null);
    if (message === undefined || message === null) this.#calls.resume();
    else this.#calls.stop(message);
    if (this.#causes.size === 0) this.#health.serve();
    else this.#health.pause();
  }
}
