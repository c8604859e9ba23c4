/** A verdict as a table for people, on stderr: stdout belongs to the answer. */

import type { Check, Verdict } from '@enclaim/attestation';
import { Ansis } from 'ansis';
import { printable } from './printable.ts';

const WIDTH = 16;

/** Prints a verdict. Checks that were not run stand among the rest, and never in green. */
export function printVerdict(verdict: Verdict): void {
  const colour = new Ansis(process.stderr.isTTY ? 3 : 0);
  const mark = (check: Check): string => {
    if (check.outcome === 'passed') return colour.green('passed ');
    return check.outcome === 'failed' ? colour.red('FAILED ') : colour.yellow('not run');
  };
  const lines = fold(verdict.checks).map((check) => {
    const strength = check.strength === undefined ? '' : ` [${check.strength}]`;
    return `  ${mark(check)}  ${check.id.padEnd(WIDTH)}  ${printable(check.detail)}${strength}`;
  });
  const head = verdict.ok ? colour.bold.green('verdict: ok') : colour.bold.red('verdict: not ok');
  const { end } = verdict;
  const until = verdict.ok && end !== null ? [`  holds until ${end.notAfter}: ${printable(end.what)}`] : [];
  console.error([`${head}  platform ${verdict.platform}, boot ${verdict.bootId}`, ...lines, ...until].join('\n'));
}

/** Checks that ended alike for one and the same reason take one line. */
function fold(checks: readonly Check[]): Check[] {
  const folded: Check[] = [];
  for (const check of checks) {
    const last = folded.at(-1);
    const alike = last?.outcome === check.outcome && last.detail === check.detail && last.strength === check.strength;
    if (alike && last !== undefined)
      folded[folded.length - 1] = { ...last, id: `${last.id},${check.id.split('.').at(-1)}` };
    else folded.push(check);
  }
  return folded;
}
