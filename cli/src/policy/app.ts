/** An app's folder, as far as its policy goes: the policy, its tests and the .proto files. */

import { access } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { MAX_SUCCEEDED_POLICY_BYTES } from '@enclaim/attestation/succession';
import { ONE_WORKER } from '@enclaim/guest/worker-share';
import { compileProtos, editorPlace } from '@enclaim/image';
import {
  type CheckedPolicy,
  canonicalPolicy,
  checkPolicy,
  type Descriptors,
  type MatchResult,
  match,
  type Policy,
  PolicyError,
  type PolicyIssue,
  readDescriptors,
} from '@enclaim/policy-schema';
import { callOf, type OutboundMethod, type WithheldMethod } from '@enclaim/policy-schema/admission';
import { checkCedar } from '@enclaim/policy-schema/cedar';
import { suggestion } from '@enclaim/policy-schema/suggestion';
import { hindrancesTo } from '@enclaim/runtime/hindrances';
import { readInput } from '../input.ts';
import { UsageError } from '../usage-error.ts';
import type { Finding, Place } from './report.ts';
import { silentMethods } from './silent-methods.ts';

const POLICY_NAMES = ['policy.yaml', 'policy.yml', 'policy.json'];

/** Where things are. Paths are as messages show them. */
export interface AppFiles {
  readonly policy: string;
  /** Absent if the app has no .proto files yet. */
  readonly protos?: string;
}

/** How much was held against what. */
export interface Compared {
  readonly policy: string;
  readonly protos: string;
  /** Rules of the policy. */
  readonly rules: number;
  /** Methods of the .proto files, and those of them that fit. */
  readonly methods: number;
  readonly exposed: number;
  /** Methods of subprocessors that handlers may call. */
  readonly outbound: number;
}

/** The result of checking an app. */
export interface AppCheck {
  readonly findings: readonly Finding[];
  readonly policy?: Policy;
  /** Absent if something was wrong before anything could be compared. */
  readonly compared?: Compared;
}

/**
 * The parts of an app in the usual layout.
 * @throws UsageError if there is no policy, or more than one
 */
export async function findPolicyApp(folder: string, policy?: string): Promise<AppFiles> {
  const found = policy === undefined ? await existing(folder, POLICY_NAMES) : [policy];
  const [first, second] = found;
  if (first === undefined)
    throw new UsageError(`${folder} has no ${POLICY_NAMES.join(', ')}; make one with enclaim init`);
  if (second !== undefined) throw new UsageError(`${first} and ${second}: say which with --policy`);
  const [protos] = await existing(folder, ['proto']);
  return { policy: first, ...(protos === undefined ? {} : { protos }) };
}

/**
 * Reads a policy for use.
 * @throws PolicyError with places, UsageError if the file cannot be read
 */
export async function readPolicyFile(file: string, asOf?: number): Promise<Policy> {
  const { policy, issues } = checkPolicy(await readInput(file), policyOptions(file, asOf));
  if (!policy) throw new PolicyError(issues);
  return policy;
}

/** Everything that is wrong with an app's policy and with what its .proto files declare. */
export async function checkApp({ policy: file, protos }: AppFiles, asOf: number): Promise<AppCheck> {
  const bytes = await readInput(file);
  const { policy, issues, placeOf } = checkPolicy(bytes, policyOptions(file, asOf));
  const place = policyPlaces(placeOf, file);
  const findings = issues.map((issue) => fromIssue(issue, file));
  if (protos === undefined) {
    const message = 'there is no proto/ in the folder: no method was compared with the policy';
    findings.push({ level: 'error', code: 'descriptor', message, at: { file } });
    return policy ? { findings: [...findings, ...fromHindrances(policy, undefined, place)], policy } : { findings };
  }
  const descriptors = await compile(protos);
  if ('findings' in descriptors) {
    findings.push(...descriptors.findings);
    return policy ? { findings: [...findings, ...fromHindrances(policy, undefined, place)], policy } : { findings };
  }
  if (!policy) return { findings };
  const matched = match(descriptors, policy);
  const { exposed, withheld, unused, outbound, unnamed } = matched;
  const known = [...exposed.map(({ id }) => id), ...withheld.map(({ method }) => method)];
  const rules = Object.values(policy.services).flatMap((methods) => Object.keys(methods)).length;
  const compared = {
    ...{ policy: file, protos, rules, methods: known.length },
    ...{ exposed: exposed.length, outbound: outbound.length },
  };
  return {
    policy,
    compared,
    findings: [
      ...findings,
      ...withheld.flatMap((method) => fromWithheld(method, protos, place)),
      ...fromHindrances(policy, matched, place),
      ...silentMethods(policy, place),
      ...tooLongToSucceed(policy, place),
      ...unused.map(
        (id): Finding => ({
          level: 'error',
          code: 'reference',
          message: `no .proto has a method ${id}${suggestion(id, known)}`,
          at: place(`/services/${id}`),
        }),
      ),
      ...fromCalls(policy, [...outbound, ...unnamed], place),
      ...(rules === 0 ? [nothing('the policy has no rule for any method', place('/services'))] : []),
      ...(known.length === 0 ? [nothing('no .proto has a method that could be served', { file: protos })] : []),
    ],
  };
}

