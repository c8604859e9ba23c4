/**
 * The end of a call. `endingOf` alone decides what its caller is told and what its receipt says.
 * Every unary call and every stream ends by it: answered, thrown, given up, out of time, cut off or
 * with a dead worker.
 */

import type { ClaimKind } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { Silence } from '../flow/call-flow.ts';
import { isOpen } from '../flow/floating-label.ts';
import { REFUSALS, STATUS } from '../refusals.ts';
import { HANDLER_STATUSES, type HandlerStatus } from '../worker/handler-status.ts';

/**
 * How a call came to its end. Its handler answered, with one message (empty if messages were
 * streamed) or with a status; or an error ended it.
 */
export type How = { readonly response: Uint8Array } | { readonly status: HandlerStatus } | { readonly error: unknown };

/** Facts about a call at its end. */
export interface Ended {
  readonly how: How;
  /** Set if it has read what it may not return. */
  readonly silence: Silence | undefined;
  /** The first refusal that an operation of its handler met. */
  readonly refused: RefusalError | undefined;
  /** The call's label now, sorted. */
  readonly label: readonly string[];
  /**
   * Id of the record of its end.
   *
   * **Leak**: the runtime drew it before the handler ran, so it says nothing of the call.
   */
  readonly id: string;
}

/** How a call ends. */
export interface Ending {
  /** gRPC status code. */
  readonly status: number;
  /**
   * Text for people. Either the handler's own words, under the flow rules of a response, or names
   * of rules and categories, never data.
   */
  readonly message: string;
  /** The response message, if the status is ok and the response is no stream. */
  readonly response: Uint8Array;
  readonly result: 'allow' | 'deny' | 'error';
  /** Reason in the record of the end. */
  readonly reason: string;
  /** The kind of claim that a refusal upholds. */
  readonly claim: ClaimKind | undefined;
  readonly refusal: RefusalError | null;
  /**
   * Id by which the operator finds the call's record after a failure. The caller is told the id and
   * nothing of the error.
   */
  readonly error?: string;
  /** The call's label, as the receipt states it. */
  readonly label: readonly string[];
  /** Whether the receipt may say how many messages of a stream were taken. */
  readonly counts: boolean;
}

const NOTHING = new Uint8Array();

/**
 * Decides how a call ends. Once a call has read what it may not return, it always ends in the same
 * refusal, with the label of that moment and without a number of messages. Otherwise a handler that
 * failed because of a refusal ends with that refusal.
 *
 * **Leak**: the silenced handler knows what it may not tell. It chooses how the call ends, how long
 * it goes on, and what it reads and takes meanwhile, so none of these may show.
 */
export function endingOf({ how, silence, refused, label, id }: Ended): Ending {
  // layer: refusals alike
  if (silence !== undefined) return { ...refusing(silence.refusal), label: silence.label, counts: false };
  if ('error' in how) return { ...named(refusing(refusalOf(how.error, refused)), id), label, counts: true };
  if ('response' in how) return answered(STATUS.ok, '', how.response, 'ok', label);
  // The receipt says `allow`, as for a response. By that a verifier tells a handler's status from
  // the runtime's.
  const { code, text } = how.status;
  const reason = /* layer: statuses named only of open calls (off: true) */ isOpen(label)
    ? `handler ${code}`
    : 'handler';
  return answered(HANDLER_STATUSES[code], text, NOTHING, reason, label);
}

/**
 * Whether the changes that a call has asked for are made: if its caller is answered with ok. A
 * handler that throws a status takes them back.
 */
export function keepsChanges({ status }: Ending): boolean {
  return status === STATUS.ok;
}

/** The end of a call that its handler has answered. */
function answered(
  status: number,
  message: string,
  response: Uint8Array,
  reason: string,
  label: readonly string[],
): Ending {
  return { status, message, response, result: 'allow', reason, claim: undefined, refusal: null, label, counts: true };
}

function refusing(refusal: RefusalError): Omit<Ending, 'label' | 'counts'> {
  const { code, message, pointer } = refusal;
  const [status, result, claim] = REFUSALS[code];
  const reason = [code, pointer ?? []].flat().join(' ');
  return { status, message, response: NOTHING, result, reason, claim, refusal };
}

/**
 * Adds the id of the call's record to a failure.
 *
 * **Leak**: nothing else may be said of it, because the handler chooses the error's text, type and
 * place.
 */
function named(ending: ReturnType<typeof refusing>, id: string): ReturnType<typeof refusing> {
  if (ending.status !== STATUS.internal) return ending;
  return { ...ending, message: `${ending.message} (error ${id})`, error: id };
}

function refusalOf(error: unknown, refused: RefusalError | undefined): RefusalError {
  const refusal = error instanceof RefusalError ? error : new RefusalError('worker', 'the call failed');
  return refusal.code === 'worker' ? (refused ?? refusal) : refusal;
}
