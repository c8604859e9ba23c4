/** What one request may use, by its method's declaration in the policy. */
export interface CallBudget {
  /** Bytes. */
  readonly memory: number;
  /** Microseconds of processor. */
  readonly processor: number;
  /** Milliseconds from its first byte to its last. */
  readonly wall: number;
  /** Where the policy says so. */
  readonly pointer: string;
}
