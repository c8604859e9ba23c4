/** Cedar allows what its text says, and a rule that cannot be read or evaluated denies. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AccessRequest, authorize, checkCedar } from '../src/cedar.ts';
import { parsePolicy } from '../src/index.ts';
import { hex } from './base-policy.ts';

const under = (cedar: string): ReturnType<typeof parsePolicy> =>
  parsePolicy(
    JSON.stringify({
      enclaim: 1,
      system: { name: 'a', owner: { name: 'A', contact: 'a' }, version: 1 },
      data: { a: { description: 'x' }, b: { description: 'x' } },
      services: {
        't.S': {
          Read: { purpose: 'care', callers: ['staff'], accepts: ['a'] },
          Open: { purpose: 'help', callers: ['anyone', 'partner'] },
        },
      },
      access: {
        cedar,
        identities: {
          staff: { category: 'a', mtls: { ca: `sha256:${hex('a')}` } },
          partner: { category: 'a', mtls: { ca: `sha256:${hex('b')}` } },
        },
      },
    }),
  );

const call = (more: Partial<AccessRequest> = {}): AccessRequest => ({
  identity: 'staff',
  caller: { id: 'ann', groups: ['clinician'] },
  method: 't.S/Read',
  label: new Set(['a']),
  ...more,
});

const DECISIONS: readonly (readonly [cedar: string, request: AccessRequest, allow: boolean])[] = [
  ['', call(), false],
  ['permit(principal, action, resource);', call(), true],
  ['permit(principal is staff, action, resource);', call(), true],
  ['permit(principal is partner, action, resource);', call(), false],
  ['permit(principal in Group::"clinician", action, resource);', call(), true],
  ['permit(principal in Group::"clinician", action, resource);', call({ caller: { id: 'bob', groups: [] } }), false],
  ['permit(principal == staff::"ann", action, resource);', call(), true],
  ['permit(principal == staff::"ann", action, resource);', call({ caller: { id: 'bob', groups: [] } }), false],
  ['permit(principal, action == Action::"t.S/Read", resource);', call(), true],
  ['permit(principal, action in Action::"t.S", resource);', call(), true],
  ['permit(principal, action == Action::"t.S/Open", resource);', call(), false],
  ['permit(principal, action, resource == Service::"t.S");', call(), true],
  ['permit(principal, action, resource) when { context.purpose == "care" };', call(), true],
  ['permit(principal, action, resource) when { context.label.contains("b") };', call(), false],
  [
    'permit(principal, action, resource); forbid(principal, action, resource) when { context.label.contains("a") };',
    call(),
    false,
  ],
  ['permit(principal is Anyone, action, resource);', call({ identity: 'anyone', method: 't.S/Open' }), true],
  // A caller whom the rule does not name is no principal of the action, whatever the text permits.
  ['permit(principal, action, resource);', call({ identity: 'partner' }), false],
  ['permit(principal, action, resource);', call({ identity: 'nobody' }), false],
  ['permit(principal, action, resource);', call({ method: 't.S/Else' }), false],
];

for (const [cedar, request, allow] of DECISIONS) {
  test(`${allow ? 'allowed' : 'denied'}: ${cedar || 'no text'} for ${request.identity} calling ${request.method}`, () => {
    assert.deepEqual(checkCedar(under(cedar)), []);
    assert.equal(authorize(under(cedar), request).allow, allow);
  });
}

test('a rule that cannot be evaluated denies, where Cedar would pass over it', () => {
  const policy = under(
    'permit(principal, action, resource); forbid(principal, action, resource) when { 9223372036854775807 + 1 == 0 };',
  );
  const { allow, errors } = authorize(policy, call());
  assert.equal(allow, false);
  assert.equal(errors.length, 1);
});

test('text that does not parse denies', () => {
  assert.equal(authorize(under('permit('), call()).allow, false);
});
