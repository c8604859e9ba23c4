/** Errors of exported state. */

/** Reason why an exported state is not taken. */
export type StateErrorCode =
  | 'log' // the log of the disk has faults, or does not go on from what was seen
  | 'quote' // a kept quote is not genuine, or refused by the references
  | 'header' // the disk is another than the file's header says
  | 'newest' // nothing says that it is the newest
  | 'recovery'; // the recovery does not hold, or is of another state

/** An exported state, or a disk that is to be exported, is refused. */
export class StateError extends Error {
  override readonly name = 'StateError';
  readonly code: StateErrorCode;

  constructor(code: StateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
