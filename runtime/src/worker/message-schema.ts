/** Messages of a worker, as the runtime accepts them. Apart from the protocol's types, so that no worker carries the library. */

import * as z from 'zod';
import type { FromWorker } from './protocol.ts';

/** A number that the asking side made up for a call, an operation or a ping. */
const id = z.int().nonnegative();
const name = z.string().max(512);

const asked = { call: id, operation: id };
const fromWorkerSchema: z.ZodType<FromWorker> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready') }),
  z.strictObject({ kind: z.literal('unusable'), reason: z.string().max(1024) }),
  z.strictObject({ kind: z.literal('done'), call: id, response: z.json() }),
  z.strictObject({ kind: z.enum(['failed', 'ended']), call: id }),
  z.strictObject({ kind: z.literal('pong'), ping: id }),
  z.strictObject({
    kind: z.literal('used'),
    total: id,
    heap: id,
    collected: z.boolean(),
    calls: z.array(z.tuple([id, id])).max(4096),
  }),
  z.strictObject({ kind: z.literal('put'), ...asked, collection: name, key: name, value: z.json() }),
  z.strictObject({ kind: z.enum(['get', 'delete']), ...asked, collection: name, key: name }),
  z.strictObject({ kind: z.literal('list'), ...asked, collection: name }),
  z.strictObject({ kind: z.literal('next'), ...asked }),
  z.strictObject({ kind: z.literal('send'), ...asked, message: z.json() }),
  z.strictObject({ kind: z.literal('egress'), ...asked, to: name, method: name, message: z.json() }),
  z.strictObject({ kind: z.literal('release'), ...asked, rule: name, keys: z.record(name, name) }),
  z.strictObject({
    kind: z.literal('log'),
    ...asked,
    event: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/),
    data: z.json(),
  }),
]);

/** A message from a worker. @throws where it is not one; the worker is to be ended then */
export function parseFromWorker(json: string): FromWorker {
  return fromWorkerSchema.parse(JSON.parse(json));
}
