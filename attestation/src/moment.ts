/** The moment that evidence is held against, and until when what was found to hold then goes on holding. */

/** A time to hold dates against. */
export interface Moment {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Told when something ends that holds now; absent where a caller of a single step does not ask. */
  readonly holds?: (end: End) => void;
}

/** The end of something that holds. */
export interface End {
  /** The last time at which it holds, milliseconds since 1970. */
  readonly at: number;
  /** What ends, for people. */
  readonly what: string;
}

/** The earlier of two ends. */
export function earlier(one: End | null, other: End | null): End | null {
  if (one === null || other === null) return one ?? other;
  return other.at < one.at ? other : one;
}
