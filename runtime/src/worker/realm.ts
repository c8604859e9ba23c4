/** Realms: each call runs the handler bundle in a fresh context, so that no module state outlives it. */

import { type Context, createContext, Script } from 'node:vm';
import type { FromWorker, Json, ToWorker } from './protocol.ts';

type Call = Extract<ToWorker, { kind: 'call' }>;
type Answer = Extract<ToWorker, { kind: 'result' | 'refused' }>;

/**
 * The inside of a realm. It gets two functions from outside, both taking and giving strings only, and keeps them out
 * of the handlers' reach. `start` begins a call, `answer` settles an operation.
 */
const BOOTSTRAP = `(function (emit) {
  'use strict';
  const { parse, stringify } = JSON;
  const waiting = new Map();
  const apply = Reflect.apply, mapGet = Map.prototype.get, mapSet = Map.prototype.set, mapDelete = Map.prototype.delete;
  let operation = 0;
  const ask = (message) => new Promise((resolve, reject) => {
    message.operation = operation++;
    apply(mapSet, waiting, [message.operation, { resolve, reject }]);
    emit(stringify(message));
  });
  const answer = (text) => {
    const { kind, operation, value, message } = parse(text);
    const asker = apply(mapGet, waiting, [operation]);
    apply(mapDelete, waiting, [operation]);
    if (asker === undefined) return;
    if (kind === 'result') asker.resolve(value);
    else asker.reject(new Error(message));
  };
  const collection = (name, reads, stores) => Object.freeze({
    ...(reads && {
      get: (key) => ask({ kind: 'get', collection: name, key }),
      list: () => ask({ kind: 'list', collection: name }),
    }),
    ...(stores && {
      put: (key, value) => ask({ kind: 'put', collection: name, key, value }),
      delete: (key) => ask({ kind: 'delete', collection: name, key }),
    }),
  });
  const start = (handlers, text) => {
    const { method, request, reads, stores, time, id } = parse(text);
    const store = {};
    for (const name of new Set([...reads, ...stores])) {
      store[name] = collection(name, reads.includes(name), stores.includes(name));
    }
    const ctx = Object.freeze({ now: () => time, requestId: id, store: Object.freeze(store) });
    Promise.resolve()
      .then(() => handlers[method](request, ctx))
      .then((response) => emit(stringify({ kind: 'done', response: response ?? null })))
      .catch(() => emit('{"kind":"failed"}'));
  };
  return { module: { exports: {} }, start, answer };
})`;

interface Bridge {
  readonly module: { readonly exports: { readonly handlers?: unknown } };
  start(handlers: unknown, text: string): void;
  answer(text: string): void;
}

/** The handler bundle, ready to be run in as many realms as there are calls. */
export class Realm {
  readonly #script: Script;
  readonly #bootstrap = new Script(BOOTSTRAP, { filename: 'enclaim:realm' });
  readonly #send: (message: FromWorker) => void;
  /** Bridges by call; operations are numbered per realm, and renumbered over all of them here. */
  readonly #operations = new Map<number, { bridge: Bridge; inner: number }>();
  #nextOperation = 0;

  /** @throws where the bundle does not evaluate, or lacks a handler for one of `methods` */
  constructor(code: string, methods: readonly string[], send: (message: FromWorker) => void) {
    this.#script = new Script(`(function (module, exports) {${code}\n})`, { filename: 'app:handlers' });
    this.#send = send;
    const { handlers } = this.#open(() => {});
    for (const method of methods) {
      if (typeof (handlers as Record<string, unknown>)[method] !== 'function')
        throw new Error(`no handler for ${method}`);
    }
  }

  receive(message: Call | Answer): void {
    if (message.kind === 'call') {
      this.#start(message);
      return;
    }
    const operation = this.#operations.get(message.operation);
    this.#operations.delete(message.operation);
    operation?.bridge.answer(JSON.stringify({ ...message, operation: operation.inner }));
  }

  #start(message: Call): void {
    const { call } = message;
    try {
      const { handlers, bridge } = this.#open((text) => {
        const said = JSON.parse(text) as Record<string, Json> & { kind: FromWorker['kind'] };
        if (typeof said.operation === 'number') {
          this.#operations.set(this.#nextOperation, { bridge, inner: said.operation });
          said.operation = this.#nextOperation++;
        }
        this.#send({ ...said, call } as unknown as FromWorker);
      });
      bridge.start(handlers, JSON.stringify(message));
    } catch {
      this.#send({ kind: 'failed', call });
    }
  }

  #open(emit: (text: string) => void): { handlers: unknown; bridge: Bridge } {
    const context: Context = createContext(Object.create(null), {
      codeGeneration: { strings: false, wasm: false },
    });
    const bridge = this.#bootstrap.runInContext(context)(emit) as Bridge;
    // Made inside: an object of the outside would hand over the outside's constructors.
    const { module } = bridge;
    this.#script.runInContext(context)(module, module.exports);
    return { handlers: module.exports.handlers, bridge };
  }
}
