/** Secrets that an owner brought are there after the next boot, on no disk in the clear, and gone once they were withdrawn. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromUtf8, toBase64, utf8 } from '@enclaim/attestation/bytes';
import { SealedVault, VAULT_COLLECTION } from '../../src/egress/sealed-vault.ts';
import { entry } from '../log/support.ts';
import { Rig } from './support.ts';

const TOKEN = 'a-token-that-no-disk-may-show';
const NAMES = ['mailer-token', 'model-token'];
const collections = { [VAULT_COLLECTION]: Number.POSITIVE_INFINITY };

function vaultOf({ store, clock }: Rig): Promise<SealedVault> {
  const collection = store.collections.get(VAULT_COLLECTION) ?? assert.fail();
  return SealedVault.open(collection, { names: NAMES, now: () => clock.now() });
}

const recording =
  ({ log }: Rig, change: string): (() => Promise<unknown>) =>
  () =>
    log.place(entry(change), 'runtime').durable;

const textOf = (value: Uint8Array | undefined): string | undefined => value && fromUtf8(value);

test('a secret is kept over boots with the time at which it came, until it is withdrawn', async () => {
  const first = await Rig.boot({ collections });
  const vault = await vaultOf(first);
  assert.equal(vault.get('mailer-token'), undefined);
  const came = first.clock.now();
  await vault.put('mailer-token', utf8(TOKEN), recording(first, 'put mailer-token'));
  await vault.put('model-token', utf8(`${TOKEN}-2`), recording(first, 'put model-token'));
  first.clock.pass(60_000);

  const second = await first.again({ collections });
  const kept = await vaultOf(second);
  assert.deepEqual([textOf(kept.get('mailer-token')), kept.since('mailer-token')], [TOKEN, came]);
  await kept.remove('mailer-token', recording(second, 'withdrawn mailer-token'));
  await kept.put('model-token', utf8(`${TOKEN}-3`), recording(second, 'rotated model-token'));
  assert.equal(kept.get('mailer-token'), undefined);

  const third = await second.again({ collections });
  const left = await vaultOf(third);
  assert.deepEqual([left.get('mailer-token'), left.since('mailer-token')], [undefined, undefined]);
  assert.equal(textOf(left.get('model-token')), `${TOKEN}-3`);
  const disk = third.disk.bytes;
  assert.ok(disk.includes('rotated model-token'), 'its record is there');
  for (const shown of [TOKEN, toBase64(utf8(TOKEN)).slice(0, 20)]) assert.ok(!disk.includes(shown), shown);
  await third.store.close();
});

test('a secret that the log takes no record of is not kept', async () => {
  const rig = await Rig.boot({ collections });
  const vault = await vaultOf(rig);
  const full = (): never => {
    throw new Error('no room');
  };
  const collection = rig.collection(VAULT_COLLECTION);
  const letGo = collection.letGo.bind(collection);
  let gone = 0;
  collection.letGo = () => {
    gone++;
    letGo();
  };
  await assert.rejects(vault.put('mailer-token', utf8(TOKEN), full), /no room/);
  assert.equal(gone, 1, 'the room that it asked for is let go of');
  assert.equal(vault.get('mailer-token'), undefined);
  const next = await vaultOf(await rig.again({ collections }));
  assert.equal(next.get('mailer-token'), undefined);
});
