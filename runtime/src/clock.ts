/** Time within one boot: the host's time, taken once, and from then on the kernel's own count. */

/** One instant on two scales, in milliseconds. */
export interface TimeAnchor {
  /**
   * Since 1970 began.
   *
   * **Trust**: the host's time.
   */
  readonly wall: number;
  /** On the kernel's monotonic clock, which all processes of a machine share and none can set. */
  readonly monotonic: number;
}

/** This instant. */
export function anchorTime(): TimeAnchor {
  return { wall: Date.now(), monotonic: monotonic() };
}

/**
 * A clock that never goes back, even if the machine's clock does after the anchor was taken.
 *
 * **Trust**: the host decides how fast the clock goes, and can make the machine stand still. So
 * every result that depends on a date says `host` for the strength of its time.
 */
export class BootClock {
  /** Milliseconds between the two scales; it only grows. */
  #offset: number;
  /** The last millisecond that was asked for, with its text: many calls fall into one. */
  #told = { at: Number.NaN, text: '' };

  constructor({ wall, monotonic: then }: TimeAnchor) {
    this.#offset = wall - then;
  }

  /** Milliseconds since 1970 began. */
  now(): number {
    // layer: one reading of the clock
    return Math.floor(monotonic() + this.#offset);
  }

  /** Now, as RFC 3339 in UTC with milliseconds. */
  text(): string {
    const now = this.now();
    if (now !== this.#told.at) this.#told = { at: now, text: new Date(now).toISOString() };
    return this.#told.text;
  }

  /**
   * Moves the clock forward to `wall`, an instant that is known to have passed. A clock beyond it
   * stays.
   */
  notBefore(wall: number): void {
    // layer: no time before the newest record
    this.#offset += Math.max(0, wall - this.now());
  }
}

/**
 * Milliseconds on the kernel's clock at this process's own zero.
 *
 * **Cost**: the kernel's clock as a bigint takes four times as long as the process's own.
 */
const ZERO = Number(process.hrtime.bigint()) / 1e6 - performance.now();

function monotonic(): number {
  return ZERO + performance.now();
}
