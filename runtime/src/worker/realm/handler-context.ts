/** Part of the realm: `ctx`, by which a handler reaches what its method was granted. */

import type { OpenCall } from './open-calls.ts';

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/** Makes the context of a call from the runtime's message, which names all that was granted. */
export function handlerContext(message: any, { ask, signal }: OpenCall): object {
  const { reads, stores, sends, releases, time, id } = message;
  const collections: any = {};
  for (const name of new Set<string>([...reads, ...stores])) {
    collections[name] = Object.freeze({
      ...(reads.includes(name) && {
        get: (key: unknown) => ask({ kind: 'get', collection: name, key }),
        list: () => ask({ kind: 'list', collection: name }),
      }),
      ...(stores.includes(name) && {
        put: (key: unknown, value: unknown) => ask({ kind: 'put', collection: name, key }, { value }),
        delete: (key: unknown) => ask({ kind: 'delete', collection: name, key }),
      }),
    });
  }
  const receivers: any = {};
  for (const to of Object.keys(sends)) {
    const methods: any = {};
    for (const name of sends[to])
      methods[name] = (message: unknown = {}) => ask({ kind: 'egress', to, method: name }, { value: message });
    receivers[to] = Object.freeze(methods);
  }
  const release: any = {};
  for (const rule of releases) release[rule] = (keys: object = {}) => ask({ kind: 'release', rule, keys });
  return Object.freeze({
    now: () => time,
    requestId: id,
    store: Object.freeze(collections),
    call: Object.freeze(receivers),
    release: Object.freeze(release),
    log: (event: unknown, data: unknown = null) => ask({ kind: 'log', event }, { value: data }),
    signal,
  });
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
