/** The record of a call's end, and the room of its changes. */

import type { CallContext } from '../flow/call-flow.ts';
import type { CallLedger } from '../log/call-ledger.ts';

/**
 * Places the record of a call's end. Where it has no place, its changes are not made.
 *
 * **Bound**: the room that they were promised is given back then. Else it would be missing to calls
 * of other collections until this one's next change.
 * @throws RefusalError `log`, `budget`
 */
export function placeEnd(
  ledger: Pick<CallLedger, 'end'>,
  context: Pick<CallContext, 'letGo'>,
  record: Parameters<CallLedger['end']>[0],
): ReturnType<CallLedger['end']> {
  try {
    return ledger.end(record);
  } catch (error) {
    context.letGo();
    throw error;
  }
}
