/**
 * Whatever part of a write a crash leaves, in whatever order: what was acknowledged is there, and
 * of each call all or nothing.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { FakeKeeper } from '../../../test/fakes/keeper.ts';
import { count } from '../../../test/support/long.ts';
import { RoomEpochs } from '../../src/epochs.ts';
import { type Draw, entry, FakeDisk, seededDraw } from '../log/support.ts';
import { MIB, put, Rig, TestClock } from './support.ts';

const SECTOR = 512;

/** Puts some sectors of a write on a disk. */
function tear(disk: FakeDisk, { at, data }: FakeDisk['writes'][number], draw: Draw): void {
  const share = draw(4);
  for (let from = 0; from < data.length; from += SECTOR)
    if (draw(4) <= share) disk.bytes.set(data.subarray(from, from + SECTOR), at + from);
}

/** Everything that is stored, as a text. */
async function contentOf({ cases }: Rig): Promise<string> {
  const { keys } = cases.list({ prefix: '', after: '', limit: 1000 });
  const values = await Promise.all(keys.map(async (key) => `${key}=${await cases.get(key)?.value}`));
  return values.join(' ');
}

test('a crash in any write of a first boot, of frames, slots, epochs and later boots loses nothing', async () => {
  const draw = seededDraw('crash in any write');
  const clock = new TestClock();
  const disk = new FakeDisk(MIB);
  disk.keepsWrites = true;
  const epochs: { readonly writes: number; readonly keeper: FakeKeeper }[] = [];
  const keeper = new FakeKeeper();
  const { advance } = keeper;
  epochs.push({ writes: 0, keeper: keeper.clone() });
  keeper.advance = async () => {
    const epoch = await advance.call(keeper);
    epochs.push({ writes: disk.writes.length, keeper: keeper.clone() });
    return epoch;
  };
  const contents = [''];
  /** By number of writes: how many calls had been acknowledged. */
  const acknowledged: number[] = [];
  const kept = new Map<string, number>();
  for (let boot = 0; boot < 3; boot++) {
    const rig = await Rig.boot({ disk, keeper, clock, collections: { cases: 1e9 } });
    for (let round = 0; round < 12; round++) {
      const n = contents.length;
      const advancing = round % 5 === 2 ? rig.store.advance() : undefined;
      const [one, other] = [`k${draw(12)}`, `k${draw(12)}`];
      if (one === other || draw(5) === 0) {
        kept.delete(one);
        const durable = rig.call([{ kind: 'delete', key: one, label: [] }]);
        contents.push(
          [...kept]
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map((pair) => pair.join('='))
            .join(' '),
        );
        await durable;
      } else {
        kept.set(one, n);
        kept.set(other, n);
        const durable = rig.call([put(one, n), put(other, n)]);
        contents.push(
          [...kept]
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map((pair) => pair.join('='))
            .join(' '),
        );
        await durable;
      }
      acknowledged[disk.writes.length] = n;
      await advancing;
    }
    assert.equal(await contentOf(rig), contents.at(-1));
    await rig.store.close();
  }
  const crashed = new FakeDisk(MIB);
  let [least, partial] = [0, 0];
  for (const [done, write] of disk.writes.entries()) {
    least = acknowledged[done] ?? least;
    const at = epochs.findLast(({ writes }) => writes <= done)?.keeper ?? assert.fail();
    for (let run = 0; run < count(2, 40, 1); run++) {
      const torn = crashed.copy();
      tear(torn, write, draw);
      const rig = await Rig.boot({ disk: torn, keeper: at.clone(), clock, collections: { cases: 1e9 } });
      const content = await contentOf(rig);
      const found = [least, least + 1].find((i) => contents[i] === content);
      assert(found !== undefined, `write ${done}: ${content}, where ${contents[least]} is acknowledged`);
      if (found > least) partial++;
      if (run > 0) continue;
      await rig.call([put('after', 1)]);
      const next = await rig.again();
      assert.equal(await next.cases.get('after')?.value, '1');
    }
    crashed.bytes.set(write.data, write.at);
  }
  assert(disk.writes.length > 60);
  assert(partial > 0);
});

