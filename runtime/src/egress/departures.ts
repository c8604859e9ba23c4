/** The way out of one call: each message is counted, recorded, and only then sent. */

import type { HttpCall, MethodId, Subprocessor } from '@enclaim/policy-schema/admission';
import type { Admission } from '../admission/admission.ts';
import { RefusalError } from '../errors.ts';
import type { CallContext } from '../flow/call-flow.ts';
import { SovereigntyAccount } from '../governor/sovereignty.ts';
import type { EgressRecord } from '../log/call-ledger.ts';
import type { Answer, EgressBroker, Room } from './broker.ts';

/** The parts of a call that its messages need to leave. */
export interface DeparturesOptions {
  readonly admission: Pick<Admission, 'policy'>;
  readonly context: Pick<CallContext, 'open'>;
  readonly broker: Pick<EgressBroker, 'send'>;
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
export interface Outgoing {
  readonly call: HttpCall | MethodId;
  readonly bytes: Uint8Array;
  readonly reason: string;
}

/**
 * Smallest length in a record once a call's label is more than public. From here on lengths are
 * recorded as powers of two.
 *
 * **Leak**: an exact length is a number that the handler chooses.
 */
const SMALLEST_LENGTH = 1024;

/** Sends the messages of one call that were decided about, within its budget and on record. */
export class Departures {
  readonly #options: DeparturesOptions;
  readonly #account: SovereigntyAccount;
  readonly #over = new AbortController();
  readonly #figures: Record<string, number> = {};

  constructor(options: DeparturesOptions) {
    this.#options = options;
    this.#account = new SovereigntyAccount(options.admission.policy.governance.sovereignty);
  }

  /** Messages and bytes sent to each subprocessor, for the call's record. */
  get figures(): Readonly<Record<string, number>> {
    return this.#figures;
  }

  /** Counts local work (SovereigntyAccount). */
  local(what: string): void {
    this.#account.local(what);
  }

  /** Gives up every message that is pending. */
  giveUp(): void {
    this.#over.abort();
  }

  /**
   * Counts, records and sends a message whose outcome the handler receives.
   *
   * @throws RefusalError `sovereignty`, `budget`, `log`, `peer`
   */
  send(to: string, outgoing: Outgoing): Promise<Answer> {
    return this.#orRecord(to, () => {
      this.#depend(to);
      return this.#carry(to, outgoing, 'told');
    });
  }

  /**
   * Counts a message that may be sent later, whether or not it will be.
   *
   * @throws RefusalError `sovereignty`, `budget`, `log`
   */
  reserve(to: string): Promise<void> {
    return this.#orRecord(to, async () => this.#depend(to));
  }

  /**
   * Records and sends a message that was counted before, and whose outcome the handler does not
   * receive.
   *
   * @throws RefusalError `budget`, `log`, `peer`
   */
  sendReserved(to: string, outgoing: Outgoing): Promise<Answer> {
    return this.#carry(to, outgoing, 'untold');
  }

  /** Adds one to a figure of the call's record. */
  count(figure: string): void {
    this.#add(figure, 1);
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
    this.#add(`${sink} calls`, 1);
    this.#add(`${sink} bytes`, length);
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

  #add(figure: string, by: number): void {
    this.#figures[figure] = (this.#figures[figure] ?? 0) + by;
  }
}
