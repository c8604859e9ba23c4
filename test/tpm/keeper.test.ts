/**
 * A TPM hands a state's key out to the software that sealed it, at its epoch alone; a key never
 * crosses to it in the clear.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestText, sha256, sha384 } from '../../attestation/src/digest.ts';
import { HIERARCHY, pcrDigest, type TpmPublic } from '../../attestation/src/tpm/index.ts';
import { parseCommandLine } from '../../guest/src/linux/index.ts';
import { openTpmPlatform } from '../../guest/src/platform/tpm.ts';
import { openAttester } from '../../guest/src/tpm/attester.ts';
import { CREATE, LOAD, NV_INCREMENT, NV_UNDEFINE_SPACE, UNSEAL } from '../../guest/src/tpm/commands.ts';
import { KEEPER_INDICES, KEEPER_SELECTION } from '../../guest/src/tpm/epoch-counter.ts';
import { TpmError } from '../../guest/src/tpm/error.ts';
import { TpmKeeper } from '../../guest/src/tpm/keeper.ts';
import { NvCounter } from '../../guest/src/tpm/nv.ts';
import { pcrPolicy } from '../../guest/src/tpm/policy.ts';
import { createPrimary, SRK_TEMPLATE } from '../../guest/src/tpm/primary.ts';
import { extendPcr, readPcrs } from '../../guest/src/tpm/registers.ts';
import { seal, unseal } from '../../guest/src/tpm/sealing.ts';
import { Tpm } from '../../guest/src/tpm/tpm.ts';
import { booted, demandOf, epochOf, machine, OURS, reopened } from '../support/keeper-boots.ts';

test('epochs count from 1, and a key opens in its own epoch alone', async (t) => {
  const { tpm } = await booted(t, await machine(t));
  const keeper = await TpmKeeper.open(tpm);
  assert.deepEqual([await keeper.epoch(), keeper.begun], [0, null]);
  const key = randomBytes(32);
  const blob = await keeper.seal(key, 1);
  assert.equal(await keeper.epoch(), 0);
  await assert.rejects(keeper.open(blob), { code: 'policy-fail' }, 'not before its epoch');
  assert.equal(await keeper.advance(), 1);
  assert.deepEqual(keeper.begun, { keeper: 'tpm', epoch: 1, began: 'new' });
  assert.deepEqual(Buffer.from(await keeper.open(blob)), key);
  const next = await epochOf(keeper);
  assert.equal(next.epoch, 2);
  assert.deepEqual(Buffer.from(await keeper.open(next.blob)), next.key);
  await assert.rejects(keeper.open(blob), { code: 'policy-fail' }, 'never after it');
  assert.deepEqual(keeper.begun, { keeper: 'tpm', epoch: 1, began: 'new' }, 'of this boot, the first');
});

test('a platform with a TPM answers for its keeper once the policy is measured, and not before', async (t) => {
  const swtpm = await machine(t);
  const attester = await openAttester(await swtpm.connect());
  const { measure, keeper } = openTpmPlatform(attester, parseCommandLine('quiet'));
  if (keeper === undefined) assert.fail();
  const early = [keeper.epoch(), keeper.seal(randomBytes(32), 1), keeper.open(randomBytes(64)), keeper.advance()];
  for (const asked of early)
    await assert.rejects(asked, { code: 'unusable', message: /before the policy is measured/ });
  const digest = digestText('sha384', sha384(OURS));
  await measure({ policy: OURS, policyDigest: digest, digest });
  assert.deepEqual([await keeper.epoch(), keeper.begun()], [0, null]);
  await keeper.seal(randomBytes(32), 1);
  assert.equal(await keeper.advance(), 1);
  assert.deepEqual(keeper.begun(), { keeper: 'tpm', epoch: 1, began: 'new' });
  await attester.close();
});

test('the next boot goes on with the epoch, and other registers have epochs of their own', async (t) => {
  const swtpm = await machine(t);
  const first = await booted(t, swtpm);
  const { blob, key } = await epochOf(await TpmKeeper.open(first.tpm));
  await first.tpm.close();
  await swtpm.powerCycle();
  const other = await booted(t, swtpm, sha256(Buffer.from('another policy')));
  const theirs = await TpmKeeper.open(other.tpm);
  assert.equal(await theirs.epoch(), 0);
  const stolen = await epochOf(theirs);
  assert.equal(stolen.epoch, 1);
  await assert.rejects(theirs.open(blob), { code: 'provenance' });
  await other.tpm.close();
  await swtpm.powerCycle();
  const { tpm } = await booted(t, swtpm);
  const keeper = await TpmKeeper.open(tpm);
  assert.equal(await keeper.epoch(), 1);
  assert.deepEqual(Buffer.from(await keeper.open(blob)), key);
  await assert.rejects(keeper.open(stolen.blob), { code: 'provenance' });
  assert.equal((await epochOf(keeper)).epoch, 2);
  assert.deepEqual(keeper.begun, { keeper: 'tpm', epoch: 2, began: 'kept' });
});

test('after a refusal was measured nothing opens, and the counter stands still', async (t) => {
  const { tpm } = await booted(t, await machine(t));
  const keeper = await TpmKeeper.open(tpm);
  const { blob } = await epochOf(keeper);
  await keeper.seal(randomBytes(32), 2);
  await extendPcr(tpm, 15, [{ bank: 'sha256', digest: sha256(Buffer.from('refused')) }]);
  await assert.rejects(keeper.open(blob), { code: 'policy-fail' });
  await assert.rejects(keeper.advance(), { code: 'policy-fail' });
  assert.equal(await keeper.epoch(), 1);
});

test('a key that other software sealed for us, to our registers and our next epoch, is refused', async (t) => {
  const swtpm = await machine(t);
  const first = await booted(t, swtpm);
  await epochOf(await TpmKeeper.open(first.tpm));
  const banks = await readPcrs(first.tpm, KEEPER_SELECTION);
  await first.tpm.close();
  await swtpm.powerCycle();
  const { tpm } = await booted(t, swtpm, sha256(Buffer.from('the attacker')));
  // What the attacker needs is public: the counter's definition, its value, our registers.
  const { index, name, value } = await demandOf(tpm, banks);
  const key = randomBytes(32);
  const planted = await seal(tpm, key, KEEPER_SELECTION, banks, { index, name, value });
  const theirs = await readPcrs(tpm, KEEPER_SELECTION);
  await tpm.close();
  await swtpm.powerCycle();
  const ours = await booted(t, swtpm);
  // The control: whoever takes any provenance gets the attacker's key.
  const demand = await demandOf(ours.tpm, banks);
  assert.deepEqual(Buffer.from(await unseal(ours.tpm, planted, KEEPER_SELECTION, theirs, demand)), key);
  await assert.rejects((await TpmKeeper.open(ours.tpm)).open(planted), { code: 'provenance' });
});

test('software under other registers cannot increment the counter; its owner can remove it', async (t) => {
  const swtpm = await machine(t);
  const first = await booted(t, swtpm);
  const { blob } = await epochOf(await TpmKeeper.open(first.tpm));
  const ours = await readPcrs(first.tpm, KEEPER_SELECTION);
  await first.tpm.close();
  await swtpm.powerCycle();
  const { tpm } = await booted(t, swtpm, sha256(Buffer.from('another policy')));
  const { counter, index, value } = await demandOf(tpm, ours);
  await assert.rejects(tpm.run(NV_INCREMENT, { by: index, index }), { code: 'auth-unavailable' });
  await assert.rejects(tpm.run(NV_INCREMENT, { by: HIERARCHY.owner, index }), { code: 'nv-authorization' });
  await assert.rejects(counter.increment(), { code: 'policy-fail' });
  assert.equal(await counter.read(), value);
  // The owner's password is empty. What was kept stays shut for good, which is all that this does.
  for (const at of [index, index + 1]) await tpm.run(NV_UNDEFINE_SPACE, { hierarchy: HIERARCHY.owner, index: at });
  await tpm.close();
  await swtpm.powerCycle();
  const again = await booted(t, swtpm);
  const keeper = await TpmKeeper.open(again.tpm);
  assert.equal(await keeper.epoch(), 0);
  await assert.rejects(keeper.open(blob), { code: 'unusable' });
  assert.equal((await epochOf(keeper)).epoch, 1);
  const anew = await demandOf(again.tpm, ours);
  assert.ok(anew.value > value, 'a counter that is made anew begins above');
  assert.deepEqual(keeper.begun, { keeper: 'tpm', epoch: 1, began: 'new' });
  await assert.rejects(keeper.open(blob), { code: 'policy-fail' });
});

test('a boot that has had the key of an epoch does not begin anew, whoever removes the counter', async (t) => {
  const swtpm = await machine(t);
  const before = await booted(t, swtpm);
  const { blob } = await epochOf(await TpmKeeper.open(before.tpm));
  await before.tpm.close();
  const { tpm } = await reopened(t, swtpm);
  const keeper = await TpmKeeper.open(tpm);
  await keeper.open(blob);
  const { first } = KEEPER_INDICES;
  for (const index of [first, first + 1]) await tpm.run(NV_UNDEFINE_SPACE, { hierarchy: HIERARCHY.owner, index });
  const gone = { code: 'unusable', message: /epoch 0, where this boot has seen 1/ };
  await assert.rejects(keeper.epoch(), gone);
  await assert.rejects(keeper.seal(randomBytes(32), 1), gone);
  await assert.rejects(keeper.advance(), RangeError);
  assert.equal(keeper.begun, null, 'no word of a new beginning');
});

test('a counter that is made anew beside its old beginning is refused, and so is one of another kind', async (t) => {
  const { tpm } = await booted(t, await machine(t));
  const keeper = await TpmKeeper.open(tpm);
  await epochOf(keeper);
  const { counter } = await demandOf(tpm, await readPcrs(tpm, KEEPER_SELECTION));
  await counter.remove();
  await counter.define();
  await assert.rejects(keeper.epoch(), { code: 'unusable' });
  await counter.remove();
  // Everybody may increment this one. It is not ours, and the next place is taken.
  await (await NvCounter.open(tpm, KEEPER_INDICES.first)).increment();
  const next = await TpmKeeper.open(tpm);
  assert.equal(await next.epoch(), 0);
  assert.equal((await epochOf(next)).epoch, 1);
});

test('a second counter for the same registers is refused: a host could exchange the states of both', async (t) => {
  const { tpm } = await booted(t, await machine(t));
  const keeper = await TpmKeeper.open(tpm);
  const { blob, key } = await epochOf(keeper);
  const banks = await readPcrs(tpm, KEEPER_SELECTION);
  const policy = pcrPolicy('sha256', KEEPER_SELECTION, pcrDigest('sha256', KEEPER_SELECTION, banks) ?? assert.fail());
  const second = new NvCounter(tpm, KEEPER_INDICES.first + 2, { selection: KEEPER_SELECTION, policy });
  await second.define();
  for (const asked of [keeper.epoch(), keeper.open(blob), keeper.seal(key, 2)])
    await assert.rejects(asked, { code: 'unusable', message: /two counters/ });
  await second.remove();
  assert.deepEqual(Buffer.from(await keeper.open(blob)), key);
});

test('a TPM that was cleared has kept nothing, and opens nothing', async (t) => {
  const swtpm = await machine(t);
  const first = await booted(t, swtpm);
  const kept = await epochOf(await TpmKeeper.open(first.tpm));
  const banks = await readPcrs(first.tpm, KEEPER_SELECTION);
  const before = await demandOf(first.tpm, banks);
  await first.tpm.close();
  await swtpm.tool('tpm2_clear');
  const { tpm } = await reopened(t, swtpm);
  const keeper = await TpmKeeper.open(tpm);
  assert.equal(await keeper.epoch(), 0);
  assert.equal((await epochOf(keeper)).epoch, 1);
  await assert.rejects(keeper.open(kept.blob), { code: 'integrity' });
  assert.ok((await demandOf(tpm, banks)).value > before.value);
});

test('eight systems have counters of their own, and the ninth is told who is in its way', async (t) => {
  const { tpm } = await booted(t, await machine(t));
  for (let system = 0; system < KEEPER_INDICES.systems; system++) {
    assert.equal((await epochOf(await TpmKeeper.open(tpm))).epoch, 1);
    await extendPcr(tpm, 13, [{ bank: 'sha256', digest: OURS }]);
  }
  const ninth = await TpmKeeper.open(tpm);
  assert.equal(await ninth.epoch(), 0);
  await assert.rejects(ninth.seal(randomBytes(32), 1), /other systems have the NV indices 0x1804e00 to 0x1804e0f/);
});

test('a runtime gets an epoch for each key it sealed, and no more than one a minute', async (t) => {
  const { tpm } = await booted(t, await machine(t));
  let now = 1000;
  const keeper = await TpmKeeper.open(tpm, () => now);
  await assert.rejects(keeper.advance(), /no key is sealed/);
  for (const epoch of [0, 2, 1.5]) await assert.rejects(keeper.seal(randomBytes(32), epoch), RangeError);
  for (const length of [0, 63, 2049]) await assert.rejects(keeper.open(new Uint8Array(length)), Error);
  for (const length of [0, 31, 33]) await assert.rejects(keeper.seal(randomBytes(length), 1), RangeError);
  for (let epoch = 1; epoch <= 16; epoch++) assert.equal((await epochOf(keeper)).epoch, epoch);
  await assert.rejects(keeper.advance(), /no key is sealed/);
  await assert.rejects(epochOf(keeper), /one a minute/);
  now += 60_000;
  assert.equal((await epochOf(keeper)).epoch, 17);
  await assert.rejects(epochOf(keeper), /one a minute/);
  // What was not asked for in a month is not saved up.
  now += 30 * 24 * 60 * 60_000;
  for (let i = 0; i < 16; i++) await epochOf(keeper);
  await assert.rejects(epochOf(keeper), /one a minute/);
});

test('no key crosses to the TPM or back in the clear', async (t) => {
  const { tpm, wire } = await booted(t, await machine(t));
  const keeper = await TpmKeeper.open(tpm);
  const { key, blob } = await epochOf(keeper);
  assert.deepEqual(Buffer.from(await keeper.open(blob)), key);
  assert.ok(wire.length > 20);
  assert.deepEqual(
    wire.filter((bytes) => bytes.includes(key)),
    [],
  );
  // The control: without a salted session a key is there to be read.
  const { handle: parent } = await createPrimary(tpm, 'owner', SRK_TEMPLATE);
  const publicArea: TpmPublic = {
    type: 'keyedhash',
    nameAlg: 'sha256',
    attributes: ['fixedTPM', 'fixedParent', 'userWithAuth', 'noDA'],
    authPolicy: new Uint8Array(),
    scheme: 'none',
    unique: new Uint8Array(),
  };
  await tpm.using(parent, async () => {
    const sensitive = { userAuth: new Uint8Array(), data: key };
    const created = await tpm.run(CREATE, { parent, sensitive, publicArea, creationPcrs: [] });
    const { handle } = await tpm.run(LOAD, { parent, ...created });
    await tpm.using(handle, (item) => tpm.run(UNSEAL, { item }));
  });
  assert.equal(wire.filter((bytes) => bytes.includes(key)).length, 2, 'the command, and the answer');
});

test('who changes what crosses gets no key and gives none', async (t) => {
  const swtpm = await machine(t);
  const { send, close } = await swtpm.connect();
  let flip: number | null = null;
  const change = (bytes: Uint8Array): Uint8Array =>
    flip === null ? bytes : bytes.with(bytes.length - 1 - flip, (bytes.at(-1 - flip) ?? 0) ^ 1);
  const codeOf = (command: Uint8Array): number => Buffer.from(command).readUInt32BE(6);
  const tpm = new Tpm({
    send: async (command) => {
      const answer = await send(codeOf(command) === CREATE.code ? change(command) : command);
      return codeOf(command) === UNSEAL.code ? change(answer) : answer;
    },
    close,
  });
  t.after(() => tpm.close());
  const keeper = await TpmKeeper.open(tpm);
  const { blob } = await epochOf(keeper);
  for (flip of [0, 20, 40, 60]) {
    await assert.rejects(keeper.open(blob), { code: 'response' }, `byte ${flip} of the answer`);
    await assert.rejects(keeper.seal(randomBytes(32), 2), TpmError, `byte ${flip} of the command`);
  }
});

test('NOT seen: a host that puts the state of the TPM back together with the disk (docs/security/limitations.md)', async (t) => {
  const swtpm = await machine(t);
  const first = await booted(t, swtpm);
  const yesterday = await epochOf(await TpmKeeper.open(first.tpm));
  await first.tpm.close();
  await swtpm.powerCycle((state) => cp(state, join(swtpm.folder, 'yesterday'), { recursive: true }));
  const second = await booted(t, swtpm);
  assert.equal((await epochOf(await TpmKeeper.open(second.tpm))).epoch, 2);
  await second.tpm.close();
  await swtpm.powerCycle(async (state) => {
    await rm(state, { recursive: true });
    await cp(join(swtpm.folder, 'yesterday'), state, { recursive: true });
  });
  const { tpm } = await booted(t, swtpm);
  const keeper = await TpmKeeper.open(tpm);
  assert.equal(await keeper.epoch(), 1);
  assert.deepEqual(Buffer.from(await keeper.open(yesterday.blob)), yesterday.key);
});
