/** What a call stored is there after the boot ended, as it was, and what it did not is not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeDisk } from '../log/support.ts';
import { MIB, put, Rig } from './support.ts';

test('what was acknowledged is there in the next boot, with label, time, version and owner', async () => {
  const rig = await Rig.boot();
  assert.deepEqual(rig.store.opened, { epoch: 0, places: 0, frames: 0 });
  await rig.call([put('a', { n: 1 }, { label: ['health'], version: 'aa'.repeat(8) }), put('b', 'two')]);
  await rig.call([put('a', { n: 2 }, { version: 'bb'.repeat(8) })]);
  await rig.call([{ kind: 'delete', key: 'b', label: ['secret'] }]);
  const now = rig.clock.now();
  const next = await rig.again();
  assert.deepEqual(next.store.opened, { epoch: 1, places: 2, frames: 3 });
  assert.equal(next.store.epoch, 2);
  for (const each of [rig, next, await next.again()]) {
    const a = each.cases.get('a');
    assert.equal(await a?.value, '{"n":2}');
    assert.deepEqual([a?.label, a?.since, a?.version], [['health'], now, 'bb'.repeat(8)]);
    const b = each.cases.get('b');
    assert.deepEqual([b?.value, b?.label, b?.version], [undefined, ['secret'], undefined]);
    assert.deepEqual(each.cases.list({ prefix: '', after: '', limit: 10 }), {
      keys: ['a'],
      label: ['health', 'secret'],
    });
    assert.equal(each.cases.get('c'), undefined);
  }
});

test('a change is seen at once, and made durable with its record', async () => {
  const rig = await Rig.boot();
  const durable = rig.call([put('a', 1)]);
  assert.equal(rig.cases.get('a')?.value, '1');
  assert.deepEqual(rig.cases.list({ prefix: '', after: '', limit: 1 }).keys, ['a']);
  assert.equal((await rig.again()).cases.get('a'), undefined);
  await durable;
  assert.equal(await rig.cases.get('a')?.value, '1');
});

test('an epoch while the store runs keeps all, and frames go on under its key', async () => {
  const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB) });
  await rig.call(Array.from({ length: 2000 }, (_, i) => put(`k${i}`, i)));
  const advancing = rig.store.advance();
  await rig.call([put('k1', 'new'), { kind: 'delete', key: 'k2', label: [] }]);
  const late = rig.call([put('k3', 'late')]);
  assert.equal(await advancing, 2);
  await late;
  await rig.call([put('k4', 'after')]);
  const next = await rig.again();
  for (const each of [rig, next]) {
    const of = async (key: string) => await each.cases.get(key)?.value;
    assert.deepEqual(await Promise.all(['k0', 'k1', 'k2', 'k3', 'k4', 'k1999'].map(of)), [
      '0',
      '"new"',
      undefined,
      '"late"',
      '"after"',
      '1999',
    ]);
  }
});
