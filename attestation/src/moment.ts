/** The moment that evidence is held against, and the end of what holds at that moment. */

/** A time to hold dates against. */
export interface Moment {
  /** Milliseconds since 1970. */
  readonly now: number;
  /**
   * Called with the end of something that holds now; absent if the caller of a single step does not
   * ask.
   */
  readonly holds?: (end: End) => void;
}

/** The end of something that holds. */
export interface End {
  /** The last time at which it holds, milliseconds since 1970. */
  readonly at: number;
  /** Name of the thing that ends, for people. */
  readonly what: string;
}

/** The earlier of two ends. */
export function earlier(one: End | null, other: End | null): End | null {
  if (one === null || other === null) return one ?? other;
  return other.at < one.at ? other : one;
}
