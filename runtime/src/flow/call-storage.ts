/**
 * Operations of one call on collections: each is decided about, and what it reads labels the call.
 * What it changes is gathered until the call ends.
 */

import type { NamedPlace } from '@enclaim/attestation/deletion';
import { MAX_MESSAGE_BYTES } from '@enclaim/attestation/grpc-request';
import { ANYONE, type Label, type Policy } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import { handlerValue } from '../message/handler-value.ts';
import { textsOf } from '../message/searchable-text.ts';
import { conflictIn, isKey, MAX_BYTES_PER_CALL, placeBytes, refuseKey, valueBytes } from '../storage/bounds.ts';
import type { Collection, Found } from '../storage/collection.ts';
import type { Search } from '../storage/record-form.ts';
import { type Planned, Transaction } from '../storage/transaction.ts';
import { type Json, type JsonText, jsonText, NULL_TEXT } from '../worker/json-text.ts';
import type { Operation } from '../worker/protocol.ts';
import type { FloatingLabel } from './floating-label.ts';
import { type FlowJudge, refusalOf } from './flow-judge.ts';

/** Operations on collections. */
export type StorageOperation = Extract<Operation, { readonly collection: string }>;
type Asked<K extends Operation['kind']> = Extract<StorageOperation, { readonly kind: K }>;

