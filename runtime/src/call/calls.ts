/** Calls: from a request's bytes to responses that are allowed, recorded and receipted. */

import type { ExposedMethod } from '@enclaim/policy-schema/admission';
import { type RefusalCode, RefusalError } from '../errors.ts';
import type { Collections } from '../flow/call-storage.ts';
import { entryOf } from '../log/entry.ts';
import { REFUSALS, STATUS } from '../refusals.ts';
import { retentionOf } from '../storage/retention.ts';
import { VolatileCollection } from '../storage/volatile.ts';
import type { Answer, Caller, CallsOptions } from './caller.ts';
import { HeldAnswers } from './held-answers.ts';
import { RefusalTally } from './refusal-tally.ts';
import { RunningCall } from './running-call.ts';
import { statusDetails } from './status-details.ts';

const NOTHING = new Uint8Array();

/** Answers calls to the methods of one policy. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #collections: Collections;
  readonly #tally = new RefusalTally({ write: (code, count) => this.#recordMany(code, count) });
  readonly #held = new HeldAnswers();
  #stopped: RefusalError | undefined;
  #sequence = 0;

  constructor(options: CallsOptions) {
    this.#options = options;
    const { forms, policy } = options.admission;
    const { collections, governance, subprocessors } = policy;
    const now = (): number => options.clock.now();
    if (governance.resources !== 'none' && options.governor === undefined) throw new TypeError('no governor');
    if (Object.keys(subprocessors).length > 0 && options.egress === undefined) throw new TypeError('no egress broker');
    this.#collections = new Map(
      Object.entries(collections).map(([name, collection]) => {
        if (collection.storage === 'volatile')
          return [name, new VolatileCollection(name, retentionOf(collection), { now, form: forms.get(name) })];
        const sealed = options.sealed?.get(name);
        if (sealed === undefined) throw new TypeError(`no sealed collection ${name}`);
        return [name, sealed];
      }),
    );
  }

  /** Answers one call. Never throws: every failure ends in an answer. */
  async answer(method: ExposedMethod, caller: Caller): Promise<Answer> {
    try {
      const call = new RunningCall(this.#options, this.#collections, method, caller);
      if (this.#stopped !== undefined) return refused(call, this.#stopped);
      // From here to the record of the end is one turn: what is checked is what is made.
      const ending = call.checked(await call.run());
      const told = ending.refusal;
      if (
        told !== null &&
        /* layer: refusals of strangers are counted (off: false) */ call.didNothing(told) &&
        !this.#tally.hasRecord(told.code)
      )
        return refused(call, told);
      const { body, durable } = call.end(ending, this.#sequence++);
      // The receipt is signed while the record is written. The answer leaves only after both are
      // done.
      const { batch, index } = this.#options.receipts.sign(body);
      const receipts = await this.#held.release(/* layer: no log, no response (off: null) */ durable, batch);
      const receipt = receipts[index] as Uint8Array;
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

  /** Takes calls again, because nothing stands against it any more. */
  resume(): void {
    this.#stopped = undefined;
  }

  /** Writes records for the refusals that were only counted so far. */
  close(): void {
    this.#tally.close();
  }

  #recordMany(code: RefusalCode, calls: number): void {
    const [, decision, kind] = REFUSALS[code];
    const claims = this.#options.admission.claims.refusals(kind);
    try {
      const said = { decision, reason: `${code} of many calls`, claims, figures: { calls } };
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
