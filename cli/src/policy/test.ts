/** `enclaim test`: the table of cases beside a policy. */

import { relative } from 'node:path';
import { type CaseResult, runCases } from '@enclaim/policy-schema';
import { authorize } from '@enclaim/policy-schema/cedar';
import ansis from 'ansis';
import type { Command } from 'commander';
import { EXIT } from '../exit-status.ts';
import { readInput } from '../input.ts';
import { findPolicyApp, readPolicyFile } from './app.ts';

interface TestOptions {
  readonly policy?: string;
  readonly cases?: string;
  readonly json?: true;
}

/** Adds `enclaim test`. */
export function register(program: Command): void {
  program
    .command('test')
    .description("run a policy's table of cases: who, which method, what data, where to, allowed or not")
    .argument('[folder]', 'folder with policy.yaml and policy.test.yaml', '.')
    .option('--policy <file>', 'another policy than that of the folder')
    .option('--cases <file>', 'another table than that beside the policy')
    .option('--json', 'results as JSON')
    .action(async (folder: string, options: TestOptions) => {
      const { policy } = await findPolicyApp(relative('.', folder) || '.', options.policy);
      const cases = options.cases ?? policy.replace(/\.(ya?ml|json)$/, '.test.$1');
      const results = runCases(await readPolicyFile(policy), await readInput(cases), authorize, cases);
      if (options.json) console.log(JSON.stringify({ ok: results.every(({ ok }) => ok), results }, null, 2));
      else for (const result of results) console.log(formatResult(result, cases));
      const failed = results.filter(({ ok }) => !ok).length;
      if (!options.json)
        console.log(`${results.length - failed} of ${results.length} cases of ${cases} as expected of ${policy}`);
      if (failed > 0) process.exitCode = EXIT.refused;
    });
}

function formatResult({ test, ok, decision, line }: CaseResult, file: string): string {
  if (ok) return `${ansis.green('ok')}    ${test.name}`;
  const expected = test.because === undefined ? test.expect : `${test.expect} because of ${test.because}`;
  const found = decision.allow ? 'allow' : `deny because of ${decision.code}`;
  return `${ansis.red('wrong')} ${test.name}\n      ${file}:${line}: expected ${expected}, found ${found}: ${decision.reason}`;
}
