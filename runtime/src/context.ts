/** The context of one call: what it carries so far, and every decision about where that may go. */

import {
  ANYONE,
  type Decision,
  type DecisionCode,
  decide,
  type ExposedMethod,
  type Label,
  type Policy,
  type Sink,
} from '@enclaim/policy-schema/admission';
import { detect, type LeakDetector, recognisable } from './detectors.ts';
import { RefusalError } from './errors.ts';
import type { VolatileCollection } from './store.ts';
import type { Json, Operation } from './worker/protocol.ts';

/** Operations on collections, the only ones that a context carries out by itself. */
export type StorageOperation = Extract<Operation, { readonly collection: string }>;

/** Collections by name. */
export type Collections = ReadonlyMap<string, VolatileCollection>;

/** One decision of a call. */
export interface Verdict {
  /** Where data would have gone, such as `store:cases` or `response`. */
  readonly sink: string;
  readonly allow: boolean;
  readonly code: DecisionCode | 'leak';
  /** The part of the policy that decided. */
  readonly pointer: string;
  /** What the call carried at that point, sorted. */
  readonly label: readonly string[];
}

/** Values of one call by which `exact-match` knows them again. */
const MOST_VALUES = 10_000;
/** Decisions that say that a grant was missing, rather than that data would have gone where it may not. */
const GRANTS: ReadonlySet<DecisionCode> = new Set(['no-rule', 'reads', 'stores', 'sends', 'release']);

/**
 * A floating label in two parts. What the caller sent may go back to that caller; what was read may go where the
 * policy says. A collection takes both. Neither part ever shrinks, and the worker is never asked for it.
 */
export class CallContext {
  readonly #policy: Policy;
  readonly #method: ExposedMethod;
  readonly #collections: Collections;
  readonly #onVerdict: (verdict: Verdict) => void;
  readonly #sent = new Set<string>();
  readonly #read = new Set<string>();
  /** Values, by whether the response may carry what they are labelled with. */
  readonly #forbidden = new Set<string>();

  /** @param onVerdict told of every decision, before what was decided about is done */
  constructor(
    policy: Policy,
    method: ExposedMethod,
    collections: Collections,
    onVerdict: (verdict: Verdict) => void = () => {},
  ) {
    this.#policy = policy;
    this.#method = method;
    this.#collections = collections;
    this.#onVerdict = onVerdict;
  }

  /** Everything this call carries, sorted. */
  get label(): string[] {
    return [...new Set([...this.#sent, ...this.#read])].sort();
  }

  /** Takes a message of the caller. @throws RefusalError `flow` where the method does not accept what it carries */
  accept(label: Label, message: Json): void {
    grow(this.#sent, label);
    this.#decide({ kind: 'call' }, label);
    this.#remember(label, message);
  }

  /** Carries out what the handler asks of a collection. @throws RefusalError `grant`, `flow`, `budget` */
  perform(operation: StorageOperation): Json {
    const { collection: name } = operation;
    const store = this.#collections.get(name);
    // A name that the policy does not have is text of the worker's: it goes into no message and no record.
    if (store === undefined) throw new RefusalError('grant', 'there is no such collection');
    const writes = operation.kind === 'put' || operation.kind === 'delete';
    // What is missing says as much as what is there: deleting is decided like writing.
    this.#decide({ kind: writes ? 'store' : 'read', name }, writes ? new Set(this.label) : new Set());
    switch (operation.kind) {
      case 'get': {
        const stored = store.get(operation.key);
        if (stored === undefined) return null;
        grow(this.#read, stored.label);
        this.#remember(new Set(stored.label), stored.value);
        return stored.value;
      }
      case 'list': {
        const { keys, label } = store.list();
        grow(this.#read, label);
        return keys;
      }
      case 'put':
        store.put(operation.key, operation.value, this.label);
        return null;
      case 'delete':
        // Whether there was one is not said: that would be reading.
        store.delete(operation.key);
        return null;
    }
  }

  /**
   * Whether a message may go to the caller.
   * @param returned what its populated fields carry
   * @throws RefusalError `flow`, `leak`
   */
  respond(returned: Label, message: Json): void {
    this.#decide({ kind: 'response' }, new Set([...returned, ...this.#read]));
    this.#look('response', message);
  }

  /** The refusal of every response from now on, where the call has read what it may not return; else undefined. */
  silenced(): RefusalError | undefined {
    const decision = this.#judge({ kind: 'response' }, this.#read);
    if (decision.allow) return undefined;
    this.#tell('response', false, decision.code, decision.pointer);
    return new RefusalError('flow', decision.reason, { pointer: decision.pointer });
  }

  /** Whether something that the handler chose may stand in the log, which others read. @throws RefusalError `leak` */
  mayLog(message: Json): boolean {
    this.#look('log', message);
    return this.label.every((category) => category === 'public');
  }

  #decide(sink: Sink, label: Label): void {
    const { allow, code, reason, pointer } = this.#judge(sink, label);
    this.#tell('name' in sink ? `${sink.kind}:${sink.name}` : sink.kind, allow, code, pointer);
    if (!allow) throw new RefusalError(GRANTS.has(code) ? 'grant' : 'flow', reason, { pointer });
  }

  #judge(sink: Sink, label: Label): Decision {
    // Who may call was decided before; what depends on a date is a matter of sending, and nothing is sent yet.
    return decide(this.#policy, { identity: ANYONE, method: this.#method.id, label, sink }, { authorized: true });
  }

  #look(surface: 'response' | 'log', message: Json): void {
    const { leaks } = this.#policy.governance;
    if (leaks === 'none' || !leaks.on.includes(surface)) return;
    const found: LeakDetector[] = detect(leaks.detectors, message, this.#forbidden);
    if (found.length === 0) return;
    const pointer = '/governance/leaks';
    this.#tell(surface, false, 'leak', pointer);
    throw new RefusalError('leak', `the ${surface} holds ${found.join(', ')}`, { pointer });
  }

  #tell(sink: string, allow: boolean, code: Verdict['code'], pointer: string): void {
    this.#onVerdict({ sink, allow, code, pointer, label: this.label });
  }

  #remember(label: Label, message: Json): void {
    const { leaks } = this.#policy.governance;
    if (leaks === 'none' || !leaks.detectors.includes('exact-match')) return;
    if (this.#judge({ kind: 'response' }, label).allow) return;
    for (const value of recognisable(message)) this.#forbidden.add(value);
    if (this.#forbidden.size > MOST_VALUES) throw new RefusalError('budget', 'the call has read too many values');
  }
}

function grow(label: Set<string>, by: Iterable<string>): void {
  for (const category of by) label.add(category);
}
