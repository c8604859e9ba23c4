/** Policies of before, which references accept for a window while machines are updated. */

import type { References, RolloutPolicy } from '@enclaim/attestation';
import { bundleDigest, policyFrame } from '@enclaim/attestation/bundle';
import { utf8 } from '@enclaim/attestation/bytes';
import { type Policy, parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { decodePolicy } from '@enclaim/policy-schema/admission';
import type { Command } from 'commander';
import { collect, readInput, readTime } from './input.ts';
import { UsageError } from './usage-error.ts';

/** Options of a rollout, as the command line has them. */
export interface RolloutFlags {
  readonly earlier: string[];
  readonly from?: string;
  readonly until?: string;
}

/** Adds the options. */
export function rolloutOptions(command: Command): Command {
  return command
    .option(
      '--earlier <file>',
      'app bundle (a policy with --any-bundle) that is accepted, too, until --until; repeatable',
      collect,
      [],
    )
    .option('--from <time>', 'since when it is (default: now)')
    .option('--until <time>', 'the last moment of it, 366 days after --from at most');
}

const BUNDLE_MAGIC = utf8('ENCLAIM\0');

/**
 * The rollout of references; empty if none is asked for.
 * @param owner the key that the references name, under which each of these policies must be, too
 * @throws UsageError for a window that is none or over, or a policy under which no machine would be
 *   accepted
 */
export async function rolloutOf(
  { earlier, from, until }: RolloutFlags,
  { anyBundle, owner }: { readonly anyBundle: boolean; readonly owner: References['owner'] | string },
): Promise<RolloutPolicy[]> {
  if (earlier.length === 0) {
    if (from !== undefined || until !== undefined)
      throw new UsageError('--from and --until are of an --earlier policy');
    return [];
  }
  const now = Date.now();
  const [start, end] = [from === undefined ? now : readTime('--from', from), readTime('--until', until)];
  if (end < start || end < now) throw new UsageError(`--until ${until} is over before it begins`);
  const window = { notBefore: new Date(start).toISOString(), notAfter: new Date(end).toISOString() };
  const accepted = new Map<string, RolloutPolicy>();
  for (const file of earlier) {
    const bytes = await readInput(file);
    const isBundle = BUNDLE_MAGIC.every((byte, index) => bytes[index] === byte);
    if (!isBundle && !anyBundle) throw new UsageError(`${file} is no app bundle: a policy alone needs --any-bundle`);
    const policy = isBundle
      ? decodePolicy(policyFrame(bytes))
      : parsePolicy(Buffer.from(bytes).toString('utf8'), { file });
    refuseOtherOwner(file, policy, owner);
    const digest = policyDigest(policy);
    const before = accepted.get(digest)?.bundles ?? [];
    const bundles = anyBundle || before === 'any' ? 'any' : [...before, bundleDigest(bytes)];
    accepted.set(digest, { policy: digest, bundles, ...window });
  }
  return [...accepted.values()];
}

function refuseOtherOwner(file: string, { system }: Policy, owner: string): void {
  if (owner === 'any' || system.owner.key === owner) return;
  throw new UsageError(
    `${file} names owner ${system.owner.key}, and the references ${owner}: nobody would be accepted`,
  );
}
