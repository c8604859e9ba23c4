/** Refusals by the runtime, and the rule of the policy that decided. */

/** Reason of a refusal. */
export type RefusalCode =
  | 'policy' // the policy is not the launch-measured one, or does not parse
  | 'descriptors' // the descriptor set does not parse or does not annotate what it must
  | 'claim' // the policy states a claim that this runtime does not enforce
  | 'request' // the request is not a message of its type
  | 'response' // the handler's answer is not a message of its type
  | 'flow' // data would reach a sink that is not cleared for it
  | 'leak' // a detector found what must not leave whatever its label
  | 'grant' // the handler asked for something its method was not granted
  | 'assurance' // a subprocessor's assurance has ended
  | 'sovereignty' // the call would depend on subprocessors more than the policy allows
  | 'secret' // a subprocessor is shown a secret whose value is not there
  | 'peer' // a subprocessor was not reached, is not the named one, or answered badly
  | 'budget' // time, memory or queue ran out
  | 'worker' // the handler's process broke a rule or died
  | 'conflict' // another call has changed what this call was to change
  | 'log' // the record could not be made durable
  | 'keeper' // the keeper of the state's key does not answer, or does not hand the key out
  | 'state' // the stored state is not what this system last wrote, or cannot be kept
  | 'unattested' // the method answers only on attested connections, and the caller's is not one
  | 'shutdown' // the runtime is about to end
  | 'channel'; // the handshake was not carried out as it must be

/** The runtime refused, and did nothing of what was asked. Never carries data. */
export class RefusalError extends Error {
  override readonly name = 'RefusalError';
  readonly code: RefusalCode;
  /** JSON pointer into the policy, if one of its rules decided. */
  readonly pointer: string | null;
  /**
   * Whether the refusal ends the call.
   *
   * **Leak**: such a refusal depends on other calls, such as how full a collection is. A handler
   * that could go on and retry would measure it.
   */
  readonly final: boolean;
  /** The arithmetic of the decision, if any: counts and limits by name. */
  readonly figures: Readonly<Record<string, number>>;

  constructor(
    code: RefusalCode,
    message: string,
    options: ErrorOptions & { pointer?: string; figures?: Readonly<Record<string, number>>; final?: true } = {},
  ) {
    super(message, options);
    this.code = code;
    this.pointer = options.pointer ?? null;
    this.figures = options.figures ?? {};
    this.final = options.final ?? false;
  }
}
