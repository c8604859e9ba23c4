/**
 * An index finds what is stored and nothing else, over boots, moves and declarations that change,
 * and no disk shows what it is made of.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RefusalError } from '../../src/errors.ts';
import type { Device } from '../../src/log/device.ts';
import type { Put } from '../../src/storage/collection.ts';
import { sealedBytes } from '../../src/storage/sealed/seals.ts';
import { Blinding, TERM_BYTES } from '../../src/storage/terms.ts';
import { entry, FakeDisk } from '../log/support.ts';
import { MIB, put, Rig, type RigOptions, taggedForm } from './support.ts';

const LONG = 1e12;
const COLLECTIONS = { cases: LONG };
const form = taggedForm('pair', ['tag', 'other']);
const INDEXED: RigOptions = { collections: COLLECTIONS, form };

function tagged(key: string, tag: string, more: Partial<Put> & { readonly text?: string } = {}): Put {
  const { text = '', ...rest } = more;
  return put(key, { tag, text }, { indexed: [tag, null], ...rest });
}

test('what waits to be durable is found, as is what a later boot follows or loads', async () => {
  const rig = await Rig.boot(INDEXED);
  const durable = rig.call([tagged('a', 'red'), tagged('b', 'blue'), tagged('c', 'red')]);
  assert.deepEqual(rig.found('red'), ['a', 'c']);
  await durable;
  assert.deepEqual(rig.found('red'), ['a', 'c']);
  await rig.call([tagged('a', 'blue'), { kind: 'delete', key: 'c', label: [] }]);
  const followed = await rig.again(INDEXED);
  const loaded = await followed.again(INDEXED);
  for (const boot of [rig, followed, loaded]) {
    assert.deepEqual([boot.found('red'), boot.found('blue'), boot.found('green')], [[], ['a', 'b'], []]);
    assert.deepEqual(boot.found('blue', 1), [], 'a value of another field');
  }
});

test('what has ended is found no more, and what is marked is found as before', async () => {
  const rig = await Rig.boot({ form, collections: { cases: 1000 } });
  await rig.call([tagged('a', 'red')]);
  rig.clock.pass(500);
  await rig.call([tagged('b', 'red')]);
  rig.cases.apply([{ kind: 'mark-put', key: 'b', label: ['personal'], since: rig.clock.now(), owner: 'a' }]);
  await rig.log.append(entry('failed'), 'runtime');
  rig.clock.pass(600);
  assert.deepEqual(rig.found('red'), ['b']);
  const next = await rig.again({ form, collections: { cases: 1000 } });
  assert.deepEqual(next.found('red'), ['b']);
  next.clock.pass(500);
  assert.deepEqual(next.found('red'), []);
});

test('a value that was sealed anew elsewhere keeps its terms', async () => {
  const rig = await Rig.boot({ ...INDEXED, disk: new FakeDisk(8 * MIB) });
  const keys = Array.from({ length: 60 }, (_, i) => `key-${String(i).padStart(2, '0')}`);
  for (const key of keys) await rig.call([tagged(key, 'red', { text: 'o'.repeat(4000) })]);
  rig.log.forget(rig.log.durable.size);
  await rig.log.append(entry('with which space is given back'), 'runtime');
  const before = rig.log.end.position;
  await rig.store.advance();
  assert.ok(rig.log.end.position > before, 'nothing was moved');
  const next = await rig.again(INDEXED);
  for (const boot of [rig, next]) assert.deepEqual(boot.found('red'), keys);
  // Moves that a boot follows have no terms of their own.
  await next.call([tagged('z', 'red')]);
  assert.deepEqual((await next.again(INDEXED)).found('red'), [...keys, 'z']);
});

test('an index that is declared later, or otherwise, finds what was stored before', async () => {
  const plain = await Rig.boot({ collections: COLLECTIONS });
  const stored = Array.from({ length: 300 }, (_, i) => put(`k${i}`, { tag: i % 3 === 0 ? 'red' : 'blue' }));
  for (let from = 0; from < stored.length; from += 50) await plain.call(stored.slice(from, from + 50));
  await plain.call([put('text', 'red'), put('list', [1])]);
  const first = await plain.again(INDEXED);
  assert.equal(first.found('red').length, 100);
  const declared = await first.again(INDEXED);
  assert.equal(declared.found('red').length, 100);
  const other = await declared.again({ collections: COLLECTIONS, form: taggedForm('other', ['other', 'tag']) });
  assert.deepEqual([other.found('red', 0).length, other.found('red', 1).length], [0, 100]);
  const dropped = await other.again({ collections: COLLECTIONS });
  assert.throws(() => dropped.found('red'), TypeError);
  const again = await dropped.again(INDEXED);
  assert.equal(again.found('red').length, 100);
});

test('a value that the disk does not give back keeps a boot from making its index anew', async () => {
  const rig = await Rig.boot({ collections: COLLECTIONS });
  const value = put('a', { tag: 'red', text: 'x'.repeat(9000) });
  await rig.call([value]);
  const disk = rig.disk.copy();
  const { read, ...honest } = disk.device;
  let lies = 0;
  // The reader of the value alone asks for as many bytes.
  const device = {
    ...honest,
    read: async (into: Uint8Array, offset: number, length: number, at: number) => {
      const result = await (read as (...all: unknown[]) => Promise<unknown>)(into, offset, length, at);
      if (length === sealedBytes(value.value.length)) into[offset + ++lies] = 0xff - (into[offset + lies] ?? 0);
      return result;
    },
  } as unknown as Device;
  await assert.rejects(
    rig.again({ ...INDEXED, disk, device }),
    (error) => error instanceof RefusalError && error.code === 'state',
  );
  assert.ok(lies > 0);
});

test('rows are counted with what their terms take, before and after a declaration', async () => {
  const rig = await Rig.boot({ collections: COLLECTIONS });
  await rig.call([put('a', { tag: 'red' }), put('b', { tag: 'red' })]);
  const plain = rig.store.indexRowBytes;
  const declared = await rig.again(INDEXED);
  assert.equal(declared.store.indexRowBytes, plain + 2 * 2 * TERM_BYTES);
  await declared.call([{ kind: 'delete', key: 'a', label: [] }]);
  await declared.call([tagged('a', 'blue'), tagged('c', 'blue')]);
  assert.equal(declared.store.indexRowBytes, (3 / 2) * (plain + 2 * 2 * TERM_BYTES));
  assert.equal((await declared.again({ collections: COLLECTIONS })).store.indexRowBytes, (3 / 2) * plain);
});

test('no disk shows a value of a field, nor its term, and two systems have other terms for it', async () => {
  const planted = 'patient-number-4711';
  const rig = await Rig.boot(INDEXED);
  await rig.call([tagged('a', planted), tagged('b', planted)]);
  await rig.store.advance();
  await rig.call([tagged('c', planted)]);
  assert.deepEqual(rig.found(planted), ['a', 'b', 'c']);
  const disk = Buffer.from(rig.disk.bytes);
  const forms = [planted, Buffer.from(planted, 'utf16le'), Buffer.from(planted).toString('hex')];
  for (const each of [...forms, Buffer.from(planted).toString('base64').slice(0, -2)])
    assert.equal(disk.indexOf(each), -1, String(each));
  const terms = [new Uint8Array(32), new Uint8Array(32).fill(1)].map((key) =>
    Buffer.from(new Blinding(key, 'cases', form).termsOf([planted, planted])),
  );
  const all = terms.flatMap((each) => [each.subarray(0, TERM_BYTES), each.subarray(TERM_BYTES)]);
  assert.equal(new Set(all.map((each) => each.toString('hex'))).size, 4, 'by key and field another term');
});
