/** Nothing is read after its end, across boots and clocks; a shorter retention holds at once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Change } from '../../src/storage/collection.ts';
import { IndexTable } from '../../src/storage/sealed/index-table.ts';
import { rowName } from '../../src/storage/sealed/row.ts';
import { VolatileCollection } from '../../src/storage/volatile.ts';
import { entry, FakeDisk } from '../log/support.ts';
import { MIB, put, Rig, TestClock } from './support.ts';

test('a value is there before its end and not at it, in this boot and the next', async () => {
  const rig = await Rig.boot({ collections: { cases: 1000 } });
  await rig.call([put('a', 1, { label: ['health'] })]);
  rig.clock.pass(999);
  assert.equal(await rig.cases.get('a')?.value, '1');
  const next = await rig.again();
  assert.equal(await next.cases.get('a')?.value, '1');
  rig.clock.pass(1);
  for (const each of [rig, next, await next.again()]) {
    assert.equal(each.cases.get('a'), undefined);
    assert.deepEqual(each.cases.list({ prefix: '', after: '', limit: 9 }), { keys: [], label: [] });
  }
});

test('a clock that was set back does not bring back what an epoch or a call saw end', async () => {
  const rig = await Rig.boot({ collections: { cases: 1000 } });
  await rig.call([put('a', 1)]);
  rig.clock.pass(1500);
  await rig.call([put('b', 2)]);
  const back = await rig.again({ clock: new TestClock(rig.clock.now() - 365 * 86_400_000) });
  assert.equal(back.cases.get('a'), undefined);
  assert.equal(await back.cases.get('b')?.value, '2');
  assert(back.clock.now() >= rig.clock.now());
});

test('a shorter retention ends stored places at once, a longer one leaves them', async () => {
  const rig = await Rig.boot({ collections: { cases: 10_000, other: 10_000 } });
  await rig.call([put('a', 1), put('gone', 1)]);
  await rig.call([put('a', 1)], 'other');
  await rig.call([{ kind: 'delete', key: 'gone', label: ['health'] }]);
  rig.clock.pass(600);
  const shorter = await rig.again({ collections: { cases: 1000, other: 99_000 } });
  shorter.clock.pass(400);
  assert.equal(shorter.cases.get('a')?.value, undefined);
  assert.equal(await shorter.collection('other').get('a')?.value, '1');
  assert.deepEqual(shorter.cases.get('gone')?.label, ['health']);
  shorter.clock.pass(9000);
  assert.equal(shorter.cases.get('gone'), undefined);
  assert.equal(shorter.collection('other').get('a'), undefined);
});

test('a collection without an end keeps its values, and one that the policy left out comes back', async () => {
  const rig = await Rig.boot({ collections: { cases: Number.POSITIVE_INFINITY } });
  await rig.call([put('a', 1)]);
  const without = await rig.again({ collections: { other: 1000 } });
  assert.equal(without.store.collections.get('cases'), undefined);
  without.clock.pass(1e12);
  const next = await without.again({ collections: { cases: Number.POSITIVE_INFINITY } });
  assert.equal(await next.cases.get('a')?.value, '1');
});

test('room is counted by collection and identity, over boots, and comes back with what ends', async () => {
  const room = { collection: 10_000, identity: 4000 };
  const options = { disk: new FakeDisk(2 * MIB), room, collections: { cases: 1000 } };
  const rig = await Rig.boot(options);
  await rig.call([put('a', 'x'.repeat(2000), { owner: 'one' })]);
  const next = await rig.again({ room });
  for (const each of [rig, next]) {
    assert.throws(() => each.cases.check([put('b', 'x'.repeat(2000), { owner: 'one' })]), {
      code: 'budget',
      final: true,
    });
    each.cases.check([put('a', 'x'.repeat(2500), { owner: 'one' })]);
  }
  for (const owner of ['two', 'three']) await next.call([put(owner, 'x'.repeat(2000), { owner })]);
  assert.throws(() => next.cases.check([put('four', 'x'.repeat(3000), { owner: 'four' })]), { code: 'budget' });
  next.clock.pass(1000);
  await next.call([put('four', 'x'.repeat(3000), { owner: 'four' })]);
  assert.equal(next.store.places, 1);
});

test('what was deleted or has ended is wiped from the index', async () => {
  const rig = await Rig.boot({ collections: { cases: 1000 } });
  await rig.call(Array.from({ length: 50 }, (_, i) => put(`marked-${i}`, i)));
  assert.equal(rig.store.places, 50);
  rig.clock.pass(1000);
  await rig.call([put('last', 'x')]);
  assert.throws(() => rig.cases.check([put('big', 'x', { owner: 'big', ifVersion: 'ff'.repeat(8) })]), {
    code: 'conflict',
  });
  const next = await rig.again();
  assert.deepEqual(next.cases.list({ prefix: '', after: '', limit: 9 }).keys, ['last']);
});

/** A clock that goes on by a millisecond whenever it is read. */
class RestlessClock extends TestClock {
  readings = 0;

  override now(): number {
    this.readings++;
    this.pass(1);
    return super.now();
  }
}

test('the check of a call, the room that it sweeps and what it makes are of one instant', async () => {
  const clock = new RestlessClock();
  const rig = await Rig.boot({ clock, room: { collection: 4000, identity: 4000 } });
  const volatile = new VolatileCollection('cases', 1000, {
    now: () => clock.now(),
    room: { collection: 4000, identity: 4000 },
  });
  for (const cases of [rig.cases, volatile]) {
    const call = async (changes: readonly Change[]): Promise<void> => {
      cases.check(changes);
      const { durable } = rig.log.place(entry('call'));
      cases.apply(changes);
      await durable;
    };
    const first = put('a', 1);
    await call([first]);
    await call([put('b', 'x'.repeat(1000))]);
    for (const ifVersion of [undefined, first.version]) {
      const { readings } = clock;
      await call([put('a', 1, { version: first.version, ...(ifVersion !== undefined && { ifVersion }) })]);
      assert.equal(clock.readings, readings + 1);
    }
    // Without room it sweeps, and looks again.
    const { readings } = clock;
    assert.throws(() => cases.check([put('c', 'x'.repeat(2000))]), { code: 'budget' });
    assert.equal(clock.readings, readings + 1);
  }
});

test('what has ended is found wherever it lies, also in an index that was read again', () => {
  const table = new IndexTable(MIB);
  const ends = [500, 100, 400, 200, 300, Number.POSITIVE_INFINITY];
  for (const [i, end] of ends.entries()) {
    const place = { value: undefined, version: undefined, since: 0, label: [], owner: 'a' };
    table.set(rowName(0, `${i}`), { ...place, valueEnd: end, placeEnd: end });
  }
  const found = (of: IndexTable, now: number, limit: number): number[] =>
    of.due(now, limit).map(({ place }) => place.placeEnd);
  assert.deepEqual(
    [found(table, 350, 2), found(table, 350, 9), found(table, 99, 9), table.nextDue()],
    [[100, 200], [100, 200, 300], [], 100],
  );
  const again = new IndexTable(MIB);
  again.codec.labels = table.codec.labels;
  again.codec.owners = table.codec.owners;
  for (let page = table.behind(); page !== undefined; page = table.behind(page.last))
    again.load(Buffer.from(page.rows));
  assert.deepEqual(found(again, 450, 9), [100, 400, 200, 300]);
  for (const each of [table, again]) {
    each.remove(rowName(0, '1'));
    // Until the next look, an instant before the next end is good enough.
    assert.deepEqual([found(each, 150, 9), each.nextDue()], [[], 200]);
  }
});
