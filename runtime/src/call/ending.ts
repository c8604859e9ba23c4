/**
 * The end of a call: the one place that decides what its caller is told and what its receipt speaks of, however it came about.
 * A unary call or a stream, answered, thrown, given up, out of time, cut off or with a dead worker: each ends by `endingOf`.
 */

import type { ClaimKind } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import { isOpen, type Silence } from '../flow/call-flow.ts';
import { HANDLER_STATUSES, type HandlerStatus } from '../worker/handler-status.ts';
import { REFUSALS, STATUS } from './refusals.ts';

/**
 * How a call came to its end: its handler answered, with one message where the response is no stream or with a status that may be
 * told, or something else happened.
 */
export type How = { readonly response: Uint8Array } | { readonly status: HandlerStatus } | { readonly error: unknown };

/** What is known of a call by its end. */
export interface Ended {
  readonly how: How;
  /** Where it has read what it may not return. */
  readonly silence: Silence | undefined;
  /** The first refusal that an operation of its handler met. */
  readonly refused: RefusalError | undefined;
  /** What it carries now, sorted. */
  readonly label: readonly string[];
  /** Names the record of its end. **Leak**: the runtime drew it before the handler ran, so it says nothing of the call. */
  readonly id: string;
}

/** How a call ends. */
export interface Ending {
  /** gRPC status code. */
  readonly status: number;
  /** For people: the handler's own words, as a response may have them; or names of rules and categories, never data. */
  readonly message: string;
  /** The response message, where the status is ok and the response is no stream. */
  readonly response: Uint8Array;
  readonly result: 'allow' | 'deny' | 'error';
  /** Why, for the record of the end. */
  readonly reason: string;
  /** The kind of claim that a refusal upholds. */
  readonly claim: ClaimKind | undefined;
  readonly refusal: RefusalError | null;
  /** Where something failed: what the operator finds the record of the call by. The caller is told it, and of the error nothing. */
  readonly error?: string;
  /** What the receipt says that the call carried. */
  readonly label: readonly string[];
  /** Whether the receipt may say how many messages of a stream were taken. */
  readonly counts: boolean;
}

const NOTHING = new Uint8Array();

/**
 * The rule of all ends. Once a call has read what it may not return, it ends in one and the same refusal, with the label of that
 * moment and without a number of messages: which end it takes, how long it goes on, what it reads and takes meanwhile are the
 * handler's choice, who knows by then what nobody may be told. Otherwise a handler that fell over a refusal ends with that one.
 */
export function endingOf({ how, silence, refused, label, id }: Ended): Ending {
  if (silence !== undefined) return { ...refusing(silence.refusal), label: silence.label, counts: false };
  if ('error' in how) return { ...named(refusing(refusalOf(how.error, refused)), id), label, counts: true };
  const allowed = { result: 'allow', claim: undefined, refusal: null, label, counts: true } as const;
  if ('response' in how) return { ...allowed, status: STATUS.ok, message: '', response: how.response, reason: 'ok' };
  // It is allowed, as a response is, and so its receipt says: whose status it is, the handler's or the runtime's, is seen by that.
  const { code, text } = how.status;
  const reason = isOpen(label) ? `handler ${code}` : 'handler';
  return { ...allowed, status: HANDLER_STATUSES[code], message: text, response: NOTHING, reason };
}

function refusing(refusal: RefusalError): Omit<Ending, 'label' | 'counts'> {
  const { code, message, pointer } = refusal;
  const [status, result, claim] = REFUSALS[code];
  const reason = [code, pointer ?? []].flat().join(' ');
  return { status, message, response: NOTHING, result, reason, claim, refusal };
}

/** A failure with the id of its record, which is all that may be said of it: its text, type and place are the handler's choice. */
function named(ending: ReturnType<typeof refusing>, id: string): ReturnType<typeof refusing> {
  if (ending.status !== STATUS.internal) return ending;
  return { ...ending, message: `${ending.message} (error ${id})`, error: id };
}

function refusalOf(error: unknown, refused: RefusalError | undefined): RefusalError {
  const refusal = error instanceof RefusalError ? error : new RefusalError('worker', 'the call failed');
  return refusal.code === 'worker' ? (refused ?? refusal) : refusal;
}
