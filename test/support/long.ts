/** How much the long tests do: `scripts/test --long` sets `ENCLAIM_TEST_LONG`, and without it they do a part of it. */

/** Whether the whole of every long test was asked for. */
export const LONG: boolean = process.env.ENCLAIM_TEST_LONG === '1';

/** `part` in every run, `whole` with `--long`. */
export function count(part: number, whole: number): number {
  return LONG ? whole : part;
}
