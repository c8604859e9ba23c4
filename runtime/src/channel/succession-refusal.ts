/** Refusals of the Succession service, and how its callers are told. */

import { RequestError } from '@enclaim/attestation/grpc-request';
import { SuccessionError } from '@enclaim/attestation/succession';
import { RefusalError } from '../errors.ts';
import { STATUS } from '../refusals.ts';
import type { CallEnd, GrpcCall } from './grpc-call.ts';
import { refusedFor } from './refused-for.ts';

/** Reason of a refusal of the Succession service. */
export type SuccessionRefusalCode =
  | 'unattested' // successions are handed in on attested connections alone
  | 'request' // not a message of its type, or longer than any that is taken
  | 'succession' // it does not hold, or is not of this policy and state
  | 'launch' // the keeper does not pass anything from this launch as it says
  | 'busy' // too many successions of the connection did not hold, or too many wait
  | 'log' // the record could not be made durable
  | 'state' // the succession could not be kept, or the state not be handed over
  | 'shutdown'; // the runtime is about to end

const STATUSES: Readonly<Record<SuccessionRefusalCode, number>> = {
  unattested: STATUS.failedPrecondition,
  request: STATUS.invalidArgument,
  succession: STATUS.permissionDenied,
  launch: STATUS.failedPrecondition,
  busy: STATUS.resourceExhausted,
  log: STATUS.unavailable,
  state: STATUS.unavailable,
  shutdown: STATUS.unavailable,
};

/** The Succession service refused. */
export class SuccessionRefusal extends Error {
  override readonly name = 'SuccessionRefusal';
  readonly code: SuccessionRefusalCode;

  constructor(code: SuccessionRefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Serves a call of the Succession service; `answer` ends it, or throws what it ends in. */
export function serveSuccession(call: GrpcCall, answer: () => Promise<void>): void {
  answer().catch((error: unknown) => call.end(endOf(error)));
}

function endOf(error: unknown): CallEnd {
  if (error instanceof RequestError) return refusedFor('SUCCESSION_request', error.status, error.message);
  if (error instanceof SuccessionRefusal) return refused(error.code, error.message);
  if (error instanceof SuccessionError) return refused('succession', `${error.code}: ${error.message}`);
  if (!(error instanceof RefusalError)) return refused('state', 'the succession could not be kept');
  if (error.code === 'keeper') return refused('launch', error.message);
  const code = error.code === 'log' || error.code === 'shutdown' ? error.code : 'state';
  return refused(code, error.message);
}

function refused(code: SuccessionRefusalCode, message: string): CallEnd {
  return refusedFor(`SUCCESSION_${code}`, STATUSES[code], message);
}
