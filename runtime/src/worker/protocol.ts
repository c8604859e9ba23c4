/**
 * Messages between runtime and worker. The text of a frame is the message's members as JSON and,
 * for kinds that carry a value, a tab and that value's JSON. The runtime parses a worker's messages
 * as hostile input; the worker trusts the runtime's.
 */

import type { HandlerStatus, HandlerStatusCode } from './handler-status.ts';
import type { WorkerText } from './json-text.ts';

/** Largest frame in bytes, either way. */
export const MAX_FRAME_BYTES: number = 8 * 1024 * 1024;
/** Operations of one call that may be under way at once: a worker that asks for more is ended. */
export const MAX_OPERATIONS = 256;

/**
 * Stands between the members of a message and the value that it carries. JSON text as it is written
 * here holds no such character.
 */
export const VALUE_MARK = '\t';

/** The parts of a call's description that are the same for all calls of a method. */
export interface CallGrants {
  readonly method: string;
  readonly streams: { readonly request: boolean; readonly response: boolean };
  /**
   * Collections, subprocessors with their methods, and rules of declassification that this method
   * was granted.
   */
  readonly reads: readonly string[];
  readonly stores: readonly string[];
  readonly sends: Readonly<Record<string, readonly string[]>>;
  readonly releases: readonly string[];
}

/** A call as the runtime describes it to a worker. */
export interface CallMessage {
  readonly grants: CallGrants;
  /**
   * Time at which the call came in (RFC 3339), an identifier made for it, and 32 random bytes
   * (hex). The handler has no other clock and no other randomness.
   */
  readonly time: string;
  readonly id: string;
  readonly seed: string;
}

/** A message of the runtime. */
export type ToWorker =
  /** First, once: the handler bundle, and the methods it must have. */
  | {
      readonly kind: 'load';
      readonly code: string;
      readonly methods: readonly string[];
      /**
       * Whether calls have budgets. The worker then reports its usage after each turn of its loop.
       */
      readonly metered: boolean;
    }
  /** Carries the request, unless requests come as a stream. */
  | ({ readonly kind: 'call'; readonly call: number } & CallGrants & Omit<CallMessage, 'grants'>)
  /** Forget a call; the worker answers with `ended`. */
  | { readonly kind: 'cancel'; readonly call: number }
  /** Show that the loop turns; the worker answers with `pong`. */
  | { readonly kind: 'ping'; readonly ping: number }
  /** Collect garbage, and report. */
  | { readonly kind: 'collect' }
  /** Carries the result of an operation. */
  | { readonly kind: 'result'; readonly operation: number }
  | { readonly kind: 'refused'; readonly operation: number; readonly code: string; readonly message: string };

/** A change of one place, on condition of its version; null: that nothing is there. */
interface Change {
  readonly collection: string;
  readonly key: string;
  readonly ifVersion?: string | null | undefined;
}

/**
 * An operation that a handler asks for. `operation` is the worker's number for it, and `json` the
 * value that it carries.
 */
export type Operation = { readonly call: number; readonly operation: number } & (
  | ({ readonly kind: 'put'; readonly json: WorkerText } & Change)
  | ({ readonly kind: 'delete' } & Change)
  /** `read` answers with the value and its version, `get` with the value alone. */
  | { readonly kind: 'get' | 'read'; readonly collection: string; readonly key: string }
  | {
      readonly kind: 'list';
      readonly collection: string;
      readonly prefix?: string | undefined;
      readonly after?: string | undefined;
      readonly limit?: number | undefined;
      /** A message with the one field whose value is sought. Absent: all keys. */
      readonly json?: WorkerText | undefined;
    }
  /** The next message of the request stream. */
  | { readonly kind: 'next' }
  /** One message of the response stream; answered when there is room for another. */
  | { readonly kind: 'send'; readonly json: WorkerText }
  /** A call of a subprocessor; its result is the subprocessor's answer. */
  | { readonly kind: 'egress'; readonly to: string; readonly method: string; readonly json: WorkerText }
  /** A declassification; `keys` names the record to take fields of, by collection. */
  | { readonly kind: 'release'; readonly rule: string; readonly keys: Readonly<Record<string, string>> }
  | { readonly kind: 'log'; readonly event: string; readonly json: WorkerText }
);

/** The outcome of a handler: a response (`null` if responses were streamed) or a status. */
export type Made = WorkerText | HandlerStatus;

/**
 * A message of a worker.
 *
 * **Trust**: none; only its shape is known.
 */
export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'unusable'; readonly reason: string }
  | { readonly kind: 'done'; readonly call: number; readonly json: WorkerText }
  /** The handler threw a `StatusError`. */
  | { readonly kind: 'status'; readonly call: number; readonly code: HandlerStatusCode; readonly text: string }
  | { readonly kind: 'failed' | 'ended'; readonly call: number }
  | { readonly kind: 'pong'; readonly ping: number }
  /**
   * Usage: microseconds of processor by the whole process, and by each call since the last report;
   * bytes of heap, and whether garbage was collected before.
   */
  | {
      readonly kind: 'used';
      readonly total: number;
      readonly heap: number;
      readonly collected: boolean;
      readonly calls: readonly (readonly [call: number, microseconds: number])[];
    }
  | Operation;
