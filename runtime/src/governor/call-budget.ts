/** Limits of one request, as its method declares them in the policy. */
export interface CallBudget {
  /** Bytes. */
  readonly memory: number;
  /** Microseconds of processor. */
  readonly processor: number;
  /** Milliseconds from its first byte to its last. */
  readonly wall: number;
  /** JSON pointer to the declaration. */
  readonly pointer: string;
}
