/** The messages of one call: requests read in order, and responses that leave in order. */

import { MAX_MESSAGE_BYTES } from '@enclaim/attestation/grpc-request';
import type { ExposedMethod, Label } from '@enclaim/policy-schema/admission';
import type { Admission } from '../admission/admission.ts';
import type { AnswerGate } from '../egress/answer-gate.ts';
import type { CallEgress } from '../egress/call-egress.ts';
import { RefusalError } from '../errors.ts';
import type { CallContext } from '../flow/call-flow.ts';
import { joinedLabel, sortedNames } from '../flow/floating-label.ts';
import type { CallLedger } from '../log/call-ledger.ts';
import { Commitment } from '../message/commitment.ts';
import { reading } from '../message/decode.ts';
import type { MethodMessages } from '../message/transcoder/messages.ts';
import type { HandlerStatus } from '../worker/handler-status.ts';
import { type JsonText, NULL_TEXT, parseWorkerText, type WorkerText } from '../worker/json-text.ts';
import type { Caller } from './caller.ts';

const NOTHING: Label = new Set();

/** The parts of a call that both directions need. */
export interface StreamOptions {
  readonly admission: Admission;
  readonly method: ExposedMethod;
  readonly caller: Caller;
  readonly context: CallContext;
  readonly gate: AnswerGate;
  /** Salt of the receipt's commitments, 16 bytes. */
  readonly salt: Uint8Array;
  /** Whether the call has ended: no message is read or sent any more. */
  readonly hasEnded: () => boolean;
}

/** Sides of a method that stream messages. */
export interface Streams {
  readonly request: boolean;
  readonly response: boolean;
}

/**
 * Reads the caller's messages: each is committed to, read as JSON and labelled, and accepted by the
 * method.
 */
export class RequestReader {
  /** The receipt's commitment to the messages read so far. */
  readonly commitment: Commitment;
  readonly #options: StreamOptions;
  readonly #egress: Pick<CallEgress, 'took'> | undefined;
  /** Settles with the last message that the handler asked for. */
  #pulled: Promise<unknown> | undefined;
  /** The refusal of a message that the caller sent. */
  #unread: RefusalError | undefined;

  /** @param egress is told of each message */
  constructor(options: StreamOptions, egress: Pick<CallEgress, 'took'> | undefined) {
    this.#options = options;
    this.#egress = egress;
    this.commitment = new Commitment('request', options.salt);
  }

  /** The refusal of a message that the caller sent. */
  get unread(): RefusalError | undefined {
    return this.#unread;
  }

  /**
   * Reads the next request message, in order, after pending subprocessor calls.
   *
   * **Leak**: the number of messages that arrive during such a call is a clock.
   */
  pull(): Promise<JsonText> {
    const turn = this.#pullAfter(this.#pulled);
    this.#pulled = turn.catch(() => {});
    return turn;
  }

  async #pullAfter(before: Promise<unknown> | undefined): Promise<JsonText> {
    await before;
    await this.#options.gate.opened();
    refuseAfterEnd(this.#options);
    const { caller, context } = this.#options;
    context.mayTake();
    const bytes = await caller.next();
    // Again: a change may have come while the message was awaited.
    if (bytes !== undefined) context.mayTake();
    return (bytes === undefined ? '{"done":true}' : `{"done":false,"value":${this.#read(bytes)}}`) as JsonText;
  }

  /**
   * The message of a unary request.
   *
   * @throws RefusalError `request` as {@link #read} does, or if there is no message
   */
  only(): JsonText | Promise<JsonText> {
    const bytes = this.#options.caller.next();
    return bytes instanceof Promise ? bytes.then((message) => this.#only(message)) : this.#only(bytes);
  }

  #only(bytes: Uint8Array | undefined): JsonText {
    if (bytes === undefined) throw new RefusalError('request', 'there is no request');
    return this.#read(bytes);
  }

  /** A message as JSON, after the method accepted the categories that it carries. */
  #read(bytes: Uint8Array): JsonText {
    try {
      return this.#accepted(bytes);
    } catch (error) {
      if (error instanceof RefusalError) this.#unread = error;
      throw error;
    }
  }

  #accepted(bytes: Uint8Array): JsonText {
    this.commitment.add(bytes);
    const { context } = this.#options;
    const { input } = messagesOf(this.#options);
    const { text, label, texts, message } = input.read(bytes, context.recognises);
    context.accept(label, texts);
    this.#egress?.took(input.type, message);
    return text as JsonText;
  }
}

