/** One call's messages to subprocessors. */

import type { DescMessage, Message } from '@bufbuild/protobuf';
import { type ExposedMethod, type OutboundMethod, survey } from '@enclaim/policy-schema/admission';
import type { Admission } from '../admission/admission.ts';
import { RefusalError } from '../errors.ts';
import type { CallContext } from '../flow/call-flow.ts';
import { type JsonText, jsonText } from '../worker/json-text.ts';
import type { CallGrants, Operation } from '../worker/protocol.ts';
import type { AnswerGate } from './answer-gate.ts';
import type { Answer } from './broker.ts';
import { CallReleases } from './call-releases.ts';
import { Departures, type DeparturesOptions } from './departures.ts';
import { answeredJson, outward } from './peer-messages.ts';

/** The parts of a call that its egress needs. */
export interface CallEgressOptions extends DeparturesOptions {
  readonly admission: Admission;
  readonly method: ExposedMethod;
  readonly context: CallContext;
  readonly gate: AnswerGate;
}

type Asked<K extends Operation['kind']> = Omit<Extract<Operation, { readonly kind: K }>, 'kind' | 'call' | 'operation'>;

/** Methods of subprocessors, and rules of release, that a method was granted. */
export type EgressGrants = Pick<CallGrants, 'sends' | 'releases'>;

/** Decides about each message of one call to a subprocessor, and about its answer. */
export class CallEgress {
  readonly #options: CallEgressOptions;
  readonly #departures: Departures;
  readonly #releases: CallReleases;
  #messages = 0;

  constructor(options: CallEgressOptions) {
    this.#options = options;
    this.#departures = new Departures(options);
    this.#releases = new CallReleases({ ...options, departures: this.#departures });
  }

  /** Grants of the call's method, the same for all of its calls. */
  get grants(): EgressGrants {
    return grantsOf(this.#options);
  }

  /** Messages and bytes sent to each subprocessor, for the call's record. */
  get figures(): Readonly<Record<string, number>> {
    return this.#departures.figures;
  }

  /**
   * Counts a message of the caller as local work, and keeps the first one for releases.
   *
   * @param message decodes it
   */
  took(type: DescMessage, message: () => Message): void {
    this.#departures.local(`message ${this.#messages++}`);
    this.#releases.took(type, message);
  }

  /** Counts an existing record that was read, or one that was written, as local work. */
  touched(collection: string, key: string): void {
    this.#departures.local(`record ${collection} ${key}`);
  }

  /** Resolves when no message is pending that the call's record does not count yet. */
  async end(how: 'done' | 'given up'): Promise<void> {
    if (how === 'given up') this.#departures.giveUp();
    await this.#options.gate.opened();
    await this.#releases.settled();
  }

  /**
   * Calls a method of a subprocessor.
   *
   * @throws RefusalError `grant`, `assurance`, `flow`, `request`, `leak`, `sovereignty`, `budget`,
   * `log`, `secret`, `peer`
   */
  call(asked: Asked<'egress'>): Promise<JsonText> {
    return this.#options.gate.outward(this.#call(asked));
  }

  /**
   * Builds the message of a rule and sends it.
   *
   * @throws RefusalError as {@link CallReleases.release}
   */
  release(asked: Asked<'release'>): Promise<JsonText> {
    return this.#options.gate.outward(this.#releases.release(asked));
  }

  async #call({ to, method: name, json }: Asked<'egress'>): Promise<JsonText> {
    const { admission, context } = this.#options;
    const target = admission.outbound.find((each) => each.subprocessor === to && each.name === name);
    if (target === undefined) throw new RefusalError('grant', 'there is no such method of a subprocessor');
    const { label: carried, texts, bytes } = outward(admission, target, json);
    // **Leak**: the handler chooses the method, the message, its length and its time, so they carry
    // the call's label.
    context.send(to, carried, /* layer: leak detectors on bytes */ texts);
    const { type } = admission.messages.ofOutbound(target.id).output;
    if (type.fields.length > 0) context.mayHear(to, survey(type).label);
    const call = target.http === 'none' ? target.id : target.http;
    const answer = await this.#departures.send(to, { call, bytes, reason: target.id });
    return this.#answered(target, answer);
  }

  /**
   * Turns a subprocessor's answer into the handler's result. The call carries the label of such
   * answers before the handler sees any of it. Of an answer without fields the handler learns only
   * that it came.
   */
  #answered({ subprocessor: to, id, http }: OutboundMethod, { status, body, repeatsSecret }: Answer): JsonText {
    const { admission, context } = this.#options;
    const { output } = admission.messages.ofOutbound(id);
    if (output.type.fields.length === 0) {
      if (status !== 'ok')
        throw new RefusalError('peer', /* layer: answers that say nothing */ `${to} did not take it`);
      return jsonText({});
    }
    context.heard(to, new Set(), []);
    if (status !== 'ok') throw new RefusalError('peer', `${to} answered with status ${status}`);
    // **Leak**: not of an answer without fields, of which the handler would learn more than that it
    // came.
    // layer: answers that repeat a secret
    if (repeatsSecret) throw this.#repeating(to);
    const answer = http === 'none' ? output.read(body, context.recognises) : answeredJson(admission, output.type, body);
    context.heard(to, answer.label, answer.texts);
    return answer.text as JsonText;
  }

  /** The refusal of an answer that repeats a secret; the call's record counts it. */
  #repeating(to: string): RefusalError {
    this.#departures.count(`send:${to} leak`);
    const pointer = `/subprocessors/${to}/credential`;
    return new RefusalError('leak', `${to} repeats the secret that it was shown`, { pointer });
  }
}

function grantsOf({ admission, method }: CallEgressOptions): EgressGrants {
  const sends = method.rule.sends.map((to) => [
    to,
    admission.outbound.filter(({ subprocessor }) => subprocessor === to).map(({ name }) => name),
  ]);
  const releases = [...admission.releases.values()].filter(({ rule }) => rule.method === method.id);
  return { sends: Object.fromEntries(sends), releases: releases.map(({ rule }) => rule.id) };
}
