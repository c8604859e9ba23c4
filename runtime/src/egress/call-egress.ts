/** What one call sends to others: each message decided about, counted, recorded, and only then on its way. */

import { type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import { fromUtf8, utf8 } from '@enclaim/attestation/bytes';
import {
  ExactJson,
  type ExposedMethod,
  type HttpCall,
  labelOf,
  type MethodId,
  methodIdOf,
  type OutboundMethod,
  type Subprocessor,
} from '@enclaim/policy-schema/admission';
import type { Admission } from '../admission/admission.ts';
import type { Release } from '../admission/release-plan.ts';
import { type RefusalCode, RefusalError } from '../errors.ts';
import type { CallContext } from '../flow/call-flow.ts';
import { SovereigntyAccount } from '../governor/sovereignty.ts';
import { decoded, jsonOf, reading } from '../message/decode.ts';
import { leavesOf, textsOf, wireTextsOf } from '../message/searchable-text.ts';
import type { Json, Operation } from '../worker/protocol.ts';
import type { Answer, EgressBroker, Room } from './broker.ts';
import { build } from './release.ts';

/** What a call's egress needs of the call. */
export interface CallEgressOptions {
  readonly admission: Admission;
  readonly method: ExposedMethod;
  readonly context: CallContext;
  readonly broker: Pick<EgressBroker, 'send'>;
  /** Makes a record durable. @throws RefusalError `log`, `budget` where there were too many of what was not allowed */
  record(said: EgressRecord): Promise<unknown>;
  /** Ends the call. */
  readonly signal: AbortSignal;
}

/** What the log is told of a message to somebody outside. */
export interface EgressRecord {
  readonly decision: 'allow' | 'deny' | 'error';
  /** What was refused, or what had to hold. */
  readonly code: RefusalCode;
  readonly reason: string;
  readonly sink: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** A message on its way, and what its record says of it. */
interface Outgoing {
  readonly call: HttpCall | MethodId;
  readonly bytes: Uint8Array;
  readonly reason: string;
}

type Asked<K extends Operation['kind']> = Omit<Extract<Operation, { readonly kind: K }>, 'kind' | 'call' | 'operation'>;

/** Beyond public data a length is a number that the handler chooses: it is recorded as a power of two from here on. */
const SMALLEST_LENGTH = 1024;
/** Characters of an owner's name in a record. */
const MOST_OWNER = 1024;

/** The egress of one call. */
export class CallEgress {
  /** Methods of subprocessors, and rules, that the call's method was granted. */
  readonly grants: {
    readonly sends: Readonly<Record<string, readonly string[]>>;
    readonly releases: readonly string[];
  };
  readonly #options: CallEgressOptions;
  readonly #account: SovereigntyAccount;
  readonly #over = new AbortController();
  readonly #used = new Set<string>();
  readonly #told = new Set<Promise<unknown>>();
  readonly #untold = new Set<Promise<unknown>>();
  /** The last answer that is to be given. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #figures: Record<string, number> = {};
  #messages = 0;
  #request: { readonly descriptor: DescMessage; readonly message: Message } | undefined;

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

  /** How often each subprocessor was sent something, and how much, for the call's record. */
  get figures(): Readonly<Record<string, number>> {
    return this.#figures;
  }

  /**
   * The caller sent a message: work done here. Releases take of the first: of the last, a handler would choose which one it is
   * by how many it pulls, and say that number.
   */
  took(descriptor: DescMessage, message: Message): void {
    this.#account.local(`message ${this.#messages++}`);
    this.#request ??= { descriptor, message };
  }

  /** A record was read that is there, or written. */
  touched(collection: string, key: string): void {
    this.#account.local(`record ${collection} ${key}`);
  }

  /**
   * Resolves once all that was asked for so far is answered. Nothing else is answered before: by what it does meanwhile a handler
   * would tell how long somebody outside took, and an answer that says nothing carries no label.
   */
  get answered(): Promise<unknown> {
    return this.#turn.catch(() => {});
  }

  /** Resolves once nothing is under way that its handler was to be told of. It need not wait for that; its call does. */
  async told(): Promise<void> {
    while (this.#told.size > 0) await Promise.allSettled(this.#told);
  }

  /** Resolves once nothing is under way, of which the call's record does not know. */
  async end(how: 'done' | 'given up'): Promise<void> {
    if (how === 'given up') this.#over.abort();
    await this.told();
    while (this.#untold.size > 0) await Promise.allSettled(this.#untold);
  }

  /**
   * Calls a method of a subprocessor.
   * @throws RefusalError `grant`, `assurance`, `flow`, `request`, `leak`, `sovereignty`, `budget`, `log`, `peer`
   */
  call(asked: Asked<'egress'>): Promise<Json> {
    return this.#inTurn(this.#call(asked));
  }

  /**
   * Builds the message of a rule and sends it. Each rule works once in a call: then a call says no more than a bit by it.
   * @throws RefusalError as {@link call}
   */
  release(asked: Asked<'release'>): Promise<null> {
    return this.#inTurn(this.#release(asked));
  }

  async #call({ to, method: name, message }: Asked<'egress'>): Promise<Json> {
    const { admission, context } = this.#options;
    const target = admission.outbound.find((each) => each.subprocessor === to && each.name === name);
    if (target === undefined) throw new RefusalError('grant', 'there is no such method of a subprocessor');
    const { input } = target.descriptor;
    const { registry } = admission.descriptors;
    const outgoing = reading('request', input, () => new ExactJson(message).toMessage(input, { registry }));
    const carried = reading('request', input, () => labelOf(input, outgoing));
    const json = jsonOf('request', input, outgoing, registry);
    const bytes = target.http === 'none' ? toBinary(input, outgoing) : utf8(JSON.stringify(json));
    // Which method, which message, how long and when are all of the handler's choosing: they carry what the call carries.
    context.send(to, carried, [...leavesOf(input, outgoing, json, registry), ...wireTextsOf(input, outgoing)]);
    const call = target.http === 'none' ? target.id : target.http;
    const answer = await this.#send(to, { call, bytes, reason: target.id });
    return this.#answered(target, answer);
  }

  /** Nothing of an answer is seen before the call carries what such answers carry; of one that says nothing, only that it came. */
  #answered({ subprocessor: to, http, descriptor: { output } }: OutboundMethod, { status, body }: Answer): Json {
    const { admission, context } = this.#options;
    if (output.fields.length === 0) {
      if (status !== 'ok') throw new RefusalError('peer', `${to} did not take it`);
      return {};
    }
    context.heard(to, new Set(), []);
    if (status !== 'ok') throw new RefusalError('peer', `${to} answered with status ${status}`);
    const { registry } = admission.descriptors;
    // What the .proto does not declare has no category and goes no further.
    const message =
      http === 'none'
        ? decoded('peer', output, body, registry, { readUnknownFields: false })
        : reading('peer', output, () =>
            ExactJson.parse(fromUtf8(body)).toMessage(output, { registry, ignoreUnknownFields: true }),
          );
    const json = jsonOf('peer', output, message, registry);
    context.heard(
      to,
      reading('peer', output, () => labelOf(output, message)),
      leavesOf(output, message, json, registry),
    );
    return json;
  }

  async #release({ rule: id, keys }: Asked<'release'>): Promise<null> {
    const { admission, context } = this.#options;
    const release = admission.releases.get(id);
    // A name that the policy does not have is text of the worker's: it goes into no message and no record.
    if (release === undefined) throw new RefusalError('grant', 'there is no such release');
    context.release(id);
    if (this.#used.has(id)) throw new RefusalError('grant', `release ${id} works once in a call`);
    this.#used.add(id);
    if (release.collections.length > 0) return this.#releaseOfRecords(release, keys);
    const { to } = release.rule;
    const message = this.#encoded(
      release,
      build(release, this.#request, () => null),
    );
    const { status } = await this.#send(to, message);
    if (status !== 'ok') throw new RefusalError('peer', `${to} did not take it`);
    return null;
  }

  /**
   * The handler does not get to see the records. So it is answered before they are looked at, always in the same way: what
   * became of the message stands in the record of the call.
   */
  async #releaseOfRecords(release: Release, keys: Asked<'release'>['keys']): Promise<null> {
    const { context } = this.#options;
    const { id, to } = release.rule;
    for (const name of release.collections) {
      if (!Object.hasOwn(keys, name)) throw new RefusalError('grant', `release ${id} needs the key of one of ${name}`);
      context.nameRecord(to, name);
    }
    // Counted whether or not it is sent: what is left to a call would say which it was.
    await this.#orRecord(to, async () => this.#depend(to));
    void tracked(this.#untold, this.#sendRecords(release, keys));
    return null;
  }

  async #sendRecords(release: Release, keys: Asked<'release'>['keys']): Promise<void> {
    const { context } = this.#options;
    const { id, to } = release.rule;
    try {
      const built = build(release, this.#request, (name) => context.recordFor(to, name, keys[name] ?? ''));
      // What is taken of a request is what the policy's owner named; what is in records was written by handlers.
      const outgoing = this.#encoded(release, built);
      context.lookAtRecord(outgoing.leaves);
      const { status } = await this.#carry(to, outgoing, 'untold');
      if (status !== 'ok') throw new RefusalError('peer', `${to} did not take it`);
    } catch (error) {
      // Not a record of its own: a call may have a number of them, and its handler count those that are left.
      this.#count(`release:${id} ${error instanceof RefusalError ? error.code : 'failed'}`, 1);
    }
  }

  /** What is built, as it is sent, and as detectors have to see it. */
  #encoded({ call, rule: { id, owner } }: Release, built: Json): Outgoing & { readonly leaves: readonly string[] } {
    const reason = `release ${id} of ${owner.slice(0, MOST_OWNER)}`;
    if ('verb' in call) return { call, bytes: utf8(JSON.stringify(built)), reason, leaves: textsOf(built) };
    const { input } = call;
    const { registry } = this.#options.admission.descriptors;
    const message = reading('request', input, () => new ExactJson(built).toMessage(input, { registry }));
    const bytes = toBinary(input, message);
    const json = jsonOf('request', input, message, registry);
    const leaves = [...leavesOf(input, message, json, registry), ...wireTextsOf(input, message)];
    return { call: methodIdOf(call), bytes, reason, leaves };
  }

  /** Counts, records, sends. */
  #send(to: string, outgoing: Outgoing): Promise<Answer> {
    return this.#orRecord(to, () => {
      this.#depend(to);
      return this.#carry(to, outgoing, 'told');
    });
  }

  /** Counts an operation outside. @throws RefusalError `sovereignty`, `budget` */
  #depend(to: string): void {
    this.#account.external(this.#subprocessor(to).identity);
  }

  /** Sends once the record of it is durable. */
  async #carry(to: string, { call, bytes, reason }: Outgoing, room: Room): Promise<Answer> {
    const { broker, context, record, signal } = this.#options;
    const sink = `send:${to}`;
    const open = room === 'told' && context.open;
    const length = open ? bytes.length : Math.max(SMALLEST_LENGTH, 2 ** Math.ceil(Math.log2(bytes.length)));
    this.#count(`${sink} calls`, 1);
    this.#count(`${sink} bytes`, length);
    await record({ decision: 'allow', code: 'flow', reason, sink, figures: { bytes: length } });
    return broker.send(to, call, bytes, AbortSignal.any([signal, this.#over.signal]), room);
  }

  /** Does what is done to send something, and records why not. */
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

  /** Answers are given in the order in which they were asked for: by another one, others would say something without a label. */
  #inTurn<T>(work: Promise<T>): Promise<T> {
    const turn = Promise.allSettled([this.#turn, work]).then(() => work);
    this.#turn = turn;
    return tracked(this.#told, turn);
  }
}

/** Keeps a promise among others for as long as it is pending. */
function tracked<T>(among: Set<Promise<unknown>>, work: Promise<T>): Promise<T> {
  const done = work.finally(() => among.delete(done));
  done.catch(() => {});
  among.add(done);
  return done;
}
