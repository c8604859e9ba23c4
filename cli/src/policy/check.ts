/**
 * `enclaim check`: whether a policy holds together and its methods fit, before anything is built.
 */

import { stat } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import { isDay } from '@enclaim/policy-schema/admission';
import type { Command } from 'commander';
import { EXIT } from '../exit-status.ts';
import { UsageError } from '../usage-error.ts';
import { type AppCheck, checkApp, findPolicyApp } from './app.ts';
import { type Finding, formatFinding } from './report.ts';
import { sarifLog } from './sarif.ts';
import { eachStaged, prefixOf } from './staged.ts';

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
      const { folder, policy } = await placeOf(given, options.policy);
      const check = async (at: string): Promise<AppCheck> => checkApp(await findPolicyApp(at, policy), asOf);
      const top = await prefixOf();
      const checked = options.staged ? await eachStaged(folder, policy, check) : [await check(folder)];
      show(checked.length === 0 ? [{ findings: [] }] : checked, options, { version: program.version() ?? '0', top });
      if (checked.some(({ findings }) => hasErrors(findings))) process.exitCode = EXIT.refused;
    });
}

/** A folder, or a policy's file in it. */
async function placeOf(given: string, policy: string | undefined): Promise<{ folder: string; policy?: string }> {
  const path = relative('.', given) || '.';
  const isFile = (await stat(path).catch(() => undefined))?.isFile() ?? false;
  if (!isFile) return { folder: path, ...(policy !== undefined && { policy }) };
  if (policy !== undefined) throw new UsageError(`${given} is a file, and so is --policy: name one of them`);
  return { folder: dirname(path), policy: path };
}

function show(
  checked: readonly AppCheck[],
  options: CheckOptions,
  { version, top }: { readonly version: string; readonly top: string },
): void {
  const findings = checked.flatMap((one) => one.findings);
  const [first, second] = checked;
  if (options.sarif) console.log(JSON.stringify(sarifLog(findings, version, top), null, 2));
  else if (!options.json) for (const one of checked) showApp(one);
  else if (second === undefined) console.log(JSON.stringify(first && documentOf(first), null, 2));
  else console.log(JSON.stringify({ ok: !hasErrors(findings), apps: checked.map(documentOf) }, null, 2));
}

function documentOf({ findings, compared }: AppCheck): object {
  return { ok: !hasErrors(findings), compared: compared ?? null, findings };
}

function showApp({ findings, compared }: AppCheck): void {
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

function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some(({ level }) => level === 'error');
}

function readDay(day: string | undefined): number {
  if (day === undefined) return Date.now();
  if (!isDay(day)) throw new UsageError(`--as-of ${day}: expected a day such as 2027-03-31`);
  return Date.parse(day);
}
