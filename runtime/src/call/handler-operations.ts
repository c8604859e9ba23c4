/** Operations of one call's handler, each performed where its kind belongs. */

import type { AnswerGate } from '../egress/answer-gate.ts';
import type { CallEgress } from '../egress/call-egress.ts';
import { RefusalError } from '../errors.ts';
import type { CallContext } from '../flow/call-flow.ts';
import type { Place } from '../governor/places.ts';
import type { CallLedger } from '../log/call-ledger.ts';
import { type JsonText, NULL_TEXT } from '../worker/json-text.ts';
import type { Operation } from '../worker/protocol.ts';
import type { RequestReader, ResponseWriter } from './stream.ts';

/** The parts of a call that operations act on. */
export interface HandlerOperationsOptions {
  readonly method: string;
  readonly context: CallContext;
  readonly gate: AnswerGate;
  readonly ledger: CallLedger;
  readonly requests: RequestReader;
  readonly responses: ResponseWriter;
  readonly egress: CallEgress | undefined;
}

/** Performs what one call's handler asks for, and keeps the first refusal that it met. */
export class HandlerOperations {
  readonly #options: HandlerOperationsOptions;
  #asked = false;
  #refused: RefusalError | undefined;

  constructor(options: HandlerOperationsOptions) {
    this.#options = options;
  }

  /** Whether the handler asked for anything but messages. */
  get asked(): boolean {
    return this.#asked;
  }

  /** The first refusal that an operation of the handler met. */
  get refused(): RefusalError | undefined {
    return this.#refused;
  }

  /** A promise that operations of a kind wait for before they start; undefined if none does. */
  awaits(kind: Operation['kind']): Promise<unknown> | undefined {
    const { context, gate } = this.#options;
    return context.reading ?? (isOutward(kind) ? undefined : gate.pending);
  }

  /**
   * Performs an operation. Collections in memory answer synchronously, so no promise is made for
   * them. While the caller is awaited, the call gives back the part of its place that it does not
   * keep.
   */
  perform(operation: Operation, place: Place | undefined): JsonText | Promise<JsonText> {
    try {
      const made = this.#perform(operation);
      if (!(made instanceof Promise)) return made;
      made.catch((error) => this.#met(error));
      const answer = isOutward(operation.kind) ? made : this.#options.gate.held(made);
      return place !== undefined && isOfCaller(operation.kind) ? place.whileAway(answer) : answer;
    } catch (error) {
      throw this.#met(error);
    }
  }

  #met(error: unknown): unknown {
    if (error instanceof RefusalError) this.#refused ??= error;
    return error;
  }

  #perform(operation: Operation): JsonText | Promise<JsonText> {
    const { method, context, ledger, requests, responses, egress } = this.#options;
    if (operation.kind !== 'next') this.#asked = true;
    switch (operation.kind) {
      case 'next':
        return requests.pull();
      case 'send':
        return responses.send(operation.json);
      case 'log':
        return ledger.event(operation.event, operation.json);
      case 'egress':
      case 'release':
        if (egress === undefined) throw new RefusalError('grant', `${method} sends nothing to anybody`);
        return operation.kind === 'egress' ? egress.call(operation) : egress.release(operation);
      default: {
        let made: ReturnType<CallContext['perform']>;
        try {
          made = context.perform(operation);
        } finally {
          // A refusal tells of what is there, too.
          ledger.looked();
        }
        // Neither a `get` of a missing key nor a `delete` counts as work on local data
        // (sovereignty).
        // layer: only work that is done counts (off: true)
        const touched = operation.kind === 'put' || (isGet(operation) && made !== NULL_TEXT);
        if (touched) egress?.touched(operation.collection, operation.key);
        return made;
      }
    }
  }
}

/** Whether an operation reads the value of one key. */
function isGet(operation: Operation): operation is Extract<Operation, { readonly kind: 'get' | 'read' }> {
  return operation.kind === 'get' || operation.kind === 'read';
}

/** Whether a subprocessor answers the operation. */
function isOutward(kind: Operation['kind']): boolean {
  return kind === 'egress' || kind === 'release';
}

/** Whether an operation waits for the caller: for its next message, or until it takes one. */
function isOfCaller(kind: Operation['kind']): boolean {
  return kind === 'next' || kind === 'send';
}
