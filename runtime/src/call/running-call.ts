/** One call: its handler is run within the policy's limits, and its end recorded and receipted. */

import { toHex, utf8 } from '@enclaim/attestation/bytes';
import { deletionRoot } from '@enclaim/attestation/deletion';
import { digestText } from '@enclaim/attestation/digest';
import { type CurrentReceiptBody, commitmentText } from '@enclaim/attestation/receipt';
import { type ExposedMethod, isAttestedOnly } from '@enclaim/policy-schema/admission';
import { abortSignalOf, type CallSignal } from '../call-signal.ts';
import { AnswerGate } from '../egress/answer-gate.ts';
import { CallEgress, type EgressGrants } from '../egress/call-egress.ts';
import { RefusalError } from '../errors.ts';
import { CallContext } from '../flow/call-flow.ts';
import type { Collections } from '../flow/call-storage.ts';
import type { FlowDecision } from '../flow/flow-judge.ts';
import type { CallBudget } from '../governor/call-budget.ts';
import { deadlineOf, whileItLasts } from '../governor/deadline.ts';
import type { Place } from '../governor/places.ts';
import type { ResourceGovernor } from '../governor/resources.ts';
import { CallLedger, type EgressRecord } from '../log/call-ledger.ts';
import { Commitment } from '../message/commitment.ts';
import { freshBytes, freshHex } from '../random-pool.ts';
import { REFUSALS, STATUS } from '../refusals.ts';
import { HandlerStatus } from '../worker/handler-status.ts';
import type { JsonText } from '../worker/json-text.ts';
import type { CallGrants, Made } from '../worker/protocol.ts';
import type { Caller, CallsOptions } from './caller.ts';
import { type Ending, endingOf, type How, keepsChanges } from './ending.ts';
import { HandlerOperations } from './handler-operations.ts';
import { placeEnd } from './place-end.ts';
import { RequestReader, ResponseWriter, type Streams } from './stream.ts';

const NOTHING = new Uint8Array();
const NO_GRANTS: EgressGrants = { sends: {}, releases: [] };
/** Texts that are the same for all calls of a method are made once of these. */
const GRANTS: WeakMap<ExposedMethod, CallGrants> = new WeakMap();
const STREAMS: Readonly<Record<ExposedMethod['descriptor']['methodKind'], Streams>> = {
  unary: { request: false, response: false },
  client_streaming: { request: true, response: false },
  server_streaming: { request: false, response: true },
  bidi_streaming: { request: true, response: true },
};

/** A receipt's content, and the promise after which it may be given to the caller. */
interface Sealed {
  readonly body: () => CurrentReceiptBody;
  readonly durable: Promise<unknown>;
}

/** An admitted call: what it may use, and its place. */
interface Admitted {
  readonly budget: CallBudget;
  readonly place: Place;
}

/** One call from its first message to its receipt. */
export class RunningCall {
  readonly #options: CallsOptions;
  readonly #method: ExposedMethod;
  readonly #streams: Streams;
  readonly #caller: Caller;
  readonly #context: CallContext;
  readonly #gate = new AnswerGate();
  readonly #ledger: CallLedger;
  readonly #egress: CallEgress | undefined;
  readonly #salt = freshBytes(16);
  /**
   * Id of the record of the call's end.
   *
   * **Leak**: the handler never learns it and has no influence on it.
   */
  readonly #id = freshHex(16);
  readonly #requests: RequestReader;
  readonly #responses: ResponseWriter;
  #opened: HandlerOperations | undefined;
  /** Whether the handler may have run. */
  #begun = false;
  #ended = false;

