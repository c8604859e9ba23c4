/**
 * Predicted registers follow their definitions, and each input moves exactly those that show it.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { DecodeError } from '../../src/errors.ts';
import {
  bundleEvent,
  launchCommandLine,
  PREDICTED_REGISTERS,
  policyEvent,
  predictPcrs,
  type TpmLaunch,
} from '../../src/measure/index.ts';

const text = (byte: string) => `sha256:${byte.repeat(32)}` as const;
const image = {
  id: text('a0'),
  uki: text('a1'),
  kernel: text('a2'),
  initrd: text('a3'),
  sections: text('a4'),
  commandLine: 'quiet panic=-1',
};
const policy = `sha384:${'b1'.repeat(48)}` as const;
const bundle = `sha384:${'b2'.repeat(48)}` as const;
const launch: TpmLaunch = { boot: 'kernel', commandLine: launchCommandLine(image, policy), policy, bundle };

const sha256 = (...parts: (string | Uint8Array)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const fold = (...events: Uint8Array[]): string =>
  events.reduce<Uint8Array>((value, event) => sha256(value, event), new Uint8Array(32)).toHex();

// Values of a real boot are compared in test/vm; here each register is recomputed from its definition.
test('every register follows its definition', () => {
  const bytes = (byte: string) => Uint8Array.fromHex(byte.repeat(32));
  const act = sha256('Calling EFI Application from Boot Option');
  const separator = sha256(new Uint8Array(4));
  const commandLine = sha256(Buffer.from(`${image.commandLine} enclaim.policy=${policy}\0`, 'utf16le'));
  const expected = new Map([
    [4, fold(bytes('a1'), act, separator, bytes('a2'))],
    [9, fold(commandLine, bytes('a3'))],
    [11, 'a4'.repeat(32)],
    [12, fold(commandLine)],
    [13, '00'.repeat(32)],
    [14, fold(sha256('enclaim/bundle/v1\0', Uint8Array.fromHex('b2'.repeat(48))))],
    [15, fold(sha256('enclaim/policy/v1\0', Uint8Array.fromHex('b1'.repeat(48))))],
  ]);
  const found = new Map([...predictPcrs(image, launch)].map(([index, value]) => [index, value.toHex()]));
  assert.deepEqual(found, expected);
  assert.deepEqual(
    [...found.keys()].sort((a, b) => a - b),
    PREDICTED_REGISTERS,
  );
});

test('from a disk only register 4 differs; without a passed command line 9 and 12, and 12 is zero', () => {
  assert.deepEqual(moved({ ...launch, boot: 'disk' }), [4]);
  assert.deepEqual(moved({ ...launch, commandLine: null }), [9, 12]);
  assert.equal(
    predictPcrs(image, { ...launch, commandLine: null })
      .get(12)
      ?.toHex(),
    '00'.repeat(32),
  );
});

test('each input moves exactly the registers that are there to show it', () => {
  const other = `sha384:${'b3'.repeat(48)}` as const;
  assert.deepEqual(moved({ ...launch, policy: other }), [15]);
  assert.deepEqual(moved({ ...launch, bundle: other }), [14]);
  assert.deepEqual(moved({ ...launch, commandLine: `${launch.commandLine} ` }), [9, 12]);
  for (const [field, registers] of Object.entries({ uki: [4], kernel: [4], initrd: [9], sections: [11], id: [] })) {
    assert.deepEqual(moved(launch, { ...image, [field]: text('cc') }), registers, field);
  }
});

test('a malformed digest is refused', () => {
  for (const digest of ['sha384:00', `sha256:${'00'.repeat(32)}`, `sha384:${'B1'.repeat(48)}`]) {
    assert.throws(() => policyEvent(digest as typeof policy), DecodeError);
    assert.throws(() => bundleEvent(digest as typeof bundle), DecodeError);
  }
});

function moved(by: TpmLaunch, of: typeof image = image): number[] {
  const before = predictPcrs(image, launch);
  return [...predictPcrs(of, by)]
    .filter(([index, value]) => value.toHex() !== before.get(index)?.toHex())
    .map(([i]) => i);
}
