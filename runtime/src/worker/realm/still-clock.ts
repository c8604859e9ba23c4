/** Part of the realm: time, which stands still at what the runtime granted a call. */

/** The engine's `Date`, and the one in its place. */
export interface StillClock {
  readonly RealDate: DateConstructor;
  /** A `Date` whose present time is what `now` gives. */
  readonly dateAt: (now: () => number) => unknown;
}

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/** Keeps the engine's `Date`, so it is called before that is replaced. */
export function stillClock(): StillClock {
  const RealDate = Date;
  return { RealDate, dateAt };

  function dateAt(now: () => number): unknown {
    const { Date: Still }: any = {
      Date: function (...parts: unknown[]): unknown {
        if (new.target === undefined) return new RealDate(now()).toString();
        return Reflect.construct(RealDate, parts.length === 0 ? [now()] : parts, new.target);
      },
    };
    Still.prototype = RealDate.prototype;
    Still.now = now;
    Still.UTC = RealDate.UTC;
    Still.parse = RealDate.parse;
    return Still;
  }
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
