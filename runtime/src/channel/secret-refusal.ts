/** Refusals of the Secrets service, and how its callers are told. */

import { RequestError } from '@enclaim/attestation/grpc-request';
import { RefusalError } from '../errors.ts';
import { STATUS } from '../refusals.ts';
import type { CallEnd, GrpcCall } from './grpc-call.ts';
import { refusedFor } from './refused-for.ts';

/** Reason of a refusal of the Secrets service. */
export type SecretRefusalCode =
  | 'unattested' // secrets are brought on attested connections alone
  | 'owner' // the caller did not prove the owner's key
  | 'request' // not a message of its type, or longer than any that is taken
  | 'name' // the policy names no such secret
  | 'value' // no header can carry the value
  | 'busy' // too many proofs of the connection did not hold, or too many changes wait
  | 'log' // the record of a change could not be made durable
  | 'state' // the change itself could not be made durable
  | 'shutdown'; // the runtime is about to end

const STATUSES: Readonly<Record<SecretRefusalCode, number>> = {
  unattested: STATUS.failedPrecondition,
  owner: STATUS.unauthenticated,
  request: STATUS.invalidArgument,
  name: STATUS.notFound,
  value: STATUS.invalidArgument,
  busy: STATUS.resourceExhausted,
  log: STATUS.unavailable,
  state: STATUS.unavailable,
  shutdown: STATUS.unavailable,
};

/** The Secrets service refused, and changed nothing. Its message repeats nothing of a request. */
export class SecretRefusal extends Error {
  override readonly name = 'SecretRefusal';
  readonly code: SecretRefusalCode;

  constructor(code: SecretRefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Serves a call of the Secrets service; `answer` ends it, or throws what it ends in. */
export function serveSecrets(call: GrpcCall, answer: () => Promise<void>): void {
  answer().catch((error: unknown) => call.end(endOf(error)));
}

function endOf(error: unknown): CallEnd {
  if (error instanceof RequestError) return refusedFor('SECRET_request', error.status, error.message);
  if (error instanceof SecretRefusal) return refused(error.code, error.message);
  if (error instanceof RefusalError && error.code === 'log')
    return refused('log', 'the change could not be recorded, and was not made');
  return refused('state', 'the change could not be kept');
}

function refused(code: SecretRefusalCode, message: string): CallEnd {
  return refusedFor(`SECRET_${code}`, STATUSES[code], message);
}
