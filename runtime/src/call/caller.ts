/** A call as it comes in and as it is answered, and the parts of the runtime that answer it. */

import type { Admission } from '../admission/admission.ts';
import type { CallSignal } from '../call-signal.ts';
import type { BootClock } from '../clock.ts';
import type { EgressBroker } from '../egress/broker.ts';
import type { ResourceGovernor } from '../governor/resources.ts';
import type { ReceiptSigner } from '../log/receipts.ts';
import type { RecordLog } from '../log/record-log.ts';
import type { Collection } from '../storage/collection.ts';
import type { WorkerClasses } from '../worker/classes.ts';

/** The caller's side of a call. */
export interface Caller {
  /**
   * Returns the next request message, at once if it is there; undefined after the last. A unary
   * request is one message.
   */
  next(): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Sends a message of a response stream; resolves when there is room for another. */
  send(message: Uint8Array): Promise<void>;
  /** Ends the call: the caller has gone, or its time is over. */
  readonly signal: CallSignal;
  /**
   * Key under which its calls are counted, so that each connection gets its turn. By default each
   * call counts by itself.
   */
  readonly connection?: string;
  /** Whether the caller was given evidence on this connection. False by default. */
  readonly attested?: boolean;
  /** Its nonce for this call, hex, which the receipt repeats. */
  readonly nonce?: string | undefined;
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

/** Everything a call needs. */
export interface CallsOptions {
  readonly admission: Admission;
  readonly pool: Pick<WorkerClasses, 'run'>;
  readonly log: Pick<RecordLog, 'place' | 'pending'>;
  /** The policy's sealed collections by name. Absent: it has none. */
  readonly sealed?: ReadonlyMap<string, Collection>;
  readonly receipts: Pick<ReceiptSigner, 'sign'>;
  /** Digest of the boot statement, 32 bytes. */
  readonly boot: Uint8Array;
  /** Present if the policy limits resources. */
  readonly governor?: ResourceGovernor;
  /** Also the clock by which retention is counted. */
  readonly clock: Pick<BootClock, 'now' | 'text'>;
  /**
   * Receives why a call failed and the id that its caller was given. For the handlers' author; not
   * set in the VM.
   */
  readonly onFailure?: ((method: string, error: unknown, id: string) => void) | undefined;
  /** Sends to subprocessors. Required if the policy names any. */
  readonly egress?: Pick<EgressBroker, 'send'>;
}
