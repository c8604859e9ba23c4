/** Refusals of the Log service, and how its callers are told. */

import { RequestError } from '@enclaim/attestation/grpc-request';
import { RefusalError } from '../errors.ts';
import { STATUS } from '../refusals.ts';
import type { CallEnd, GrpcCall } from './grpc-call.ts';
import { refusedFor } from './refused-for.ts';

/** Reason of a refusal of the Log service. */
export type LogRefusalCode =
  | 'no-checkpoint' // no checkpoint is signed yet
  | 'beyond' // the log does not hold so much yet
  | 'forgotten' // a mirror holds these entries, and this machine no longer does
  | 'earlier' // an earlier boot wrote the record, and left no quote that covers it
  | 'request' // no tile, no range of entries
  | 'reader' // the caller did not prove a key that may read entries
  | 'unattested' // entries are read on attested connections alone
  | 'busy' // too much waits or is watched already
  | 'unreadable' // the disk, or the hardware, did not give what is asked for
  | 'shutdown'; // the runtime is about to end

const STATUSES: Readonly<Record<LogRefusalCode, number>> = {
  'no-checkpoint': STATUS.unavailable,
  beyond: STATUS.outOfRange,
  forgotten: STATUS.notFound,
  earlier: STATUS.notFound,
  request: STATUS.invalidArgument,
  reader: STATUS.unauthenticated,
  unattested: STATUS.failedPrecondition,
  busy: STATUS.resourceExhausted,
  unreadable: STATUS.unavailable,
  shutdown: STATUS.unavailable,
};

/** The Log service refused. Its message carries no data. */
export class LogRefusal extends Error {
  override readonly name = 'LogRefusal';
  readonly code: LogRefusalCode;

  constructor(code: LogRefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Serves a call of the Log service; `answer` ends it, or throws what it ends in. */
export function serveLog(call: GrpcCall, answer: () => Promise<void>): void {
  answer().catch((error: unknown) => call.end(endOf(error)));
}

function endOf(error: unknown): CallEnd {
  if (error instanceof RequestError) return refused('request', error.message, error.status);
  if (error instanceof LogRefusal) return refused(error.code, error.message);
  if (error instanceof RefusalError && error.code === 'budget') return refused('busy', error.message);
  return refused('unreadable', 'the log could not be read');
}

function refused(code: LogRefusalCode, message: string, status: number = STATUSES[code]): CallEnd {
  return refusedFor(`LOG_${code}`, status, message);
}
