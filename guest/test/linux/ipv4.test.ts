/** IPv4 addresses and masks come back as they were written, and other texts are refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../../test/support/properties.ts';
import {
  contains,
  formatAddress,
  isHostAddress,
  maskOf,
  parseAddress,
  parseNetwork,
  prefixOf,
} from '../../src/linux/ipv4.ts';

const address = fc.integer({ min: 0, max: 0xffffffff });

test('addresses and masks survive a round trip', () => {
  fc.assert(fc.property(address, (a) => assert.equal(parseAddress(formatAddress(a)), a)));
  for (let prefix = 0; prefix <= 32; prefix++) assert.equal(prefixOf(maskOf(prefix)), prefix);
});

test('a mask with a hole has no prefix', () => {
  fc.assert(
    fc.property(address, (mask) => {
      const bits = mask.toString(2).padStart(32, '0');
      assert.equal(prefixOf(mask) === undefined, bits.includes('01'));
    }),
  );
});

test('refuses what is not an address', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4 ',
    '-1.2.3.4',
    '1e1.2.3.4',
    '0x1.2.3.4',
  ]) {
    assert.equal(parseAddress(text), undefined, text);
    assert.equal(parseNetwork(`${text}/24`), undefined, text);
  }
  for (const text of ['1.2.3.4', '1.2.3.4/', '1.2.3.4/33', '1.2.3.4/024', '1.2.3.4/-1'])
    assert.equal(parseNetwork(text), undefined, text);
});

test('knows hosts from the rest', () => {
  const host = (text: string): boolean => isHostAddress(parseAddress(text) ?? 0);
  for (const text of ['1.0.0.1', '10.0.2.15', '169.254.169.254', '223.255.255.255']) assert.ok(host(text), text);
  for (const text of ['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.1', '255.255.255.255']) assert.ok(!host(text), text);
});

test('a network holds the addresses that share its prefix', () => {
  const network = { address: 0x0a00020f, prefix: 24 };
  assert.ok(contains(network, 0x0a0002ff));
  assert.ok(!contains(network, 0x0a000302));
  assert.ok(contains({ address: 0, prefix: 0 }, 0xffffffff));
  assert.ok(!contains({ address: 1, prefix: 32 }, 2));
});
