/** The error of a witness that was asked in vain. */

/** Why there is no cosignature of a witness. */
export type WitnessErrorCode =
  | 'unreachable' // no connection, or none that lasted
  | 'timeout' // no whole answer in time
  | 'unknown' // it does not witness this log, or not under this key (404, 403, 400)
  | 'ahead' // it has cosigned more than the checkpoint holds: the log went back
  | 'fork' // it has cosigned a tree that the checkpoint does not continue (422)
  | 'time' // it signed for another time than now
  | 'protocol'; // an answer that no witness gives

/** A witness did not cosign a checkpoint. */
export class WitnessError extends Error {
  override readonly name = 'WitnessError';
  readonly code: WitnessErrorCode;

  constructor(code: WitnessErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
