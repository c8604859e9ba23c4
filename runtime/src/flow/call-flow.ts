/** The context of one call: what it carries so far, and every decision about where that may go. */

import {
  ANYONE,
  type Decision,
  type DecisionCode,
  decide,
  type ExposedMethod,
  type Label,
  type Leaks,
  type Policy,
  type Sink,
} from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import { textsOf } from '../message/searchable-text.ts';
import { MAX_BYTES_PER_CALL, type VolatileCollection } from '../storage/volatile.ts';
import type { Json, Operation } from '../worker/protocol.ts';
import { detect, type LeakDetector, recognisable } from './detectors.ts';

/** Operations on collections, the only ones that a context carries out by itself. */
export type StorageOperation = Extract<Operation, { readonly collection: string }>;

/** Collections by name. */
export type Collections = ReadonlyMap<string, VolatileCollection>;

/** One decision of a call. */
export interface FlowDecision {
  /** Where data would have gone, such as `store:cases` or `response`. */
  readonly sink: string;
  readonly allow: boolean;
  readonly code: DecisionCode | 'leak';
  /** The part of the policy that decided. */
  readonly pointer: string;
  /** The call's label at that point, sorted. */
  readonly label: readonly string[];
}

/**
 * The state of a call that has read more than its response may carry: from that moment on it may
 * not respond.
 */
export interface Silence {
  readonly refusal: RefusalError;
  /** The call's label at that moment, sorted. */
  readonly label: readonly string[];
}

const NOTHING: ReadonlySet<string> = new Set();
type LeakSurface = Leaks['on'][number];

/** Values of one call that `exact-match` can recognise. */
const MAX_KNOWN_VALUES = 10_000;
/** Decisions because of a missing grant, as opposed to a flow that the policy forbids. */
const GRANTS: ReadonlySet<DecisionCode> = new Set(['no-rule', 'reads', 'stores', 'sends', 'release']);

/**
 * The floating label of a call, in two parts. Categories that the caller sent may go back to that
 * caller; categories that were read may go where the policy says. A collection takes both. Neither
 * part ever shrinks, and the worker has no say in it.
 */
export class CallContext {
  readonly #policy: Policy;
  readonly #method: ExposedMethod;
  readonly #collections: Collections;
  readonly #onDecision: (decision: FlowDecision) => void;
  readonly #now: () => number;
  readonly #sent = new Set<string>();
  readonly #read = new Set<string>();
  #label: { readonly size: number; readonly names: readonly string[] } = { size: 0, names: [] };
  /**
   * Values this call has seen under a label that its response may not carry. The detector
   * `exact-match` refuses a message that repeats one.
   */
  readonly #forbidden = new Set<string>();
  /**
   * When the oldest value that it has read was stored. A value that it stores may be made of that
   * one.
   */
  #since: number = Number.POSITIVE_INFINITY;
  /** Bytes that the call may still store. */
  #storable: number = MAX_BYTES_PER_CALL;
  /** Whether it has done something visible outside the call. */
  #acted = false;
  /** Whether it has stored or deleted something. */
  #wrote = false;
  #silence: Silence | undefined;
  /** Size of its read label when that was last judged. */
  #heard = 0;

  /**
   * @param onDecision receives every decision, before the thing decided about is done
   * @param now milliseconds since 1970. Without it, every rule with an end date has ended.
   */
  constructor(
    policy: Policy,
    method: ExposedMethod,
    collections: Collections,
    onDecision: (decision: FlowDecision) => void = () => {},
    now: () => number = () => Number.POSITIVE_INFINITY,
  ) {
    this.#policy = policy;
    this.#method = method;
    this.#collections = collections;
    this.#onDecision = onDecision;
    this.#now = now;
  }

