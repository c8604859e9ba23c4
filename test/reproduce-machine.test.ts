/** An auditor at a running machine: fresh evidence over a connection that carries no call, held against what was rebuilt. */

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { inspect } from '@enclaim/client';
import { launchCommandLine } from '../attestation/src/measure/index.ts';
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
