/** Refusals as callers and records see them. */

import type { ClaimKind } from '@enclaim/policy-schema/admission';
import type { RefusalCode } from './errors.ts';

/** gRPC status codes that this runtime answers with. */
export const STATUS = {
  ok: 0,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** Status for the caller, result for the record, and the kind of claim that the refusal upholds. */
export const REFUSALS: Readonly<
  Record<RefusalCode, readonly [status: number, result: 'deny' | 'error', claim?: ClaimKind]>
> = {
  policy: [STATUS.internal, 'error'],
  descriptors: [STATUS.internal, 'error'],
  claim: [STATUS.internal, 'error'],
  request: [STATUS.invalidArgument, 'error'],
  response: [STATUS.internal, 'error'],
  flow: [STATUS.permissionDenied, 'deny', 'no-undisclosed-recipients'],
  leak: [STATUS.failedPrecondition, 'deny', 'no-leakage'],
  grant: [STATUS.permissionDenied, 'deny', 'no-undisclosed-recipients'],
  assurance: [STATUS.failedPrecondition, 'deny', 'subprocessors-assured'],
  sovereignty: [STATUS.failedPrecondition, 'deny', 'local-first'],
  secret: [STATUS.unavailable, 'error'],
  peer: [STATUS.unavailable, 'error', 'no-undisclosed-recipients'],
  budget: [STATUS.resourceExhausted, 'error', 'bounded-resources'],
  worker: [STATUS.internal, 'error'],
  conflict: [STATUS.aborted, 'error'],
  log: [STATUS.unavailable, 'error', 'access-logged'],
  keeper: [STATUS.unavailable, 'error'],
  state: [STATUS.unavailable, 'error'],
  unattested: [STATUS.failedPrecondition, 'deny'],
  shutdown: [STATUS.unavailable, 'error'],
  channel: [STATUS.unavailable, 'error'],
};
