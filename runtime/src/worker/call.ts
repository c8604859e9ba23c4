/** A call as a worker runs it. */

import type { CallSignal } from '../call-signal.ts';
import type { CallBudget } from '../governor/call-budget.ts';
import type { JsonText } from './json-text.ts';
import type { CallMessage, Operation } from './protocol.ts';

/** One call, and what the runtime does for it. */
export interface Call {
  readonly message: CallMessage;
  /** Key under which it is counted while it waits for a place. By default the call itself. */
  readonly connection?: unknown;
  /** The request; undefined if it is not read yet, or requests come as a stream. */
  readonly json?: JsonText | undefined;
  /**
   * Reads the request after the call got its place; undefined if requests come as a stream. Present
   * if it is not read yet.
   */
  request?(): JsonText | undefined | Promise<JsonText | undefined>;
  /**
   * A promise that operations of a kind, and those behind them, wait for before they start;
   * undefined if there is none.
   */
  awaits?(kind: Operation['kind']): Promise<unknown> | undefined;
  /**
   * Performs an operation. Any error that it throws refuses the operation; a RefusalError's message
   * goes to the handler.
   */
  perform(operation: Operation): JsonText | Promise<JsonText>;
  /** Ends the call: the caller has gone, or its time is over. */
  readonly signal: CallSignal;
  /** The call's limits, if its worker is metered. */
  readonly budget?: CallBudget | undefined;
}
