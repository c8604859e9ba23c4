/** What was acknowledged stays what it was, whatever is moved, marked or swept while an epoch begins. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Device } from '../../src/log/device.ts';
import type { Change } from '../../src/storage/collection.ts';
import { entry, FakeDisk } from '../log/support.ts';
import { MIB, put, Rig } from './support.ts';

const LONG = 1e12;
const KEYS = Array.from({ length: 100 }, (_, i) => `key-${i}`);
const OWNER = { since: Number.POSITIVE_INFINITY, owner: 'anyone' };

async function stored(rig: Rig, key: string, name = 'cases'): Promise<unknown> {
  const value = await rig.collection(name).get(key)?.value;
  return value === undefined ? undefined : JSON.parse(value);
}

/** Writes records until the journal has gone on by so many bytes. */
async function pass(rig: Rig, bytes: number): Promise<void> {
  const end = rig.log.end.position + bytes;
  while (rig.log.end.position < end) await rig.log.append(entry('x'.repeat(1000)), 'runtime');
}

test('a value that is written while old ones are moved is not written over by what it was', async () => {
  const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB), collections: { cases: LONG } });
  for (const key of KEYS) await rig.call([put(key, { old: 'o'.repeat(4000) })]);
  rig.log.forget(rig.log.durable.size);
  await rig.log.append(entry('with which space is given back'), 'runtime');
  const advanced = rig.store.advance();
  for (let i = 0; i < 8; i++) await Promise.resolve(); // the places that are moved are known by now
  await Promise.all(KEYS.map((key) => rig.call([put(key, { new: 'n'.repeat(4000) })])));
  await advanced;
  const next = await rig.again({ collections: { cases: LONG } });
  for (const boot of [rig, next])
    for (const key of KEYS) assert.ok(Object.hasOwn((await stored(boot, key)) as object, 'new'), key);
});

test('a mark on a value lets go of none of its space, in this boot and in those that replay it', async () => {
  const collections = { cases: LONG };
  const mark: Change = { kind: 'mark-put', key: 'k', label: ['personal'], ...OWNER };
  for (const replays of [false, true]) {
    const first = await Rig.boot({ collections });
    const ring = first.disk.layout.journal.length;
    await first.call([put('k', 'precious')]);
    await pass(first, ring / 2);
    const before = first.log.durable.size;
    first.cases.apply([mark]);
    await first.log.append(entry('failed'), 'runtime');
    const rig = replays ? await first.again({ collections }) : first;
    // What the value lies beside is let go of, and the mark is not.
    rig.log.forget(before);
    await rig.log.append(entry('with which space is given back'), 'runtime');
    await rig.store.advance();
    await pass(rig, ring * 0.6);
    assert.equal(await stored(rig, 'k'), 'precious', `replays: ${replays}`);
    assert.deepEqual(rig.cases.get('k')?.label, ['personal']);
    assert.equal(await stored(await rig.again({ collections }), 'k'), 'precious');
  }
});

test('what expires while a slot is written is counted once', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const disk = new FakeDisk(2 * MIB);
  const { base } = disk.layout.slots;
  const honest = disk.device;
  let onSlot = (): void => {};
  const device = {
    ...honest,
    write: async (...args: readonly unknown[]) => {
      if (Number(args[3]) >= base) onSlot();
      return await (honest.write as (...all: unknown[]) => unknown)(...args);
    },
  } as unknown as Device;
  const collections = { short: 1000, long: LONG };
  const rig = await Rig.boot({ disk, device, collections });
  await rig.call([put('a', 'short')], 'short');
  await rig.call([put('b', 'precious')], 'long');
  onSlot = () => {
    rig.clock.pass(2000);
    t.mock.timers.tick(1000);
  };
  await rig.store.advance();
  onSlot = () => {};
  const next = await rig.again({ collections });
  t.mock.timers.tick(1000);
  assert.deepEqual(next.collection('long').list({ prefix: '', after: '', limit: 10 }).keys, ['b']);
  assert.deepEqual(next.collection('short').list({ prefix: '', after: '', limit: 10 }).keys, []);
  await next.store.advance();
  assert.equal(next.store.places, 1);
});

test('marks of many places fit into blocks, and go when their places do', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const collections = { cases: 1000 };
  const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB), collections });
  const label = Array.from({ length: 40 }, (_, i) => `personal.category-${10 + i}`);
  const marks = Array.from({ length: 400 }, (_, i): Change => {
    const key = `${'\u0001'.repeat(250)}${i}`;
    return { kind: 'mark-put', key, label, ...OWNER };
  });
  rig.cases.apply(marks);
  await rig.log.append(entry('failed'), 'runtime');
  await rig.log.append(entry('next'), 'runtime');
  assert.equal(rig.store.places, marks.length);
  const next = await rig.again({ collections });
  assert.deepEqual(next.cases.get(marks[0]?.key ?? '')?.label, label);
  next.clock.pass(2000);
  t.mock.timers.tick(1000);
  // Some go in each turn of the loop.
  for (let turns = 0; turns < 10; turns++) await turn();
  assert.equal(next.store.places, 0);
  assert.equal(rig.store.places, 0);
});
