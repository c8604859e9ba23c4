/** What runtime and worker say to each other, in frames of JSON. The runtime parses it as hostile, the worker trusts it. */

import { z } from 'zod';

/** Largest frame in bytes, either way. */
export const FRAME_LIMIT: number = 8 * 1024 * 1024;

/** Largest id of a call or operation. */
const id = z.int().nonnegative();
const name = z.string().max(512);

/** JSON, as far as a frame goes. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** What the runtime says. */
export type ToWorker =
  /** First, once: the handler bundle, and the methods it must have. */
  | { readonly kind: 'load'; readonly code: string; readonly methods: readonly string[] }
  /** Begin a call. `collections` are the ones this method may ask for. */
  | {
      readonly kind: 'call';
      readonly call: number;
      readonly method: string;
      readonly request: Json;
      readonly reads: readonly string[];
      readonly stores: readonly string[];
      /** When the call came in (RFC 3339), and an identifier made for it: the only clock and randomness there is. */
      readonly time: string;
      readonly id: string;
    }
  /** Answer to an operation. */
  | { readonly kind: 'result'; readonly operation: number; readonly value: Json }
  | { readonly kind: 'refused'; readonly operation: number; readonly message: string };

/** What a handler asks for in a collection. `operation` is the worker's number for it. */
export type Operation =
  | {
      readonly kind: 'put';
      readonly call: number;
      readonly operation: number;
      readonly collection: string;
      readonly key: string;
      readonly value: Json;
    }
  | {
      readonly kind: 'get' | 'delete';
      readonly call: number;
      readonly operation: number;
      readonly collection: string;
      readonly key: string;
    }
  | { readonly kind: 'list'; readonly call: number; readonly operation: number; readonly collection: string };

/** What a worker says. **Trust**: none; only its shape is known. */
export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'unusable'; readonly reason: string }
  | { readonly kind: 'done'; readonly call: number; readonly response: Json }
  | { readonly kind: 'failed'; readonly call: number }
  | Operation;

const fromWorkerSchema: z.ZodType<FromWorker> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready') }),
  z.strictObject({ kind: z.literal('unusable'), reason: z.string().max(1024) }),
  z.strictObject({ kind: z.literal('done'), call: id, response: z.json() }),
  z.strictObject({ kind: z.literal('failed'), call: id }),
  z.strictObject({ kind: z.literal('put'), call: id, operation: id, collection: name, key: name, value: z.json() }),
  z.strictObject({ kind: z.enum(['get', 'delete']), call: id, operation: id, collection: name, key: name }),
  z.strictObject({ kind: z.literal('list'), call: id, operation: id, collection: name }),
]);

/** A message from a worker. @throws where it is not one; the worker is to be ended then */
export function parseFromWorker(json: string): FromWorker {
  return fromWorkerSchema.parse(JSON.parse(json));
}
