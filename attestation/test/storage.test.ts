/** A verdict shows the epoch of sealed state and its keeper, and refuses a keeper that the platform cannot have. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Policy } from '@enclaim/policy-schema/admission';
import { appraiseStorage } from '../src/appraise/storage.ts';
import type { BootStatement } from '../src/statement.ts';

const OWN = 'sha384:22';
const checkOf = (platform: string, storage?: object, version = 3, keeper: string | null = 'sha384:00') => {
  const statement = { version, platform, policy: OWN, ...(storage && { storage }) } as unknown as BootStatement;
  const policy = { storage: { epoch: 'PT1M', ...(keeper !== null && { keeper: { policy: keeper } }) } };
  return appraiseStorage(statement, policy as unknown as Policy);
};
const kept = { keeper: 'tpm', epoch: 7, began: 'kept' };
const peered = { ...kept, keeper: 'peer', peer: { policy: 'sha384:00', boot: 'sha256:11' } };

test('a boot without sealed state has no such check', () => {
  assert.deepEqual(checkOf('tpm'), []);
  assert.deepEqual(checkOf('tpm', undefined, 2), []);
});

test('epoch, beginning and keeper are in the words of the check', () => {
  const [check] = checkOf('tpm', kept);
  assert.equal(check?.outcome, 'passed');
  assert.match(check?.detail ?? '', /^sealed, epoch 7, with what was kept; .* by the machine's TPM; a host that runs/);
  assert.match(checkOf('tpm', { ...kept, epoch: 1, began: 'new' })[0]?.detail ?? '', /epoch 1, begun with nothing/);
});

test('a peer is named by its policy and its boot', () => {
  assert.match(checkOf('snp', peered)[0]?.detail ?? '', /another attested machine.*policy sha384:00, boot sha256:11/);
});

test('a simulated keeper is one of simulated boots, and a TPM one of platforms that have it', () => {
  const simulated = { ...kept, keeper: 'simulated' };
  for (const [platform, storage, outcome] of [
    ['simulated', simulated, 'passed'],
    ['tpm', simulated, 'failed'],
    ['snp', simulated, 'failed'],
    ['simulated', kept, 'failed'],
    ['snp', kept, 'failed'],
    ['tdx', kept, 'failed'],
    ['azure-snp', kept, 'passed'],
    ['snp', peered, 'passed'],
    ['tdx', peered, 'passed'],
    ['tpm', peered, 'failed'],
    ['snp', { keeper: 'peer', epoch: 0, began: 'asking' }, 'failed'],
  ] as const) {
    const [check] = checkOf(platform, storage);
    assert.deepEqual([check?.outcome, check?.required], [outcome, true], platform);
  }
});

test('a peer is the one that the policy of the boot names', () => {
  const outcomeOf = (keeper: string | null, peer = 'sha384:00') =>
    checkOf('snp', { ...peered, peer: { ...peered.peer, policy: peer } }, 3, keeper)[0];
  assert.equal(outcomeOf('sha384:00')?.outcome, 'passed');
  assert.equal(outcomeOf('same', OWN)?.outcome, 'passed');
  for (const [keeper, peer, words] of [
    ['sha384:33', 'sha384:00', /names a keeper under policy sha384:33/],
    ['same', 'sha384:00', /names a keeper under policy sha384:22/],
    ['sha384:00', OWN, /names a keeper under policy sha384:00/],
    [null, 'sha384:00', /names no keeper/],
  ] as const) {
    const check = outcomeOf(keeper, peer);
    assert.deepEqual([check?.outcome, check?.required], ['failed', true], `${keeper}`);
    assert.match(check?.detail ?? '', words);
  }
});
