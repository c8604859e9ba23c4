/**
 * Checks that take more than one place of a policy: references, contradictions, and claims that
 * nothing backs.
 */

import { PUBLIC, withAncestors } from '../category.ts';
import { CLAIM_KINDS, isAttestedOnly, LEAST, methodsOf } from '../claim.ts';
import { CONTROLS } from '../control.ts';
import { type PolicyIssue, type PolicyIssueCode, pointerOf } from '../error.ts';
import { ANYONE, type Policy } from '../policy.ts';
import { bytesOf, endOf, millisecondsOf, secondsOf } from '../quantity.ts';
import { readWitnessLines } from '../tlog-policy.ts';
import { suggestion } from './suggestion.ts';

type Path = readonly PropertyKey[];
type Kind = 'data category' | 'collection' | 'subprocessor' | 'identity' | 'method';

/**
 * Names that count as declared although the policy at hand lacks them: those whose declaration was
 * itself refused.
 */
export type Absent = (pointer: string) => boolean;

/**
 * Every incoherence of a policy that fits the grammar, in document order of its sections.
 * @param asOf milliseconds since 1970 UTC; given, what has expired by then is an error
 * @param absent whether something was declared at a pointer and left out of `policy` because of its
 *   own errors
 */
export function findIncoherences(policy: Policy, asOf?: number, absent: Absent = () => false): PolicyIssue[] {
  return [
    ...references(policy, absent),
    ...duplicates(policy),
    ...conflicts(policy, absent),
    ...witnessing(policy.evidence),
    ...keeping(policy, absent),
    ...indexing(policy),
    ...unbacked(policy),
    ...controls(policy),
    ...(asOf === undefined ? [] : [...expired(policy, asOf), ...endless(policy, asOf)]),
  ];
}

const SECTION: Readonly<Record<Kind, string>> = {
  'data category': 'data',
  collection: 'collections',
  subprocessor: 'subprocessors',
  identity: 'access/identities',
  method: 'services',
};

function* namesUsed(policy: Policy): Generator<[Kind, string, Path]> {
  for (const [service, methods] of Object.entries(policy.services)) {
    for (const [method, rule] of Object.entries(methods)) {
      const at = (list: string, kind: Kind, names: readonly string[]): [Kind, string, Path][] =>
        names.map((name, i) => [kind, name, ['services', service, method, list, i]]);
      yield* at('callers', 'identity', rule.callers).filter(([, name]) => name !== ANYONE);
      yield* at('accepts', 'data category', rule.accepts);
      yield* at('reads', 'collection', rule.reads);
      yield* at('stores', 'collection', rule.stores);
      yield* at('sends', 'subprocessor', rule.sends);
      yield* at('returns', 'data category', rule.returns);
    }
  }
  for (const [id, { holds }] of Object.entries(policy.collections)) {
    for (const [i, name] of holds.entries()) yield ['data category', name, ['collections', id, 'holds', i]];
  }
  for (const [id, { receives }] of Object.entries(policy.subprocessors)) {
    for (const [i, name] of receives.entries()) yield ['data category', name, ['subprocessors', id, 'receives', i]];
  }
  for (const [i, { method, to, build }] of policy.declassify.entries()) {
    yield ['method', method, ['declassify', i, 'method']];
    yield ['subprocessor', to, ['declassify', i, 'to']];
    for (const [field, source] of Object.entries(build)) {
      const [, collection] = /^\$record\.([^.]*)/.exec(source) ?? [];
      if (collection !== undefined) yield ['collection', collection, ['declassify', i, 'build', field]];
    }
  }
  for (const [id, { category, receives }] of Object.entries(policy.access.identities)) {
    yield ['data category', category, ['access', 'identities', id, 'category']];
    for (const [i, name] of receives.entries())
      yield ['data category', name, ['access', 'identities', id, 'receives', i]];
  }
  const { attested } = policy.access;
  if (typeof attested === 'object')
    for (const [i, id] of attested.entries()) yield ['method', id, ['access', 'attested', i]];
  const { resources } = policy.governance;
  if (resources !== 'none') {
    for (const id of Object.keys(resources.methods)) yield ['method', id, ['governance', 'resources', 'methods', id]];
  }
  for (const [i, { on, suspends }] of policy.overrides.entries()) {
    yield ['method', on, ['overrides', i, 'on']];
    const [, mailer] = /^assurance\.(.*)$/.exec(suspends) ?? [];
    if (mailer !== undefined) yield ['subprocessor', mailer, ['overrides', i, 'suspends']];
  }
  for (const [i, { data }] of policy.claims.entries()) {
    if (data === 'all') continue;
    for (const [j, name] of data.entries()) yield ['data category', name, ['claims', i, 'data', j]];
  }
}

