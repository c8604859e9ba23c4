/**
 * `enclaim diff`: changes that appear when one policy takes the place of another: what becomes
 * possible, and what no longer is.
 */

import { type Direction, diff, policyDigest } from '@enclaim/policy-schema';
import ansis from 'ansis';
import { type Command, Option } from 'commander';
import { EXIT } from '../exit-status.ts';
import { type HolderOptions, holderOptions } from './holder.ts';
import { findPolicy, isFirst } from './revision.ts';

interface DiffOptions extends HolderOptions {
  readonly file: string;
  readonly json?: true;
  readonly failOn: 'weaker' | 'never';
}

const COLOURS = { weaker: ansis.red, incomparable: ansis.yellow, stronger: ansis.green, equal: ansis.dim } as const;
/** Order of the lines: first those that a reader has to see first. */
const ORDER: readonly Direction[] = ['weaker', 'incomparable', 'stronger', 'equal'];

/** Adds `enclaim diff`. */
export function register(program: Command): void {
  holderOptions(program.command('diff'))
    .description(
      'compare two policies: files, git revisions (REV or REV:path), policy digests, app bundles, evidence, receipts or HOST:PORT',
    )
    .argument('<old>')
    .argument('[new]', 'the file of --file if left out')
    .option('--file <file>', 'the policy that a revision or a digest is of', 'policy.yaml')
    .addOption(
      new Option('--fail-on <direction>', 'exit 1 where the new policy is weaker or not comparable')
        .choices(['weaker', 'never'])
        .default('never'),
    )
    .option('--json', 'the changes as JSON')
    .action(async (old: string, recent: string | undefined, { file, json, failOn, ...options }: DiffOptions) => {
      const after = await findPolicy(recent ?? file, file, options);
      if (await isFirst(old, file, after.policy)) {
        // Nothing was promised that could be taken back.
        const to = policyDigest(after.policy);
        if (json) console.log(JSON.stringify({ verdict: 'first', from: null, to, changes: [] }, null, 2));
        else console.log(`new ${after.name} ${ansis.dim(to)}\n${old} has no policy before it: nothing was compared`);
        return;
      }
      const before = await findPolicy(old, file, options);
      const { verdict, changes } = diff(before.policy, after.policy);
      const [from, to] = [policyDigest(before.policy), policyDigest(after.policy)];
      if (json) console.log(JSON.stringify({ verdict, from, to, changes }, null, 2));
      else {
        console.log(`old ${before.name} ${ansis.dim(from)}\nnew ${after.name} ${ansis.dim(to)}`);
        const ordered = [...changes].sort((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict));
        for (const change of ordered)
          console.log(`${COLOURS[change.verdict](change.verdict.padEnd(12))} ${change.sentence}`);
        console.log(`the new policy is ${COLOURS[verdict](verdict)}`);
      }
      if (failOn === 'weaker' && (verdict === 'weaker' || verdict === 'incomparable')) process.exitCode = EXIT.refused;
    });
}
