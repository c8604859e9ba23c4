/** The report of a command that ends badly. */

import { VerdictError } from '@enclaim/client';
import { type ExitStatus, exitStatusOf } from './exit-status.ts';
import { printable } from './printable.ts';
import { printVerdict } from './verdict-table.ts';

/** Tells what went wrong, on stderr, and returns the exit status. */
export function report(error: unknown): ExitStatus {
  if (error instanceof VerdictError) {
    printVerdict(error.verdict);
    console.error('enclaim: refused: the verdict is not ok; nothing was sent');
  } else if (error instanceof Error && error.name !== 'AbortError') {
    const code = 'code' in error && typeof error.code === 'string' ? `${error.name} ${error.code}` : error.name;
    // Lines after the first are set in: none of them can pass for a line of ours.
    console.error(`enclaim: ${code}: ${error.message.split('\n').map(printable).join('\n    ')}`);
  } else if (!(error instanceof Error)) console.error(`enclaim: ${printable(String(error))}`);
  return exitStatusOf(error);
}
