/**
 * Limits to the duration of calls (docs/reference/limits.md). The other limits of a request are in
 * `@enclaim/attestation/grpc-request`.
 */

/** Limits in milliseconds. */
export const LIMITS: Readonly<Record<'call' | 'callOfPolicy' | 'stream' | 'taking', number>> = {
  /**
   * A call, if the policy states no `wall`. Otherwise added to the `wall`, for what comes before
   * and after.
   */
  call: 30_000,
  /** Longest call, if the policy states a `wall`. */
  callOfPolicy: 600_000,
  /** A stream, for its request to arrive, its call to be answered and its response to be taken. */
  stream: 60_000,
  /** Addition to the longest call, for its request to arrive and its response to be taken. */
  taking: 30_000,
};
