/** What a call stored is there after the boot ended, as it was, and what it did not is not. */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDevice } from '../../src/log/device.ts';
import { Transaction } from '../../src/storage/transaction.ts';
import { jsonText } from '../../src/worker/json-text.ts';
import { entry, FakeDisk } from '../log/support.ts';
import { MIB, put, Rig } from './support.ts';

test('what was acknowledged is there in the next boot, with label, time, version and owner', async () => {
  const rig = await Rig.boot();
  assert.deepEqual(rig.store.opened, { epoch: 0, places: 0, frames: 0, inherited: null, recovered: null });
  await rig.call([put('a', { n: 1 }, { label: ['health'], version: 'aa'.repeat(8) }), put('b', 'two')]);
  await rig.call([put('a', { n: 2 }, { version: 'bb'.repeat(8) })]);
  await rig.call([{ kind: 'delete', key: 'b', label: ['secret'] }]);
  const now = rig.clock.now();
  const next = await rig.again();
  assert.deepEqual(next.store.opened, { epoch: 1, places: 2, frames: 3, inherited: null, recovered: null });
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

test('a call that is refused leaves its marks in all collections, and they outlive the boot', async () => {
  const collections = { cases: 1000, other: 1000 };
  const rig = await Rig.boot({ collections });
  await rig.call([put('a', 1)]);
  await rig.call([put('b', 1)], 'other');
  const transaction = new Transaction(rig.store.collections);
  const value = { value: jsonText(2), since: Number.POSITIVE_INFINITY, owner: 'a' };
  transaction.put('cases', 'a', value, undefined);
  transaction.put('cases', 'new', value, undefined);
  transaction.delete('other', 'b', 'ff'.repeat(8));
  assert.throws(() => transaction.check(['health']), { code: 'conflict' });
  const { durable } = rig.log.place(entry('refused'));
  transaction.mark(['health']);
  await durable;
  await rig.call([put('c', 1)]);
  const next = await rig.again({ collections });
  for (const each of [rig, next]) {
    assert.equal(await each.cases.get('a')?.value, '1');
    assert.deepEqual(each.cases.get('a')?.label, ['health']);
    assert.deepEqual([each.cases.get('new')?.value, each.cases.get('new')?.label], [undefined, ['health']]);
    assert.equal(await each.collection('other').get('b')?.value, '1');
    assert.deepEqual(each.collection('other').get('b')?.label, ['health']);
  }
});

test('the record of a refused call takes no room for what was checked and is not made', async () => {
  const rig = await Rig.boot({ collections: { cases: 1000, notes: 1000 } });
  const all = new Transaction(rig.store.collections);
  const conflict = (): void => assert.throws(() => all.check([]), { code: 'conflict' });
  all.put(
    'cases',
    'a',
    { value: jsonText('x'.repeat(20_000)), since: Number.POSITIVE_INFINITY, owner: 'a' },
    undefined,
  );
  all.put('notes', 'b', { value: jsonText(1), since: Number.POSITIVE_INFINITY, owner: 'a' }, 'another');
  conflict();
  const before = rig.log.left;
  const { durable } = rig.log.place(entry('refused'));
  assert.ok(before - rig.log.left < 5000, `${before - rig.log.left} bytes`);
  all.mark([]);
  await durable;
});

test('a deletion that was checked and then refused elsewhere is only marked', async () => {
  const collections = { cases: 1000, other: 1000 };
  const rig = await Rig.boot({ collections });
  await rig.call([put('a', 1)]);
  const transaction = new Transaction(rig.store.collections);
  transaction.delete('cases', 'a', undefined);
  transaction.delete('other', 'b', 'ff'.repeat(8));
  assert.throws(() => transaction.check([]), { code: 'conflict' });
  const { durable } = rig.log.place(entry('refused'));
  transaction.mark([]);
  await durable;
  assert.equal(await rig.cases.get('a')?.value, '1');
});

test('values are read of a real file as they are of a disk in memory', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-store-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'disk');
  await writeFile(path, new Uint8Array(2 * MIB));
  const device = await openDevice(path);
  const rig = await Rig.boot({ device });
  await rig.call([put('small', 'x'), put('large', 'y'.repeat(100_000))]);
  assert.equal(rig.cases.get('small')?.value, '"x"');
  assert.equal(await rig.cases.get('large')?.value, `"${'y'.repeat(100_000)}"`);
  const at = (await readFile(path)).findLastIndex((byte, i) => byte !== 0 && i < rig.disk.layout.quotes.base) - 600;
  await device.write(Buffer.alloc(64, 7), 0, 64, at);
  const read = await Promise.allSettled(['small', 'large'].map(async (key) => await rig.cases.get(key)?.value));
  assert(read.some(({ status }) => status === 'rejected'));
  await device.close();
});
