/**
 * One call's messages to subprocessors: each is decided about, counted, recorded, and only then
 * sent.
 */

import { type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import { fromUtf8, utf8 } from '@enclaim/attestation/bytes';
import {
  ExactJson,
  type ExposedMethod,
  type HttpCall,
  type Label,
  labelOf,
  type MethodId,
  methodIdOf,
  type OutboundMethod,
  type Subprocessor,
} from '@enclaim/policy-schema/admission';
import type { Admission } from '../admission/admission.ts';
import type { Release } from '../admission/release-plan.ts';
import { RefusalError } from '../errors.ts';
import type { CallContext } from '../flow/call-flow.ts';
import { SovereigntyAccount } from '../governor/sovereignty.ts';
import type { EgressRecord } from '../log/call-ledger.ts';
import { jsonOf, reading } from '../message/decode.ts';
import { walkJson } from '../message/message-walk.ts';
import { leavesOf, textsOf, wireTextsOf } from '../message/searchable-text.ts';
import type { BytesMessage } from '../message/transcoder/messages.ts';
import {
  type Json,
  type JsonText,
  jsonText,
  NULL_TEXT,
  parseWorkerText,
  type WorkerText,
} from '../worker/json-text.ts';
import type { Operation } from '../worker/protocol.ts';
import type { AnswerGate } from './answer-gate.ts';
import type { Answer, EgressBroker, Room } from './broker.ts';
import { build } from './release.ts';

/** The parts of a call that its egress needs. */
export interface CallEgressOptions {
  readonly admission: Admission;
  readonly method: ExposedMethod;
  readonly context: CallContext;
  readonly broker: Pick<EgressBroker, 'send'>;
  readonly gate: AnswerGate;
  /**
   * Makes a record durable.
   *
   * @throws RefusalError `log`; `budget` if too many messages of the call were refused
   */
  record(said: EgressRecord): Promise<unknown>;
  /** Ends the call. */
  readonly signal: AbortSignal;
}

/** A message to be sent, and the reason in its record. */
interface Outgoing {
  readonly call: HttpCall | MethodId;
  readonly bytes: Uint8Array;
  readonly reason: string;
}

/** A handler's message to a subprocessor. */
interface Outward {
  readonly bytes: Uint8Array;
  readonly label: Label;
  /** Texts in its fields and in its bytes. */
  readonly texts: readonly string[];
}

type Asked<K extends Operation['kind']> = Omit<Extract<Operation, { readonly kind: K }>, 'kind' | 'call' | 'operation'>;

/**
 * Smallest length in a record once a call's label is more than public. From here on lengths are
 * recorded as powers of two.
 *
 * **Leak**: an exact length is a number that the handler chooses.
 */
const SMALLEST_LENGTH = 1024;
/** Characters of an owner's name in a record. */
const MAX_OWNER_CHARS = 1024;

/** The egress of one call. */
export class CallEgress {
  /** Methods of subprocessors, and rules of release, that the call's method was granted. */
  readonly grants: {
    readonly sends: Readonly<Record<string, readonly string[]>>;
    readonly releases: readonly string[];
  };
  readonly #options: CallEgressOptions;
  readonly #account: SovereigntyAccount;
  readonly #over = new AbortController();
  readonly #used = new Set<string>();
  /** Messages whose outcome the handler does not receive. */
  readonly #untold = new Set<Promise<unknown>>();
  readonly #figures: Record<string, number> = {};
  #messages = 0;
  #request: { readonly type: DescMessage; readonly message: () => Message } | undefined;

  constructor(options: CallEgressOptions) {
    this.#options = options;
    const { admission, method } = options;
    this.#account = new SovereigntyAccount(admission.policy.governance.sovereignty);
    const sends = method.rule.sends.map((to) => [
      to,
      admission.outbound.filter(({ subprocessor }) => subprocessor === to).map(({ name }) => name),
    ]);
    const releases = [...admission.releases.values()].filter(({ rule }) => rule.method === method.id);
    this.grants = { sends: Object.fromEntries(sends), releases: releases.map(({ rule }) => rule.id) };
  }

  /** Messages and bytes sent to each subprocessor, for the call's record. */
  get figures(): Readonly<Record<string, number>> {
    return this.#figures;
  }

  /**
   * Counts a message of the caller as local work, and keeps the first one for releases.
   *
   * **Leak**: if releases took the last message, a handler would choose it by how many it pulls,
   * and so send that number.
   *
   * @param message decodes it
   */
  took(type: DescMessage, message: () => Message): void {
    this.#account.local(`message ${this.#messages++}`);
    this.#request ??= { type, message };
  }

  /** Counts an existing record that was read, or one that was written, as local work. */
  touched(collection: string, key: string): void {
    this.#account.local(`record ${collection} ${key}`);
  }

  /** Resolves when no message is pending that the call's record does not count yet. */
  async end(how: 'done' | 'given up'): Promise<void> {
    if (how === 'given up') this.#over.abort();
    await this.#options.gate.opened();
    while (this.#untold.size > 0) await Promise.allSettled(this.#untold);
  }

  /**
   * Calls a method of a subprocessor.
   *
   * @throws RefusalError `grant`, `assurance`, `flow`, `request`, `leak`, `sovereignty`, `budget`,
   * `log`, `peer`
   */
  call(asked: Asked<'egress'>): Promise<JsonText> {
    return this.#options.gate.outward(this.#call(asked));
  }

  /**
   * Builds the message of a rule and sends it.
   *
   * **Leak**: each rule works once in a call, so that a call tells at most one bit by it.
   *
   * @throws RefusalError as {@link call}
   */
  release(asked: Asked<'release'>): Promise<JsonText> {
    return this.#options.gate.outward(this.#release(asked));
  }

  async #call({ to, method: name, json: text }: Asked<'egress'>): Promise<JsonText> {
    const { admission, context } = this.#options;
    const target = admission.outbound.find((each) => each.subprocessor === to && each.name === name);
    if (target === undefined) throw new RefusalError('grant', 'there is no such method of a subprocessor');
    const { label: carried, texts, bytes } = this.#outgoing(target, text);
    // **Leak**: the handler chooses the method, the message, its length and its time, so they carry
    // the call's label.
    context.send(to, carried, /* layer: leak detectors on bytes */ texts);
    const call = target.http === 'none' ? target.id : target.http;
    const answer = await this.#send(to, { call, bytes, reason: target.id });
    return this.#answered(target, answer);
  }

  /**
   * A handler's message to a subprocessor, as it is sent.
   *
   * @throws RefusalError `request`
   */
  #outgoing({ id, http }: OutboundMethod, text: WorkerText): Outward {
    const { messages, descriptors } = this.#options.admission;
    const { input } = messages.ofOutbound(id);
    const { type } = input;
    const json = reading('request', type, () => parseWorkerText(text));
    if (http === 'none') {
      const { label, texts, bytes } = input.write(json, true);
      return { label, texts, bytes: bytes() };
    }
    const walk = { maker: 'request', type, registry: descriptors.registry, searched: true } as const;
    const { label, texts, json: sent } = walkJson(walk, json);
    return { label, texts, bytes: utf8(JSON.stringify(sent())) };
  }

  /**
   * Turns a subprocessor's answer into the handler's result. The call carries the label of such
   * answers before the handler sees any of it. Of an answer without fields the handler learns only
   * that it came.
   */
  #answered({ subprocessor: to, id, http }: OutboundMethod, { status, body }: Answer): JsonText {
    const { admission, context } = this.#options;
    const { output } = admission.messages.ofOutbound(id);
    if (output.type.fields.length === 0) {
      if (status !== 'ok')
        throw new RefusalError('peer', /* layer: answers that say nothing */ `${to} did not take it`);
      return jsonText({});
    }
    context.heard(to, new Set(), []);
    if (status !== 'ok') throw new RefusalError('peer', `${to} answered with status ${status}`);
    const answer = http === 'none' ? output.read(body, context.recognises) : this.#readJson(output.type, body);
    context.heard(to, answer.label, answer.texts);
    return answer.text as JsonText;
  }

  /**
   * An answer that came as JSON.
   *
   * @throws RefusalError `peer`
   */
  #readJson(type: DescMessage, body: Uint8Array): Pick<BytesMessage, 'text' | 'label' | 'texts'> {
    const { registry } = this.#options.admission.descriptors;
    // A field that the .proto does not declare has no category and goes no further.
    const message = reading('peer', type, () =>
      ExactJson.parse(fromUtf8(body)).toMessage(type, { registry, ignoreUnknownFields: true }),
    );
    const json = jsonOf('peer', type, message, registry);
    const label = reading('peer', type, () => labelOf(type, message));
    return { text: jsonText(json), label, texts: leavesOf(type, message, json, registry) };
  }

  async #release({ rule: id, keys }: Asked<'release'>): Promise<JsonText> {
    const { admission, context } = this.#options;
    const release = admission.releases.get(id);
    // A name that the policy does not have is text from the worker. It goes into no message and no
    // record.
    if (release === undefined) throw new RefusalError('grant', 'there is no such release');
    context.release(id);
    // layer: once in a call
    if (this.#used.has(id)) throw new RefusalError('grant', `release ${id} works once in a call`);
    this.#used.add(id);
    if (release.collections.length > 0) return this.#releaseOfRecords(release, keys);
    const { to } = release.rule;
    const message = this.#encoded(
      release,
      build(release, this.#requested, () => null),
    );
    const { status } = await this.#send(to, message);
    if (status !== 'ok') throw new RefusalError('peer', `${to} did not take it`);
    return NULL_TEXT;
  }

  /**
   * Releases a message built from records. The handler is answered before the records are looked
   * at, and always in the same way. The outcome stands in the record of the call.
   *
   * **Leak**: the handler may not see these records, so its answer must not depend on them.
   */
  async #releaseOfRecords(release: Release, keys: Asked<'release'>['keys']): Promise<JsonText> {
    const { context } = this.#options;
    const { id, to } = release.rule;
    for (const name of release.collections) {
      if (!Object.hasOwn(keys, name)) throw new RefusalError('grant', `release ${id} needs the key of one of ${name}`);
      context.nameRecord(to, name);
    }
    // **Leak**: counted whether or not the message is sent. Otherwise the handler could tell the
    // outcome from what the call has left.
    await this.#orRecord(to, async () => this.#depend(to));
    // layer: one answer for every record
    void tracked(this.#untold, this.#sendRecords(release, keys));
    return NULL_TEXT;
  }

  async #sendRecords(release: Release, keys: Asked<'release'>['keys']): Promise<void> {
    const { context } = this.#options;
    const { id, to } = release.rule;
    try {
      const built = build(release, this.#requested, (name) => context.recordFor(to, name, keys[name] ?? ''));
      // A message built from records is searched for leaks; one from the request alone is not. The
      // policy's owner named what is taken of a request, but handlers wrote what is in records.
      const outgoing = this.#encoded(release, built);
      // layer: leak detectors on records
      context.lookAtRecord(outgoing.leaves);
      const { status } = await this.#carry(to, outgoing, 'untold');
      if (status !== 'ok') throw new RefusalError('peer', `${to} did not take it`);
    } catch (error) {
      // **Leak**: this is no record of its own. The number of records of a call is limited, and its
      // handler could count those that are left.
      this.#count(`release:${id} ${error instanceof RefusalError ? error.code : 'failed'}`, 1);
    }
  }

  /** The caller's first message, decoded. */
  get #requested(): Parameters<typeof build>[1] {
    return this.#request && { descriptor: this.#request.type, message: this.#request.message() };
  }

  /** A built message as it is sent, with the texts in it that detectors look at. */
  #encoded({ call, rule: { id, owner } }: Release, built: Json): Outgoing & { readonly leaves: readonly string[] } {
    const reason = `release ${id} of ${owner.slice(0, MAX_OWNER_CHARS)}`;
    if ('verb' in call) return { call, bytes: utf8(JSON.stringify(built)), reason, leaves: textsOf(built) };
    const { input } = call;
    const { registry } = this.#options.admission.descriptors;
    const message = reading('request', input, () => new ExactJson(built).toMessage(input, { registry }));
    const bytes = toBinary(input, message);
    const json = jsonOf('request', input, message, registry);
    const leaves = [...leavesOf(input, message, json, registry), ...wireTextsOf(input, message)];
    return { call: methodIdOf(call), bytes, reason, leaves };
  }

  /** Counts, records and sends a message. */
  #send(to: string, outgoing: Outgoing): Promise<Answer> {
    return this.#orRecord(to, () => {
      this.#depend(to);
      return this.#carry(to, outgoing, 'told');
    });
  }

  /**
   * Counts an operation of a subprocessor.
   *
   * @throws RefusalError `sovereignty`, `budget`
   */
  #depend(to: string): void {
    this.#account.external(this.#subprocessor(to).identity);
  }

  /** Sends once the record of it is durable. */
  async #carry(to: string, { call, bytes, reason }: Outgoing, room: Room): Promise<Answer> {
    const { broker, context, record, signal } = this.#options;
    const sink = `send:${to}`;
    const open = room === 'told' && context.open;
    const length = /* layer: lengths as powers of two (off: true) */ open
      ? bytes.length
      : Math.max(SMALLEST_LENGTH, 2 ** Math.ceil(Math.log2(bytes.length)));
    this.#count(`${sink} calls`, 1);
    this.#count(`${sink} bytes`, length);
    // layer: record before message
    await record({ decision: 'allow', code: 'flow', reason, sink, figures: { bytes: length } });
    return broker.send(
      to,
      call,
      bytes,
      AbortSignal.any([signal, this.#over.signal]),
      /* layer: a room for what is not told (off: 'told') */ room,
    );
  }

  /** Does the work of sending a message, and records a refusal of it. */
  async #orRecord<T>(to: string, work: () => Promise<T>): Promise<T> {
    const { context, record } = this.#options;
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof RefusalError) || error.code === 'log') throw error;
      const { code, pointer, figures } = error;
      await record({
        decision: code === 'sovereignty' ? 'deny' : 'error',
        code,
        reason: `${code} ${pointer ?? `/subprocessors/${to}`}`,
        sink: `send:${to}`,
        figures: context.open ? figures : {},
      });
      throw error;
    }
  }

  #subprocessor(name: string): Subprocessor {
    const found = this.#options.admission.policy.subprocessors[name];
    if (found === undefined) throw new RefusalError('grant', 'there is no such subprocessor');
    return found;
  }

  #count(figure: string, by: number): void {
    this.#figures[figure] = (this.#figures[figure] ?? 0) + by;
  }
}

/** Keeps a promise in a set for as long as it is pending. */
function tracked<T>(among: Set<Promise<unknown>>, work: Promise<T>): Promise<T> {
  const done = work.finally(() => among.delete(done));
  done.catch(() => {});
  among.add(done);
  return done;
}
