/** A verdict as a table for people, on stderr: stdout belongs to the answer. */

import type { Check, Verdict } from '@enclaim/attestation';
import { Ansis } from 'ansis';

const WIDTH = 16;

/** Prints a verdict. Checks that were not run stand with the others, and never in green. */
export function printVerdict(verdict: Verdict): void {
  const colour = new Ansis(process.stderr.isTTY ? 3 : 0);
  const mark = (check: Check): string => {
    if (check.outcome === 'passed') return colour.green('passed ');
    return check.outcome === 'failed' ? colour.red('FAILED ') : colour.yellow('not run');
  };
  const lines = foldNotRun(verdict.checks).map((check) => {
    const strength = check.strength === undefined ? '' : ` [${check.strength}]`;
    return `  ${mark(check)}  ${check.id.padEnd(WIDTH)}  ${check.detail}${strength}`;
  });
  const head = verdict.ok ? colour.bold.green('verdict: ok') : colour.bold.red('verdict: not ok');
  console.error([`${head}  platform ${verdict.platform}, boot ${verdict.bootId}`, ...lines].join('\n'));
}

/** Registers that are not compared for one and the same reason take one line. */
function foldNotRun(checks: readonly Check[]): Check[] {
  const folded: Check[] = [];
  for (const check of checks) {
    const last = folded.at(-1);
    const same = last?.outcome === 'not run' && check.outcome === 'not run' && last.detail === check.detail;
    if (same && last !== undefined)
      folded[folded.length - 1] = { ...last, id: `${last.id},${check.id.split('.').at(-1)}` };
    else folded.push(check);
  }
  return folded;
}
