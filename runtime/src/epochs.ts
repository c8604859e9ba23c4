/** Epochs of the stored state while a boot serves, each within the policy's time. */

/** How epochs begin, and who hears of it. */
export interface EpochsOptions {
  /** Milliseconds within which an epoch begins after the one before. */
  readonly every: number;
  /** Begins an epoch. */
  readonly advance: () => Promise<void>;
  /**
   * Hears that no epoch began for twice as long, and with `false` that one has begun after that.
   *
   * **Trust**: the policy promises that deletions are final by then. A boot that cannot keep this
   * must not take more data.
   */
  readonly onOverdue: (isOverdue: boolean) => void;
}

/** Milliseconds until an epoch that could not begin is tried again, at most. */
const AGAIN_MS = 30_000;
const OVERDUE_TIMES = 2;

/** Begins one epoch after another until it is closed. */
export class Epochs {
  readonly #options: EpochsOptions;
  #timer: NodeJS.Timeout | undefined;
  /** Tells that it is overdue, also where an epoch neither begins nor fails. */
  #late: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #isOverdue = false;
  #isClosed = false;

  constructor(options: EpochsOptions) {
    this.#options = options;
    this.#watch();
    this.#wait(options.every);
  }

  /** Begins no more. Resolves once none is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#late);
    await this.#running;
  }

  #wait(milliseconds: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#begin();
    }, milliseconds).unref();
  }

  #watch(): void {
    clearTimeout(this.#late);
    if (this.#isClosed) return;
    this.#late = setTimeout(() => this.#tell(true), OVERDUE_TIMES * this.#options.every).unref();
  }

  async #begin(): Promise<void> {
    const { every, advance } = this.#options;
    try {
      await advance();
      this.#watch();
      this.#tell(false);
      this.#wait(every);
    } catch {
      this.#wait(Math.min(AGAIN_MS, every));
    }
  }

  #tell(isOverdue: boolean): void {
    if (isOverdue === this.#isOverdue || this.#isClosed) return;
    this.#isOverdue = isOverdue;
    this.#options.onOverdue(isOverdue);
  }
}

/** Milliseconds between two epochs that begin for want of room, as often as a keeper goes on. */
const ROOM_MS = 60_000;

/** How epochs begin for want of room. */
export interface RoomEpochsOptions {
  /** Whether an epoch would give room back that calls lack. */
  readonly isHeld: () => boolean;
  /** Begins an epoch. */
  readonly advance: () => Promise<void>;
}

/**
 * Begins an epoch where the present one holds space that calls lack, once a minute at most.
 *
 * **Bound**: an epoch wears the chip that keeps its key. Callers can fill a disk, and begin no more
 * epochs by that than the chip's keeper would let a runtime begin.
 */
export class RoomEpochs {
  readonly #options: RoomEpochsOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  /** When the last one began. */
  #last = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(options: RoomEpochsOptions) {
    this.#options = options;
  }

  /** Begins an epoch as soon as one may begin, if it would give room back then. */
  look(): void {
    if (this.#isClosed || this.#timer !== undefined || this.#running !== undefined || !this.#options.isHeld()) return;
    const wait = Math.max(0, this.#last + ROOM_MS - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#begin().finally(() => {
        this.#running = undefined;
        this.look();
      });
    }, wait).unref();
  }

  /** Begins no more. Resolves once none is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #begin(): Promise<void> {
    const { isHeld, advance } = this.#options;
    if (!isHeld()) return;
    this.#last = performance.now();
    // Where it does not begin, the next one is tried as late as if it had.
    await advance().catch(() => {});
  }
}
