/**
 * The account of how much one call depends on subprocessors:
 * `score = 100 × local / (local + Σ weight)`, compared to the policy's minimum before each
 * operation of a subprocessor and never after.
 */

import type { PeerIdentity, Sovereignty } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';

/**
 * Weight of an operation of a subprocessor. The policy of an attested peer binds it; any other peer
 * is bound only to its key.
 */
const WEIGHT = { attested: 1, named: 4 } as const;
/** Operations of subprocessors that one call may have if the policy has no limit for them. */
export const MAX_EXTERNAL_CALLS = 16;
/** Records that one call counts as local work; touching more adds nothing. */
const MAX_LOCAL_RECORDS = 4096;
const POINTER = '/governance/sovereignty';

/** The account of one call. */
export class SovereigntyAccount {
  readonly #limits: Sovereignty | 'none';
  readonly #local = new Set<string>();
  #weight = 0;
  #external = 0;

  constructor(limits: Sovereignty | 'none') {
    this.#limits = limits;
  }

  /**
   * Counts local work. The same work on the same thing counts once: repeating it is no more work,
   * and would only raise the score.
   */
  local(what: string): void {
    if (this.#local.size < MAX_LOCAL_RECORDS) this.#local.add(/* layer: work counts once */ what);
  }

  /**
   * Counts an operation of a subprocessor that is about to start. The count is immediate, so that
   * it holds for concurrent operations too.
   *
   * @throws RefusalError `sovereignty` with the arithmetic; `budget`. The operation must not start
   * then, and is not counted.
   */
  external(identity: PeerIdentity): void {
    const weight = this.#weight + (identity.attested === undefined ? WEIGHT.named : WEIGHT.attested);
    const external = this.#external + 1;
    const local = this.#local.size;
    if (this.#limits === 'none') {
      // layer: number of calls
      if (external > MAX_EXTERNAL_CALLS)
        throw new RefusalError('budget', `more than ${MAX_EXTERNAL_CALLS} calls of others`);
    } else {
      const { minScore, maxExternalCalls } = this.#limits;
      // layer: number of calls of the policy
      if (external > maxExternalCalls) {
        throw new RefusalError('sovereignty', `${external} calls of others, at most ${maxExternalCalls}`, {
          pointer: `${POINTER}/maxExternalCalls`,
          figures: { external, maxExternalCalls },
        });
      }
      // In integers, so that a score of exactly the minimum passes.
      if (100 * local < minScore * (local + weight)) {
        const score = Math.floor((100 * local) / (local + weight));
        const sum = `100 × ${local} / (${local} + ${weight}) = ${score}, at least ${minScore}`;
        throw new RefusalError('sovereignty', `sovereignty score ${sum}`, {
          pointer: `${POINTER}/minScore`,
          figures: { score, minScore, local, weight },
        });
      }
    }
    // layer: score before it happens
    this.#weight = weight;
    // layer: counted before it happens
    this.#external = external;
  }
}
