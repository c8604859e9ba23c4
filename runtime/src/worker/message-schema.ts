/**
 * Schema of a worker's messages. It is apart from the protocol's types, so that no worker loads the
 * library. The value that a message carries stays text.
 */

import * as z from 'zod';
import { HANDLER_STATUSES, type HandlerStatusCode, MAX_STATUS_TEXT_CHARS } from './handler-status.ts';
import { type WorkerText, weighJson } from './json-text.ts';
import { type FromWorker, VALUE_MARK } from './protocol.ts';

/** A number that the asking side chose for a call, an operation or a ping. */
const id = z.int().nonnegative();
const MAX_NAME_CHARS = 512;
const name = z.string().max(MAX_NAME_CHARS);

/** The value that a message carries, put beside its members before the schema sees them. */
const json = z.custom<WorkerText>((value) => typeof value === 'string');

/** Members of a message itself, whatever their values hold. */
const MAX_MEMBERS = 16;
/** Keys in a request for a release. */
const MAX_KEYS = 64;

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
const change = { collection: name, key: name, ifVersion: name.nullable().optional() };
const fromWorkerSchema: z.ZodType<FromWorker> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready') }),
  z.strictObject({ kind: z.literal('unusable'), reason: z.string().max(1024) }),
  z.strictObject({ kind: z.literal('done'), call: id, json }),
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
  z.strictObject({ kind: z.literal('put'), ...asked, ...change, json }),
  z.strictObject({ kind: z.literal('delete'), ...asked, ...change }),
  z.strictObject({ kind: z.enum(['get', 'read']), ...asked, collection: name, key: name }),
  z.strictObject({
    kind: z.literal('list'),
    ...asked,
    collection: name,
    prefix: name.optional(),
    after: name.optional(),
    limit: z.int().positive().optional(),
    json: json.optional(),
  }),
  z.strictObject({ kind: z.literal('next'), ...asked }),
  z.strictObject({ kind: z.literal('send'), ...asked, json }),
  z.strictObject({ kind: z.literal('egress'), ...asked, to: name, method: name, json }),
  z.strictObject({ kind: z.literal('release'), ...asked, rule: name, keys }),
  z.strictObject({
    kind: z.literal('log'),
    ...asked,
    event: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/),
    json,
  }),
]);

/**
 * The usual last message of a call.
 *
 * **Cost**: the schema takes as long for it as all the rest of the way from the socket to the call.
 */
const DONE = /^\{"kind":"done","call":(?:0|[1-9][0-9]{0,14})\}$/;
const DONE_HEAD = '{"kind":"done","call":'.length;

/**
 * A message of a worker. The value that it carries is cut off and not looked at.
 *
 * @throws if it is not one; the worker must be ended then
 */
export function parseFromWorker(text: string): FromWorker {
  const mark = text.indexOf(VALUE_MARK);
  const members = mark < 0 ? text : text.slice(0, mark);
  const value = mark < 0 ? undefined : (text.slice(mark + VALUE_MARK.length) as WorkerText);
  if (value !== undefined) {
    if (DONE.test(members)) return { kind: 'done', call: Number(members.slice(DONE_HEAD, -1)), json: value };
  }
  return fromWorkerSchema.parse(withValue(parseMembers(members), value));
}

function parseMembers(text: string): object {
  weighJson(text);
  const message: unknown = JSON.parse(text);
  if (!isObject(message)) throw new TypeError('a message is an object');
  const members = Object.keys(message).length;
  if (members > MAX_MEMBERS) throw new RangeError(`a message of ${members} members`);
  if (Object.hasOwn(message, 'json')) throw new TypeError('a value among the members of a message');
  return message;
}

function withValue(message: object, value: WorkerText | undefined): object {
  return value === undefined ? message : { ...message, json: value };
}

function isWellFormed(text: string): boolean {
  return text.isWellFormed();
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
