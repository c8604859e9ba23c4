/** The ledger of one call: everything that the call puts on record. */

import type { EvidenceRecord } from '@enclaim/attestation/record';
import type { ClaimKind, MethodClaims, MethodId } from '@enclaim/policy-schema/admission';
import { type RefusalCode, RefusalError } from '../errors.ts';
import type { CallContext } from '../flow/call-flow.ts';
import { isOpen } from '../flow/floating-label.ts';
import type { FlowDecision } from '../flow/flow-judge.ts';
import { handlerValue } from '../message/handler-value.ts';
import { REFUSALS } from '../refusals.ts';
import { type JsonText, jsonText, NULL_TEXT, type WorkerText } from '../worker/json-text.ts';
import { type EntryOptions, entryOf, type Said } from './entry.ts';
import type { Placed, RecordLog } from './record-log.ts';

/** The parts of a call that its ledger needs. */
export interface CallLedgerOptions extends EntryOptions {
  readonly log: Pick<RecordLog, 'place' | 'pending'>;
  readonly method: MethodId;
  readonly context: Pick<CallContext, 'label' | 'open' | 'mayLog'>;
}

/** The record of a message to a subprocessor. */
export interface EgressRecord {
  readonly decision: 'allow' | 'deny' | 'error';
  /** The refusal's code; for an allowed message, the kind of rule that it met. */
  readonly code: RefusalCode;
  readonly reason: string;
  readonly sink: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** The content of the record of a call's end. */
export interface EndRecord {
  readonly id: string;
  readonly result: 'allow' | 'deny' | 'error';
  readonly reason: string;
  /** The kind of claim that a refusal upholds. */
  readonly claim: ClaimKind | undefined;
  /** Figures beside those that the ledger counted. */
  readonly figures: Readonly<Record<string, number>> | undefined;
  /** Commitment to the places that the call empties; undefined where the record has none. */
  readonly deleted: EvidenceRecord['deleted'] | undefined;
}

/**
 * Records that one call's handler can cause: the events that it logs and the refusals that it
 * survives.
 */
const MAX_RECORDS_PER_CALL = 16;

/**
 * Writes the records of one call: it holds their number, counts the figures of the last one, and
 * decides when a record may hold a number.
 */
export class CallLedger {
  readonly #options: CallLedgerOptions;
  readonly #context: CallLedgerOptions['context'];
  /** Claims that decisions about the method's calls serve. */
  readonly claims: MethodClaims;
  /**
   * Figures of the call's record: how often each sink was allowed, and how many refusals have no
   * record of their own.
   */
  readonly #figures: Record<string, number> = {};
  #records = 0;
  #seen: Promise<unknown> | undefined;

  constructor(options: CallLedgerOptions) {
    this.#options = options;
    this.#context = options.context;
    this.claims = claimsOf(options);
  }

  /**
   * Notes a decision. An allowed one is counted into the call's record. A refusal gets a record of
   * its own with the label that it met, while there is room and the call is open. Never throws,
   * because the refusal that ends a call comes this way too.
   *
   * **Leak**: once the call is not open, the order of refusals would spell what it had read, so
   * they are only counted.
   */
  note({ sink, allow, code, pointer, label }: FlowDecision): void {
    // A refusal of what the caller sent is told by the record of the call's end.
    // layer: an end without records of its own
    if (allow || sink === 'call' || /* layer: no records of refusals of closed calls */ !isOpen(label)) {
      this.#count(allow ? sink : `denied:${sink}`);
      return;
    }
    if (!this.#hasRoom()) {
      this.#count('dropped');
      return;
    }
    const claims = this.claims.refusal(REFUSALS[code === 'leak' || code === 'assurance' ? code : 'flow'][2]);
    // Not awaited: the record of the call's end follows it in the same log, and that one is
    // awaited.
    this.#record({ decision: 'deny', reason: `${code} ${pointer}`, sink, claims }).durable.catch(() => {});
  }

