/**
 * Refusals that a caller can cause without a handler.
 *
 * **Bound**: each costs the caller a few bytes, and a record would cost the log some hundred. So
 * there is at most one record of a kind in a second, and in the long run one in a minute. A record
 * says how many refusals it stands for.
 */

import type { RefusalCode } from '../errors.ts';

/** Least milliseconds between two records of a kind. */
const MIN_APART_MS = 1000;
/**
 * Milliseconds between two records of a kind in the long run, and how many records a kind may be
 * ahead of that: a minute of one in each second.
 */
const EACH_MS = 60_000;
const MAX_AHEAD = 60;

/** The parts of a tally. */
export interface RefusalTallyOptions {
  /** Makes a record that stands for `count` refusals. */
  readonly write: (code: RefusalCode, count: number) => void;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
}

/** One kind of refusal. */
interface Kind {
  /** Refusals that no record stands for yet. */
  count: number;
  /** Time from which a record may be made again. */
  next: number;
  /** Time at which the kind would have had all its records, at one in a minute. */
  even: number;
  timer: NodeJS.Timeout | undefined;
}

/** Counts refusals by their code, so that none is lost during this boot. */
export class RefusalTally {
  readonly #write: RefusalTallyOptions['write'];
  readonly #now: () => number;
  readonly #kinds = new Map<RefusalCode, Kind>();

  constructor({ write, now = () => performance.now() }: RefusalTallyOptions) {
    this.#write = write;
    this.#now = now;
  }

  /**
   * Whether a refusal may have a record of its own, and so a receipt. Otherwise it is counted, and
   * a later record stands for it.
   */
  hasRecord(code: RefusalCode): boolean {
    const kind = this.#kindOf(code);
    const now = this.#now();
    if (kind.count === 0 && now >= kind.next) {
      spend(kind, now);
      return true;
    }
    kind.count++;
    kind.timer ??= setTimeout(() => this.#tell(code, kind), Math.max(0, kind.next - now)).unref();
    return false;
  }

  /** Writes records for the refusals that are counted. */
  close(): void {
    for (const [code, kind] of this.#kinds) this.#tell(code, kind);
  }

  #kindOf(code: RefusalCode): Kind {
    const found = this.#kinds.get(code);
    if (found !== undefined) return found;
    const kind: Kind = { count: 0, next: 0, even: 0, timer: undefined };
    this.#kinds.set(code, kind);
    return kind;
  }

  #tell(code: RefusalCode, kind: Kind): void {
    clearTimeout(kind.timer);
    kind.timer = undefined;
    if (kind.count === 0) return;
    const { count } = kind;
    kind.count = 0;
    spend(kind, this.#now());
    this.#write(code, count);
  }
}

function spend(kind: Kind, now: number): void {
  kind.even = Math.max(kind.even, now) + EACH_MS;
  kind.next = Math.max(now + MIN_APART_MS, kind.even - MAX_AHEAD * EACH_MS);
}
