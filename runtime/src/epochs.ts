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

  /** Hears that an epoch has begun, for whatever: the policy's time runs anew. */
  began(): void {
    this.#watch();
    this.#tell(false);
    this.#wait(this.#options.every);
  }

  #wait(milliseconds: number): void {
    clearTimeout(this.#timer);
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
      this.began();
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

/**
 * Milliseconds after an epoch until one begins for want of room: half as often as a keeper goes on,
 * so that it goes on for the policy's, too.
 */
const ROOM_MS = 120_000;
/** The same after one that gave none back. */
const VAIN_MS = 3_600_000;

/** How epochs begin for want of room. */
export interface RoomEpochsOptions {
  /** Whether an epoch would give room back that calls lack. */
  readonly isHeld: () => boolean;
  /** Begins an epoch. Resolves to whether it gave room back. */
  readonly advance: () => Promise<boolean>;
}

/**
 * Begins an epoch where the present one holds space that calls lack, once in two minutes at most,
 * and once in an hour after one that gave no room back, unless one of the policy began since.
 *
 * **Bound**: an epoch wears the chip that keeps its key. Callers can fill a disk, and begin no more
 * epochs by that than leave the chip's keeper to those of the policy.
 */
export class RoomEpochs {
  readonly #options: RoomEpochsOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  /** When the last epoch began, for whatever. */
  #last = Number.NEGATIVE_INFINITY;
  /** Milliseconds from it to the next. */
  #every = ROOM_MS;
  #isClosed = false;

  constructor(options: RoomEpochsOptions) {
    this.#options = options;
  }

  /** Begins an epoch as soon as one may begin, if it would give room back then. */
  look(): void {
    const isBusy = this.#timer !== undefined || this.#running !== undefined;
    if (this.#isClosed || isBusy || !this.#options.isHeld()) return;
    const wait = Math.max(0, this.#last + this.#every - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#begin().finally(() => {
        this.#running = undefined;
        this.look();
      });
    }, wait).unref();
  }

  /** Hears that an epoch has begun for another reason. */
  began(): void {
    this.#last = performance.now();
    this.#every = ROOM_MS;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.look();
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
    try {
      this.#every = (await advance()) ? ROOM_MS : VAIN_MS;
    } catch {
      // The next one is tried as late as if it had begun.
    }
  }
}
