/** The outcome of verification and appraisal: the evidence, its verdict and what it proves. */

import type { Verdict } from '@enclaim/attestation';
import type { BootStatement } from '@enclaim/attestation/statement';

/** Evidence with its verdict. */
export interface Attestation {
  readonly verdict: Verdict;
  readonly statement: BootStatement;
  readonly bootDigest: Uint8Array;
  /** The `enclaim.v1.Evidence` message, as received. */
  readonly evidence: Uint8Array;
  /**
   * Keying material of the connection that the evidence was given on (TLS exporter, 32 bytes);
   * absent from evidence that was saved.
   */
  readonly exporter?: Uint8Array;
}
