/**
 * `access.cedar`, held against a schema that follows from the rest of the policy, and evaluated by
 * Cedar's own engine.
 *
 * - Principals: one entity type per identity (`staff`), with `id`; `Anyone` for methods open to
 *   anyone. A principal is a member of the `Group`s that its token or certificate names.
 * - Actions: `Action::"clinic.v1.Intake/Submit"`, each in the group `Action::"clinic.v1.Intake"`.
 * - Resources: `Service::"clinic.v1.Intake"`.
 * - Context: `purpose`, and `label`, the set of categories that the request carries.
 */

import * as cedar from '#cedar';
import type { Label } from './category.ts';
import { methodsOf } from './claim.ts';
import type { PolicyIssue } from './error.ts';
import { ANYONE, type MethodId, type Policy } from './policy.ts';

/** A call that a caller wants to make. */
export interface AccessRequest {
  /** Name of the identity by which the caller was authenticated, or `anyone`. */
  readonly identity: string;
  readonly caller: { readonly id: string; readonly groups: readonly string[] };
  readonly method: MethodId;
  readonly label: Label;
}

/** Cedar's answer about a call. */
export interface AccessDecision {
  readonly allow: boolean;
  /** Ids of the Cedar policies that decided: `policy0`, `policy1` … in the order of the text. */
  readonly policies: readonly string[];
  readonly errors: readonly string[];
}

const ANYONE_TYPE = 'Anyone';
const PLACE = '/access/cedar';

/** The Cedar schema of a policy, in Cedar's JSON form. */
export function cedarSchema(policy: Policy): cedar.SchemaJson<string> {
  const principal = { memberOfTypes: ['Group'], shape: record({ id: { type: 'String' } }) };
  const principals = [...Object.keys(policy.access.identities), ANYONE_TYPE];
  const actions = methodsOf(policy).map(([id, rule]): [string, cedar.ActionType<string>] => {
    const context = record({ purpose: { type: 'String' }, label: { type: 'Set', element: { type: 'String' } } });
    const appliesTo = { principalTypes: rule.callers.map(typeOf), resourceTypes: ['Service'], context };
    return [id, { memberOf: [{ id: serviceOf(id) }], appliesTo }];
  });
  return {
    '': {
      entityTypes: { Group: {}, Service: {}, ...Object.fromEntries(principals.map((name) => [name, principal])) },
      actions: {
        ...Object.fromEntries(Object.keys(policy.services).map((service) => [service, {}])),
        ...Object.fromEntries(actions),
      },
    },
  };
}

/** Errors of the Cedar text: it does not parse, or names things that the policy does not have. */
export function checkCedar(policy: Policy): PolicyIssue[] {
  const text = policy.access.cedar;
  if (text.trim() === '') return [];
  const issue = (severity: PolicyIssue['severity'], error: cedar.DetailedError): PolicyIssue => ({
    code: 'cedar',
    severity,
    message: [error.message, error.sourceLocations?.[0]?.label, error.help]
      .filter(Boolean)
      .join('; ')
      .replaceAll('\n', ' '),
    pointer: PLACE,
    within: placeAt(text, error.sourceLocations?.[0]?.start ?? 0),
  });
  try {
    const answer = cedar.validate({ schema: cedarSchema(policy), policies: { staticPolicies: text } });
    if (answer.type === 'failure') return answer.errors.map((error) => issue('error', error));
    return [
      ...answer.validationErrors.map(({ error }) => issue('error', error)),
      ...answer.validationWarnings.map(({ error }) => issue('warning', error)),
    ];
  } catch {
    // The engine traps on text that nests too deep for its stack.
    return [{ code: 'cedar', severity: 'error', message: 'Cedar cannot read this text', pointer: PLACE }];
  }
}

/**
 * Cedar's decision. A rule that cannot be evaluated denies. Cedar itself would pass over it;
 * without this, a `forbid` that cannot be evaluated would permit the call.
 */
export function authorize(policy: Policy, { identity, caller, method, label }: AccessRequest): AccessDecision {
  const principal = { type: typeOf(identity), id: caller.id };
  const groups = caller.groups.map((id) => ({ type: 'Group', id }));
  const purpose = methodsOf(policy).find(([id]) => id === method)?.[1].purpose;
  if (purpose === undefined) return { allow: false, policies: [], errors: [`no rule for ${method}`] };
  const answer = cedar.isAuthorized({
    principal,
    action: { type: 'Action', id: method },
    resource: { type: 'Service', id: serviceOf(method) },
    context: { purpose, label: [...label].sort() },
    schema: cedarSchema(policy),
    validateRequest: true,
    policies: { staticPolicies: policy.access.cedar },
    entities: [
      { uid: principal, attrs: { id: caller.id }, parents: groups },
      ...groups.map((uid) => ({ uid, attrs: {}, parents: [] })),
    ],
  });
  if (answer.type === 'failure')
    return { allow: false, policies: [], errors: answer.errors.map(({ message }) => message) };
  const { decision, diagnostics } = answer.response;
  const errors = diagnostics.errors.map(({ error }) => error.message);
  return { allow: decision === 'allow' && errors.length === 0, policies: diagnostics.reason, errors };
}

function record(attributes: Record<string, cedar.TypeOfAttribute<string>>): cedar.AttributesOrContext<string> {
  return { type: 'Record', attributes };
}

function typeOf(identity: string): string {
  return identity === ANYONE ? ANYONE_TYPE : identity;
}

function serviceOf(method: MethodId): string {
  return method.slice(0, method.indexOf('/'));
}

/** Line and column of an offset that Cedar counts in bytes of UTF-8. */
function placeAt(text: string, offset: number): { line: number; column: number } {
  const before = new TextDecoder().decode(new TextEncoder().encode(text).subarray(0, offset)).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