function policyOptions(file: string, asOf?: number): Parameters<typeof checkPolicy>[1] {
  return { file, checks: [checkCedar], ...(asOf === undefined ? {} : { asOf }) };
}

async function compile(protos: string): Promise<Descriptors | { findings: Finding[] }> {
  try {
    return readDescriptors(await compileProtos(protos));
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { findings: error.issues.map((issue) => fromIssue(issue, protos)) };
  }
}

function fromIssue({ severity, code, message, file, line, column }: PolicyIssue, fallback: string): Finding {
  const at = {
    file: file ?? fallback,
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
  };
  return { level: severity, code, message, at };
}

/**
 * Reports a withheld method. A method without a rule was left out on purpose. If a method does not
 * fit in its rule, one of the two is a mistake.
 */
function fromWithheld({ reasons }: WithheldMethod, protos: string, place: (pointer: string) => Place): Finding[] {
  return reasons.map(
    ({ code, message, proto, pointer }): Finding => ({
      level: code === 'no-rule' ? 'note' : 'error',
      code,
      message: code === 'no-rule' ? `${message}; it is not exposed` : message,
      at: proto ? { ...editorPlace(protos, proto), file: join(protos, proto.file) } : { file: protos },
      policy: place(pointer),
    }),
  );
}

/**
 * Reports why the guest would refuse the policy at boot: claims that its runtime does not hold, and
 * contradictions to the .proto files.
 */
function fromHindrances(
  policy: Policy,
  matched: MatchResult | undefined,
  place: (pointer: string) => Place,
): Finding[] {
  return hindrancesTo(policy, matched, ONE_WORKER).map(
    ({ code, message, pointer }): Finding => ({
      level: 'error',
      code: code === 'claim' ? 'runtime' : contradictionCode(pointer),
      message,
      at: place(pointer),
    }),
  );
}

/** Warns of a policy whose state could be passed to no other of its length. */
function tooLongToSucceed(policy: Policy, place: (pointer: string) => Place): Finding[] {
  const { length } = canonicalPolicy(policy);
  if (policy.succession === 'none' || length <= MAX_SUCCEEDED_POLICY_BYTES) return [];
  const most = `${MAX_SUCCEEDED_POLICY_BYTES} bytes each`;
  const message = `the policy has ${length} bytes, and a succession holds two of ${most}: its state may pass to no other`;
  return [{ level: 'warning', code: 'runtime', message, at: place('/succession') }];
}

function contradictionCode(pointer: string): Finding['code'] {
  return pointer.startsWith('/declassify') ? 'declassify' : 'subprocessor';
}

/**
 * Compares the calls that the policy names for subprocessors with the methods of the .proto files.
 */
function fromCalls(policy: Policy, methods: readonly OutboundMethod[], place: (pointer: string) => Place): Finding[] {
  return Object.entries(policy.subprocessors).flatMap(([name, { calls }]): Finding[] => {
    const there = methods.filter(({ subprocessor }) => subprocessor === name).map(callOf);
    return [
      ...calls
        .filter((call) => !there.includes(call))
        .map(
          (call): Finding => ({
            level: 'error',
            code: 'reference',
            message: `no .proto has ${call} of ${name}${suggestion(call, there)}`,
            at: place(`/subprocessors/${name}/calls`),
          }),
        ),
      ...there
        .filter((call) => !calls.includes(call))
        .map(
          (call): Finding => ({
            // An author who wrote no calls at all did not mean to leave this one out.
            level: calls.length === 0 ? 'error' : 'note',
            code: 'subprocessor',
            message: `subprocessors.${name}.calls does not name ${call}: handlers cannot call it`,
            at: place(`/subprocessors/${name}`),
          }),
        ),
    ];
  });
}

function nothing(what: string, at: Place): Finding {
  return { level: 'error', code: 'reference', message: `${what}: nothing was compared`, at };
}

function policyPlaces(placeOf: CheckedPolicy['placeOf'], file: string): (pointer: string) => Place {
  return (pointer) => ({ file, ...placeOf(pointer) });
}

async function existing(folder: string, names: readonly string[]): Promise<string[]> {
  const found = await Promise.all(
    names.map(async (name) => {
      const path = join(relative('.', folder) || '.', name);
      return access(path).then(
        () => [path],
        () => [],
      );
    }),
  );
  return found.flat();
}
