/** Part of the realm: `ctx`, by which a handler reaches what its method was granted. */

import type { OpenCall } from './open-calls.ts';

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/** Makes the context of a call from the runtime's message, which names all that was granted. */
export function handlerContext(message: any, { ask, signal }: OpenCall): object {
  /**
   * The condition in a handler's options.
   * @throws TypeError also for one that is undefined: a version that was never read is no condition
   */
  function conditionOf(options: any): object {
    if (options === undefined || !('ifVersion' in options)) return {};
    const { ifVersion } = options;
    if (ifVersion !== null && typeof ifVersion !== 'string') throw new TypeError('ifVersion is a version or null');
    return { ifVersion };
  }

  /** @throws TypeError */
  function pageOf({ prefix = '', after = '', limit }: any = {}): object {
    if (typeof prefix !== 'string' || typeof after !== 'string') throw new TypeError('prefix and after are texts');
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) throw new TypeError('limit counts keys');
    return { prefix, after, limit };
  }

  /** @throws TypeError for a search that was never filled in: it would name all keys */
  function searchOf(page: any = {}): { readonly value: unknown } | undefined {
    if (!('where' in page)) return undefined;
    const { where } = page;
    if (typeof where !== 'object' || where === null) throw new TypeError('where has the field whose value is sought');
    return { value: where };
  }

  const { reads, stores, sends, releases, time, id } = message;
  const collections: any = {};
  const names: Iterable<string> = stores.length === 0 ? reads : new Set<string>([...reads, ...stores]);
  for (const name of names) {
    collections[name] = Object.freeze({
      ...(reads.includes(name) && {
        get: (key: unknown) => ask({ kind: 'get', collection: name, key }),
        read: (key: unknown) => ask({ kind: 'read', collection: name, key }),
        list: (page?: any) => ask({ kind: 'list', collection: name, ...pageOf(page) }, searchOf(page)),
      }),
      ...(stores.includes(name) && {
        put: (key: unknown, value: unknown, options?: any) =>
          ask({ kind: 'put', collection: name, key, ...conditionOf(options) }, { value }),
        delete: (key: unknown, options?: any) =>
          ask({ kind: 'delete', collection: name, key, ...conditionOf(options) }),
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
