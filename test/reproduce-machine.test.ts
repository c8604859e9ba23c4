/** An auditor at a running machine: fresh evidence over a connection that carries no call, held against what was rebuilt. */

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import type { Authenticated, References } from '@enclaim/attestation';
import { inspect } from '@enclaim/client';
import { launchCommandLine } from '../attestation/src/measure/index.ts';
import { differencesOfMachine } from '../cli/src/image/machine-differences.ts';
import { audit, type Difference, type Image } from '../image/src/index.ts';
import { SAMPLE } from '../image/test/manifest.ts';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested, PRETEND_IMAGE } from './support/attested-runtime.ts';

const bundle = await clinicBundle();
const references = { ...SAMPLE.references, tpm: PRETEND_IMAGE };
const rebuilt: Image = {
  manifest: { ...SAMPLE, references },
  uki: new Uint8Array(),
  kernel: new Uint8Array(),
  initrd: new Uint8Array(),
};

let machine: AttestedRuntime;
before(async () => {
  machine = await bootAttested(bundle);
});
after(() => machine.stop());

/** The causes that an audit finds at a machine. */
async function auditMachine(at: AttestedRuntime, image: Image = rebuilt, own = bundle.bytes): Promise<string[]> {
  const { authenticated } = await inspect(at.target, at.references);
  const { hardware, statement, policyBytes } = authenticated;
  assert.equal(hardware.kind, 'tpm');
  if (hardware.kind !== 'tpm') return [];
  const launch = { commandLine: hardware.commandLine, policy: statement.policy, bundle: statement.bundle };
  const claimed = { image: null, bundle: null, machine: { registers: hardware.registers, launch, policyBytes } };
  const found: Difference[] = await audit(claimed, { image, bundle: own });
  return found.filter(({ because }) => because.length === 0).map(({ component }) => component);
}

test('a machine that runs the rebuilt image and app: no difference', async () => {
  assert.deepEqual(await auditMachine(machine), []);
});

test('a machine that runs another initrd than the rebuilt one', async () => {
  const tpm = { ...PRETEND_IMAGE, initrd: PRETEND_IMAGE.id };
  const image = { ...rebuilt, manifest: { ...rebuilt.manifest, references: { ...references, tpm } } };
  assert.deepEqual(await auditMachine(machine, image), ['register 9']);
});

test('a machine that runs another bundle than the rebuilt one', async () => {
  const other = bundle.bytes.with(bundle.bytes.length - 5000, 0x20);
  assert.deepEqual(await auditMachine(machine, rebuilt, other), ['bundle']);
});

test('a machine that its host started with another command line', async () => {
  const commandLine = `${launchCommandLine(PRETEND_IMAGE, bundle.policy)} init=/x`;
  const other = await bootAttested(bundle, { commandLine });
  try {
    assert.deepEqual(await auditMachine(other), ['command line']);
  } finally {
    await other.stop();
  }
});

/** The causes that the command finds, where evidence, references or rebuilt app are others. */
async function causesOf({
  authenticated = (value) => value,
  references = (value) => value,
  own = bundle.bytes,
}: {
  authenticated?: (value: Authenticated) => Authenticated;
  references?: (value: References) => References;
  own?: Uint8Array | null;
}): Promise<string[]> {
  const found = await inspect(machine.target, machine.references);
  const held = { authenticated: authenticated(found.authenticated), references: references(machine.references) };
  const differences = await differencesOfMachine(held, { image: rebuilt, bundle: own });
  return differences.filter(({ because }) => because.length === 0).map(({ component }) => component);
}

/** Evidence of a machine in which these registers are as they were at the start. */
const withoutRegisters =
  (...indices: readonly number[]) =>
  (value: Authenticated): Authenticated => {
    assert.equal(value.hardware.kind, 'tpm');
    if (value.hardware.kind !== 'tpm') return value;
    const registers = new Map(value.hardware.registers);
    for (const index of indices) registers.set(index, new Uint8Array(32));
    return { ...value, hardware: { ...value.hardware, registers } };
  };
const other = `sha384:${'ee'.repeat(48)}` as const;

test('(control) an appraisal of the machine with what was rebuilt: no difference, with the app and without', async () => {
  assert.deepEqual(await causesOf({}), []);
  assert.deepEqual(await causesOf({ own: null }), []);
});

test('without the app, policy and bundle of the references are not held against the machine', async () => {
  const references = (value: References): References => ({ ...value, policy: other, bundles: [other] });
  assert.deepEqual(await causesOf({ own: null, references }), []);
  assert.deepEqual(await causesOf({ references }), [], 'nor with it: the rebuilt app is in their place');
});

test('a machine whose firmware measured nothing: something else filled the registers', async () => {
  for (const own of [bundle.bytes, null]) {
    const found = await causesOf({ own, authenticated: withoutRegisters(0, 1, 2, 3, 5, 6, 7) });
    assert.deepEqual(found, ['check firmware']);
  }
});

test('a register that differs is named as such, once', async () => {
  assert.deepEqual(await causesOf({ authenticated: withoutRegisters(9) }), ['register 9']);
});

test('an app that differs is named by its parts, once', async () => {
  const changed = bundle.bytes.with(bundle.bytes.length - 5000, 0x20);
  assert.deepEqual(await causesOf({ own: changed }), ['bundle']);
});

const DEMANDS: readonly [string, (value: References) => References, string][] = [
  ['confines its handlers less than is accepted', (value) => ({ ...value, unsafeUnconfined: [] }), 'confinement'],
  ['is of another owner', (value) => ({ ...value, owner: `ed25519:${'A'.repeat(43)}` }), 'owner'],
];
for (const [name, references, check] of DEMANDS) {
  test(`a machine that ${name}`, async () => {
    for (const own of [bundle.bytes, null])
      assert.ok((await causesOf({ own, references })).includes(`check ${check}`), check);
  });
}

test('evidence that nobody vouches for, and what is no machine, end in an error', async () => {
  const anchors = { ...machine.references.anchors, unsafeSwtpmRoots: [] };
  await assert.rejects(inspect(machine.target, { ...machine.references, anchors }), { name: 'EvidenceError' });
  await assert.rejects(inspect('nonsense', machine.references), { name: 'ChannelError' });
  const server = createServer((socket) => socket.resume().end('HTTP/1.1 400 no\r\n\r\n'));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as { port: number };
  await assert.rejects(inspect(`127.0.0.1:${port}`, machine.references), { name: 'ChannelError' });
  await new Promise((closed) => server.close(closed));
  await assert.rejects(inspect(`127.0.0.1:${port}`, machine.references), { name: 'ChannelError' });
});
