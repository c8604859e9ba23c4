/** Any command line is read whole or refused with a code, and states nothing that is absent. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count } from '../../../test/support/long.ts';
import { fc } from '../../../test/support/properties.ts';
import { CommandLineError, parseCommandLine } from '../../src/linux/command-line.ts';

const DIGEST = `sha384:${'0a'.repeat(48)}` as const;

test('reads what the command line says to the guest', () => {
  const text = `console=ttyS0 quiet enclaim.policy=${DIGEST} enclaim.ip=10.0.2.15/24,10.0.2.2`;
  assert.deepEqual(parseCommandLine(text), {
    text,
    policy: DIGEST,
    network: { ip: { network: { address: 0x0a00020f, prefix: 24 }, gateway: 0x0a000202 }, ip6: 'off', dns: null },
  });
});

test('states nothing that is absent', () => {
  assert.deepEqual(parseCommandLine('quiet'), {
    text: 'quiet',
    policy: null,
    network: { ip: 'dhcp', ip6: 'off', dns: null },
  });
  assert.equal(parseCommandLine(`quiet -- enclaim.policy=${DIGEST}`).policy, null); // for init, not for the kernel
  assert.deepEqual(parseCommandLine('enclaim.ip=10.0.0.1/32').network.ip, {
    network: { address: 0x0a000001, prefix: 32 },
    gateway: null,
  });
});

test('reads an IPv6 address, name servers of both families, and that there is no IPv4', () => {
  const text = 'enclaim.ip=off enclaim.ip6=fd00::15/64,fe80::1 enclaim.dns=10.0.2.3,2001:db8::35';
  const { ip, ip6, dns } = parseCommandLine(text).network;
  assert.equal(ip, 'off');
  assert.deepEqual(ip6, {
    network: { address: Uint8Array.fromHex('fd000000000000000000000000000015'), prefix: 64 },
    gateway: Uint8Array.fromHex('fe800000000000000000000000000001'),
  });
  assert.deepEqual(dns, [Uint8Array.of(10, 0, 2, 3), Uint8Array.fromHex('20010db8000000000000000000000035')]);
  assert.equal(parseCommandLine('enclaim.ip6=auto').network.ip6, 'auto');
});

const REFUSED: readonly (readonly [string, CommandLineError['code']])[] = [
  [`enclaim.policy=${DIGEST} enclaim.policy=${DIGEST}`, 'duplicate-key'],
  ['enclaim.ip=dhcp enclaim.ip=dhcp', 'duplicate-key'],
  ['enclaim.polcy=x', 'unknown-key'],
  ['enclaim.', 'unknown-key'],
  ['enclaim.constructor=x', 'unknown-key'],
  ['enclaim.__proto__=x', 'unknown-key'],
  ['enclaim.policy', 'bad-value'],
  ['enclaim.policy=', 'bad-value'],
  [`enclaim.policy=${DIGEST}0`, 'bad-value'],
  [`enclaim.policy=${DIGEST.toUpperCase()}`, 'bad-value'],
  [`enclaim.policy=${DIGEST.replace('384', '256')}`, 'bad-value'],
  ['enclaim.ip=10.0.2.15', 'bad-value'],
  ['enclaim.ip=10.0.2.15/33', 'bad-value'],
  ['enclaim.ip=10.0.2.015/24', 'bad-value'],
  ['enclaim.ip=10.0.2.256/24', 'bad-value'],
  ['enclaim.ip=10.0.2.15/24,', 'bad-value'],
  ['enclaim.ip=10.0.2.15/24,10.0.2.2,10.0.2.3', 'bad-value'],
  ['enclaim.ip=off', 'bad-value'],
  ['enclaim.ip=off enclaim.ip6=off', 'bad-value'],
  ['enclaim.ip6=fd00::15', 'bad-value'],
  ['enclaim.ip6=fd00::15/129', 'bad-value'],
  ['enclaim.ip6=fd00::15/064', 'bad-value'],
  ['enclaim.ip6=fd00::1::2/64', 'bad-value'],
  ['enclaim.ip6=fe80::1%eth0/64', 'bad-value'],
  ['enclaim.ip6=::ffff:10.0.2.15/96', 'bad-value'],
  ['enclaim.ip6=10.0.2.15/24', 'bad-value'],
  ['enclaim.ip6=fd00::15/64,', 'bad-value'],
  ['enclaim.ip6=fd00::15/64,fe80::1,fe80::2', 'bad-value'],
  ['enclaim.ip6=dhcp', 'bad-value'],
  ['enclaim.dns=', 'bad-value'],
  ['enclaim.dns=10.0.2.3,', 'bad-value'],
  ['enclaim.dns=resolver.example', 'bad-value'],
  ['enclaim.dns=1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5', 'bad-value'],
  [`"x enclaim.policy=${DIGEST}"`, 'bad-character'],
  ['quiet\nenclaim.ip=dhcp', 'bad-character'],
  ['quiet\tenclaim.ip=dhcp', 'bad-character'],
  ['ü', 'bad-character'],
  ['x'.repeat(4097), 'too-long'],
];

for (const [text, code] of REFUSED) {
  test(`refuses ${JSON.stringify(text.slice(0, 50))} as ${code}`, () => {
    assert.throws(() => parseCommandLine(text), { name: 'CommandLineError', code });
  });
}

test('is total, and what it accepts has each key at most once', () => {
  const word = fc.oneof(
    fc.constantFrom('quiet', '--', `enclaim.policy=${DIGEST}`, 'enclaim.ip=dhcp', 'enclaim.ip=1.2.3.4/5'),
    fc.string({ unit: 'binary', maxLength: 12 }),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (words) => {
      try {
        const { policy } = parseCommandLine(words.join(' '));
        const end = words.indexOf('--');
        const counted = words.slice(0, end < 0 ? undefined : end).filter((each) => each.startsWith('enclaim.policy='));
        assert.equal(counted.length, policy === null ? 0 : 1);
      } catch (error) {
        if (!(error instanceof CommandLineError)) throw error;
      }
    }),
    { numRuns: count(2000, 2000, 200) },
  );
});
