/** The reason why the guest powers off instead of serving. */

/** Why nothing is served. */
export type RefusalReason = 'disk' | 'bundle' | 'policy' | 'platform' | 'time' | 'runtime';

/** The guest serves nothing, and says why on the console and in the policy register. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalReason;

  constructor(code: RefusalReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
