/**
 * Operations of one call on collections: each is decided about, and what it reads labels the call.
 */

import { ANYONE, type Label, type Policy } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import { handlerValue } from '../message/handler-value.ts';
import { textsOf } from '../message/searchable-text.ts';
import { MAX_BYTES_PER_CALL, type VolatileCollection } from '../storage/volatile.ts';
import { type Json, type JsonText, jsonText, NULL_TEXT } from '../worker/json-text.ts';
import type { Operation } from '../worker/protocol.ts';
import type { FloatingLabel } from './floating-label.ts';
import type { FlowJudge } from './flow-judge.ts';

/** Operations on collections. */
export type StorageOperation = Extract<Operation, { readonly collection: string }>;

/** Collections by name. */
export type Collections = ReadonlyMap<string, VolatileCollection>;

/** The parts of a call that its storage needs. */
export interface CallStorageOptions {
  readonly policy: Policy;
  readonly collections: Collections;
  readonly label: FloatingLabel;
  readonly judge: FlowJudge;
  /** The refusal in which the call has fallen silent; undefined if it has not. */
  readonly silence: () => RefusalError | undefined;
  /** Receives texts that the call has read, with the label that they have. */
  readonly onRead: (label: Label, texts: () => readonly string[]) => void;
}

/** Performs one call's operations on collections under the flow rules. */
export class CallStorage {
  readonly #options: CallStorageOptions;
  /**
   * When the oldest value that it has read was stored. A value that it stores may be made of that
   * one.
   */
  #since: number = Number.POSITIVE_INFINITY;
  /** Bytes that the call may still store. */
  #storable: number = MAX_BYTES_PER_CALL;
  /** Whether it has stored or deleted something. */
  #wrote = false;

  constructor(options: CallStorageOptions) {
    this.#options = options;
  }

  /**
   * Performs an operation.
   *
   * @throws RefusalError `grant`, `flow`, `budget`; `worker` for a value that is not JSON
   */
  perform(operation: StorageOperation): JsonText {
    const { collections, policy, label, judge, onRead } = this.#options;
    const { collection: name } = operation;
    const store = collections.get(name);
    // A name that the policy does not have is text from the worker. It goes into no message and no
    // record.
    if (store === undefined) throw new RefusalError('grant', 'there is no such collection');
    const writes = operation.kind === 'put' || operation.kind === 'delete';
    if (writes) label.acted = true;
    // **Leak**: an absent entry tells as much as a present one, so deleting is decided like
    // writing.
    judge.decide(
      { kind: writes ? 'store' : 'read', name },
      /* layer: deletion is a write (off: false) */ writes ? new Set(label.names) : new Set(),
    );
    this.#refuseHalf(writes, name);
    // **Leak**: how far a call came before a read was refused would tell what it found there. So
    // once a call has acted, every read adds the collection's full label, whatever it finds.
    // layer: reading after acting
    if (!writes && label.acted) label.growRead(policy.collections[name]?.holds ?? []);
    switch (operation.kind) {
      case 'get': {
        const stored = store.get(operation.key);
        if (stored === undefined) return NULL_TEXT;
        // layer: floating label
        label.growRead(stored.label);
        const { value } = stored;
        if (value === undefined) return NULL_TEXT;
        this.#since = Math.min(this.#since, stored.since);
        onRead(new Set(stored.label), () => textsOf(JSON.parse(value) as Json));
        return value;
      }
      case 'list': {
        const listed = store.list();
        // layer: label of knowing keys
        label.growRead(listed.label);
        return jsonText(listed.keys);
      }
      case 'put':
        this.#storable -= store.put(operation.key, handlerValue(operation.json), label.names, {
          since: this.#since,
          owner: ANYONE,
          most: this.#storable,
        });
        return NULL_TEXT;
      case 'delete':
        // Whether the entry existed is not returned: that would be a read.
        // layer: deletion says nothing
        store.delete(operation.key, label.names);
        return NULL_TEXT;
    }
  }

  /**
   * Refuses operations after which a refused call would leave stored data behind. A silenced call
   * stores nothing more, and a call that has stored something may not read what would silence it.
   *
   * Undoing the writes instead is no way: the content of a place would then depend on all that the
   * call came to carry, without that being on the place's label. Only the policy decides which
   * reads are refused.
   */
  #refuseHalf(writes: boolean, name: string): void {
    const { policy, judge, silence } = this.#options;
    const refusal = silence();
    if (writes && refusal !== undefined) {
      judge.tell(`store:${name}`, false, 'returns', refusal.pointer ?? '');
      throw refusal;
    }
    if (writes) this.#wrote = true;
    else if (this.#wrote) {
      const holds = policy.collections[name]?.holds ?? [];
      const { allow, reason, pointer } = judge.judge({ kind: 'response' }, new Set(holds));
      if (allow) return;
      judge.tell(`read:${name}`, false, 'returns', pointer);
      throw new RefusalError('flow', `${reason}, and it has stored something: it reads ${name} before`, { pointer });
    }
  }
}
