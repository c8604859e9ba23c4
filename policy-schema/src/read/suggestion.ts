/** Known names that are close to a name that is not known. */

/**
 * `; did you mean "…"?` where something known is at most a third of its letters away.
 *
 * @example
 * ```ts
 * import { suggestion } from '@enclaim/policy-schema/suggestion';
 *
 * suggestion('acepts', ['accepts', 'returns']); // ; did you mean "accepts"?
 * ```
 */
export function suggestion(name: string, known: Iterable<string>): string {
  let best: string | undefined;
  let least = Math.min(3, Math.ceil(name.length / 3)) + 1;
  for (const candidate of known) {
    const far = distance(name, candidate, least);
    if (far < least) [least, best] = [far, candidate];
  }
  return best === undefined ? '' : `; did you mean "${best}"?`;
}

/** Levenshtein distance, or `limit` if it is at least that. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    if (Math.min(...next) >= limit) return limit;
    row = next;
  }
  return row[b.length] ?? limit;
}
