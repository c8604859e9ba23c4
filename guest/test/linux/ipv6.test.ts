/** Any text is an IPv6 address of 16 bytes, which comes back as it was written, or is refused. */

import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { test } from 'node:test';
import { fc } from '../../../test/support/properties.ts';
import {
  contains6,
  formatAddress6,
  isHostAddress6,
  isLinkLocal,
  parseAddress6,
  parseNetwork6,
} from '../../src/linux/ipv6.ts';

const hex = (text: string): Uint8Array => Uint8Array.fromHex(text);
const ADDRESSES: readonly (readonly [text: string, bytes: string])[] = [
  ['::', '00'.repeat(16)],
  ['::1', `${'00'.repeat(15)}01`],
  ['1::', `0001${'00'.repeat(14)}`],
  ['fd00::15', `fd00${'00'.repeat(13)}15`],
  ['2001:db8:0:1:2:3:4:5', '20010db8000000010002000300040005'],
  ['1:2:3:4:5:6:7::', '00010002000300040005000600070000'],
  ['fe80::5054:ff:fe12:3456', 'fe80000000000000505400fffe123456'],
];

for (const [text, bytes] of ADDRESSES) {
  test(`reads ${text}`, () => {
    assert.deepEqual(parseAddress6(text), hex(bytes));
  });
}

for (const text of [
  '',
  ':',
  ':::',
  '1',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1::2::3',
  'g::',
  '10.0.0.1',
  '::10.0.0.1',
  'fe80::1%eth0',
  '[::1]',
  ' ::1',
  '::1/64',
  '12345::',
]) {
  test(`refuses "${text}"`, () => {
    assert.equal(parseAddress6(text), undefined);
  });
}

test('refuses networks without a prefix, or with one that is none', () => {
  for (const text of ['fd00::', 'fd00::/', 'fd00::/129', 'fd00::/064', 'fd00::/-1', 'fd00::/1e1', 'fd00::%1/64'])
    assert.equal(parseNetwork6(text), undefined, text);
  assert.deepEqual(parseNetwork6('fd00::/128'), { address: hex(`fd00${'00'.repeat(14)}`), prefix: 128 });
});

const address = fc.uint8Array({ minLength: 16, maxLength: 16 });

test('what it writes, it reads', () => {
  fc.assert(fc.property(address, (bytes) => assert.deepEqual(parseAddress6(formatAddress6(bytes)), bytes)));
});

test('any text is an address of 16 bytes or none', () => {
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%/') }));
  fc.assert(
    fc.property(text, (it) => [undefined, 16].includes(parseAddress6(it)?.length)),
    { numRuns: 5000 },
  );
});

test("a network holds what Node's own list says", () => {
  const prefix = fc.integer({ min: 0, max: 128 });
  fc.assert(
    fc.property(address, prefix, address, fc.boolean(), (own, length, other, near) => {
      const far = near ? own.map((byte, index) => (index === 15 ? byte ^ 1 : byte)) : other;
      const list = new BlockList();
      list.addSubnet(formatAddress6(own), length, 'ipv6');
      assert.equal(contains6({ address: own, prefix: length }, far), list.check(formatAddress6(far), 'ipv6'));
    }),
  );
});

test('knows what no host has, and what is good on one link only', () => {
  const [none, loopback, , unique, , , link] = ADDRESSES.map(([, bytes]) => hex(bytes));
  assert.ok(none && loopback && unique && link);
  const multicast = hex(`ff02${'00'.repeat(13)}01`);
  const mapped = hex('00000000000000000000ffff0a000001');
  assert.deepEqual([none, loopback, mapped, multicast, unique, link].map(isHostAddress6), [
    false,
    false,
    false,
    false,
    true,
    true,
  ]);
  assert.deepEqual([unique, link].map(isLinkLocal), [false, true]);
});
