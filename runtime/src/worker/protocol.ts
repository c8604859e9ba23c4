/**
 * Messages between runtime and worker, in frames of JSON. The runtime parses a worker's messages as
 * hostile input; the worker trusts the runtime's.
 */

import type { HandlerStatus, HandlerStatusCode } from './handler-status.ts';

/** Largest frame in bytes, either way. */
export const MAX_FRAME_BYTES: number = 8 * 1024 * 1024;
/** Operations of one call that may be under way at once: a worker that asks for more is ended. */
export const MAX_OPERATIONS = 256;

/** A JSON value in a frame. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A call as the runtime describes it to a worker. */
export interface CallMessage {
  readonly method: string;
  /** The request, or null if requests come as a stream. */
  readonly request: Json;
  readonly streams: { readonly request: boolean; readonly response: boolean };
  /**
   * Collections, subprocessors with their methods, and rules of declassification that this method
   * was granted.
   */
  readonly reads: readonly string[];
  readonly stores: readonly string[];
  readonly sends: Readonly<Record<string, readonly string[]>>;
  readonly releases: readonly string[];
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
  | ({ readonly kind: 'call'; readonly call: number } & CallMessage)
  /** Forget a call; the worker answers with `ended`. */
  | { readonly kind: 'cancel'; readonly call: number }
  /** Show that the loop turns; the worker answers with `pong`. */
  | { readonly kind: 'ping'; readonly ping: number }
  /** Collect garbage, and report. */
  | { readonly kind: 'collect' }
  /** Result of an operation. */
  | { readonly kind: 'result'; readonly operation: number; readonly value: Json }
  | { readonly kind: 'refused'; readonly operation: number; readonly code: string; readonly message: string };

/** An operation that a handler asks for. `operation` is the worker's number for it. */
export type Operation = { readonly call: number; readonly operation: number } & (
  | { readonly kind: 'put'; readonly collection: string; readonly key: string; readonly value: Json }
  | { readonly kind: 'get' | 'delete'; readonly collection: string; readonly key: string }
  | { readonly kind: 'list'; readonly collection: string }
  /** The next message of the request stream. */
  | { readonly kind: 'next' }
  /** One message of the response stream; answered when there is room for another. */
  | { readonly kind: 'send'; readonly message: Json }
  /** A call of a subprocessor; its result is the subprocessor's answer. */
  | { readonly kind: 'egress'; readonly to: string; readonly method: string; readonly message: Json }
  /** A declassification; `keys` names the record to take fields of, by collection. */
  | { readonly kind: 'release'; readonly rule: string; readonly keys: Readonly<Record<string, string>> }
  | { readonly kind: 'log'; readonly event: string; readonly data: Json }
);

/** The outcome of a handler: a response (null if responses were streamed) or a status. */
export type Made = Json | HandlerStatus;

/**
 * A message of a worker.
 *
 * **Trust**: none; only its shape is known.
 */
export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'unusable'; readonly reason: string }
  | { readonly kind: 'done'; readonly call: number; readonly response: Json }
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
