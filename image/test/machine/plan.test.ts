/** A machine is planned from whole files that are there, and from nothing else. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { type MachineWish, planMachine } from '../../src/machine/plan.ts';

const POLICY = Buffer.from('{"enclaim":1}');
const BUNDLE = encodeBundle({ policy: POLICY, descriptors: new Uint8Array(), handlers: new Uint8Array() });
const place = { runFolder: '/run/x', stateFolder: '/state', port: 1 };

let folder: string;
let wish: MachineWish;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-plan-'));
  wish = { app: join(folder, 'app'), boot: { kind: 'uki', uki: join(folder, 'uki') }, commandLine: 'quiet' };
  await writeFile(wish.app, BUNDLE);
  await writeFile(join(folder, 'uki'), '');
});
after(() => rm(folder, { recursive: true }));

test("the bundle's policy is what is measured, in each form that a platform takes", async () => {
  const { commandLine, policySha256, policySha384 } = await planMachine(wish, place);
  const sha384 = createHash('sha384').update(POLICY).digest();
  assert.equal(commandLine, `quiet enclaim.policy=sha384:${sha384.toString('hex')}`);
  assert.deepEqual(Buffer.from(policySha384), sha384);
  assert.deepEqual(Buffer.from(policySha256), createHash('sha256').update(POLICY).digest());
});

test('another policy can be stated, for the guest to judge', async () => {
  const policy = `sha384:${'ab'.repeat(48)}` as const;
  const { commandLine } = await planMachine({ ...wish, policy }, place);
  assert.equal(commandLine, `quiet enclaim.policy=${policy}`);
  const injection = `sha384:${'ab'.repeat(48)} init=/x` as const;
  await assert.rejects(planMachine({ ...wish, policy: injection }, place), { code: 'unsupported' });
});

test('a bundle cut at any length is refused', async () => {
  const app = join(folder, 'cut');
  for (let length = 0; length < BUNDLE.length; length += length < 100 ? 1 : 509) {
    await writeFile(app, BUNDLE.subarray(0, length));
    await assert.rejects(planMachine({ ...wish, app }, place), { name: 'MachineError', code: 'bundle-invalid' });
  }
});

test('a file larger than any bundle is not read', async () => {
  const app = join(folder, 'large');
  await writeFile(app, '');
  await truncate(app, 2 ** 40);
  await assert.rejects(planMachine({ ...wish, app }, place), { code: 'bundle-invalid' });
});

test('a file that is not there is named', async () => {
  const absent = join(folder, 'absent');
  const missing = { name: 'MachineError', code: 'disk-missing', message: new RegExp(absent) };
  await assert.rejects(planMachine({ ...wish, app: absent }, place), missing);
  await assert.rejects(planMachine({ ...wish, boot: { kind: 'uki', uki: absent } }, place), missing);
});

test('a disk holds everything: nothing else is attached, and no command line is passed', async () => {
  const disk = join(folder, 'uki');
  const boot = { kind: 'disk', disk, format: 'raw', controller: 'nvme' } as const;
  const plan = await planMachine({ boot }, place);
  assert.deepEqual([plan.boot, plan.commandLine, plan.app, plan.state], [boot, null, null, null]);
  const absent = { ...boot, disk: join(folder, 'absent') };
  await assert.rejects(planMachine({ boot: absent }, place), { code: 'disk-missing' });
});