function references(policy: Policy, absent: Absent): PolicyIssue[] {
  const declared: Readonly<Record<Kind, ReadonlySet<string>>> = {
    'data category': new Set(categoriesOf(policy)),
    collection: new Set(Object.keys(policy.collections)),
    subprocessor: new Set(Object.keys(policy.subprocessors)),
    identity: new Set(Object.keys(policy.access.identities)),
    method: new Set(methodsOf(policy).map(([id]) => id)),
  };
  const issues: PolicyIssue[] = [];
  for (const [kind, name, path] of namesUsed(policy)) {
    if (declared[kind].has(name)) continue;
    const steps = kind === 'method' ? name.split('/') : [name];
    if (absent(pointerOf([...SECTION[kind].split('/'), ...steps]))) continue;
    issues.push(error('reference', path, `no ${kind} "${name}" is declared${suggestion(name, declared[kind])}`));
  }
  return issues;
}

function duplicates(policy: Policy): PolicyIssue[] {
  const issues: PolicyIssue[] = [];
  const visit = (value: unknown, path: Path): void => {
    if (typeof value !== 'object' || value === null) return;
    const seen = new Set<unknown>();
    for (const [key, child] of Object.entries(value)) {
      const at = [...path, key];
      if (Array.isArray(value)) {
        const member: unknown = typeof child === 'object' ? child.id : child;
        if (seen.has(member)) issues.push(error('duplicate', at, `"${member}" stands here twice`));
        seen.add(member);
      }
      visit(child, at);
    }
  };
  visit(policy, []);
  return issues;
}

/** Lines that make no quorum of witnesses, and rules of cosigning that could not be kept. */
function witnessing({ witnesses, unwitnessed, mirror }: Policy['evidence']): PolicyIssue[] {
  const at = (key: string): Path => ['evidence', key];
  if (witnesses.length === 0) {
    const message = 'counts from the last cosigned checkpoint; evidence.witnesses names nobody who cosigns';
    return unwitnessed === undefined ? [] : [error('conflict', at('unwitnessed'), message)];
  }
  const reading = readWitnessLines(witnesses);
  if ('fault' in reading) {
    const { line, why } = reading.fault;
    return [error('conflict', line === 0 ? at('witnesses') : [...at('witnesses'), line - 1], why)];
  }
  if (reading.policy.quorum === 'none') {
    const message = 'quorum none demands no cosignature; leave the witnesses out';
    return [error('conflict', at('witnesses'), message)];
  }
  const isWitness = [...reading.policy.witnesses.values()].some(({ vkey }) => vkey === mirror);
  return isWitness ? [error('conflict', at('mirror'), 'is the key of a witness; a mirror has a key of its own')] : [];
}

/** Credentials that could not be brought, or not be shown. */
function sayCredentials(
  { system, subprocessors }: Policy,
  absent: Absent,
  conflict: (when: boolean, path: Path, message: string) => void,
): void {
  const shown = Object.values(subprocessors).flatMap(({ credential }) => credential ?? []);
  const secrets = new Set(shown.flatMap((each) => ('secret' in each ? each.secret : [])));
  const nobody = system.owner.key === 'none' && !absent('/system/owner/key');
  for (const [id, { credential, identity }] of Object.entries(subprocessors)) {
    if (credential === undefined) continue;
    const at = ['subprocessors', id, 'credential'];
    conflict(nobody, at, 'no owner could bring the secret: system.owner.key is none');
    if (!('certificate' in credential)) continue;
    const { certificate } = credential;
    conflict(
      secrets.has(certificate),
      [...at, 'certificate'],
      `${certificate} is the name of a secret in a header, too`,
    );
    const isAttested = identity.attested !== undefined;
    conflict(isAttested, [...at, 'certificate'], 'an attested peer is shown evidence in its place, and no certificate');
  }
}

