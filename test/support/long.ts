/**
 * How much the long tests do. In every run of `scripts/test` they do a part of it, and the whole with
 * `--long` (`ENCLAIM_TEST_LONG`). In `npm run check` they do least (`ENCLAIM_TEST_FAST`).
 */

/** Whether the whole of every long test was asked for. */
export const LONG: boolean = process.env.ENCLAIM_TEST_LONG === '1';

/** Asked at each count, because a run of several files in one process says it after it has loaded this. */
function isFast(): boolean {
  return process.env.ENCLAIM_TEST_FAST === '1' && !LONG;
}

/** `part` in every run of `scripts/test`, `whole` with `--long`, `least` in `npm run check`. */
export function count(part: number, whole: number, least: number = part): number {
  if (LONG) return whole;
  return isFast() ? least : part;
}