  constructor(options: CallsOptions, collections: Collections, method: ExposedMethod, caller: Caller) {
    this.#options = options;
    this.#method = method;
    this.#caller = caller;
    this.#streams = STREAMS[method.descriptor.methodKind];
    const { admission, clock, egress, log } = options;
    const note = (decision: FlowDecision): void => this.#ledger.note(decision);
    this.#context = new CallContext(admission.policy, method, collections, note, () => clock.now());
    this.#ledger = new CallLedger({ admission, clock, log, method: method.id, context: this.#context });
    if (method.rule.sends.length > 0 && egress !== undefined) {
      const record = (said: EgressRecord): Promise<void> => this.#ledger.sent(said);
      const parts = { admission, method, context: this.#context, gate: this.#gate };
      this.#egress = new CallEgress({ ...parts, broker: egress, record, signal: abortSignalOf(caller.signal) });
    }
    const streaming = {
      admission,
      method,
      context: this.#context,
      gate: this.#gate,
      caller,
      salt: this.#salt,
      hasEnded: () => this.#ended,
    };
    this.#requests = new RequestReader(streaming, this.#egress);
    this.#responses = new ResponseWriter(streaming, this.#ledger, this.#streams.response);
  }

  /** The grants of its method: one object for all of its calls. */
  get #grants(): CallGrants {
    let grants = GRANTS.get(this.#method);
    if (grants === undefined) {
      const { id, rule } = this.#method;
      const { sends, releases } = this.#egress?.grants ?? NO_GRANTS;
      grants = { method: id, streams: this.#streams, reads: rule.reads, stores: rule.stores, sends, releases };
      GRANTS.set(this.#method, grants);
    }
    return grants;
  }

  /** Its handler's operations, opened by the first: most calls ask for none. */
  get #operations(): HandlerOperations {
    this.#opened ??= new HandlerOperations({
      ...{ method: this.#method.id, context: this.#context, gate: this.#gate, ledger: this.#ledger },
      ...{ requests: this.#requests, responses: this.#responses, egress: this.#egress },
    });
    return this.#opened;
  }

  /** Runs the handler to its end. Never throws. */
  async run(): Promise<Ending> {
    const { governor } = this.#options;
    let how: How;
    try {
      how =
        governor === undefined
          ? this.#howOf(await this.#runHandler(this.#caller.signal))
          : await this.#governed(governor);
    } catch (error) {
      this.#options.onFailure?.(this.#method.id, error, this.#id);
      how = { error };
    }
    const { label } = this.#context;
    const refused = this.#opened?.refused;
    return endingOf({ how, silence: this.#context.silenced(), refused, label, id: this.#id });
  }

  /** As {@link run}, within the resources of the policy. Throws what kept the call from its end. */
  async #governed(governor: ResourceGovernor): Promise<How> {
    const { signal, connection = this } = this.#caller;
    const { id } = this.#method;
    const budget = governor.budgetOf(id);
    using deadline = deadlineOf(signal, budget);
    const stream = this.#streams.request || this.#streams.response;
    const guest = { connection, stream, signal: deadline.signal, end: deadline.end };
    using place = governor.admitNow(id, guest) ?? (await governor.admit(id, guest));
    return this.#howOf(await this.#runHandler(deadline.signal, { budget, place }));
  }

  /**
   * Runs the handler.
   *
   * @throws the error that kept the handler from its answer, also at once
   */
  #runHandler(signal: CallSignal, admitted?: Admitted): Promise<Made> {
    this.#refusePlain();
    const running = this.#options.pool.run({
      connection: this.#caller.connection,
      request: () => this.#request(),
      message: {
        grants: this.#grants,
        time: this.#options.clock.text(),
        id: /* layer: error ids are no word of the call */ freshHex(16),
        seed: freshHex(32),
      },
      awaits: (kind) => this.#operations.awaits(kind),
      perform: (operation) => this.#operations.perform(operation, admitted?.place),
      signal,
      budget: admitted?.budget,
    });
    return this.#egress === undefined ? running : this.#lastOf(this.#egress, running, signal);
  }

