/** A verdict shows the epoch of sealed state and its keeper, and refuses a keeper that the platform cannot have. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appraiseStorage } from '../src/appraise/storage.ts';
import type { BootStatement } from '../src/statement.ts';

const checkOf = (platform: string, storage?: object, version = 3) =>
  appraiseStorage({ version, platform, ...(storage && { storage }) } as unknown as BootStatement);
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