/** Sends the handler's messages: each is decided about and on record before it leaves. */
export class ResponseWriter {
  /** The receipt's commitment to the messages that left. */
  readonly commitment: Commitment;
  readonly #options: StreamOptions;
  readonly #context: CallContext;
  readonly #ledger: CallLedger;
  readonly #streams: boolean;
  #returned: Label = NOTHING;
  /** Settles with the last message that the handler sent. */
  #sent: Promise<unknown> | undefined;
  /** The label under which response messages may leave without another record. */
  #disclosed: string | undefined;

  /** @param streams whether the method has a stream of responses */
  constructor(options: StreamOptions, ledger: CallLedger, streams: boolean) {
    this.#options = options;
    this.#context = options.context;
    this.#ledger = ledger;
    this.#streams = streams;
    this.commitment = new Commitment('response', options.salt);
  }

  /** Categories of the messages that left, sorted. */
  get returned(): readonly string[] {
    return sortedNames(this.#returned);
  }

  /**
   * The bytes of the one response of a method that has no stream of them.
   *
   * @throws RefusalError `response`, `flow`, `leak`, `budget`
   */
  only(json: WorkerText): Uint8Array {
    return this.#leaving(this.#respond(json));
  }

  /**
   * Returns a status that may be told. Its code and its text are judged as a response without
   * fields.
   */
  allowed(status: HandlerStatus): HandlerStatus {
    // layer: statuses are responses
    this.#context.respond(new Set(), [status.text]);
    return status;
  }

  /** Sends response messages in order: a receipt commits to the order in which they leave. */
  send(json: WorkerText): Promise<JsonText> {
    const turn = this.#sendAfter(this.#sent, json, this.#ledger.seen);
    this.#sent = turn.catch(() => {});
    return turn;
  }

  /**
   * **Trust**: what another call has stored is read before it is durable. If a message of it left
   * at once, and the power went, its caller would hold what never was.
   *
   * @param seen settles once what the handler has read is durable
   */
  async #sendAfter(
    before: Promise<unknown> | undefined,
    json: WorkerText,
    seen: Promise<unknown> | undefined,
  ): Promise<JsonText> {
    await before;
    await this.#options.gate.opened();
    if (!this.#streams) throw new RefusalError('grant', `${this.#options.method.id} has one response`);
    refuseAfterEnd(this.#options);
    const made = this.#respond(json);
    const label = this.#context.label.join();
    // What a stream discloses is on record before it leaves, and again whenever its label grows.
    // That record is durable after all that was read before it.
    const durable =
      this.#disclosed === label
        ? /* layer: streams tell what is durable (off: undefined) */ seen
        : this.#ledger.stream();
    if (durable !== undefined) {
      await durable;
      this.#disclosed = label;
      refuseAfterEnd(this.#options);
      // **Leak**: the call may have fallen silent during this wait. By ending sooner or later its
      // handler would choose whether the message leaves.
      if (this.#context.silence !== undefined) throw this.#context.silence.refusal;
    }
    await this.#options.caller.send(this.#leaving(made));
    return NULL_TEXT;
  }

  /** An encoded response message that may leave, and the categories that its fields carry. */
  #respond(text: WorkerText): { bytes: Uint8Array; returned: Label } {
    const { output } = messagesOf(this.#options);
    const json = reading('response', output.type, () => parseWorkerText(text));
    const { label: returned, texts, bytes: encode } = output.write(json, looks(this.#options.admission));
    this.#context.respond(returned, texts);
    const bytes = encode();
    // layer: responses have a limit
    if (bytes.length > MAX_MESSAGE_BYTES)
      throw new RefusalError('budget', `a response may have ${MAX_MESSAGE_BYTES} bytes`);
    return { bytes, returned };
  }

  /** Bytes that leave now, added to the receipt: it commits to these and to no further bytes. */
  #leaving({ bytes, returned }: { bytes: Uint8Array; returned: Label }): Uint8Array {
    this.#returned = joinedLabel(this.#returned, returned);
    this.commitment.add(bytes);
    return bytes;
  }
}

/**
 * Refuses messages after the call's end or after its caller has left. A receipt commits to all
 * that left before it.
 */
function refuseAfterEnd({ hasEnded, caller }: StreamOptions): void {
  if (hasEnded() || caller.signal.aborted) throw new RefusalError('worker', 'the call is over');
}

function messagesOf({ admission, method }: StreamOptions): MethodMessages {
  return admission.messages.of(method.id);
}

/** Whether the policy has detectors, so that the texts of messages are needed. */
function looks({ policy }: Admission): boolean {
  return policy.governance.leaks !== 'none';
}
