/** `enclaim check`: whether a policy holds together and its methods fit, before anything is built. */

import { relative } from 'node:path';
import { isDay } from '@enclaim/policy-schema';
import type { Command } from 'commander';
import { EXIT } from '../exit-status.ts';
import { UsageError } from '../usage-error.ts';
import { type AppCheck, checkApp, findPolicyApp } from './app.ts';
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
      const check = async (): Promise<AppCheck> => checkApp(await findPolicyApp(folder, options.policy), asOf);
      const paths = [folder, ...(options.policy === undefined ? [] : [options.policy])];
      const checked = options.staged ? ((await withStaged(paths, check)) ?? { findings: [] }) : await check();
      show(checked, options, program.version() ?? '0');
      if (hasErrors(checked.findings)) process.exitCode = EXIT.refused;
    });
}

function show({ findings, compared }: AppCheck, { json, sarif }: CheckOptions, version: string): void {
  if (json) console.log(JSON.stringify({ ok: !hasErrors(findings), compared: compared ?? null, findings }, null, 2));
  else if (sarif) console.log(JSON.stringify(sarifLog(findings, version), null, 2));
  else {
    for (const finding of findings) console.log(formatFinding(finding));
    const errors = findings.filter(({ level }) => level === 'error').length;
    if (errors > 0) console.log(`${errors} ${errors === 1 ? 'error' : 'errors'}`);
    else if (compared === undefined)
      console.log('nothing of the policy or its .proto files is staged: nothing was compared');
    else {
      const { policy, protos, rules, methods, exposed, outbound } = compared;
      console.log(
        `ok: ${policy} holds together; its ${rules} rules were compared with ${methods} methods of ${protos}: ` +
          `${exposed} exposed, ${methods - exposed} without a rule, ${outbound} of subprocessors`,
      );
    }
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
