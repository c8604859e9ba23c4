/**
 * The index always has room on the disk for its next epoch, whatever callers store and change while
 * it is written: what would take that room is refused as a full store.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { RefusalError } from '../../src/errors.ts';
import type { Change } from '../../src/storage/collection.ts';
import { Transaction } from '../../src/storage/transaction.ts';
import { jsonText } from '../../src/worker/json-text.ts';
import { entry, FakeDisk } from '../log/support.ts';
import { MIB, put, Rig } from './support.ts';

/** Changes of one call. */
const AT_ONCE = 50;

const isFull = (error: unknown): boolean =>
  error instanceof RefusalError && error.code === 'budget' && /no room in collection/.test(error.message);

/** Makes a call. Whether there was room. */
async function fits(rig: Rig, changes: readonly Change[]): Promise<boolean> {
  try {
    await rig.call(changes);
    return true;
  } catch (error) {
    if (!isFull(error)) throw error;
    return false;
  }
}

const ROOMY = { collections: { cases: Number.POSITIVE_INFINITY } };

/** Stores values until there is no room for one more. */
async function filled(rig: Rig, keyOf: (i: number) => string): Promise<string[]> {
  const keys: string[] = [];
  for (let size = AT_ONCE; size > 0; size = Math.floor(size / 2))
    while (true) {
      const more = Array.from({ length: size }, (_, i) => keyOf(keys.length + i));
      if (
        !(await fits(
          rig,
          more.map((key) => put(key, 1)),
        ))
      )
        break;
      keys.push(...more);
    }
  return keys;
}

const KEYS: Readonly<Record<string, (i: number) => string>> = {
  short: (i) => `${i}`,
  long: (i) => `${i}`.padStart(250, 'x'),
  'of three bytes a character': (i) => `${i}`.padStart(120, '\u20ac'),
};

for (const [name, keyOf] of Object.entries(KEYS)) {
  test(`a store full of ${name} keys begins its next epoch while all of it is changed, deleted and marked`, async () => {
    const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB), ...ROOMY });
    const keys = await filled(rig, keyOf);
    assert.ok(keys.length > AT_ONCE, `${keys.length} keys`);
    await rig.store.advance();
    const rounds: readonly ((key: string) => Change)[] = [
      (key) => put(key, 2),
      (key) => ({ kind: 'mark-put', key, label: ['more'], since: Number.POSITIVE_INFINITY, owner: 'a' }),
      (key) => ({ kind: 'delete', key, label: ['less'] }),
    ];
    for (const change of rounds) {
      const { epoch } = rig.store;
      let isOver = false;
      const advanced = rig.store.advance().finally(() => {
        isOver = true;
      });
      advanced.catch(() => {});
      const waiting: Promise<unknown>[] = [];
      for (let from = 0; from < keys.length && !isOver; from += AT_ONCE) {
        waiting.push(fits(rig, keys.slice(from, from + AT_ONCE).map(change)), fits(rig, [put(`new ${from}`, 1)]));
        if (from % (20 * AT_ONCE) === 0) await turn();
      }
      assert.equal(await advanced, epoch + 1);
      await Promise.all(waiting);
    }
    const { places } = rig.store;
    assert.equal((await rig.again(ROOMY)).store.places, places);
  });
}

test('labels and owners of many kinds take room of the index, too', async () => {
  const rig = await Rig.boot({ disk: new FakeDisk(16 * MIB), ...ROOMY });
  for (let i = 0; ; i++) {
    const more = { label: [`${i}`.padStart(20_000, 'l')], owner: `${i}`.padStart(5000, 'o') };
    if (!(await fits(rig, [put(`${i}`, 1, more)]))) break;
  }
  assert.equal(await rig.store.advance(), 2);
  assert.equal((await rig.again(ROOMY)).store.epoch, 3);
});

test('a call that changes many collections takes no more room than there is for all of them', async () => {
  const names = Array.from({ length: 20 }, (_, i) => `notes${i}`);
  const collections = Object.fromEntries(names.map((name) => [name, Number.POSITIVE_INFINITY]));
  const rig = await Rig.boot({ disk: new FakeDisk(2 * MIB), collections });
  const room = { value: jsonText(1), since: Number.POSITIVE_INFINITY, owner: 'a' };
  for (let i = 0; ; i++) {
    const all = new Transaction(rig.store.collections);
    for (const name of names)
      for (let at = 0; at < 6; at++) all.put(name, `${i} ${at}`.padStart(250, 'x'), room, undefined);
    try {
      all.check([]);
    } catch (error) {
      if (isFull(error)) break;
      throw error;
    }
    const { durable } = rig.log.place(entry('call'));
    all.apply([]);
    await durable;
  }
  assert.equal(await rig.store.advance(), 2);
});

test('callers who fill a store leave room for the secrets and the succession of its owner', async () => {
  const names = ['cases', '$secrets', '$succession'];
  const collections = Object.fromEntries(names.map((name) => [name, Number.POSITIVE_INFINITY]));
  for (const size of [MIB, 8 * MIB]) {
    const rig = await Rig.boot({ disk: new FakeDisk(size), collections });
    await filled(rig, (i) => `${i}`.padStart(250, 'x'));
    assert.equal(await fits(rig, [put('one more'.padEnd(250, 'x'), 1)]), false);
    for (let i = 0; i < 4; i++)
      await rig.call([put(`${i}`.padEnd(200, 'x'), 'a secret', { owner: 'owner' })], '$secrets');
    await rig.call([put('waiting', 'x'.repeat(2000), { owner: 'owner' })], '$succession');
    assert.equal(await rig.store.advance(), 2);
    const again = await rig.again({ collections });
    assert.equal(again.store.places, rig.store.places);
  }
});

test('room is counted once where another collection sweeps what a call is about to replace', async () => {
  const room = { collection: 60_000, identity: 30_000 };
  const retention = 10_000;
  const collections = { cases: retention, other: retention };
  const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB), room, collections });
  const [cases, other] = [rig.cases, rig.collection('other')];
  const text = 'x'.repeat(8000);
  const ending = { since: rig.clock.now() - retention + 10 };
  await rig.call(
    [0, 1, 2].map((i) => put(`full ${i}`, text, { owner: 'two' })),
    'other',
  );
  await rig.call([put('ended', text.slice(0, 1000), { owner: 'two', ...ending })], 'other');
  await rig.call([put('live 1', text, { owner: 'one' }), put('live 2', text, { owner: 'one' })]);
  await rig.call([put('again', text, { owner: 'one', ...ending })]);
  rig.clock.pass(10);
  // Both have ended, and nothing has swept them: the second check does, behind the first.
  const again = [put('again', text, { owner: 'one' })];
  cases.check(again);
  other.check([put('more', text.slice(0, 2500), { owner: 'two' })]);
  const { durable } = rig.log.place(entry('call'));
  cases.apply(again);
  other.letGo();
  await durable;
  let refused = 0;
  const store = async (i: number): Promise<unknown> => rig.call([put(`next ${i}`, text, { owner: 'one' })]);
  for (let i = 0; i < 9; i++) await store(i).catch(() => refused++);
  assert.ok(refused > 0);
  const { keys } = cases.list({ prefix: '', after: '', limit: 99 });
  const values = await Promise.all(keys.map((key) => cases.get(key)?.value));
  const held = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
  assert.ok(held <= room.identity, `${held} bytes of one identity`);
});
