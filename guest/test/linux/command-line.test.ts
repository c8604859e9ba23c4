import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CommandLineError, parseCommandLine } from '../../src/linux/command-line.ts';

const DIGEST = `sha384:${'0a'.repeat(48)}` as const;

test('reads what the command line says to the guest', () => {
  const text = `console=ttyS0 quiet enclaim.policy=${DIGEST} enclaim.ip=10.0.2.15/24,10.0.2.2`;
  assert.deepEqual(parseCommandLine(text), {
    text,
    policy: DIGEST,
    address: { network: { address: 0x0a00020f, prefix: 24 }, gateway: 0x0a000202 },
  });
});

test('states nothing that is absent', () => {
  assert.deepEqual(parseCommandLine('quiet'), { text: 'quiet', policy: null, address: 'dhcp' });
  assert.equal(parseCommandLine(`quiet -- enclaim.policy=${DIGEST}`).policy, null); // for init, not for the kernel
  assert.deepEqual(parseCommandLine('enclaim.ip=10.0.0.1/32').address, {
    network: { address: 0x0a000001, prefix: 32 },
    gateway: null,
  });
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
    { numRuns: 2000 },
  );
});
