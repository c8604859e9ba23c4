/**
 * Schema of a worker's messages. It is apart from the protocol's types, so that no worker loads the
 * library.
 */

import * as z from 'zod';
import { HANDLER_STATUSES, type HandlerStatusCode, MAX_STATUS_TEXT_CHARS } from './handler-status.ts';
import type { FromWorker, Json } from './protocol.ts';

/** A number that the asking side chose for a call, an operation or a ping. */
const id = z.int().nonnegative();
const MAX_NAME_CHARS = 512;
const name = z.string().max(MAX_NAME_CHARS);

/**
 * **Cost**: the result of JSON.parse is JSON. Walking through it again and copying it would cost
 * many times as much.
 */
const json = z.custom<Json>((value) => value !== undefined);

/**
 * Arrays, objects and members of a message. Each may take two hundred bytes of memory, and only two
 * of text.
 */
const MAX_PARTS = 100_000;
/** Members of a message itself, whatever their values hold. */
const MAX_MEMBERS = 16;
/** Keys in a request for a release. */
const MAX_KEYS = 64;
/** Nesting of arrays and objects. Later code walks through a value by recursion. */
const MAX_DEPTH = 256;

/**
 * The keys of a release, checked by hand.
 *
 * **Cost**: the library would report the fault of each entry, which takes seconds for very many.
 */
const keys = z.custom<Readonly<Record<string, string>>>((value) => {
  if (!isObject(value)) return false;
  const entries = Object.entries(value);
  if (entries.length > MAX_KEYS) return false;
  return entries.flat().every((text) => typeof text === 'string' && text.length <= MAX_NAME_CHARS);
});

const asked = { call: id, operation: id };
const fromWorkerSchema: z.ZodType<FromWorker> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready') }),
  z.strictObject({ kind: z.literal('unusable'), reason: z.string().max(1024) }),
  z.strictObject({ kind: z.literal('done'), call: id, response: json }),
  z.strictObject({
    kind: z.literal('status'),
    call: id,
    code: z.enum(Object.keys(HANDLER_STATUSES) as HandlerStatusCode[]),
    // A lone surrogate has no UTF-8 form, and a receipt commits to that form.
    text: z.string().max(MAX_STATUS_TEXT_CHARS).refine(isWellFormed),
  }),
  z.strictObject({ kind: z.enum(['failed', 'ended']), call: id }),
  z.strictObject({ kind: z.literal('pong'), ping: id }),
  z.strictObject({
    kind: z.literal('used'),
    total: id,
    heap: id,
    collected: z.boolean(),
    calls: z.array(z.tuple([id, id])).max(4096),
  }),
  z.strictObject({ kind: z.literal('put'), ...asked, collection: name, key: name, value: json }),
  z.strictObject({ kind: z.enum(['get', 'delete']), ...asked, collection: name, key: name }),
  z.strictObject({ kind: z.literal('list'), ...asked, collection: name }),
  z.strictObject({ kind: z.literal('next'), ...asked }),
  z.strictObject({ kind: z.literal('send'), ...asked, message: json }),
  z.strictObject({ kind: z.literal('egress'), ...asked, to: name, method: name, message: json }),
  z.strictObject({ kind: z.literal('release'), ...asked, rule: name, keys }),
  z.strictObject({
    kind: z.literal('log'),
    ...asked,
    event: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/),
    data: json,
  }),
]);

/**
 * A message of a worker.
 *
 * @throws if it is not one; the worker must be ended then
 */
export function parseFromWorker(text: string): FromWorker {
  weigh(text);
  const message: unknown = JSON.parse(text);
  if (!isObject(message)) throw new TypeError('a message is an object');
  const members = Object.keys(message).length;
  if (members > MAX_MEMBERS) throw new RangeError(`a message of ${members} members`);
  return fromWorkerSchema.parse(message);
}

function isWellFormed(text: string): boolean {
  return text.isWellFormed();
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws RangeError for a text that would be too large, or too deep, once it is parsed */
function weigh(text: string): void {
  let [parts, depth] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"':
        at = closing(text, at);
        break;
      case ':':
        parts++;
        break;
      case '[':
      case '{':
        parts++;
        if (++depth > MAX_DEPTH) throw new RangeError(`deeper than ${MAX_DEPTH}`);
        break;
      case ']':
      case '}':
        depth--;
    }
  }
  if (parts > MAX_PARTS) throw new RangeError(`more than ${MAX_PARTS} parts`);
}

/**
 * Position of the quotation mark that closes the one at `from`; the end of the text if none does.
 */
function closing(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let slashes = 0;
    while (text[at - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return at;
  }
  return text.length;
}
