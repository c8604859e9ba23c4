/** What a person reads when a command ends badly, and the exit status that a script reads. */

import { VerdictError } from '@enclaim/client';
import { printable } from './printable.ts';
import { UsageError } from './usage-error.ts';
import { printVerdict } from './verdict-table.ts';

/** Exit statuses: 1 what was asked for was refused or failed, 2 the call itself cannot work, 130 interrupted. */
const FAILED = 1;
const USAGE = 2;
const INTERRUPTED = 130;

/** Tells what went wrong, on stderr, and returns the exit status. */
export function report(error: unknown): number {
  if (error instanceof VerdictError) {
    printVerdict(error.verdict);
    console.error('enclaim: refused: the verdict is not ok; nothing was sent');
    return FAILED;
  }
  if (error instanceof Error && error.name === 'AbortError') return INTERRUPTED;
  if (error instanceof Error) {
    const code = 'code' in error && typeof error.code === 'string' ? `${error.name} ${error.code}` : error.name;
    // Lines after the first are set in: none of them can pass for a line of ours.
    console.error(`enclaim: ${code}: ${error.message.split('\n').map(printable).join('\n    ')}`);
  } else console.error(`enclaim: ${printable(String(error))}`);
  return error instanceof UsageError ? USAGE : FAILED;
}
