/** `enclaim policy digest|show|schema|explain`: what a policy is, what its claims rest on, who shares workers. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compileProtos } from '@enclaim/image';
import {
  CLAIM_KINDS,
  type Claim,
  type ClaimKind,
  CONTROLS,
  canonicalPolicy,
  coverageOf,
  interfaceDigest,
  type MatchResult,
  match,
  methodIdOf,
  type Policy,
  policyDigest,
  policyJsonSchema,
  readDescriptors,
  type Standing,
  servicesOf,
} from '@enclaim/policy-schema';
import { HELD_CLAIMS } from '@enclaim/runtime/hindrances';
import ansis from 'ansis';
import type { Command } from 'commander';
import { UsageError } from '../usage-error.ts';
import { readPolicyFile } from './app.ts';
import { explainChannels } from './channels.ts';
import { explainWorkers } from './workers.ts';

const FILE = ['[file]', 'the policy', 'policy.yaml'] as const;

/** Adds `enclaim policy`. */
export function register(program: Command): void {
  const policy = program.command('policy').description('show what a policy is');
  policy
    .command('digest')
    .description('the digest that the launch measures and clients pin')
    .argument(...FILE)
    .action(async (file: string) => console.log(policyDigest(await readPolicyFile(file))));
  policy
    .command('show')
    .description('the policy with every default written out')
    .argument(...FILE)
    .option('--canonical', 'the very bytes that are hashed')
    .action(async (file: string, { canonical }: { canonical?: true }) => {
      const bytes = canonicalPolicy(await readPolicyFile(file));
      if (canonical) process.stdout.write(bytes);
      else console.log(JSON.stringify(JSON.parse(new TextDecoder().decode(bytes)), null, 2));
    });
  policy
    .command('schema')
    .description('the JSON Schema from which editors complete')
    .action(() => console.log(JSON.stringify(policyJsonSchema(), null, 2)));
  policy
    .command('interfaces')
    .description("the digest of each method's messages and their categories, for a rule to pin")
    .argument('[protos]', 'folder of .proto files', 'proto')
    .action(async (protos: string) => {
      const services = servicesOf(readDescriptors(await compileProtos(protos)));
      for (const method of services.flatMap(({ methods }) => methods))
        console.log(`${interfaceDigest(method)} ${methodIdOf(method)}`);
    });
  policy
    .command('explain')
    .description(
      'what a claim means, what backs it, who enforces it and how strongly it holds; which methods share workers, and which answer on plain h2',
    )
    .argument('<claim>', "a kind of claim, a claim's id, workers or channels")
    .argument(...FILE)
    .action(async (word: string, file: string) => {
      if (word === 'workers' || word === 'channels') {
        const policy = await readPolicyFile(file);
        const explains = word === 'workers' ? explainWorkers : explainChannels;
        console.log(explains(policy, await matchedBeside(file, policy)));
        return;
      }
      const kind = Object.hasOwn(CLAIM_KINDS, word) ? (word as ClaimKind) : undefined;
      const read = await readPolicyFile(file).catch((error: unknown) => {
        // A kind can be explained without a policy; a claim of one cannot.
        if (kind !== undefined && error instanceof UsageError) return undefined;
        throw error;
      });
      console.log(explain(word, kind, read));
    });
}

/** A policy held against the .proto files beside it, where there are any. */
async function matchedBeside(file: string, policy: Policy): Promise<MatchResult | undefined> {
  const protos = join(dirname(file), 'proto');
  return existsSync(protos) ? match(readDescriptors(await compileProtos(protos)), policy) : undefined;
}

function explain(word: string, kind: ClaimKind | undefined, policy: Policy | undefined): string {
  const claims = policy?.claims.filter((claim) => claim.id === word || claim.kind === kind) ?? [];
  const about = kind ?? claims[0]?.kind;
  if (about === undefined)
    throw new UsageError(`no claim and no kind of claim "${word}"; kinds: ${Object.keys(CLAIM_KINDS).join(', ')}`);
  const { means, needs, enforcer, standing } = CLAIM_KINDS[about];
  const lines = [ansis.bold(about), `means     ${means}`, `needs     ${needs}`];
  // What would enforce a kind says nothing where no boot serves a policy with it.
  if (!HELD_CLAIMS.has(about))
    lines.push('enforced  by nothing yet: the runtime refuses a policy with this claim at boot');
  else {
    lines.push(`enforced  ${enforcer}`);
    if (policy) lines.push(...standing(policy).map(({ part, strength }: Standing) => `strength  ${part}: ${strength}`));
  }
  return [...lines, ...claims.flatMap((claim) => ['', ...explainClaim(claim, policy)])].join('\n');
}

function explainClaim(claim: Claim, policy: Policy | undefined): string[] {
  const { id, statement, data, controls } = claim;
  const title = (control: string): string => CONTROLS.get(control) ?? policy?.controls[control] ?? 'not known';
  return [
    `${ansis.bold(id)}: ${statement}`,
    `about     ${data === 'all' ? 'all data' : data.join(', ')}`,
    ...(policy ? [`covers    ${coverageOf(policy, claim)}`] : []),
    ...controls.map((control) => `answers   ${control} ${ansis.dim(title(control))}`),
  ];
}
