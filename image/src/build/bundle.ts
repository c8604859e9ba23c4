/**
 * App bundles: an operator's policy, .proto files and handlers as the one file that a base image
 * runs.
 */
import { readFile, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { bundleDigest, encodeBundle, MAX_BUNDLE } from '@enclaim/attestation/bundle';
import {
  type CheckedPolicy,
  canonicalPolicy,
  checkPolicy,
  type MatchError,
  type MatchResult,
  match,
  type Policy,
  type PolicyDigest,
  PolicyError,
  policyDigest,
  readDescriptors,
} from '@enclaim/policy-schema';
import { checkCedar } from '@enclaim/policy-schema/cedar';
import { ImageError } from '../errors.ts';
import { compileHandlers, mapHandlers } from '../programs/compile.ts';
import { editorPlace } from '../programs/proto-columns.ts';
import { compileProtos } from '../programs/protos.ts';

/** Where the parts of an app are. */
export interface AppSource {
  readonly policyFile: string;
  readonly protoDir: string;
  readonly handlersEntry: string;
}

/** A bundle and what is in it. */
export interface BuiltBundle {
  readonly bytes: Uint8Array;
  /** SHA-384 of `bytes`. */
  readonly digest: `sha384:${string}`;
  readonly policy: PolicyDigest;
  readonly match: MatchResult;
}

const POLICY_NAMES = ['policy.yaml', 'policy.yml', 'policy.json'];

/**
 * The parts of an app that keeps the usual layout: policy.yaml (or .yml, .json), proto/,
 * handlers/index.ts (or .js).
 * @param given - Parts that lie elsewhere.
 * @throws ImageError `file-missing`, also if there are two policies to choose from
 */
export async function findApp(folder: string, given: Partial<AppSource> = {}): Promise<AppSource> {
  return {
    policyFile: given.policyFile ?? (await only(folder, POLICY_NAMES)),
    protoDir: given.protoDir ?? (await only(folder, ['proto'])),
    handlersEntry: given.handlersEntry ?? (await only(folder, ['handlers/index.ts', 'handlers/index.js'])),
  };
}

/** Finds the reasons why a policy cannot be served with an app's descriptors. */
export type Hindrances = (policy: Policy, matched: MatchResult) => readonly MatchError[];

/**
 * Makes the bundle of an app: the same bytes from the same files, wherever they lie.
 * @param hindrances by default only contradictions of the policy itself; the operator who boots an
 *   image asks what that image's runtime supports
 * @throws PolicyError from the policy or the descriptors
 * @throws ImageError `policy-mismatch` if policy and .proto files contradict each other or nothing
 *   would be exposed, `compile-failed`, `import-forbidden`, `file-missing`, `too-large`
 */
export async function buildBundle(
  app: AppSource,
  hindrances: Hindrances = (_, { errors }) => errors,
): Promise<BuiltBundle> {
  const [source, descriptors, handlers] = await Promise.all([
    readSource(app.policyFile),
    compileProtos(app.protoDir),
    compileApp(app.handlersEntry),
  ]);
  const { policy, issues, placeOf } = checkPolicy(source, { file: app.policyFile, checks: [checkCedar] });
  if (policy === undefined) throw new PolicyError(issues);
  const result = match(readDescriptors(descriptors), policy);
  refuseHindered(hindrances(policy, result), app.policyFile, placeOf);
  refuseMismatch(result, app.protoDir);
  const size = source.length + descriptors.length + handlers.length;
  if (size > MAX_BUNDLE / 2) throw new ImageError('too-large', `an app of ${size} bytes, at most ${MAX_BUNDLE / 2}`);
  const bytes = encodeBundle({ policy: canonicalPolicy(policy), descriptors, handlers });
  return { bytes, digest: bundleDigest(bytes), policy: policyDigest(policy), match: result };
}

function refuseHindered(found: readonly MatchError[], file: string, placeOf: CheckedPolicy['placeOf']): void {
  if (found.length === 0) return;
  const places = found.map(({ pointer, message }) => {
    const { line, column } = placeOf(pointer);
    return `${file}:${line}:${column}: ${message}`;
  });
  throw new ImageError('policy-mismatch', places.join('\n'));
}

/** Withheld methods are what a policy is for; an app that offers nothing is a mistake. */
function refuseMismatch({ exposed, withheld }: MatchResult, protoDir: string): void {
  // A method that is withheld because of a mistake in its own declaration was meant to be exposed.
  // Withholding it in silence would hide the mistake.
  const mistaken = withheld.flatMap(({ reasons }) =>
    reasons.filter(({ code }) => code === 'handling' || code === 'uncategorised'),
  );
  if (mistaken.length > 0) {
    const places = mistaken.map(({ message, proto }) => {
      if (proto === undefined) return message;
      const { file, line, column } = editorPlace(protoDir, proto);
      return `${file}:${line}:${column}: ${message}`;
    });
    throw new ImageError('policy-mismatch', places.join('; '));
  }
  if (exposed.length > 0) return;
  const reasons = withheld.flatMap(({ method, reasons: [first] }) => (first ? [`${method}: ${first.message}`] : []));
  throw new ImageError('policy-mismatch', `no method fits in the policy: ${reasons.join('; ') || 'there is none'}`);
}

/**
 * Compiles the handlers with names relative to their parent folder, so that names inside the output
 * are the same in every folder.
 */
function compileApp(entry: string): Promise<Uint8Array> {
  const folder = dirname(dirname(resolve(entry)));
  return compileHandlers(folder, relative(folder, resolve(entry)));
}

/** The source map of an app's compiled handlers. @throws ImageError as {@link buildBundle} */
export function mapApp({ handlersEntry }: AppSource): Promise<string> {
  const folder = dirname(dirname(resolve(handlersEntry)));
  return mapHandlers(folder, relative(folder, resolve(handlersEntry)));
}

async function only(folder: string, names: readonly string[]): Promise<string> {
  const paths = names.map((name) => join(folder, name));
  const there = await Promise.all(
    paths.map((path) =>
      stat(path).then(
        () => true,
        () => false,
      ),
    ),
  );
  const [found, second] = paths.filter((_, index) => there[index]);
  if (found === undefined) throw new ImageError('file-missing', `no ${names.join(' or ')} in ${folder}`);
  if (second !== undefined) throw new ImageError('file-missing', `both ${found} and ${second}: keep one`);
  return found;
}

async function readSource(path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause) => {
    throw new ImageError('file-missing', `cannot read ${path}`, { cause });
  });
}
