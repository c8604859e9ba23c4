/** Whom the policy names is where the runtime may go: the ports, from the measured bytes alone. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { canonicalPolicy, parsePolicy } from '@enclaim/policy-schema';
import { egressPorts, serverNames } from '../src/network.ts';

const clinic = join(import.meta.dirname, '../../examples/clinic');

/** Canonical bytes of an example's policy, its text changed first. */
async function policyOf(file: string, change = (text: string) => text): Promise<Uint8Array> {
  return canonicalPolicy(parsePolicy(change(await readFile(join(clinic, file), 'utf8'))));
}

test('a policy that names nobody opens nothing', async () => {
  assert.deepEqual(egressPorts(await policyOf('policy.yaml')), []);
});

test('the ports of those it names, each once: 443 where none is stated', async () => {
  assert.deepEqual(egressPorts(await policyOf('policy.notify.yaml')), [443]);
  const stated = await policyOf('policy.notify.yaml', (text) =>
    text.replace(/(address: https:\/\/[a-z.]+)/, '$1:8443'),
  );
  assert.deepEqual(egressPorts(stated), [8443]);
});

test('bytes that are no policy are refused, and so are those of one that is not canonical', async () => {
  const policy = await policyOf('policy.yaml');
  for (const bytes of [
    new Uint8Array(),
    Buffer.from('{}'),
    policy.subarray(1),
    Buffer.concat([policy, Buffer.from(' ')]),
  ])
    assert.throws(() => egressPorts(bytes), { name: 'Refusal', code: 'policy' });
});

test('name servers as the resolver takes them', () => {
  const servers = [Uint8Array.of(10, 0, 2, 3), Uint8Array.fromHex('20010db8000000000000000000000035')];
  assert.deepEqual(serverNames(servers), ['10.0.2.3', '2001:db8::35']);
});
