/** Calls: from a request's bytes to responses that are allowed, recorded and receipted. */

import { type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import { toHex, utf8 } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { MAX_MESSAGE_BYTES } from '@enclaim/attestation/grpc-request';
import type { CurrentReceiptBody } from '@enclaim/attestation/receipt';
import {
  type ClaimKind,
  type Collection,
  ExactJson,
  type ExposedMethod,
  isAttestedOnly,
  type Label,
  labelOf,
  requestLabel,
  secondsOf,
} from '@enclaim/policy-schema/admission';
import type { Admission } from '../admission/admission.ts';
import type { BootClock } from '../clock.ts';
import { AnswerGate } from '../egress/answer-gate.ts';
import type { EgressBroker } from '../egress/broker.ts';
import { CallEgress } from '../egress/call-egress.ts';
import { type RefusalCode, RefusalError } from '../errors.ts';
import { CallContext, type Collections, type FlowDecision } from '../flow/call-flow.ts';
import type { CallBudget } from '../governor/call-budget.ts';
import { deadlineOf, whileItLasts } from '../governor/deadline.ts';
import type { Place } from '../governor/places.ts';
import type { ResourceGovernor } from '../governor/resources.ts';
import { CallLedger, type EgressRecord } from '../log/call-ledger.ts';
import { entryOf } from '../log/entry.ts';
import type { ReceiptSigner } from '../log/receipts.ts';
import type { RecordLog } from '../log/record-log.ts';
import { Commitment } from '../message/commitment.ts';
import { decoded, jsonOf, reading } from '../message/decode.ts';
import { leavesOf, wireTextsOf } from '../message/searchable-text.ts';
import { freshBytes, freshHex } from '../random-pool.ts';
import { REFUSALS, STATUS } from '../refusals.ts';
import { VolatileCollection } from '../storage/volatile.ts';
import type { WorkerClasses } from '../worker/classes.ts';
import { HandlerStatus } from '../worker/handler-status.ts';
import type { Json, Operation } from '../worker/protocol.ts';
import { type Ending, endingOf, type How } from './ending.ts';
import { RefusalTally } from './refusal-tally.ts';
import { statusDetails } from './status-details.ts';

/** The caller's side of a call. */
export interface Caller {
  /** Returns the next request message; undefined after the last. A unary request is one message. */
  next(): Promise<Uint8Array | undefined>;
  /** Sends a message of a response stream; resolves when there is room for another. */
  send(message: Uint8Array): Promise<void>;
  /** Ends the call: the caller has gone, or its time is over. */
  readonly signal: AbortSignal;
  /**
   * Key under which its calls are counted, so that each connection gets its turn. By default each
   * call counts by itself.
   */
  readonly connection?: string;
  /** Whether the caller was given evidence on this connection. False by default. */
  readonly attested?: boolean;
}

/**
 * The outcome of a call. `receipt` is absent in two cases: the log failed or is full, so that
 * nothing was decided; or the call did nothing, was refused, and is counted by one record for many
 * such refusals.
 */
export interface Answer {
  readonly status: number;
  /**
   * Text for people. Either the handler's own words, under the flow rules of a response, or names
   * of rules and categories, never data.
   */
  readonly message: string;
  /** The response message, if the status is ok and the response is no stream. */
  readonly response: Uint8Array;
  readonly receipt?: Uint8Array;
  /** google.rpc.Status, if the call was refused. */
  readonly details?: Uint8Array;
}

const NOTHING = new Uint8Array();
/** Everything a call needs. */
export interface CallsOptions {
  readonly admission: Admission;
  readonly pool: Pick<WorkerClasses, 'run'>;
  readonly log: Pick<RecordLog, 'place'>;
  readonly receipts: Pick<ReceiptSigner, 'sign'>;
  /** Digest of the boot statement, 32 bytes. */
  readonly boot: Uint8Array;
  /** Present if the policy limits resources. */
  readonly governor?: ResourceGovernor;
  readonly clock: Pick<BootClock, 'now' | 'text'>;
  /**
   * Milliseconds of a clock that never goes back. Retention is counted by it. Default: the
   * kernel's.
   */
  readonly monotonic?: () => number;
  /**
   * Receives why a call failed and the id that its caller was given. For the handlers' author; not
   * set in the VM.
   */
  readonly onFailure?: ((method: string, error: unknown, id: string) => void) | undefined;
  /** Sends to subprocessors. Required if the policy names any. */
  readonly egress?: Pick<EgressBroker, 'send'>;
}

/** Answers calls to the methods of one policy. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #collections: Collections;
  readonly #claims: ReadonlyMap<ClaimKind, string>;
  readonly #tally = new RefusalTally({ write: (code, count) => this.#recordMany(code, count) });
  #stopped: RefusalError | undefined;
  #sequence = 0;

  constructor(options: CallsOptions) {
    this.#options = options;
    const { collections, claims, governance, subprocessors } = options.admission.policy;
    const { monotonic: now } = options;
    if (governance.resources !== 'none' && options.governor === undefined) throw new TypeError('no governor');
    if (Object.keys(subprocessors).length > 0 && options.egress === undefined) throw new TypeError('no egress broker');
    this.#collections = new Map(
      Object.entries(collections).map(([name, collection]) => [
        name,
        new VolatileCollection(name, retentionOf(collection), now && { now }),
      ]),
    );
    this.#claims = new Map(claims.map(({ kind, id }) => [kind, id]));
  }

  /** Answers one call. Never throws: every failure ends in an answer. */
  async answer(method: ExposedMethod, caller: Caller): Promise<Answer> {
    try {
      const call = new RunningCall(this.#options, this.#collections, this.#claims, method, caller);
      if (this.#stopped !== undefined) return refused(call, this.#stopped);
      const ending = await call.run();
      const told = ending.refusal;
      if (told !== null && call.didNothing(told) && !this.#tally.hasRecord(told.code)) return refused(call, told);
      const { body, durable } = call.end(ending, this.#sequence++);
      // The receipt is signed while the record is written. The answer leaves only after both are
      // done.
      const [receipt] = await Promise.all([this.#options.receipts.sign(body), durable]);
      const { status, message, response, refusal, error } = ending;
      if (refusal === null) return { status, message, response, receipt };
      const details = statusDetails(status, message, call.info(refusal, error));
      return { status, message, response, receipt, details };
    } catch {
      // Without a durable record there is no response: the handler's work is withheld.
      return { status: STATUS.unavailable, message: 'the response could not be recorded', response: NOTHING };
    }
  }

  /**
   * Refuses every later call before it is read and without a record, because the log has no room
   * for one.
   */
  stop(message: string): void {
    this.#stopped = new RefusalError('log', message);
  }

  /** Writes records for the refusals that were only counted so far. */
  close(): void {
    this.#tally.close();
  }

  #recordMany(code: RefusalCode, calls: number): void {
    const [, decision, kind] = REFUSALS[code];
    const claim = (kind && this.#claims.get(kind)) ?? null;
    try {
      const said = { decision, reason: `${code} of many calls`, claim, figures: { calls } };
      this.#options.log.place(entryOf(this.#options, said)).durable.catch(() => {});
    } catch {
      // A log that takes no more records has already ended the calls whose records matter.
    }
  }
}

/** The answer to a caller whose call was refused and gets no receipt. */
function refused(call: RunningCall, refusal: RefusalError): Answer {
  const { code, message } = refusal;
  const [status] = REFUSALS[code];
  return { status, message, response: NOTHING, details: statusDetails(status, message, call.info(refusal)) };
}

/** A receipt's content, and the promise after which it may be given to the caller. */
interface Sealed {
  readonly body: CurrentReceiptBody;
  readonly durable: Promise<void>;
}

/** An admitted call: what it may use, and its place. */
interface Admitted {
  readonly budget: CallBudget;
  readonly place: Place;
}

/** One call from its first message to its receipt. */
class RunningCall {
  readonly #options: CallsOptions;
  readonly #method: ExposedMethod;
  /** Sides of the method that stream messages. */
  readonly #streams: { readonly request: boolean; readonly response: boolean };
  readonly #caller: Caller;
  readonly #context: CallContext;
  readonly #ledger: CallLedger;
  /** Whether the policy has detectors, so that the texts of messages are needed. */
  readonly #looks: boolean;
  readonly #gate = new AnswerGate();
  readonly #egress: CallEgress | undefined;
  readonly #salt = freshBytes(16);
  /**
   * Id of the record of the call's end.
   *
   * **Leak**: the handler never learns it and has no influence on it.
   */
  readonly #id = freshHex(16);
  readonly #request = new Commitment('request', this.#salt);
  readonly #response = new Commitment('response', this.#salt);
  readonly #returned = new Set<string>();
  /** Settles with the last message that the handler asked for, and with the last that it sent. */
  #pulled: Promise<unknown> = Promise.resolve();
  #sent: Promise<unknown> = Promise.resolve();
  /** Whether the handler may have run, and whether it asked for anything but messages. */
  #begun = false;
  #asked = false;
  /** The refusal of a message that the caller sent. */
  #unread: RefusalError | undefined;
  #ended = false;
  /** The first refusal that an operation of the handler met. */
  #refused: RefusalError | undefined;
  /** The label under which response messages may leave without another record. */
  #disclosed: string | undefined;

  constructor(
    options: CallsOptions,
    collections: Collections,
    claims: ReadonlyMap<ClaimKind, string>,
    method: ExposedMethod,
    caller: Caller,
  ) {
    this.#options = options;
    this.#method = method;
    this.#caller = caller;
    const { methodKind } = method.descriptor;
    this.#streams = {
      request: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
      response: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
    };
    const { admission, clock, egress, log } = options;
    this.#looks = admission.policy.governance.leaks !== 'none';
    const note = (decision: FlowDecision): void => this.#ledger.note(decision);
    this.#context = new CallContext(admission.policy, method, collections, note, () => clock.now());
    this.#ledger = new CallLedger({ admission, clock, log, claims, method: method.id, context: this.#context });
    if (method.rule.sends.length > 0 && egress !== undefined) {
      const record = (said: EgressRecord): Promise<void> => this.#ledger.sent(said);
      const { signal } = caller;
      const parts = { admission, method, context: this.#context, broker: egress, gate: this.#gate };
      this.#egress = new CallEgress({ ...parts, record, signal });
    }
  }

  /** Runs the handler to its end. Never throws. */
  async run(): Promise<Ending> {
    const how = await this.#handled().catch((error: unknown): How => {
      this.#options.onFailure?.(this.#method.id, error, this.#id);
      return { error };
    });
    const { label } = this.#context;
    return endingOf({ how, silence: this.#context.silenced(), refused: this.#refused, label, id: this.#id });
  }

  /**
   * Runs the handler within the limits of the policy. Throws the error that kept the call from a
   * response.
   */
  async #handled(): Promise<How> {
    const { governor } = this.#options;
    const { signal, connection = this } = this.#caller;
    if (governor === undefined) return this.#runHandler(signal);
    const { id } = this.#method;
    const budget = governor.budgetOf(id);
    using deadline = deadlineOf(signal, budget);
    const stream = this.#streams.request || this.#streams.response;
    using place = await governor.admit(id, { connection, stream, signal: deadline.signal, end: deadline.end });
    return await this.#runHandler(deadline.signal, { budget, place });
  }

  /**
   * Runs the handler and returns its one response message, an empty one if messages were streamed,
   * or its status.
   *
   * @throws the error that kept the handler from its answer
   */
  async #runHandler(signal: AbortSignal, admitted?: Admitted): Promise<How> {
    const { id, rule } = this.#method;
    this.#refusePlain();
    const streams = this.#streams;
    const { connection } = this.#caller;
    const running = this.#options.pool.run({
      ...(connection !== undefined && { connection }),
      request: async () => {
        const request = streams.request ? null : await this.#only();
        this.#begun = true;
        return request;
      },
      message: {
        method: id,
        request: null,
        streams,
        reads: rule.reads,
        stores: rule.stores,
        sends: this.#egress?.grants.sends ?? {},
        releases: this.#egress?.grants.releases ?? [],
        time: this.#options.clock.text(),
        id: freshHex(16),
        seed: freshHex(32),
      },
      awaits: (kind) => (isOutward(kind) ? undefined : this.#gate.pending),
      perform: (operation) => this.#attempt(operation, admitted?.place),
      signal,
      ...(admitted !== undefined && { budget: admitted.budget }),
    });
    if (this.#egress !== undefined) await this.#lastOf(this.#egress, running, signal);
    const made = await running;
    if (made instanceof HandlerStatus) return { status: this.#allowed(made) };
    return { response: streams.response ? NOTHING : this.#leaving(this.#respond(made)) };
  }

  /**
   * Refuses an attested-only method on a plain connection. Such a caller knows nothing of this
   * machine, so its request is not even read.
   */
  #refusePlain(): void {
    const { policy } = this.#options.admission;
    const { id } = this.#method;
    if (this.#caller.attested === true || !isAttestedOnly(policy, id)) return;
    const message = `${id} answers on attested connections (enclaim-h2) alone, and this one is plain h2`;
    throw new RefusalError('unattested', message, { pointer: '/access/attested' });
  }

  /**
   * Waits for messages that the handler sent without awaiting them, until the call's deadline.
   *
   * **Leak**: if a failing handler ended them, it could take back what it had sent, and so tell the
   * receiver what it read afterwards. A release of a record that misses the deadline is abandoned
   * without an error. Its outcome depends on a record that the handler never read, so it must not
   * change how the call ends.
   */
  async #lastOf(egress: CallEgress, running: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const [{ status }] = await Promise.allSettled([running]);
    try {
      await whileItLasts(signal, this.#gate.opened());
    } catch (error) {
      await egress.end('given up');
      if (status === 'fulfilled') throw error;
    }
    await whileItLasts(signal, egress.end('done')).catch(() => egress.end('given up'));
  }

  /**
   * Whether the call had no effect beyond its refusal. Either its handler never started, or the
   * refusal is of a message that the caller sent and the handler had asked for nothing but
   * messages. Such a call needs no record of its own.
   */
  didNothing(refusal: RefusalError): boolean {
    return this.#begun ? refusal === this.#unread && !this.#asked : refusal.code !== 'log';
  }

  /**
   * Records how the call ended and returns its receipt.
   *
   * @throws RefusalError `log`, `budget`
   */
  end({ status, message, result, reason, claim, label, counts }: Ending, sequence: number): Sealed {
    this.#ended = true;
    const figures = this.#egress?.figures;
    const { hash, durable } = this.#ledger.end({ id: this.#id, result, reason, claim, figures });
    const silent = this.#streams.request && !counts;
    const request = silent ? new Commitment('request', this.#salt) : this.#request;
    const text = new Commitment('status', this.#salt);
    text.add(utf8(message));
    const body: CurrentReceiptBody = {
      boot: digestText('sha256', this.#options.boot),
      decision: { label, result, returned: [...this.#returned].sort() },
      method: this.#method.id,
      policy: this.#options.admission.digest,
      record: digestText('sha256', hash),
      request: request.digest(),
      response: this.#response.digest(),
      salt: toHex(this.#salt),
      sequence,
      status,
      taken: silent ? null : request.count,
      text: status === STATUS.ok ? null : text.digest(),
      time: this.#options.clock.text(),
      version: 2,
    };
    return { body, durable };
  }

  /** Details of a refusal for the caller: the policy's rule and figures, never data. */
  info({ code, pointer, figures }: RefusalError, error?: string): { reason: string; metadata: Record<string, string> } {
    const claim = this.#ledger.claimOf(REFUSALS[code][2]);
    return {
      reason: code.toUpperCase(),
      metadata: {
        method: this.#method.id,
        policy: this.#options.admission.digest,
        ...(claim !== null && { claim }),
        ...(error !== undefined && { error }),
        ...(pointer !== null && { rule: pointer.split('/').slice(0, 3).join('/'), pointer }),
        ...Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, String(value)])),
      },
    };
  }

  /**
   * Performs an operation. Collections answer synchronously, so no promise is made for them. While
   * the caller is awaited, the call gives back the part of its place that it does not keep.
   */
  #attempt(operation: Operation, place: Place | undefined): Json | Promise<Json> {
    try {
      const made = this.#perform(operation);
      if (!(made instanceof Promise)) return made;
      made.catch((error) => this.#met(error));
      const answer = isOutward(operation.kind) ? made : this.#gate.held(made);
      return place !== undefined && isOfCaller(operation.kind) ? place.whileAway(answer) : answer;
    } catch (error) {
      throw this.#met(error);
    }
  }

  #met(error: unknown): unknown {
    if (error instanceof RefusalError) this.#refused ??= error;
    return error;
  }

  #perform(operation: Operation): Json | Promise<Json> {
    if (operation.kind !== 'next') this.#asked = true;
    switch (operation.kind) {
      case 'next':
        return this.#pull();
      case 'send':
        return this.#send(operation.message);
      case 'log':
        return this.#ledger.event(operation.event, operation.data);
      case 'egress':
      case 'release':
        if (this.#egress === undefined) throw new RefusalError('grant', `${this.#method.id} sends nothing to anybody`);
        return operation.kind === 'egress' ? this.#egress.call(operation) : this.#egress.release(operation);
      default: {
        const made = this.#context.perform(operation);
        // Neither a `get` of a missing key nor a `delete` counts as work on local data
        // (sovereignty).
        const touched = operation.kind === 'put' || (operation.kind === 'get' && made !== null);
        if (touched) this.#egress?.touched(operation.collection, operation.key);
        return made;
      }
    }
  }

  /**
   * Reads the next request message, in order, after pending subprocessor calls.
   *
   * **Leak**: the number of messages that arrive during such a call is a clock.
   */
  #pull(): Promise<Json> {
    const turn = this.#pulled.then(async () => {
      await this.#gate.opened();
      this.#refuseAfterEnd();
      const value = await this.#next();
      return value === undefined ? { done: true } : { done: false, value };
    });
    this.#pulled = turn.catch(() => {});
    return turn;
  }

  /**
   * The message of a unary request.
   *
   * @throws RefusalError `request` as {@link #next} does, or if there is no message
   */
  async #only(): Promise<Json> {
    const request = await this.#next();
    if (request === undefined) throw new RefusalError('request', 'there is no request');
    return request;
  }

  /**
   * The caller's next message as JSON, after the method accepted the categories that it carries.
   */
  async #next(): Promise<Json | undefined> {
    const bytes = await this.#caller.next();
    if (bytes === undefined) return undefined;
    try {
      return this.#read(bytes);
    } catch (error) {
      if (error instanceof RefusalError) this.#unread = error;
      throw error;
    }
  }

  #read(bytes: Uint8Array): Json {
    this.#request.add(bytes);
    const { input } = this.#method.descriptor;
    const { registry } = this.#options.admission.descriptors;
    const message = decoded('request', input, bytes, registry);
    const label = reading('request', input, () => requestLabel(this.#method, message));
    const json = jsonOf('request', input, message, registry);
    this.#context.accept(label, this.#leaves(input, message, json));
    this.#egress?.took(input, message);
    return json;
  }

  /** Sends response messages in order: a receipt commits to the order in which they leave. */
  #send(json: Json): Promise<null> {
    const turn = this.#sent.then(() => this.#gate.opened()).then(() => this.#sendNow(json));
    this.#sent = turn.catch(() => {});
    return turn;
  }

  async #sendNow(json: Json): Promise<null> {
    if (!this.#streams.response) throw new RefusalError('grant', `${this.#method.id} has one response`);
    this.#refuseAfterEnd();
    const made = this.#respond(json);
    const label = this.#context.label.join();
    // What a stream discloses is on record before it leaves, and again whenever its label grows.
    if (this.#disclosed !== label) {
      await this.#ledger.stream();
      this.#disclosed = label;
      this.#refuseAfterEnd();
      // **Leak**: the call may have fallen silent during this wait. By ending sooner or later its
      // handler would choose whether the message leaves.
      if (this.#context.silence !== undefined) throw this.#context.silence.refusal;
    }
    await this.#caller.send(this.#leaving(made));
    return null;
  }

  /**
   * Refuses messages after the call's end or after its caller has left. A receipt commits to all
   * that left before it.
   */
  #refuseAfterEnd(): void {
    if (this.#ended || this.#caller.signal.aborted) throw new RefusalError('worker', 'the call is over');
  }

  /** An encoded response message that may leave, and the categories that its fields carry. */
  #respond(json: Json): { bytes: Uint8Array; returned: Label } {
    const { output } = this.#method.descriptor;
    const message = this.#fromJson(output, json);
    const returned = reading('response', output, () => labelOf(output, message));
    // JSON can write one number in many ways, of which the caller sees one: detectors look at that
    // one.
    const seen = this.#looks ? jsonOf('response', output, message, this.#options.admission.descriptors.registry) : json;
    this.#context.respond(returned, [...this.#leaves(output, message, seen), ...this.#wireTexts(output, message)]);
    const bytes = toBinary(output, message);
    if (bytes.length > MAX_MESSAGE_BYTES)
      throw new RefusalError('budget', `a response may have ${MAX_MESSAGE_BYTES} bytes`);
    return { bytes, returned };
  }

  /**
   * Returns a status that may be told. Its code and its text are judged as a response without
   * fields.
   */
  #allowed(status: HandlerStatus): HandlerStatus {
    this.#context.respond(new Set(), [status.text]);
    return status;
  }

  /** Bytes that leave now, added to the receipt: it commits to these and to no further bytes. */
  #leaving({ bytes, returned }: { bytes: Uint8Array; returned: Label }): Uint8Array {
    for (const category of returned) this.#returned.add(category);
    this.#response.add(bytes);
    return bytes;
  }

  /** Texts in a message's fields; empty if the policy has no detectors. */
  #leaves(descriptor: DescMessage, message: Message, json: Json): readonly string[] {
    return this.#looks ? leavesOf(descriptor, message, json, this.#options.admission.descriptors.registry) : [];
  }

  /** Texts in a message's encoded bytes; empty if the policy has no detectors. */
  #wireTexts(descriptor: DescMessage, message: Message): readonly string[] {
    return this.#looks ? wireTextsOf(descriptor, message) : [];
  }

  #fromJson(descriptor: DescMessage, json: Json): Message {
    const { registry } = this.#options.admission.descriptors;
    return reading('response', descriptor, () =>
      new ExactJson(json).toMessage(descriptor, { registry, ignoreUnknownFields: false }),
    );
  }
}

/** Whether a subprocessor answers the operation. */
function isOutward(kind: Operation['kind']): boolean {
  return kind === 'egress' || kind === 'release';
}

/** Whether an operation waits for the caller: for its next message, or until it takes one. */
function isOfCaller(kind: Operation['kind']): boolean {
  return kind === 'next' || kind === 'send';
}

/** Milliseconds that a collection keeps a value. */
function retentionOf({ retention }: Collection): number {
  return retention === 'unlimited' ? Number.POSITIVE_INFINITY : secondsOf(retention) * 1000;
}