/** A keeper without keys to keep, or that keeps none. */
function keeping({ storage, collections }: Policy, absent: Absent): PolicyIssue[] {
  const { keeper, keeps } = storage ?? {};
  if (keeper === undefined) return [];
  const isSealed = Object.values(collections).some((each) => each.storage === 'sealed');
  const unkept = 'no collection is sealed, so that there is no key to keep';
  const unkeeping = 'a machine under this policy keeps no keys: storage.keeps is not there';
  const isAlone = keeper.policy === 'same' && keeps === undefined && !absent('/storage/keeps');
  return [
    ...(isSealed || absent('/collections') ? [] : [error('conflict', ['storage', 'keeper'], unkept)]),
    ...(isAlone ? [error('conflict', ['storage', 'keeper', 'policy'], unkeeping)] : []),
  ];
}

/** Indexes of records that are no messages. */
function indexing({ collections }: Policy): PolicyIssue[] {
  return Object.entries(collections).flatMap(([id, { message, indexes }]) => {
    const why = `no message is named whose fields these are: collections.${id}.message`;
    return indexes === undefined || message !== undefined
      ? []
      : [error('conflict', ['collections', id, 'indexes'], why)];
  });
}

function conflicts(policy: Policy, absent: Absent): PolicyIssue[] {
  const issues: PolicyIssue[] = [];
  const conflict = (when: boolean, path: Path, message: string): void => {
    if (when) issues.push(error('conflict', path, message));
  };
  const { system, residency, succession, governance } = policy;
  conflict(
    system.version === 1 && system.succeeds !== 'none',
    ['system', 'succeeds'],
    'version 1 succeeds no other policy',
  );
  if (residency !== 'none') {
    for (const [id, { region }] of Object.entries(policy.subprocessors)) {
      const regions = residency.regions.join(', ');
      const message = `region ${region} is outside residency.regions (${regions}), so nothing could ever be sent`;
      conflict(!residency.regions.includes(region), ['subprocessors', id, 'region'], message);
    }
  }
  sayCredentials(policy, absent, conflict);
  for (const [i, { method, to, build }] of policy.declassify.entries()) {
    const rule = methodsOf(policy).find(([id]) => id === method)?.[1];
    conflict(
      rule !== undefined && Object.hasOwn(policy.subprocessors, to) && !rule.sends.includes(to),
      ['declassify', i, 'to'],
      `${method} does not send to ${to}`,
    );
    for (const [field, source] of Object.entries(build)) {
      const at = ['declassify', i, 'build', field];
      const bad = source.startsWith('$') && !/^\$(?:request|record\.[^.]+)(?:\.[A-Za-z_]\w*)+$/.test(source);
      conflict(bad, at, 'expected $request.field, $record.collection.field or fixed text');
      // The author of the descriptors could give that name to any other field.
      const unknown = source.startsWith('$request.') && rule?.interface === 'any';
      conflict(unknown, at, `${method} does not pin its interface, so nobody knows what ${source} is`);
    }
  }
  conflict(
    policy.access.attested === 'personal' && !methodsOf(policy).some(([id]) => isAttestedOnly(policy, id)),
    ['access', 'attested'],
    'by no method may personal data come or leave, so nothing is asked of any caller',
  );
  if (governance.resources !== 'none') {
    const { methods, ...whole } = governance.resources;
    for (const [id, budget] of Object.entries(methods)) {
      const at = ['governance', 'resources', 'methods', id];
      const larger = (limit: 'cpu' | 'wall'): boolean => millisecondsOf(budget[limit]) > millisecondsOf(whole[limit]);
      conflict(bytesOf(budget.memory) > bytesOf(whole.memory), [...at, 'memory'], `more than ${whole.memory} for all`);
      conflict(larger('cpu'), [...at, 'cpu'], `more than ${whole.cpu} for all`);
      conflict(larger('wall'), [...at, 'wall'], `more than ${whole.wall} for all`);
    }
  }
  const suspendable = suspensions(policy);
  for (const [i, { suspends }] of policy.overrides.entries()) {
    const [section = ''] = suspends.split('.');
    if (section === 'assurance' || absent(pointerOf(['governance', section]))) continue;
    const message = `nothing in this policy is called ${suspends}${suggestion(suspends, suspendable)}`;
    conflict(!suspendable.has(suspends), ['overrides', i, 'suspends'], message);
  }
  if (succession !== 'none') {
    const { threshold, signers } = succession;
    conflict(
      threshold > signers.length,
      ['succession', 'threshold'],
      `${threshold} signatures of ${signers.length} signers`,
    );
  }
  return issues;
}

