/** `enclaim test`: the table of cases beside a policy. */

import { relative } from 'node:path';
import { type CaseResult, runCases } from '@enclaim/policy-schema';
import { authorize } from '@enclaim/policy-schema/cedar';
import ansis from 'ansis';
import type { Command } from 'commander';
import { EXIT } from '../exit-status.ts';
import { readInput } from '../input.ts';
import { findPolicyApp, readPolicyFile } from './app.ts';
import { eachStaged } from './staged.ts';

interface TestOptions {
  readonly policy?: string;
  readonly cases?: string;
  readonly json?: true;
  readonly staged?: true;
}

/** Adds `enclaim test`. */
export function register(program: Command): void {
  program
    .command('test')
    .description("run a policy's table of cases: who, which method, what data, where to, allowed or not")
    .argument('[folder]', 'folder with policy.yaml and policy.test.yaml', '.')
    .option('--policy <file>', 'another policy than that of the folder')
    .option('--cases <file>', 'another table than that beside the policy')
    .option('--staged', 'run what git has staged, not what lies in the folder')
    .option('--json', 'results as JSON')
    .action(async (given: string, options: TestOptions) => {
      const folder = relative('.', given) || '.';
      const run = (at: string): Promise<Table> => runTable(at, options);
      const tables = options.staged ? await eachStaged(folder, options.policy, run) : [await run(folder)];
      if (options.json) console.log(JSON.stringify(documentOf(tables), null, 2));
      else for (const table of tables) show(table);
      if (tables.length === 0 && !options.json)
        console.log('nothing of the policy or its cases is staged: no case was run');
      if (!isOk(tables.flatMap(({ results }) => results))) process.exitCode = EXIT.refused;
    });
}

/** A table of cases that was run. */
interface Table {
  readonly policy: string;
  readonly cases: string;
  readonly results: readonly CaseResult[];
}

async function runTable(folder: string, options: TestOptions): Promise<Table> {
  const { policy } = await findPolicyApp(folder, options.policy);
  const cases = options.cases ?? policy.replace(/\.(ya?ml|json)$/, '.test.$1');
  const results = runCases(await readPolicyFile(policy), await readInput(cases), authorize, cases);
  return { policy, cases, results };
}

function show({ policy, cases, results }: Table): void {
  for (const result of results) console.log(formatResult(result, cases));
  const passed = results.filter(({ ok }) => ok).length;
  console.log(`${passed} of ${results.length} cases of ${cases} as expected of ${policy}`);
}

/** The document of one table, or of all tables if several apps are staged. */
function documentOf(tables: readonly Table[]): object {
  const results = tables.flatMap((table) => table.results);
  if (tables.length < 2) return { ok: isOk(results), results };
  return { ok: isOk(results), apps: tables.map(({ policy, results: of }) => ({ policy, ok: isOk(of), results: of })) };
}

function isOk(results: readonly CaseResult[]): boolean {
  return results.every(({ ok }) => ok);
}

function formatResult({ test, ok, decision, line }: CaseResult, file: string): string {
  if (ok) return `${ansis.green('ok')}    ${test.name}`;
  const expected = test.because === undefined ? test.expect : `${test.expect} because of ${test.because}`;
  const found = decision.allow ? 'allow' : `deny because of ${decision.code}`;
  return `${ansis.red('wrong')} ${test.name}\n      ${file}:${line}: expected ${expected}, found ${found}: ${decision.reason}`;
}
