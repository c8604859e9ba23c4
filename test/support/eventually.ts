/** Waiting for something without a guess at how long it takes. */

import { setTimeout as sleep } from 'node:timers/promises';

/** After this, it will not come: no machine that still works is so slow. */
export const HANGS_MS = 300_000;
const LOOKS_MS = 20;

/**
 * The first value that is there. What throws is looked at again.
 *
 * @throws Error once it is certain that it hangs, with `what` was waited for.
 */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  hangsMs: number = HANGS_MS,
): Promise<Exclude<T, false | null | undefined>> {
  let failure: unknown;
  for (const until = performance.now() + hangsMs; performance.now() < until; await sleep(LOOKS_MS)) {
    try {
      const found = await look();
      if (found !== undefined && found !== null && found !== false)
        return found as Exclude<T, false | null | undefined>;
    } catch (error) {
      failure = error;
    }
  }
  throw new Error(`hangs: ${what}`, { cause: failure });
}