/**
 * Limits that an override may suspend. None of them is about callers, receivers, or what is stored.
 */
function suspensions({ governance }: Policy): ReadonlySet<string> {
  const { leaks, sovereignty, resources } = governance;
  return new Set([
    ...(leaks === 'none' ? [] : leaks.detectors.map((detector) => `leaks.${detector}`)),
    ...(sovereignty === 'none' ? [] : Object.keys(sovereignty).map((limit) => `sovereignty.${limit}`)),
    ...(resources === 'none' ? [] : ['memory', 'cpu', 'wall', 'inFlight'].map((limit) => `resources.${limit}`)),
  ]);
}

function unbacked(policy: Policy): PolicyIssue[] {
  const known = new Set(categoriesOf(policy));
  return policy.claims.flatMap((claim, i) => {
    // A claim about data that the policy does not know has an error already, which says more.
    if (claim.data !== 'all' && !claim.data.every((category) => known.has(category))) return [];
    const lacks = CLAIM_KINDS[claim.kind].lacks(policy, claim);
    return lacks.map((what) => error('unbacked', ['claims', i], `${claim.kind} needs ${what}`));
  });
}

/** Categories that may be named: those declared, those above them, and the built-in one. */
function categoriesOf({ data }: Policy): string[] {
  return [PUBLIC, ...Object.keys(data).flatMap(withAncestors)];
}

function controls(policy: Policy): PolicyIssue[] {
  return policy.claims.flatMap(({ controls }, i) =>
    controls.flatMap((id, j): PolicyIssue[] => {
      if (CONTROLS.has(id) || Object.hasOwn(policy.controls, id)) return [];
      const known = new Set([...CONTROLS.keys(), ...Object.keys(policy.controls)]);
      const message = `no control "${id}" is known${suggestion(id, known)}; give its title in controls`;
      return [{ code: 'control', severity: 'warning', message, pointer: pointerOf(['claims', i, 'controls', j]) }];
    }),
  );
}

function expired(policy: Policy, asOf: number): PolicyIssue[] {
  return [
    ...Object.entries(policy.subprocessors).flatMap(([id, { assurance }]) =>
      assurance !== 'none' && endOf(assurance.validUntil) <= asOf
        ? [
            error(
              'expired',
              ['subprocessors', id, 'assurance', 'validUntil'],
              `the assurance ended with ${assurance.validUntil}`,
            ),
          ]
        : [],
    ),
    ...policy.overrides.flatMap(({ id, expires }, i) =>
      endOf(expires) <= asOf ? [error('expired', ['overrides', i, 'expires'], `${id} ended with ${expires}`)] : [],
    ),
  ];
}

/**
 * Errors for what is to last for too long. A policy knows no day of its own, so only a check with
 * one sees it.
 */
function endless(policy: Policy, asOf: number): PolicyIssue[] {
  return [...endlessOverrides(policy, asOf), ...endlessAssurances(policy, asOf)];
}

/** Overrides that are to stay open for longer than any may. */
function endlessOverrides({ overrides }: Policy, asOf: number): PolicyIssue[] {
  const latest = asOf + secondsOf(LEAST.override) * 1000;
  return overrides.flatMap(({ id, expires }, i) =>
    endOf(expires) > latest
      ? [
          error(
            'value',
            ['overrides', i, 'expires'],
            `${id} is in force until ${expires}; expected a day within ${LEAST.override} of the check`,
          ),
        ]
      : [],
  );
}

/** Assurances that say to vouch for longer than any document does. */
function endlessAssurances({ claims, subprocessors }: Policy, asOf: number): PolicyIssue[] {
  if (!claims.some(({ kind }) => kind === 'subprocessors-assured')) return [];
  const latest = asOf + secondsOf(LEAST.assured) * 1000;
  return Object.entries(subprocessors).flatMap(([id, { assurance, identity }]) =>
    assurance !== 'none' && identity.attested === undefined && endOf(assurance.validUntil) > latest
      ? [
          error(
            'unbacked',
            ['subprocessors', id, 'assurance', 'validUntil'],
            `subprocessors-assured needs an assurance that ends within ${LEAST.assured}; it is ${assurance.validUntil}`,
          ),
        ]
      : [],
  );
}

function error(code: PolicyIssueCode, path: Path, message: string): PolicyIssue {
  return { code, severity: 'error', message, pointer: pointerOf(path) };
}
