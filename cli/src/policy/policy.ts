/**
 * `enclaim policy digest|show|schema|explain`: a policy, the basis of its claims, the methods that
 * share workers, and the methods that plain h2 reaches.
 */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compileProtos } from '@enclaim/image';
import {
  canonicalPolicy,
  type MatchResult,
  match,
  type Policy,
  policyDigest,
  policyJsonSchema,
  readDescriptors,
} from '@enclaim/policy-schema';
import { type ClaimKind, interfaceDigest, methodIdOf, servicesOf } from '@enclaim/policy-schema/admission';
import { CLAIM_KINDS } from '@enclaim/policy-schema/claims';
import type { Command } from 'commander';
import { UsageError } from '../usage-error.ts';
import { explainChannels } from './channels.ts';
import { explainEvents } from './events.ts';
import { explainClaims, formatOverview, overviewOf } from './explain.ts';
import { HOLDERS, type HolderOptions, holderOptions, isMachine, readPolicyOf } from './holder.ts';
import { explainLog } from './log.ts';
import { registerSuccession } from './succession.ts';
import { explainWorkers } from './workers.ts';

const FILE = ['[what]', HOLDERS, 'policy.yaml'] as const;

/** Adds `enclaim policy`. */
export function register(program: Command): void {
  const policy = program.command('policy').description('show what a policy is');
  holderOptions(policy.command('digest'))
    .description('the digest that the launch measures and clients pin')
    .argument(...FILE)
    .action(async (what: string, options: HolderOptions) =>
      console.log(policyDigest(await readPolicyOf(what, options))),
    );
  holderOptions(policy.command('show'))
    .description('the policy with every default written out')
    .argument(...FILE)
    .option('--canonical', 'the very bytes that are hashed')
    .action(async (what: string, { canonical, ...options }: HolderOptions & { canonical?: true }) => {
      const bytes = canonicalPolicy(await readPolicyOf(what, options));
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
    .option('--json', 'digests by method, as JSON')
    .action(async (protos: string, { json }: { json?: true }) => {
      const methods = servicesOf(readDescriptors(await compileProtos(protos))).flatMap((service) => service.methods);
      const digests = methods.map((method): [string, string] => [methodIdOf(method), interfaceDigest(method)]);
      if (json) console.log(JSON.stringify(Object.fromEntries(digests), null, 2));
      else for (const [id, digest] of digests) console.log(`${digest} ${id}`);
    });
  registerSuccession(policy);
  holderOptions(policy.command('explain'))
    .description(
      'what the claims of a policy rest on, how strongly they hold and what none of them covers; or the same of one; which methods share workers, which answer on plain h2, who reads the log, and which events handlers put in it',
    )
    .argument('[claim]', "a kind of claim, a claim's id, workers, channels, log or events; by default all claims")
    .argument(...FILE)
    .option('--json', 'all claims as JSON')
    .action(explain);
}

/** Words that stand for something else than a claim. */
const TOPICS = { workers: explainWorkers, channels: explainChannels, log: explainLog, events: explainEvents } as const;

async function explain(
  word: string | undefined,
  what: string,
  { json, ...options }: HolderOptions & { json?: true },
): Promise<void> {
  const topic = word !== undefined && Object.hasOwn(TOPICS, word) ? TOPICS[word as keyof typeof TOPICS] : undefined;
  const kind = word !== undefined && Object.hasOwn(CLAIM_KINDS, word) ? (word as ClaimKind) : undefined;
  // A word that is neither may be what holds the policy.
  const isHolder =
    word !== undefined && topic === undefined && kind === undefined && (existsSync(word) || isMachine(word));
  if (word === undefined || isHolder) {
    const overview = overviewOf(await readPolicyOf(word ?? what, options));
    console.log(json ? JSON.stringify(overview, null, 2) : formatOverview(overview));
    return;
  }
  if (json) throw new UsageError('--json is of all claims: name none');
  if (topic !== undefined) {
    const policy = await readPolicyOf(what, options);
    console.log(topic(policy, await matchedBeside(what, policy)));
    return;
  }
  const read = await readPolicyOf(what, options).catch((error: unknown) => {
    // A kind can be explained without a policy; a claim of one cannot.
    if (kind !== undefined && error instanceof UsageError) return undefined;
    throw error;
  });
  console.log(explainClaims(word, kind, read));
}

/** A policy held against the .proto files beside it, if there are any. */
async function matchedBeside(file: string, policy: Policy): Promise<MatchResult | undefined> {
  const protos = join(dirname(file), 'proto');
  // Beside a bundle or evidence lie those of today.
  return /\.(?:ya?ml|json)$/.test(file) && existsSync(protos)
    ? match(readDescriptors(await compileProtos(protos)), policy)
    : undefined;
}
