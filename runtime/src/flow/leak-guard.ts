/** The leak guard of one call: detectors over the texts that it would let out. */

import type { Leaks, Policy } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import { detect, type LeakDetector, recognisable } from './detectors.ts';

/** A way out that detectors look at. */
export type LeakSurface = Leaks['on'][number];

const NOTHING: ReadonlySet<string> = new Set();
/** Values of one call that `exact-match` can recognise. */
const MAX_KNOWN_VALUES = 10_000;

/** Looks for leaks in texts, also for values that the call has seen and may not return. */
export class LeakGuard {
  readonly #leaks: Policy['governance']['leaks'];
  /**
   * Values this call has seen under a label that its response may not carry. The detector
   * `exact-match` refuses a message that repeats one.
   */
  #forbidden: Set<string> | undefined;

  constructor({ governance }: Policy) {
    this.#leaks = governance.leaks;
  }

  /** Whether a detector needs the values that the call may not return. */
  get recognises(): boolean {
    return this.#leaks !== 'none' && this.#leaks.detectors.includes('exact-match');
  }

  /**
   * Keeps values that the call may not return.
   *
   * @throws RefusalError `budget`
   */
  forbid(texts: readonly string[]): void {
    this.#forbidden ??= new Set();
    for (const value of recognisable(texts)) this.#forbidden.add(value);
    if (this.#forbidden.size > MAX_KNOWN_VALUES) throw new RefusalError('budget', 'the call has read too many values');
  }

  /** The refusal of texts in which a detector finds something; undefined if none does. */
  leakIn(surface: LeakSurface, texts: () => readonly string[]): RefusalError | undefined {
    const leaks = this.#leaks;
    if (leaks === 'none' || !leaks.on.includes(surface)) return undefined;
    // A message to a subprocessor may hold values that the response may not. If the subprocessor
    // may not have them, the label has refused the message already.
    const forbidden = (surface !== 'egress' && this.#forbidden) || NOTHING;
    const found: LeakDetector[] = detect(leaks.detectors, texts(), forbidden);
    // layer: leak detectors (off: true)
    if (found.length === 0) return undefined;
    return new RefusalError('leak', `the ${surface} holds ${found.join(', ')}`, { pointer: '/governance/leaks' });
  }
}
