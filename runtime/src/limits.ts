/** How long calls may last (docs/limits.md). What else bounds a request is in `@enclaim/attestation/grpc-request`. */

/** In milliseconds. */
export const LIMITS: Readonly<Record<'call' | 'callOfPolicy' | 'stream' | 'taking', number>> = {
  /** Of a call, where the policy states no `wall`; added to it where it does, for what comes before and after. */
  call: 30_000,
  /** Of a call at most, where the policy states a `wall`. */
  callOfPolicy: 600_000,
  /** Of a stream: for its request to arrive, its call to be answered and its response to be taken. */
  stream: 60_000,
  /** Beyond the longest call, for its request to arrive and its response to be taken. */
  taking: 30_000,
};
