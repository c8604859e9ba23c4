/**
 * What lives is sealed anew where that gives room back, and never takes the room that boots need:
 * a disk that callers fill boots again, and has room again once what fills it has ended.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { entry, FakeDisk, numbers } from '../log/support.ts';
import { MIB, put, Rig } from './support.ts';

const LONG = 1e12;
const VALUE = 'x'.repeat(3000);

/** Stores values until the log takes no more, or no more calls, with all records mirrored. */
async function fill(rig: Rig, keyOf: (i: number) => string, isServed = false, names = ['cases']): Promise<number> {
  for (let i = 0; ; i++) {
    if (isServed && rig.log.room === 'none') return i;
    try {
      await rig.call([put(keyOf(i), VALUE)], names[i % names.length]);
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'log');
      return i;
    }
    rig.log.forget(rig.log.durable.size);
  }
}

test('epochs of a disk that is full of what lives write nothing into the room kept for boots', async () => {
  // Of many collections: what is moved of one is little, and fits into little room.
  const names = numbers(40).map((i) => `notes${i}`);
  const collections = Object.fromEntries(names.map((name) => [name, LONG]));
  const rig = await Rig.boot({ disk: new FakeDisk(MIB), collections });
  assert.ok((await fill(rig, (i) => `${i}`, false, names)) > 50);
  await rig.log.append(entry('with which space would be given back'), 'runtime');
  const { position } = rig.log.end;
  for (let i = 0; i < 12; i++) await rig.store.advance();
  assert.equal(rig.log.end.position, position, 'moving all of it would give nothing back');
  let next = await rig.again({ collections });
  for (let boot = 0; boot < 5; boot++) {
    await next.log.append(entry('boot'), 'runtime');
    next = await next.again({ collections });
  }
});

test('where not all of what lives can be moved, the oldest is, so that room comes back', async () => {
  const collections = { cases: LONG };
  const rig = await Rig.boot({ disk: new FakeDisk(MIB), collections });
  // The oldest come last by their keys; two of three values are soon written over.
  const stored = await fill(rig, (i) => (i % 3 === 0 ? `live ${100_000 - i}` : 'over'), true);
  await rig.log.append(entry('with which space would be given back'), 'runtime');
  const { left } = rig.log;
  for (let i = 0; i < 8; i++) {
    const { start } = rig.log;
    await rig.store.advance();
    assert.ok(rig.log.start > start || rig.log.room === 'ample', `epoch ${i}`);
  }
  assert.ok(rig.log.left > 4 * left, `${rig.log.left} bytes, of ${left}`);
  for (let i = 0; i < stored; i += 3)
    assert.equal((await rig.cases.get(`live ${100_000 - i}`)?.value)?.length, VALUE.length + 2, `${i}`);
});

test('a boot has the room of what ended while the machine was off, before its own record', async () => {
  const collections = { cases: 1000 };
  const rig = await Rig.boot({ disk: new FakeDisk(MIB), collections });
  await fill(rig, (i) => `${i}`);
  await rig.log.append(entry('with which space would be given back'), 'runtime');
  rig.clock.pass(2000);
  const next = await rig.again({ collections });
  assert.deepEqual([next.store.places, next.log.room], [0, 'ample']);
  await next.call([put('a', 1)]);
});

test('a mirror that takes the record of each epoch is no reason for the next one', async () => {
  const collections = { cases: LONG };
  const rig = await Rig.boot({ disk: new FakeDisk(MIB), collections });
  await fill(rig, (i) => `${i}`, true);
  await rig.log.append(entry('with which space would be given back'), 'runtime');
  await rig.store.advance();
  let begun = 0;
  for (; begun < 20 && rig.log.isHeld; begun++) {
    const { start } = rig.log;
    await rig.store.advance();
    assert.ok(rig.log.start > start || begun === 0, 'an epoch that gives nothing back is the last one');
    await rig.log.append(entry('epoch')).catch(() => {});
    rig.log.forget(rig.log.durable.size);
    if (rig.log.start === start) break;
  }
  // What is held lives: only an end of it gives room back.
  assert.ok(begun <= 1, `${begun}`);

  const other = await Rig.boot({ disk: new FakeDisk(MIB), collections });
  await fill(other, () => 'over', true);
  await other.log.append(entry('with which space would be given back'), 'runtime');
  assert.equal(other.log.isHeld, true);
  await other.store.advance();
  for (let i = 0; i < 5; i++) {
    await other.log.append(entry('epoch'));
    other.log.forget(other.log.durable.size);
    await other.log.append(entry('next'));
    assert.equal(other.log.isHeld, false);
  }
});
