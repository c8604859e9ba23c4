/** Refusals of the Keeper service, and how its callers are told. */

import { RequestError } from '@enclaim/attestation/grpc-request';
import { RefusalError } from '../errors.ts';
import { STATUS } from '../refusals.ts';
import type { CallEnd, GrpcCall } from './grpc-call.ts';
import { refusedFor } from './refused-for.ts';

/** Reason of a refusal of the Keeper service. */
export type KeeperRefusalCode =
  | 'unattested' // keys are given and taken on attested connections alone
  | 'request' // not a message of its type, or longer than any that is taken
  | 'proof' // the asker's evidence does not hold, not for this connection and question, or no more
  | 'machine' // the asker is none of those that the policy keeps keys for
  | 'epoch' // another epoch than the asker says is the present one
  | 'full' // keys of no further identity are kept
  | 'busy' // too many proofs of the connection did not hold, or too many are looked at or answered
  | 'log' // the record could not be made durable
  | 'state' // the key could not be kept
  | 'shutdown'; // the runtime is about to end

const STATUSES: Readonly<Record<KeeperRefusalCode, number>> = {
  unattested: STATUS.failedPrecondition,
  request: STATUS.invalidArgument,
  proof: STATUS.unauthenticated,
  machine: STATUS.permissionDenied,
  epoch: STATUS.aborted,
  full: STATUS.failedPrecondition,
  busy: STATUS.resourceExhausted,
  log: STATUS.unavailable,
  state: STATUS.unavailable,
  shutdown: STATUS.unavailable,
};

/** The Keeper service refused. */
export class KeeperRefusal extends Error {
  override readonly name = 'KeeperRefusal';
  readonly code: KeeperRefusalCode;

  constructor(code: KeeperRefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Serves a call of the Keeper service; `answer` ends it, or throws what it ends in. */
export function serveKeeper(call: GrpcCall, answer: () => Promise<void>): void {
  answer().catch((error: unknown) => call.end(endOf(error)));
}

const BY_CODE: Partial<Record<RefusalError['code'], KeeperRefusalCode>> = {
  conflict: 'epoch',
  budget: 'full',
  channel: 'proof',
  request: 'request',
  log: 'log',
  shutdown: 'shutdown',
};

function endOf(error: unknown): CallEnd {
  if (error instanceof RequestError) return refusedFor('KEEPER_request', error.status, error.message);
  if (error instanceof KeeperRefusal) return refused(error.code, error.message);
  if (error instanceof RefusalError) return refused(BY_CODE[error.code] ?? 'state', error.message);
  return refused('state', 'the key could not be kept');
}

function refused(code: KeeperRefusalCode, message: string): CallEnd {
  return refusedFor(`KEEPER_${code}`, STATUSES[code], message);
}
