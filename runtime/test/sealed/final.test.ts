/** The word of an epoch covers what was deleted and what had ended when it began, and nothing that its index still has. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeKeeper } from '../../../test/fakes/keeper.ts';
import { FakeDisk } from '../log/support.ts';
import { MIB, put, Rig, TestClock } from './support.ts';

const SECOND = 1000;

test('an epoch covers the records before it, and no later one', async () => {
  const rig = await Rig.boot();
  assert.deepEqual([rig.store.final.epoch, rig.store.final.records], [1, rig.log.durable.size]);
  await rig.call([put('a', 1)]);
  await rig.call([{ kind: 'delete', key: 'a', label: [] }]);
  const { size } = rig.log.durable;
  assert.ok(rig.store.final.records < size);
  await rig.store.advance();
  assert.deepEqual([rig.store.final.epoch, rig.store.final.records], [2, size]);
  await rig.call([put('b', 1)]);
  assert.ok(rig.store.final.records < rig.log.durable.size);
  const next = await rig.again();
  assert.deepEqual([next.store.final.epoch, next.store.final.records], [3, next.log.durable.size]);
});

test('the instant is that of the epoch where all that had ended is gone, however much that was', async () => {
  const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB), collections: { cases: 10 * SECOND, other: 100 * SECOND } });
  for (let i = 0; i < 2000; i += 100) await rig.call(Array.from({ length: 100 }, (_, k) => put(`${i + k}`, i)));
  await rig.call([put('long', 1)], 'other');
  rig.clock.pass(10 * SECOND);
  const { size } = rig.log.durable;
  await rig.store.advance();
  assert.equal(rig.store.final.until, Math.floor(rig.clock.now() / SECOND) * SECOND);
  assert.equal(rig.log.durable.size, size, 'a sweep has no records');
  assert.equal(rig.store.places, 1);
});

test('an end that came while the epoch began is covered by the next one', async () => {
  const clock = new TestClock();
  let slow = 0;
  const keeper = new FakeKeeper({ before: (step) => void (step === 'seal' && clock.pass(slow)) });
  const rig = await Rig.boot({ clock, keeper, collections: { cases: 10 * SECOND } });
  await rig.call([put('a', 1)]);
  const end = clock.now() + 10 * SECOND;
  slow = 10 * SECOND;
  await rig.store.advance();
  assert.ok(clock.now() >= end);
  assert.ok(rig.store.final.until < end);
  slow = 0;
  await rig.store.advance();
  assert.ok(rig.store.final.until >= end);
});

test('a value that waits for its block while an epoch begins, and ends meanwhile, is not covered', async () => {
  const rig = await Rig.boot({ collections: { cases: 10 * SECOND } });
  rig.clock.pass(20 * SECOND - 1);
  const end = rig.clock.now() + 1;
  const between = rig.log.between.bind(rig.log);
  let late: Promise<unknown> = Promise.resolve();
  rig.log.between = (task) => {
    const done = between(() => {
      rig.clock.pass(1);
      return task();
    });
    // Behind the end of the epoch before, so that its key is in a block of the new one.
    late = rig.call([put('late', 1, { since: end - 10 * SECOND })]);
    return done;
  };
  await rig.store.advance();
  rig.log.between = between;
  await late;
  assert.equal(rig.store.places, 1, 'it is in the index of the new epoch');
  assert.ok(rig.store.final.until < end);
  rig.clock.pass(SECOND);
  await rig.store.advance();
  assert.ok(rig.store.final.until >= end);
});

test('a deletion behind the rows of an epoch is not covered: its key was perhaps among them', async () => {
  const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB), collections: { cases: 10 * SECOND } });
  await rig.call([put('deleted', 1)]);
  await rig.call([put('ending', 1, { since: rig.clock.now() - 9 * SECOND })]);
  const between = rig.log.between.bind(rig.log);
  const index = rig.log.durable.size;
  rig.log.between = (task) => {
    rig.log.between = between;
    void rig.call([{ kind: 'delete', key: 'deleted', label: [] }]);
    return between(() => {
      rig.clock.pass(SECOND);
      return task();
    });
  };
  await rig.store.advance();
  assert.ok(rig.log.durable.size > index);
  assert.ok(rig.store.final.records <= index);
  assert.ok(rig.store.final.until < rig.clock.now());
  await rig.store.advance();
  assert.ok(rig.store.final.records > index);
});
