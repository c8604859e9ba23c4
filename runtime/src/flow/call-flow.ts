/** The context of one call: what it carries so far, and every decision about where that may go. */

import type { NamedPlace } from '@enclaim/attestation/deletion';
import type { ExposedMethod, Label, Policy } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import { textsOf } from '../message/searchable-text.ts';
import type { Json, JsonText } from '../worker/json-text.ts';
import { CallStorage, type Collections, type StorageOperation } from './call-storage.ts';
import { FloatingLabel, joinedLabel } from './floating-label.ts';
import { type FlowDecision, FlowJudge, refusalOf } from './flow-judge.ts';
import { LeakGuard, type LeakSurface } from './leak-guard.ts';

/**
 * The state of a call that has read more than its response may carry: from that moment on it may
 * not respond.
 */
export interface Silence {
  readonly refusal: RefusalError;
  /** The call's label at that moment, sorted. */
  readonly label: readonly string[];
}

const NOTHING_EMPTIED = { places: [], changed: false } as const;

/**
 * Decides where the data of one call may go, by the label that the call carries so far. Messages of
 * its caller, its handler and subprocessors pass here, and so do its operations on collections.
 */
export class CallContext {
  readonly #policy: Policy;
  readonly #method: ExposedMethod;
  readonly #collections: Collections;
  readonly #label = new FloatingLabel();
  readonly #judge: FlowJudge;
  readonly #guard: LeakGuard;
  #stored: CallStorage | undefined;
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
    const label = this.#label;
    this.#judge = new FlowJudge({ policy, method: method.id, label, onDecision, now });
    this.#guard = new LeakGuard(policy);
  }

  /** Its collections, opened by the first operation: most calls ask for none. */
  get #storage(): CallStorage {
    this.#stored ??= new CallStorage({
      ...{ policy: this.#policy, collections: this.#collections, label: this.#label, judge: this.#judge },
      silence: () => {
        // A change on a condition has read already.
        this.#listen();
        return this.#silence?.refusal;
      },
      onRead: (carried, texts) => this.#remember(carried, texts),
    });
    return this.#stored;
  }

  /** The categories of everything that this call carries, sorted. */
  get label(): readonly string[] {
    return this.#label.names;
  }

  /** Whether its label is empty or public. */
  get open(): boolean {
    return this.#label.open;
  }

  /** Whether detectors see the texts of messages that it takes. */
  get recognises(): boolean {
    return this.#guard.recognises;
  }

  /**
   * Takes a message of the caller and its texts, which detectors see.
   *
   * @throws RefusalError `flow` if the method does not accept what the message carries
   */
  accept(label: Label, texts: readonly string[]): void {
    // What is refused after a change must not be left at its places: the handler does not see it.
    const changed = this.#stored?.changed === true;
    if (!changed) this.#label.growSent(label);
    this.#judge.decide({ kind: 'call' }, label);
    if (changed) this.#label.growSent(label);
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
    return this.#label.read;
  }

  /** Settles when a value was read that comes from a disk; undefined if none is under way. */
  get reading(): Promise<unknown> | undefined {
    return this.#stored?.reading;
  }

  /**
   * Whether the call's changes to collections can be made. {@link end} follows in the same turn.
   *
   * @throws RefusalError that ends the call: `conflict`, `budget`, `flow`
   */
  check(): void {
    this.#stored?.check();
  }

  /**
   * Places of sealed collections that the call is to empty; undefined if its record must not say
   * so. A call that is not open, and changes any, says it in any case, with or without places.
   *
   * **Leak**: else a record would tell whether such a call stored or deleted.
   */
  get emptied(): readonly NamedPlace[] | undefined {
    const { places, changed } = this.#stored?.emptied ?? NOTHING_EMPTIED;
    // layer: closed calls delete alike (off: places.length > 0)
    const isSaid = places.length > 0 || (changed && !this.open);
    return isSaid ? places : undefined;
  }

  /** Gives back the room that {@link check} has promised: {@link end} does not follow. */
  letGo(): void {
    this.#stored?.letGo();
  }

  /** Makes the call's changes to collections, or only marks their places. */
  end(how: 'kept' | 'dropped'): void {
    this.#stored?.end(how);
  }

  /**
   * Refuses to take another message after a change, if it could carry more than the call's
   * collections may hold.
   *
   * @throws RefusalError `flow`
   */
  mayTake(): void {
    const what = { sink: 'call', text: 'it takes its messages', sent: true } as const;
    this.#stored?.refuseLate(new Set(this.#method.rule.accepts), what);
  }

  /**
   * Refuses to wait for a subprocessor's answer after a change, if the answer could carry more than
   * the call may answer with, or its collections hold.
   *
   * @param fields categories of the answer's fields
   * @throws RefusalError `flow`
   */
  mayHear(from: string, fields: Label): void {
    const what = { sink: `send:${from}`, text: `it calls ${from}` };
    this.#stored?.refuseLate(this.#knownTo(from, fields), what);
  }

  /**
   * Performs an operation on a collection.
   *
   * @throws RefusalError `grant`, `flow`, `budget`, `conflict`, `state`; `worker` for a value
   * that is not JSON
   */
  perform(operation: StorageOperation): JsonText | Promise<JsonText> {
    try {
      return this.#storage.perform(operation);
    } finally {
      this.#listen();
    }
  }

  /**
   * Decides whether a message may go to the caller.
   *
   * @param returned categories of its populated fields
   * @throws RefusalError `flow`, `leak`
   */
  respond(returned: Label, texts: readonly string[]): void {
    this.#label.acted = true;
    this.#judge.decide({ kind: 'response' }, joinedLabel(returned, this.#label.read));
    this.#look('response', () => texts);
  }

  /**
   * Decides whether a message of the handler may go to a subprocessor.
   *
   * @param carried categories of its populated fields
   * @throws RefusalError `grant`, `assurance`, `flow`, `leak`
   */
  send(to: string, carried: Label, texts: readonly string[]): void {
    this.#label.acted = true;
    // layer: grant to send
    this.#judge.decide(
      { kind: 'send', name: to },
      new Set(/* layer: label of the message (off: this.label) */ [...this.label, ...carried]),
    );
    this.#look('egress', () => texts);
  }

  /**
   * Decides whether a rule of declassification may be used now.
   *
   * @throws RefusalError `grant`, `assurance`
   */
  release(rule: string): void {
    this.#label.acted = true;
    // layer: release of one's own method
    this.#judge.decide({ kind: 'release', name: rule }, new Set(this.label));
  }

  /**
   * Decides whether a release to `to` may name a record of a collection. The handler does not see
   * the record. It does choose which one, so naming it sends what the call carries.
   *
   * @throws RefusalError `grant`, `assurance`, `flow`
   */
  nameRecord(to: string, collection: string): void {
    // layer: grant to read
    this.#judge.decide({ kind: 'read', name: collection }, new Set());
    // layer: naming is sending
    this.#judge.decide({ kind: 'send', name: to }, new Set(this.label));
  }

  /**
   * A named record, which carries its own label. As for the call's own reads, it is what is stored,
   * with what the call itself has changed.
   *
   * **Leak**: neither this nor {@link lookAtRecord} reports a decision. Decisions would use up
   * the call's records, and the handler could count how many are left.
   *
   * @throws RefusalError `request` if there is none; `flow`; the error of the disk
   */
  async recordFor(to: string, collection: string, key: string): Promise<Json> {
    const stored = this.#storage.named(collection, key);
    if (stored?.value === undefined) throw new RefusalError('request', `there is no such record in ${collection}`);
    const decision = this.#judge.judge(
      { kind: 'send', name: to },
      new Set(/* layer: label of the record (off: undefined) */ stored.label),
    );
    if (!decision.allow) throw refusalOf(decision);
    return JSON.parse(await stored.value) as Json;
  }

  /**
   * Looks for leaks in a message that is built from records.
   *
   * @throws RefusalError `leak`
   */
  lookAtRecord(texts: readonly string[]): void {
    const leak = this.#guard.leakIn('egress', () => texts);
    if (leak !== undefined) throw leak;
  }

  /**
   * Takes a subprocessor's answer. The subprocessor may know all that any call has sent it, so its
   * answer carries the label of all that it receives.
   *
   * @param carried further categories, of the answer's populated fields
   */
  heard(from: string, carried: Label, texts: readonly string[]): void {
    const known = this.#knownTo(from, carried);
    // An answer may hold a message of any type, which its own type does not tell.
    this.mayHear(from, carried);
    // layer: label of answers
    this.#label.growRead(known);
    this.#listen();
    this.#remember(known, () => texts);
  }

  /** The silence at the call's end, if any. Counted as a response that was refused. */
  silenced(): Silence | undefined {
    if (this.#silence === undefined) return undefined;
    this.#judge.tell('response', false, 'returns', this.#silence.refusal.pointer ?? '');
    return this.#silence;
  }

  /**
   * Whether text that the handler chose may stand in the log, which auditors read.
   *
   * @throws RefusalError `leak`
   */
  mayLog(message: Json): boolean {
    this.#label.acted = true;
    this.#look('log', () => textsOf(message));
    return this.open;
  }

  /** Silences the call at the first read that its response may not carry. */
  #listen(): void {
    const { read } = this.#label;
    if (this.#silence !== undefined || this.#heard === read.size) return;
    this.#heard = read.size;
    const { allow, reason, pointer } = this.#judge.judge({ kind: 'response' }, read);
    if (!allow) this.#silence = { refusal: new RefusalError('flow', reason, { pointer }), label: this.label };
  }

  #knownTo(from: string, carried: Label): Label {
    return new Set([...(this.#policy.subprocessors[from]?.receives ?? []), ...carried]);
  }

  #look(surface: LeakSurface, texts: () => readonly string[]): void {
    const leak = this.#guard.leakIn(surface, texts);
    if (leak === undefined) return;
    this.#judge.tell(surface, false, 'leak', leak.pointer ?? '');
    throw leak;
  }

  #remember(label: Label, texts: () => readonly string[]): void {
    if (!this.#guard.recognises || this.#judge.judge({ kind: 'response' }, label).allow) return;
    this.#guard.forbid(texts());
  }
}