  /**
   * Makes the record of a message to a subprocessor durable.
   *
   * @throws RefusalError `log`; `budget` if too many messages of the call were refused
   */
  async sent({ code, ...said }: EgressRecord): Promise<void> {
    if (said.decision !== 'allow') {
      if (!this.#context.open) {
        this.#count(`denied:${said.sink}`);
        return;
      }
      this.#needRoom();
    }
    const { message, refusal } = this.claims;
    const claims = said.decision === 'allow' ? message : refusal(REFUSALS[code][2]);
    await this.#record({ ...said, claims }).durable;
  }

  /**
   * Records an event, one of those that the policy names. The name is written only while the
   * call's label is empty or public, because auditors of the log may see no more than that.
   *
   * **Leak**: a name of the handler's own would be a text that it writes into the log. A name of
   * the policy's is one choice among those that the owner has measured. Such a refusal repeats no
   * name and has no record.
   * @throws RefusalError `grant` for another name; `worker` for data that is not JSON; `budget`,
   * `leak`, `log`
   */
  async event(event: string, json: WorkerText): Promise<JsonText> {
    // layer: events of the policy
    if (!(this.#options.admission.policy.evidence.events ?? []).includes(event)) {
      const message = 'handlers log the events that evidence.events of the policy names, and no other';
      throw new RefusalError('grant', message, { pointer: '/evidence/events' });
    }
    this.#needRoom();
    const data = handlerValue(json);
    // layer: events only of open calls (off: true)
    const open = this.#context.mayLog([event, data]);
    await this.#record({
      decision: 'info',
      reason: open ? `handler:${event}` : 'handler',
      sink: 'log',
      // A length is a number that the handler chooses.
      figures: /* layer: no numbers of closed calls (off: true) */ open ? { bytes: jsonText(data).length } : {},
      basis: 'observed',
    }).durable;
    return NULL_TEXT;
  }

  /**
   * Notes that the handler has looked into a collection: what it found there may be of a call whose
   * record is not durable yet.
   */
  looked(): void {
    this.#seen = this.#options.log.pending;
  }

  /**
   * Settles once everything is durable that the handler may have read; undefined if it has read
   * nothing that was not. Rejects with RefusalError `log` if that never will be.
   */
  get seen(): Promise<unknown> | undefined {
    return this.#seen;
  }

  /** Records that messages of a stream leave from now on under the call's label. */
  async stream(): Promise<void> {
    const { stream: claims } = this.claims;
    await this.#record({ decision: 'allow', reason: 'stream', sink: 'response', claims }).durable;
  }

  /**
   * Places the record of the call's end.
   *
   * @throws RefusalError `log`, `budget`
   */
  end({ id, result: decision, reason, claim, figures, deleted }: EndRecord): Placed {
    return this.#record({
      id,
      ...(deleted !== undefined && { deleted }),
      decision,
      reason,
      claims: decision === 'allow' ? this.claims.answer : this.claims.end(claim),
      figures: figures === undefined ? this.#counted : { ...this.#counted, ...figures },
    });
  }

  #count(figure: string): void {
    this.#figures[figure] = (this.#figures[figure] ?? 0) + 1;
  }

  /**
   * Figures for the record of the call's end.
   *
   * **Leak**: a count is a number that the handler chooses, also by when it stops. If the call's
   * label is more than public, the record says that a thing happened and not how often.
   */
  get #counted(): Record<string, number> {
    // layer: no counts of closed calls (off: true)
    if (this.#context.open) return this.#figures;
    const counted: Record<string, number> = {};
    for (const figure of Object.keys(this.#figures)) counted[figure] = 1;
    return counted;
  }

  /** Whether there is room for another record that the handler causes. */
  #hasRoom(): boolean {
    // layer: few records (off: true)
    return ++this.#records <= MAX_RECORDS_PER_CALL;
  }

  #needRoom(): void {
    if (!this.#hasRoom()) throw new RefusalError('budget', `more than ${MAX_RECORDS_PER_CALL} records of one call`);
  }

  #record(said: Said): Placed {
    const { method, log } = this.#options;
    return log.place(entryOf(this.#options, said, { method, label: this.#context.label }));
  }
}

function claimsOf({ admission, method }: CallLedgerOptions): MethodClaims {
  const claims = admission.claims.methods.get(method);
  if (claims === undefined) throw new TypeError(`${method} has no rule`);
  return claims;
}
