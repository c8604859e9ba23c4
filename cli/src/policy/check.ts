/** `enclaim check`: whether a policy holds together and its methods fit, before anything is built. */

import { relative } from 'node:path';
import { isDay } from '@enclaim/policy-schema';
import type { Command } from 'commander';
import { UsageError } from '../usage-error.ts';
import { checkApp, findPolicyApp } from './app.ts';
import { type Finding, formatFinding } from './report.ts';
import { sarifLog } from './sarif.ts';
import { withStaged } from './staged.ts';

interface CheckOptions {
  readonly policy?: string;
  readonly json?: true;
  readonly sarif?: true;
  readonly staged?: true;
  readonly asOf?: string;
}

/** Adds `enclaim check`. */
export function register(program: Command): void {
  program
    .command('check')
    .description('check a policy, and that the methods of the .proto files beside it fit in it')
    .argument('[folder]', 'folder with policy.yaml and proto/', '.')
    .option('--policy <file>', 'another policy than that of the folder')
    .option('--as-of <day>', 'the day to judge dates by (default: today)')
    .option('--staged', 'check what git has staged, not what lies in the folder')
    .option('--json', 'findings as JSON')
    .option('--sarif', 'findings as SARIF 2.1.0')
    .action(async (given: string, options: CheckOptions) => {
      if (options.json && options.sarif) throw new UsageError('--json and --sarif: one at a time');
      const asOf = readDay(options.asOf);
      const folder = relative('.', given) || '.';
      const check = async (): Promise<readonly Finding[]> =>
        (await checkApp(await findPolicyApp(folder, options.policy), asOf)).findings;
      const paths = [folder, ...(options.policy === undefined ? [] : [options.policy])];
      const findings = options.staged ? ((await withStaged(paths, check)) ?? []) : await check();
      show(findings, options, program.version() ?? '0');
      if (hasErrors(findings)) process.exitCode = 1;
    });
}

function show(findings: readonly Finding[], { json, sarif }: CheckOptions, version: string): void {
  if (json) console.log(JSON.stringify({ ok: !hasErrors(findings), findings }, null, 2));
  else if (sarif) console.log(JSON.stringify(sarifLog(findings, version), null, 2));
  else {
    for (const finding of findings) console.log(formatFinding(finding));
    const errors = findings.filter(({ level }) => level === 'error').length;
    console.log(
      errors > 0
        ? `${errors} ${errors === 1 ? 'error' : 'errors'}`
        : 'ok: the policy holds together, and every method that it mentions fits in it',
    );
  }
}

function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some(({ level }) => level === 'error');
}

function readDay(day: string | undefined): number {
  if (day === undefined) return Date.now();
  if (!isDay(day)) throw new UsageError(`--as-of ${day}: expected a day such as 2027-03-31`);
  return Date.parse(day);
}
