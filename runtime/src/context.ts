/** The context of one call: what it has seen so far, and the brokers that decide what it may do next. */

import { covers, type ExposedMethod, type Label, uncovered } from '@enclaim/policy-schema/admission';
import { RefusalError } from './errors.ts';
import type { VolatileCollection } from './store.ts';
import type { Json, Operation } from './worker/protocol.ts';

/**
 * A floating label in two parts. What the caller sent may go back to that caller; what was read may go where the
 * policy says. A collection takes both. Neither part ever shrinks, and the worker is never asked for it.
 */
export class CallContext {
  readonly #method: ExposedMethod;
  readonly #collections: ReadonlyMap<string, { readonly holds: readonly string[]; readonly store: VolatileCollection }>;
  readonly #sent: ReadonlySet<string>;
  readonly #read = new Set<string>();

  constructor(
    method: ExposedMethod,
    collections: ReadonlyMap<string, { readonly holds: readonly string[]; readonly store: VolatileCollection }>,
    sent: Label,
  ) {
    this.#method = method;
    this.#collections = collections;
    this.#sent = new Set(sent);
  }

  /** Everything this call carries, sorted. */
  get label(): string[] {
    return [...new Set([...this.#sent, ...this.#read])].sort();
  }

  /** Carries out what the handler asks of a collection. @throws RefusalError `grant`, `flow`, `budget` */
  perform(operation: Operation): Json {
    const { rule, id } = this.#method;
    if (!('collection' in operation)) throw new RefusalError('grant', `${id} may not ${operation.kind}`);
    const writes = operation.kind === 'put' || operation.kind === 'delete';
    const granted = writes ? rule.stores : rule.reads;
    const collection = this.#collections.get(operation.collection);
    if (collection === undefined || !granted.includes(operation.collection)) {
      throw new RefusalError('grant', `${id} may not ${operation.kind} in ${operation.collection}`);
    }
    const { store, holds } = collection;
    switch (operation.kind) {
      case 'get': {
        const stored = store.get(operation.key);
        this.#grow(stored?.label ?? []);
        return stored?.value ?? null;
      }
      case 'list': {
        const { keys, label } = store.list();
        this.#grow(label);
        return keys;
      }
      case 'put': {
        const { label } = this;
        if (!covers(holds, label)) {
          throw new RefusalError('flow', `${operation.collection} may not hold ${uncovered(holds, label).join(', ')}`);
        }
        store.put(operation.key, operation.value as Json, label);
        return null;
      }
      case 'delete':
        return store.delete(operation.key);
    }
  }

  /** Whether the response may leave. @throws RefusalError `flow` */
  release(returned: Label): void {
    const { rule, id } = this.#method;
    for (const label of [returned, this.#read]) {
      const over = uncovered(rule.returns, label);
      if (over.length > 0) throw new RefusalError('flow', `${id} may not return ${over.join(', ')}`);
    }
  }

  #grow(label: Iterable<string>): void {
    for (const category of label) this.#read.add(category);
  }
}
