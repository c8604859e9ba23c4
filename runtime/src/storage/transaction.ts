/**
 * The changes of one call to collections, gathered while it runs. At its end they are made, all of
 * them, or only marked.
 */

import { freshHex } from '../random-pool.ts';
import { VERSION_BYTES } from './bounds.ts';
import type { Change, Collection, Delete, Mark, Put } from './collection.ts';

/** A value that is to be stored. */
type Value = Pick<Put, 'value' | 'indexed' | 'version' | 'since' | 'owner'>;
type Condition = Put['ifVersion'];

/** A change of one place: that which a call wants there in the end. */
export interface Planned {
  readonly condition: Condition;
  /** The last value that was stored there; undefined if the call only deleted. */
  readonly put: Value | undefined;
  readonly deleted: boolean;
}

const NONE: ReadonlyMap<string, Planned> = new Map();

/** The changes of one call. */
export class Transaction {
  readonly #collections: ReadonlyMap<string, Collection>;
  readonly #planned = new Map<string, Map<string, Planned>>();

  constructor(collections: ReadonlyMap<string, Collection>) {
    this.#collections = collections;
  }

  /** Names of the collections that it changes. */
  get names(): readonly string[] {
    return [...this.#planned.keys()];
  }

  /** Changes of one collection by key. */
  of(name: string): ReadonlyMap<string, Planned> {
    return this.#planned.get(name) ?? NONE;
  }

  /**
   * Plans to store a value.
   *
   * @param condition holds of the place as it is without this transaction
   */
  put(name: string, key: string, value: Omit<Value, 'version'>, condition: Condition): void {
    const before = this.of(name).get(key);
    // layer: versions say nothing
    const version = freshHex(VERSION_BYTES);
    this.#plan(name, key, {
      condition: before === undefined ? condition : before.condition,
      put: { ...value, version },
      deleted: false,
    });
  }

  delete(name: string, key: string, condition: Condition): void {
    const before = this.of(name).get(key);
    this.#plan(
      name,
      key,
      before === undefined ? { condition, put: undefined, deleted: true } : { ...before, deleted: true },
    );
  }

  /**
   * Whether all changes can be made. {@link apply} follows in the same turn.
   *
   * **Bound**: if it refuses, the record of the refusal takes no room for its changes.
   *
   * @param label the call's label at its end, sorted
   * @throws RefusalError `conflict`, `budget`
   */
  check(label: readonly string[]): void {
    try {
      for (const [name, planned] of this.#planned) this.#collections.get(name)?.check(changesOf(planned, label));
    } catch (error) {
      this.letGo();
      throw error;
    }
  }

  /** Gives back the room that {@link check} has promised: {@link apply} does not follow. */
  letGo(): void {
    for (const name of this.#planned.keys()) this.#collections.get(name)?.letGo();
  }

  /** Makes all changes. */
  apply(label: readonly string[]): void {
    for (const [name, planned] of this.#planned) this.#collections.get(name)?.apply(changesOf(planned, label));
    this.#planned.clear();
  }

  /** Marks the places that it would have changed. */
  mark(label: readonly string[]): void {
    // layer: places of failed calls are marked
    for (const [name, planned] of this.#planned) this.#collections.get(name)?.apply(marksOf(planned, label));
    this.#planned.clear();
  }

  #plan(name: string, key: string, planned: Planned): void {
    const of = this.#planned.get(name) ?? new Map<string, Planned>();
    this.#planned.set(name, of.set(key, planned));
  }
}

/** A value that was stored and then deleted leaves what it would leave if the call had failed. */
function changesOf(planned: ReadonlyMap<string, Planned>, label: readonly string[]): Change[] {
  return [...planned].flatMap(([key, { condition: ifVersion, put, deleted }]): Change[] => {
    if (put !== undefined && !deleted) return [{ kind: 'put', key, label, ifVersion, ...put }];
    const gone: Delete = { kind: 'delete', key, label, ifVersion };
    return put === undefined ? [gone] : [gone, markOf(key, label, put)];
  });
}

function marksOf(planned: ReadonlyMap<string, Planned>, label: readonly string[]): Mark[] {
  return [...planned].map(([key, { put }]) => markOf(key, label, put));
}

function markOf(key: string, label: readonly string[], put: Value | undefined): Mark {
  return put === undefined
    ? { kind: 'mark-delete', key, label }
    : { kind: 'mark-put', key, label, since: put.since, owner: put.owner };
}
