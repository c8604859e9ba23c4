/** The error of a call that ended in a status. */

import { type Metadata, type StatusObject, status } from '@grpc/grpc-js';
import type { CheckedReceipt } from './receipt-call.ts';

/** The name of a status of gRPC other than OK. */
export type StatusName = Exclude<keyof typeof status, 'OK'>;

/**
 * A call of a typed client that ended in a status other than OK. `DATA_LOSS` is what a channel
 * makes of an answer whose receipt is not good.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { CallError, connect } from '@enclaim/client';
 * import { Intake } from './gen/clinic/v1/intake_pb.js';
 *
 * await using server = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 * });
 * try {
 *   await server.client(Intake).submit({ patient: { id: 'p1' } });
 * } catch (error) {
 *   if (error instanceof CallError) console.error(error.code, error.receipt?.body.status);
 * }
 * ```
 */
export class CallError extends Error {
  override readonly name = 'CallError';
  readonly code: StatusName;
  /** The receipt of the status. Only a handler's status always has one. */
  readonly receipt: CheckedReceipt | undefined;
  readonly metadata: Metadata;

  constructor({ code, details, metadata }: StatusObject, receipt: CheckedReceipt | undefined) {
    super(details);
    this.code = (status[code] ?? 'UNKNOWN') as StatusName;
    this.receipt = receipt;
    this.metadata = metadata;
  }
}
