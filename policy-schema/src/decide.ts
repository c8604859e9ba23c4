/** The policy's decision about one flow: this caller, this method, this label, into this sink. */

import { type Categories, covers, type Label, uncovered } from './category.ts';
import { ANYONE, type MethodId, type Policy, type Rule } from './policy.ts';
import { endOf } from './quantity.ts';

/** Where data goes, or what is done. */
export type Sink =
  | { readonly kind: 'call' | 'response' }
  | { readonly kind: 'read' | 'store' | 'send' | 'release'; readonly name: string };

/** A flow to decide about. */
export interface Flow {
  /** Name of the identity that authenticated the caller, or `anyone`. */
  readonly identity: string;
  readonly method: MethodId;
  /** Everything that the call carries at this point. */
  readonly label: Label;
  readonly sink: Sink;
}

/** The rules that can decide, in the order in which a call meets them. */
export const DECISION_CODES = [
  'allowed',
  'no-rule',
  'callers',
  'cedar',
  'accepts',
  'reads',
  'stores',
  'holds',
  'sends',
  'receives',
  'assurance',
  'returns',
  'release',
] as const;
/** The rule that decided. */
export type DecisionCode = (typeof DECISION_CODES)[number];

/** Whether a flow is allowed, and what says so. */
export interface Decision {
  readonly allow: boolean;
  readonly code: DecisionCode;
  readonly reason: string;
  /** The part of the policy that decided. */
  readonly pointer: string;
}

/** Facts that the policy alone cannot tell. */
export interface Circumstances {
  /**
   * Whether `access.cedar` allows the call. Needed if there is Cedar text: without it, nothing is
   * allowed.
   */
  readonly authorized?: boolean;
  /**
   * Milliseconds since 1970 UTC. Needed if an assurance ends: without it, the assurance counts as
   * ended.
   */
  readonly now?: number;
}

/**
 * Decides about a flow. Every condition is checked in the same order as a call meets them.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parsePolicy } from '@enclaim/policy-schema';
 * import { decide } from '@enclaim/policy-schema/admission';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * const { allow, reason } = decide(policy, {
 *   identity: 'anyone',
 *   method: 'clinic.v1.Intake/Submit',
 *   label: new Set(['personal.health']),
 *   sink: { kind: 'response' },
 * });
 * console.log(allow, reason);
 * ```
 */
export function decide(policy: Policy, flow: Flow, circumstances: Circumstances = {}): Decision {
  const { identity, method, label, sink } = flow;
  const rule = ruleOf(policy, method);
  if (!rule) return deny('no-rule', `there is no rule for ${method}`, '/services');
  const pointer = `/services/${method}`;
  if (!rule.callers.includes(ANYONE) && !rule.callers.includes(identity)) {
    return deny('callers', `${method} answers ${list(rule.callers)}, not ${identity}`, `${pointer}/callers`);
  }
  if (policy.access.cedar.trim() !== '' && circumstances.authorized !== true) {
    return deny('cedar', `access.cedar does not permit ${identity} to call ${method}`, '/access/cedar');
  }
  switch (sink.kind) {
    case 'call':
      return within(label, rule.accepts, 'accepts', `${method} accepts`, `${pointer}/accepts`);
    case 'read':
      return granted(rule.reads, sink.name, 'reads', `${method} reads`, `${pointer}/reads`);
    case 'store': {
      const grant = granted(rule.stores, sink.name, 'stores', `${method} stores in`, `${pointer}/stores`);
      const { holds = [] } = own(policy.collections, sink.name) ?? {};
      return grant.allow
        ? within(label, holds, 'holds', `${sink.name} holds`, `/collections/${sink.name}/holds`)
        : grant;
    }
    case 'send':
      return send(policy, rule, flow, sink.name, circumstances);
    case 'release': {
      const release = policy.declassify.find(({ id }) => id === sink.name);
      if (release?.method !== method) return deny('release', `${method} has no release ${sink.name}`, '/declassify');
      // The runtime builds the message; it held the contents against the receiver when it matched
      // the policy.
      return send(policy, rule, { ...flow, label: new Set() }, release.to, circumstances);
    }
    case 'response': {
      const returned = within(label, rule.returns, 'returns', `${method} returns`, `${pointer}/returns`);
      const known = own(policy.access.identities, identity);
      if (!returned.allow || !known) return returned;
      return within(
        label,
        known.receives,
        'receives',
        `${identity} receives`,
        `/access/identities/${identity}/receives`,
      );
    }
  }
}

function send(
  policy: Policy,
  rule: Rule,
  { method, label }: Flow,
  name: string,
  { now = Infinity }: Circumstances,
): Decision {
  const grant = granted(rule.sends, name, 'sends', `${method} sends to`, `/services/${method}/sends`);
  const to = own(policy.subprocessors, name);
  if (!grant.allow || !to) return grant;
  if (to.assurance !== 'none' && endOf(to.assurance.validUntil) <= now) {
    const reason = `the assurance of ${name} ended with ${to.assurance.validUntil}`;
    return deny('assurance', reason, `/subprocessors/${name}/assurance/validUntil`);
  }
  return within(label, to.receives, 'receives', `${name} receives`, `/subprocessors/${name}/receives`);
}

function ruleOf(policy: Policy, method: MethodId): Rule | undefined {
  const [service = '', name = ''] = method.split('/');
  const rules = own(policy.services, service);
  return rules && own(rules, name);
}

function within(label: Label, clearance: Categories, code: DecisionCode, says: string, pointer: string): Decision {
  if (covers(clearance, label)) return { allow: true, code: 'allowed', reason: `${says} ${list(clearance)}`, pointer };
  return deny(code, `${says} ${list(clearance)}, not ${uncovered(clearance, label).join(', ')}`, pointer);
}

function granted(names: readonly string[], name: string, code: DecisionCode, says: string, pointer: string): Decision {
  if (names.includes(name)) return { allow: true, code: 'allowed', reason: `${says} ${list(names)}`, pointer };
  return deny(code, `${says} ${list(names)}, not ${name}`, pointer);
}

function deny(code: DecisionCode, reason: string, pointer: string): Decision {
  return { allow: false, code, reason, pointer };
}

function list(names: Categories): string {
  return [...names].join(', ') || 'nothing';
}

function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
