/**
 * Policies as the command line names them: a file, a git revision, or a digest that some revision
 * has.
 */

import { stat } from 'node:fs/promises';
import { basename, dirname, relative } from 'node:path';
import { checkPolicy, type Policy, type PolicyDigest, parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { UsageError } from '../usage-error.ts';
import { readPolicyFile } from './app.ts';
import { fields, git } from './git.ts';
import { type HolderOptions, isMachine, readPolicyOf } from './holder.ts';

/** A policy, and how to call it. */
export interface NamedPolicy {
  readonly name: string;
  readonly policy: Policy;
}

const DIGEST = /^sha384:[0-9a-f]{96}$/;
const POLICY_FILE = /(?:^|\/)policy\.(?:ya?ml|json)$/;
const MAX_REVISIONS = 2000;

/**
 * Finds the policy that a text names. The text is one of these:
 *
 * - a file, or another holder of a policy ({@link readPolicyOf});
 * - `REV:path`;
 * - a revision, in which `file` is meant;
 * - a policy digest, which is looked for in the history of `file`.
 *
 * @throws UsageError if nothing is found; PolicyError if what is found is not a policy
 */
export async function findPolicy(text: string, file: string, options: HolderOptions = {}): Promise<NamedPolicy> {
  if (DIGEST.test(text)) return findDigest(text as PolicyDigest, file);
  const isFile = (await stat(text).catch(() => undefined))?.isFile() ?? false;
  if (isFile || isMachine(text)) return { name: text, policy: await readPolicyOf(text, options) };
  const [revision = '', path = file] = text.split(/:(.*)/s);
  return atRevision(revision, path);
}

/** Most policies of a repository that are read, to find a policy that was moved. */
const MAX_POLICIES = 256;

/**
 * Whether a revision knows no policy before this one: there is none in its folder, and none of the
 * same system elsewhere.
 * @param text as `diff` was given it; only a plain revision can be one without a policy
 * @throws UsageError if there is one under another name, or if that cannot be told
 */
export async function isFirst(text: string, file: string, now: Policy): Promise<boolean> {
  if (DIGEST.test(text) || text.includes(':') || text.startsWith('-')) return false;
  if ((await stat(text).catch(() => undefined))?.isFile()) return false;
  const cwd = dirname(file);
  const found = fields(
    await git(['ls-tree', '-r', '-z', '--name-only', '--full-tree', `${text}^{commit}`], cwd),
  ).filter((path) => POLICY_FILE.test(path) || basename(path) === basename(file));
  if (found.length > MAX_POLICIES) throw new UsageError(`${text} has more than ${MAX_POLICIES} policies: say REV:path`);
  const prefix = (await git(['rev-parse', '--show-prefix'], cwd)).toString().trimEnd();
  for (const path of found) {
    const { policy } = checkPolicy(await git(['show', `${text}:${path}`], cwd));
    const isHere = path.startsWith(prefix) && !path.slice(prefix.length).includes('/');
    if (path === `${prefix}${basename(file)}`) return false;
    if (isHere || policy === undefined || policy.system.name === now.system.name)
      throw new UsageError(
        `${text} has a policy in ${path}: if this one takes its place, compare with ${text}:${path}`,
      );
  }
  return true;
}

async function atRevision(revision: string, path: string): Promise<NamedPolicy> {
  const name = `${revision}:${path}`;
  // Options to git come from the caller, and a revision must not be one.
  if (revision.startsWith('-')) throw new UsageError(`${revision} is not a revision`);
  const bytes = await git(['show', `${revision}:./${basename(path)}`], dirname(path));
  return { name, policy: parsePolicy(bytes, { file: name }) };
}

async function findDigest(digest: PolicyDigest, file: string): Promise<NamedPolicy> {
  const here = await readPolicyFile(file);
  if (policyDigest(here) === digest) return { name: file, policy: here };
  const revisions = fields(await git(['log', '-z', '--format=%H', '--', relative('.', file)])).slice(0, MAX_REVISIONS);
  for (const revision of revisions) {
    const found = await atRevision(revision, file).catch(() => undefined);
    if (found && policyDigest(found.policy) === digest) return found;
  }
  throw new UsageError(`no policy of ${digest} in ${revisions.length} revisions of ${file}`);
}