  /**
   * The one response message of a call, an empty one if messages were streamed, or its status.
   *
   * @throws RefusalError of a response that may not leave
   */
  #howOf(made: Made): How {
    if (made instanceof HandlerStatus) return { status: this.#responses.allowed(made) };
    return { response: this.#streams.response ? NOTHING : this.#responses.only(made) };
  }

  /** The request as the handler gets it, undefined if it is a stream. Its handler may run then. */
  #request(): JsonText | undefined | Promise<JsonText | undefined> {
    const request = this.#streams.request ? undefined : this.#requests.only();
    const begin = (json: JsonText | undefined): JsonText | undefined => {
      this.#begun = true;
      return json;
    };
    return request instanceof Promise ? request.then(begin) : begin(request);
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
  async #lastOf(egress: CallEgress, running: Promise<Made>, signal: CallSignal): Promise<Made> {
    const [{ status }] = await Promise.allSettled([running]);
    try {
      await /* layer: wall time of egress (off: this.#gate.opened()) */ whileItLasts(signal, this.#gate.opened());
    } catch (error) {
      await egress.end('given up');
      if (status === 'fulfilled') throw error;
    }
    // layer: an answer that stands
    await whileItLasts(signal, egress.end('done')).catch(() => egress.end('given up'));
    return await running;
  }

  /** The ending, or the refusal that it is where the call's changes cannot be made. */
  checked(ending: Ending): Ending {
    if (!keepsChanges(ending)) return ending;
    try {
      this.#context.check();
      return ending;
    } catch (error) {
      const { label } = this.#context;
      return endingOf({ how: { error }, silence: undefined, refused: undefined, label, id: this.#id });
    }
  }

  /**
   * Whether the call had no effect beyond its refusal. Either its handler never started, or the
   * refusal is of a message that the caller sent and the handler had asked for nothing but
   * messages. Such a call needs no record of its own.
   */
  didNothing(refusal: RefusalError): boolean {
    return this.#begun
      ? /* layer: refusals of streams are counted (off: false) */ refusal === this.#requests.unread &&
          !this.#operations.asked
      : refusal.code !== 'log';
  }

  /**
   * Records how the call ended, makes its changes to collections, and returns its receipt. If the
   * record has no place, nothing is changed.
   *
   * **Cost**: what the receipt says is fixed here, and put together while the record is written.
   *
   * @param ending a result of {@link checked}, in the same turn
   * @throws RefusalError `log`, `budget`
   */
  end(ending: Ending, sequence: number): Sealed {
    const { status, message, result, reason, claim, label, counts } = ending;
    this.#ended = true;
    const figures = this.#egress?.figures;
    const emptied = keepsChanges(ending) ? this.#context.emptied : undefined;
    const deleted = emptied && deletionRoot(this.#salt, emptied);
    const record = { id: this.#id, result, reason, claim, figures, deleted };
    const { index, hash, durable } = placeEnd(this.#ledger, this.#context, record);
    this.#context.end(/* layer: failed calls change nothing (off: 'kept') */ keepsChanges(ending) ? 'kept' : 'dropped');
    const silent = this.#streams.request && !counts;
    const request = silent ? new Commitment('request', this.#salt) : this.#requests.commitment;
    const { returned, commitment } = this.#responses;
    const [requested, responded] = [request.later(), commitment.later()];
    const taken = silent ? null : request.count;
    const time = this.#options.clock.text();
    const body = (): CurrentReceiptBody => ({
      boot: digestText('sha256', this.#options.boot),
      decision: { label, result, returned },
      index,
      method: this.#method.id,
      nonce: this.#caller.nonce ?? null,
      policy: this.#options.admission.digest,
      record: hash,
      request: requested(),
      response: responded(),
      salt: toHex(this.#salt),
      sequence,
      status,
      taken,
      text: status === STATUS.ok ? null : commitmentText('status', this.#salt, [utf8(message)]),
      time,
      version: 3,
      within: this.#options.admission.within,
    });
    return { body, durable };
  }

  /** Details of a refusal for the caller: the policy's rule and figures, never data. */
  info({ code, pointer, figures }: RefusalError, error?: string): { reason: string; metadata: Record<string, string> } {
    const [claim] = this.#ledger.claims.refusal(REFUSALS[code][2]);
    return {
      reason: code.toUpperCase(),
      metadata: {
        method: this.#method.id,
        policy: this.#options.admission.digest,
        ...(claim !== undefined && { claim }),
        ...(error !== undefined && { error }),
        ...(pointer !== null && { rule: pointer.split('/').slice(0, 3).join('/'), pointer }),
        ...Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, String(value)])),
      },
    };
  }
}
