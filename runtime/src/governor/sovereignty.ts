/**
 * How much one call depends on others: `score = 100 × local / (local + Σ weight)`, held against the policy before each
 * operation outside and never after.
 */

import type { PeerIdentity, Sovereignty } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';

/** What an operation outside weighs: an attested peer is held by its own policy, any other only by its key. */
const WEIGHT = { attested: 1, named: 4 } as const;
/** Operations outside that one call may have where the policy says nothing about it. */
export const MOST_EXTERNAL = 16;
/** Records that one call counts as work done here; touching more adds nothing. */
const MOST_LOCAL = 4096;
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

  /** Counts work done here. The same on the same thing counts once: doing it again is no more work, only a better score. */
  local(what: string): void {
    if (this.#local.size < MOST_LOCAL) this.#local.add(what);
  }

  /**
   * Counts an operation outside that is about to happen, also for those that ask in the same moment.
   * @throws RefusalError `sovereignty` with the arithmetic, `budget`; it must not happen then, and is not counted
   */
  external(identity: PeerIdentity): void {
    const weight = this.#weight + (identity.attested === undefined ? WEIGHT.named : WEIGHT.attested);
    const external = this.#external + 1;
    const local = this.#local.size;
    if (this.#limits === 'none') {
      if (external > MOST_EXTERNAL) throw new RefusalError('budget', `more than ${MOST_EXTERNAL} calls of others`);
    } else {
      const { minScore, maxExternalCalls } = this.#limits;
      if (external > maxExternalCalls) {
        throw new RefusalError('sovereignty', `${external} calls of others, at most ${maxExternalCalls}`, {
          pointer: `${POINTER}/maxExternalCalls`,
          figures: { external, maxExternalCalls },
        });
      }
      // In integers: a score of exactly the minimum is one.
      if (100 * local < minScore * (local + weight)) {
        const score = Math.floor((100 * local) / (local + weight));
        const sum = `100 × ${local} / (${local} + ${weight}) = ${score}, at least ${minScore}`;
        throw new RefusalError('sovereignty', `sovereignty score ${sum}`, {
          pointer: `${POINTER}/minScore`,
          figures: { score, minScore, local, weight },
        });
      }
    }
    this.#weight = weight;
    this.#external = external;
  }
}
