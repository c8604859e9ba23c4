/** Names of labels and owners that no place has any more take no room, in this boot and the next. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Names } from '../../src/storage/sealed/row.ts';
import { FakeDisk } from '../log/support.ts';
import { MIB, put, Rig } from './support.ts';

/** A label that alone takes a part of a small slot. */
const labelOf = (i: number): string[] => [`${i} ${'x'.repeat(4000)}`];
const BOOTS = 3;
const CALLS = 70;

test('calls of ever new labels find room for as long as what they store ends', async () => {
  let rig = await Rig.boot({ disk: new FakeDisk(2 * MIB), collections: { cases: 1000, kept: 1e12 } });
  await rig.call([put('first', 1, { label: ['kept'], owner: 'somebody' })], 'kept');
  for (let boot = 0; boot < BOOTS; boot++) {
    for (let i = 0; i < CALLS; i++) {
      await rig.call([put('a', i, { label: labelOf(i), owner: `${i}` })]);
      assert.deepEqual(rig.cases.get('a')?.label, labelOf(i));
      rig.clock.pass(2000);
      if (i % 20 > 0) continue;
      await rig.store.advance();
      rig.log.forget(rig.log.durable.size);
    }
    await rig.call([put(`${boot}`, 1, { label: [`of boot ${boot}`], owner: `${boot}` })], 'kept');
    rig = await rig.again({ collections: { cases: 1000, kept: 1e12 } });
    const kept = rig.collection('kept');
    assert.deepEqual(kept.get('first')?.label, ['kept']);
    for (let before = 0; before <= boot; before++)
      assert.deepEqual(kept.get(`${before}`)?.label, [`of boot ${before}`]);
  }
});

test('a place that changes while an index is written has its own label in it', async () => {
  const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB), collections: { cases: 1e12 } });
  await rig.call([put('a', 1, { label: ['one'] }), put('b', 1, { label: ['two'] })]);
  const between = rig.log.between.bind(rig.log);
  rig.log.between = async (task) => {
    rig.log.between = between;
    await rig.call([put('a', 2, { label: ['three'] }), { kind: 'delete', key: 'b', label: ['four'] }]);
    await rig.call([put('c', 2, { label: ['five'] })]);
    return between(task);
  };
  await rig.store.advance();
  const next = await rig.again();
  for (const each of [rig, next])
    assert.deepEqual(
      ['a', 'b', 'c'].map((key) => each.cases.get(key)?.label),
      [['one', 'three'], ['four', 'two'], ['five']],
    );
});

test('a number stands for another text once nothing holds its own', () => {
  const names = new Names(['a', null, 'b']);
  names.hold('b');
  names.settle();
  assert.deepEqual(names.texts, [null, null, 'b']);
  const before = names.bytes;
  for (let i = 0; i < 1000; i++) {
    names.hold(`${i % 10}`);
    names.letGo(names.numberOf(`${i % 10}`));
  }
  assert.deepEqual([names.texts.length, names.count, names.bytes], [3, 1, before]);
  // The number of a text that nothing held at a boot is counted from none.
  for (const text of ['c', 'd']) {
    for (let i = 0; i < 2; i++) names.hold(text);
    names.letGo(names.numberOf(text));
  }
  assert.deepEqual([names.texts.length, names.textOf(names.numberOf('c')), names.count], [3, 'c', 3]);
  assert.throws(() => names.numberOf('1'), RangeError);
  assert.throws(() => names.textOf(3), RangeError);
});