test('a disk that fails in mid-write acknowledges nothing of it, and the next boot has the rest', async () => {
  for (const error of [new Error('EIO'), 0]) {
    const rig = await Rig.boot();
    await rig.call([put('a', 1)]);
    rig.disk.takes.push(300, error);
    await assert.rejects(rig.call([put('a', 2), put('b', 2)]), { code: 'log' });
    assert.throws(() => rig.call([put('c', 3)]), { code: 'log' });
    const next = await rig.again({ keeper: rig.keeper.clone() });
    assert.equal(await contentOf(next), 'a=1');
  }
});

test('a slot that cannot be written leaves the epoch as it was', async () => {
  const rig = await Rig.boot();
  await rig.call([put('a', 1)]);
  rig.disk.takes.push(new Error('EIO'));
  await assert.rejects(rig.store.advance());
  assert.equal(rig.store.epoch, 1);
  const next = await rig.again();
  assert.equal(await contentOf(next), 'a=1');
});

test('values that live are sealed anew before a ring uses their space again', async () => {
  const clock = new TestClock();
  const disk = new FakeDisk(MIB);
  const rig = await Rig.boot({ disk, clock, collections: { cases: 1e12 } });
  const long = 'x'.repeat(3000);
  for (let i = 0; i < 10; i++) await rig.call([put(`old${i}`, `${i}${long}`)]);
  const { length } = disk.layout.journal;
  let blocked = 0;
  for (let round = 0; rig.log.end.position < 4 * length; round++) {
    assert(round < 20_000);
    try {
      await rig.call([put('new', `${round}${long}`)]);
    } catch {
      blocked++;
    }
    rig.log.forget(rig.log.durable.size);
    if (round % 20 === 19) await rig.store.advance();
  }
  assert.equal(blocked, 0);
  for (let i = 0; i < 10; i++) assert.equal(await rig.cases.get(`old${i}`)?.value, `"${i}${long}"`);
  const next = await rig.again();
  for (let i = 0; i < 10; i++) assert.equal(await next.cases.get(`old${i}`)?.value, `"${i}${long}"`);
});

test('without an epoch the space of live values is held, and the log says that it is full', async () => {
  const rig = await Rig.boot({ disk: new FakeDisk(MIB), collections: { cases: 1e12 } });
  await rig.call([put('kept', 'x'.repeat(3000))]);
  let full: unknown;
  for (let round = 0; round < 2000 && full === undefined; round++) {
    try {
      await rig.call([put('new', 'y'.repeat(3000))]);
      rig.log.forget(rig.log.durable.size);
    } catch (error) {
      full = error;
    }
  }
  assert.equal((full as { code?: string } | undefined)?.code, 'log');
  assert.equal((await rig.cases.get('kept')?.value)?.length, 3002);
});

test('an epoch that begins where room is scarce gives back what the one before holds', async () => {
  const rig = await Rig.boot({ disk: new FakeDisk(MIB), collections: { cases: 1e12 } });
  await rig.call([put('kept', 'x'.repeat(3000))]);
  const epochs = new RoomEpochs({
    isHeld: () => rig.log.isHeld,
    advance: async () => (await rig.store.advance()) > 0,
  });
  rig.log.onHeld(() => epochs.look());
  for (let round = 0; round < 2000 && rig.store.epoch === 1; round++) {
    await rig.call([put('new', 'y'.repeat(3000))]);
    rig.log.forget(rig.log.durable.size);
    await setImmediate();
  }
  await rig.log.append(entry('next'));
  assert.deepEqual([rig.store.epoch, rig.log.room, rig.log.isHeld], [2, 'ample', false]);
  assert.equal((await rig.cases.get('kept')?.value)?.length, 3002);
  await epochs.close();
});