  /** The categories of everything that this call carries, sorted. */
  get label(): readonly string[] {
    // Neither part ever shrinks: if both sizes are unchanged, so is the label.
    const size = this.#sent.size + this.#read.size;
    if (this.#label.size !== size) this.#label = { size, names: [...this.#sent.union(this.#read)].sort() };
    return this.#label.names;
  }

  /** Whether its label is empty or public. */
  get open(): boolean {
    return isOpen(this.label);
  }

  /**
   * Takes a message of the caller and its texts, which detectors see.
   *
   * @throws RefusalError `flow` if the method does not accept what the message carries
   */
  accept(label: Label, texts: readonly string[]): void {
    grow(this.#sent, label);
    this.#decide({ kind: 'call' }, label);
    this.#remember(label, () => texts);
  }

  /**
   * Set once the call has read what it may not return, and constant from then on. No response of
   * the call may leave.
   *
   * **Leak**: nothing that is said of the call may depend on what it does after that moment.
   */
  get silence(): Silence | undefined {
    return this.#silence;
  }

  /** Categories that the call has read. An answer without fields carries these. */
  get read(): ReadonlySet<string> {
    return this.#read;
  }

  /**
   * Performs an operation on a collection.
   *
   * @throws RefusalError `grant`, `flow`, `budget`
   */
  perform(operation: StorageOperation): Json {
    try {
      return this.#perform(operation);
    } finally {
      this.#listen();
    }
  }

  #perform(operation: StorageOperation): Json {
    const { collection: name } = operation;
    const store = this.#collections.get(name);
    // A name that the policy does not have is text from the worker. It goes into no message and no
    // record.
    if (store === undefined) throw new RefusalError('grant', 'there is no such collection');
    const writes = operation.kind === 'put' || operation.kind === 'delete';
    if (writes) this.#acted = true;
    // **Leak**: an absent entry tells as much as a present one, so deleting is decided like
    // writing.
    this.#decide({ kind: writes ? 'store' : 'read', name }, writes ? new Set(this.label) : new Set());
    this.#refuseHalf(writes, name);
    // **Leak**: how far a call came before a read was refused would tell what it found there. So
    // once a call has acted, every read adds the collection's full label, whatever it finds.
    if (!writes && this.#acted) grow(this.#read, this.#policy.collections[name]?.holds ?? []);
    switch (operation.kind) {
      case 'get': {
        const stored = store.get(operation.key);
        if (stored === undefined) return null;
        grow(this.#read, stored.label);
        if (stored.value === undefined) return null;
        this.#since = Math.min(this.#since, stored.since);
        this.#remember(new Set(stored.label), () => textsOf(stored.value ?? null));
        return stored.value;
      }
      case 'list': {
        const { keys, label } = store.list();
        grow(this.#read, label);
        return keys;
      }
      case 'put':
        this.#storable -= store.put(operation.key, operation.value, this.label, {
          since: this.#since,
          owner: ANYONE,
          most: this.#storable,
        });
        return null;
      case 'delete':
        // Whether the entry existed is not returned: that would be a read.
        store.delete(operation.key, this.label);
        return null;
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
    if (writes && this.#silence !== undefined) {
      this.#tell(`store:${name}`, false, 'returns', this.#silence.refusal.pointer ?? '');
      throw this.#silence.refusal;
    }
    if (writes) this.#wrote = true;
    else if (this.#wrote) {
      const holds = this.#policy.collections[name]?.holds ?? [];
      const { allow, reason, pointer } = this.#judge({ kind: 'response' }, new Set(holds));
      if (allow) return;
      this.#tell(`read:${name}`, false, 'returns', pointer);
      throw new RefusalError('flow', `${reason}, and it has stored something: it reads ${name} before`, { pointer });
    }
  }

  /**
   * Decides whether a message may go to the caller.
   *
   * @param returned categories of its populated fields
   * @throws RefusalError `flow`, `leak`
   */
  respond(returned: Label, texts: readonly string[]): void {
    this.#acted = true;
    this.#decide({ kind: 'response' }, new Set([...returned, ...this.#read]));
    this.#look('response', () => texts);
  }

  /**
   * Decides whether a message of the handler may go to a subprocessor.
   *
   * @param carried categories of its populated fields
   * @throws RefusalError `grant`, `assurance`, `flow`, `leak`
   */
  send(to: string, carried: Label, texts: readonly string[]): void {
    this.#acted = true;
    this.#decide({ kind: 'send', name: to }, new Set([...this.label, ...carried]));
    this.#look('egress', () => texts);
  }

  /**
   * Decides whether a rule of declassification may be used now.
   *
   * @throws RefusalError `grant`, `assurance`
   */
  release(rule: string): void {
    this.#acted = true;
    this.#decide({ kind: 'release', name: rule }, new Set(this.label));
  }

  /**
   * Decides whether a release to `to` may name a record of a collection. The handler does not see
   * the record. It does choose which one, so naming it sends what the call carries.
   *
   * @throws RefusalError `grant`, `assurance`, `flow`
   */
  nameRecord(to: string, collection: string): void {
    this.#decide({ kind: 'read', name: collection }, new Set());
    this.#decide({ kind: 'send', name: to }, new Set(this.label));
  }

  /**
   * A named record, which carries its own label.
   *
   * **Leak**: neither this nor {@link lookAtRecord} reports a decision. Decisions would use up
   * the call's records, and the handler could count how many are left.
   *
   * @throws RefusalError `request` if there is none; `flow`
   */
  recordFor(to: string, collection: string, key: string): Json {
    const stored = this.#collections.get(collection)?.get(key);
    if (stored?.value === undefined) throw new RefusalError('request', `there is no such record in ${collection}`);
    const { allow, code, reason, pointer } = this.#judge({ kind: 'send', name: to }, new Set(stored.label));
    if (!allow) throw new RefusalError(codeOf(code), reason, { pointer });
    return stored.value;
  }

  /**
   * Looks for leaks in a message that is built from records.
   *
   * @throws RefusalError `leak`
   */
  lookAtRecord(texts: readonly string[]): void {
    const leak = this.#leakIn('egress', () => texts);
    if (leak !== undefined) throw leak;
  }

  /**
   * Takes a subprocessor's answer. The subprocessor may know all that any call has sent it, so its
   * answer carries the label of all that it receives.
   *
   * @param carried further categories, of the answer's populated fields
   */
  heard(from: string, carried: Label, texts: readonly string[]): void {
    const { receives = [] } = this.#policy.subprocessors[from] ?? {};
    const known = new Set([...receives, ...carried]);
    grow(this.#read, known);
    this.#listen();
    this.#remember(known, () => texts);
  }

  /** The silence at the call's end, if any. Counted as a response that was refused. */
  silenced(): Silence | undefined {
    if (this.#silence === undefined) return undefined;
    this.#tell('response', false, 'returns', this.#silence.refusal.pointer ?? '');
    return this.#silence;
  }

  /**
   * Whether text that the handler chose may stand in the log, which auditors read.
   *
   * @throws RefusalError `leak`
   */
  mayLog(message: Json): boolean {
    this.#acted = true;
    this.#look('log', () => textsOf(message));
    return this.open;
  }

  /** Silences the call at the first read that its response may not carry. */
  #listen(): void {
    if (this.#silence !== undefined || this.#heard === this.#read.size) return;
    this.#heard = this.#read.size;
    const { allow, reason, pointer } = this.#judge({ kind: 'response' }, this.#read);
    if (!allow) this.#silence = { refusal: new RefusalError('flow', reason, { pointer }), label: this.label };
  }

  #decide(sink: Sink, label: Label): void {
    const { allow, code, reason, pointer } = this.#judge(sink, label);
    this.#tell('name' in sink ? `${sink.kind}:${sink.name}` : sink.kind, allow, code, pointer);
    if (!allow) throw new RefusalError(codeOf(code), reason, { pointer });
  }

  #judge(sink: Sink, label: Label): Decision {
    // The caller was authorized before.
    const circumstances = { authorized: true, now: this.#now() };
    return decide(this.#policy, { identity: ANYONE, method: this.#method.id, label, sink }, circumstances);
  }

  #look(surface: LeakSurface, texts: () => readonly string[]): void {
    const leak = this.#leakIn(surface, texts);
    if (leak === undefined) return;
    this.#tell(surface, false, 'leak', leak.pointer ?? '');
    throw leak;
  }

  #leakIn(surface: LeakSurface, texts: () => readonly string[]): RefusalError | undefined {
    const { leaks } = this.#policy.governance;
    if (leaks === 'none' || !leaks.on.includes(surface)) return undefined;
    // A message to a subprocessor may hold values that the response may not. If the subprocessor
    // may not have them, the label has refused the message already.
    const forbidden = surface === 'egress' ? NOTHING : this.#forbidden;
    const found: LeakDetector[] = detect(leaks.detectors, texts(), forbidden);
    if (found.length === 0) return undefined;
    return new RefusalError('leak', `the ${surface} holds ${found.join(', ')}`, { pointer: '/governance/leaks' });
  }

  #tell(sink: string, allow: boolean, code: FlowDecision['code'], pointer: string): void {
    this.#onDecision({ sink, allow, code, pointer, label: this.label });
  }

  #remember(label: Label, texts: () => readonly string[]): void {
    const { leaks } = this.#policy.governance;
    if (leaks === 'none' || !leaks.detectors.includes('exact-match')) return;
    if (this.#judge({ kind: 'response' }, label).allow) return;
    for (const value of recognisable(texts())) this.#forbidden.add(value);
    if (this.#forbidden.size > MAX_KNOWN_VALUES) throw new RefusalError('budget', 'the call has read too many values');
  }
}

/** Whether a label is empty or public. */
export function isOpen(label: readonly string[]): boolean {
  return label.every((category) => category === 'public');
}

function codeOf(code: DecisionCode): 'assurance' | 'flow' | 'grant' {
  if (code === 'assurance') return code;
  return GRANTS.has(code) ? 'grant' : 'flow';
}

function grow(label: Set<string>, by: Iterable<string>): void {
  for (const category of by) label.add(category);
}