/** Collections by name. */
export type Collections = ReadonlyMap<string, Collection>;

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
  readonly #transaction: Transaction;
  /**
   * When the oldest value that it has read was stored. A value that it stores may be made of that
   * one.
   */
  #since: number = Number.POSITIVE_INFINITY;
  /** Bytes that the call may still store. */
  #storable: number = MAX_BYTES_PER_CALL;
  /** Settles with the read that is under way. Never rejects. */
  #reading: Promise<unknown> | undefined;

  constructor(options: CallStorageOptions) {
    this.#options = options;
    this.#transaction = new Transaction(options.collections);
  }

  /**
   * Settles when a value was read that comes from a disk; undefined if none is under way. No
   * operation starts before, so that how long it takes is no clock.
   */
  get reading(): Promise<unknown> | undefined {
    return this.#reading;
  }

  /** Whether it is to change something. */
  get changed(): boolean {
    return this.#transaction.names.length > 0;
  }

  /** Places of sealed collections that it is to empty, and whether it changes any of them. */
  get emptied(): { readonly places: readonly NamedPlace[]; readonly changed: boolean } {
    const { collections } = this.#options.policy;
    const sealed = this.#transaction.names.filter((name) => collections[name]?.storage === 'sealed');
    const places = sealed.flatMap((collection) =>
      [...this.#transaction.of(collection)].flatMap(([key, { deleted }]) => (deleted ? [{ collection, key }] : [])),
    );
    return { places, changed: sealed.length > 0 };
  }

  /**
   * Performs an operation.
   *
   * @throws RefusalError `grant`, `flow`, `budget`, `conflict`, `state`; `worker` for a value that
   * is not JSON
   */
  perform(operation: StorageOperation): JsonText | Promise<JsonText> {
    const { collection: name } = operation;
    const store = this.#options.collections.get(name);
    // A name that the policy does not have is text from the worker. It goes into no message and no
    // record.
    if (store === undefined) throw new RefusalError('grant', 'there is no such collection');
    switch (operation.kind) {
      case 'get':
      case 'read':
        this.#mayRead(name);
        return this.#get(store, operation);
      case 'list':
        this.#mayRead(name);
        return this.#list(store, operation);
      default:
        return this.#change(store, operation);
    }
  }

  /**
   * The place of a record that a release names: with what the call itself has changed there, like
   * its own reads.
   */
  named(name: string, key: string): Pick<Found, 'value' | 'label'> | undefined {
    const found = isKey(key) ? this.#options.collections.get(name)?.get(key) : undefined;
    const own = this.#transaction.of(name).get(key);
    if (own === undefined) return found;
    const label = [...(found?.label ?? []), ...this.#options.label.names];
    return { value: own.deleted ? undefined : own.put?.value, label };
  }

  /**
   * Whether the call's changes can be made with its label as it is now. {@link end} follows in the
   * same turn.
   *
   * @throws RefusalError that ends the call: `conflict`, `budget`, `flow`
   */
  check(): void {
    const { judge, label } = this.#options;
    for (const name of this.#transaction.names) {
      const decision = judge.judge({ kind: 'store', name }, new Set(label.names));
      if (/* layer: changes stay within their collections */ !decision.allow) throw refusalOf(decision);
    }
    this.#transaction.check(label.names);
  }

  /** Gives back the room that {@link check} has promised: {@link end} does not follow. */
  letGo(): void {
    this.#transaction.letGo();
  }

  /**
   * Makes the call's changes, or only marks their places.
   *
   * **Leak**: whether a change is made depends on all that the call came to carry. So its label at
   * the end is left at every place that it meant to change, whether or not it did.
   */
  end(how: 'kept' | 'dropped'): void {
    const { names } = this.#options.label;
    if (how === 'kept') this.#transaction.apply(names);
    else this.#transaction.mark(names);
  }

  /**
   * Refuses, after a change, what would make the call carry more than its collections may hold, or
   * its response.
   *
   * **Leak**: it could not end well then, and its changes would be dropped: how far it came would
   * be told by places whose label may not say so. Only the policy decides what is refused.
   *
   * @param more categories that the call could come to carry
   * @param what the read, as decisions name it, and as people do
   */
  refuseLate(more: Label, what: { readonly sink: string; readonly text: string; readonly sent?: true }): void {
    const { judge } = this.#options;
    const { names } = this.#transaction;
    if (names.length === 0) return;
    const decisions = names.map((name) => judge.judge({ kind: 'store', name }, more));
    // What the caller sent may go back to the caller.
    if (what.sent !== true) decisions.unshift(judge.judge({ kind: 'response' }, more));
    const refused = decisions.find(({ allow }) => !allow);
    if (/* layer: reads after a change are refused (off: true) */ refused === undefined) return;
    const { code, reason, pointer } = refused;
    judge.tell(what.sink, false, code, pointer);
    throw new RefusalError('flow', `${reason}, and the call has changed a collection: ${what.text} before`, {
      pointer,
    });
  }

  #mayRead(name: string): void {
    const { policy, label, judge } = this.#options;
    judge.decide({ kind: 'read', name }, new Set());
    const holds = policy.collections[name]?.holds ?? [];
    this.refuseLate(new Set(holds), { sink: `read:${name}`, text: `it reads ${name}` });
    // **Leak**: how far a call came before a read was refused would tell what it found there. So
    // once a call has acted, every read adds the collection's full label, whatever it finds.
    // layer: reading after acting
    if (label.acted) label.growRead(holds);
  }

  /**
   * Decides about a change.
   *
   * @throws RefusalError `grant`, `flow`; the silence of a call that has fallen silent
   */
  #mayStore(name: string): void {
    const { label, judge, silence } = this.#options;
    label.acted = true;
    // **Leak**: an absent entry tells as much as a present one, so deleting is decided like
    // writing.
    // layer: deletion is a write
    judge.decide({ kind: 'store', name }, new Set(label.names));
    const refusal = silence();
    if (refusal === undefined) return;
    judge.tell(`store:${name}`, false, 'returns', refusal.pointer ?? '');
    throw refusal;
  }

  #get(store: Collection, { kind, collection: name, key }: Asked<'get' | 'read'>): JsonText | Promise<JsonText> {
    const { onRead } = this.#options;
    const told = (value: JsonText, version: string | undefined): JsonText =>
      kind === 'get' ? value : (`{"value":${value},"version":${jsonText(version ?? null)}}` as JsonText);
    const own = this.#transaction.of(name).get(key);
    if (own !== undefined) {
      return own.put === undefined || own.deleted ? NULL_TEXT : told(own.put.value, own.put.version);
    }
    const found = this.#placeOf(store, key);
    if (found?.value === undefined) return NULL_TEXT;
    const { value, version, since } = found;
    this.#since = Math.min(this.#since, since);
    const read = (text: JsonText): JsonText => {
      onRead(new Set(found.label), () => textsOf(JSON.parse(text) as Json));
      return told(text, version);
    };
    return value instanceof Promise ? this.#awaited(value, read) : read(value);
  }

  /** The place of a key, whose label the call carries from then on. */
  #placeOf(store: Collection, key: string): Found | undefined {
    const found = isKey(key) ? store.get(key) : undefined;
    // layer: floating label
    if (found !== undefined) this.#options.label.growRead(found.label);
    return found;
  }

  #awaited(value: Promise<JsonText>, read: (text: JsonText) => JsonText): Promise<JsonText> {
    const answer = readable(value).then(read);
    const settled = answer.then(
      () => {},
      () => {},
    );
    this.#reading = settled;
    void settled.then(() => {
      if (this.#reading === settled) this.#reading = undefined;
    });
    return answer;
  }

  /**
   * **Leak**: which records have a value says what is in their fields, and in those that have
   * another. So a search looks at every place of the range, as a list without one does, and carries
   * what all of them carry, and the field.
   */
  #list(store: Collection, { collection: name, prefix = '', after = '', limit, json }: Asked<'list'>): JsonText {
    const where = json === undefined ? undefined : searchOf(store, name, handlerValue(json));
    const own = this.#transaction.of(name);
    const most = limit ?? Number.POSITIVE_INFINITY;
    // As many more as the call itself has deleted.
    const found = store.list({ prefix, after, limit: most + own.size, where });
    // layer: label of knowing keys
    this.#options.label.growRead(found.label);
    // layer: label of the field
    if (where !== undefined) this.#options.label.growRead(where.label);
    const keys = new Set(found.keys);
    for (const [key, planned] of own) {
      if (!isFound(planned, where)) keys.delete(key);
      else if (key.startsWith(prefix) && key > after) keys.add(key);
    }
    const page = own.size === 0 ? found.keys : [...keys].sort().slice(0, most);
    const text = jsonText(page);
    if (text.length <= MAX_MESSAGE_BYTES) return text;
    const message = `the keys of ${name} are more than ${MAX_MESSAGE_BYTES} characters: list it by pages`;
    throw new RefusalError('budget', message, { final: true });
  }

  #change(store: Collection, operation: Asked<'put' | 'delete'>): JsonText {
    const { collection: name, key, ifVersion } = operation;
    const changes = this.#transaction;
    // **Leak**: whether a condition holds tells what is there.
    // layer: conditions are reads
    if (ifVersion !== undefined) this.#look(store, name, key);
    this.#mayStore(name);
    refuseKey(key);
    const holds = ifVersion === undefined || ifVersion === this.#versionAt(store, name, key);
    const condition = holds ? ifVersion : undefined;
    if (operation.kind === 'put') {
      const record = handlerValue(operation.json);
      const value = jsonText(record);
      this.#take(placeBytes(key, valueBytes(value)));
      // layer: records of their type (off: undefined)
      const indexed = store.form?.valuesOf(record);
      changes.put(name, key, { value, indexed, since: this.#since, owner: ANYONE }, condition);
    } else {
      this.#take(placeBytes(key));
      changes.delete(name, key, condition);
    }
    if (!holds) throw conflictIn(name);
    // Whether the entry existed is not returned: that would be a read.
    // layer: deletion says nothing
    return NULL_TEXT;
  }

  /** The version of what the call sees at a place; null if that is nothing. */
  #versionAt(store: Collection, name: string, key: string): string | null {
    const own = this.#transaction.of(name).get(key);
    if (own === undefined) return store.get(key)?.version ?? null;
    return (own.deleted ? undefined : own.put?.version) ?? null;
  }

  /** Reads what is at a place without a look at its value. */
  #look(store: Collection, name: string, key: string): void {
    this.#mayRead(name);
    if (!this.#transaction.of(name).has(key)) this.#placeOf(store, key);
  }

  /** @throws RefusalError `budget`, which ends the call */
  #take(bytes: number): void {
    // layer: bytes that a call stores
    if (bytes > this.#storable)
      throw new RefusalError('budget', `a call stores no more than ${MAX_BYTES_PER_CALL} bytes`, { final: true });
    this.#storable -= bytes;
  }
}

/** A search by an index. @throws RefusalError `grant` where the policy declares none for it */
function searchOf({ form }: Collection, name: string, where: Json): Search {
  if (form === undefined) throw new RefusalError('grant', `${name} is listed by no field`);
  return form.searchOf(where);
}

/** Whether a list names what a call itself has stored. */
function isFound({ put, deleted }: Planned, where: Search | undefined): boolean {
  if (deleted || put === undefined) return false;
  return where === undefined || put.indexed?.[where.index] === where.value;
}

/** A value that comes from a disk. @throws RefusalError that ends the call */
async function readable(value: Promise<JsonText>): Promise<JsonText> {
  try {
    return await value;
  } catch (cause) {
    throw new RefusalError('state', 'what is stored could not be read', { cause, final: true });
  }
}
