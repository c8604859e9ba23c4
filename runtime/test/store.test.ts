/** A collection holds what it was given, and no more memory than it counts. */

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { getHeapSnapshot, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ExposedMethod, Policy, Rule } from '@enclaim/policy-schema/admission';
import { labPolicy } from '../../test/support/lab.ts';
import { Shelf } from '../../test/support/shelf.ts';
import { given } from '../../test/support/worker-text.ts';
import { RefusalError } from '../src/errors.ts';
import { CallContext } from '../src/flow/call-flow.ts';
import type { Json } from '../src/worker/json-text.ts';

/** A method that reads and stores the same collection. */
function mixed(): { policy: Policy; method: ExposedMethod } {
  const policy = labPolicy();
  const lab = policy.services['lab.v1.Lab'] ?? {};
  const rule = { ...(lab.Put as Rule), reads: ['cases'] };
  const services = { 'lab.v1.Lab': { ...lab, Put: rule } };
  return {
    policy: { ...policy, services },
    method: { id: 'lab.v1.Lab/Put', rule } as Partial<ExposedMethod> as ExposedMethod,
  };
}

function refusedFor(code: string, final: boolean): (error: unknown) => boolean {
  return (error) => error instanceof RefusalError && error.code === code && error.final === final;
}

const collection = (): Shelf => new Shelf('cases', Number.POSITIVE_INFINITY);

/** Bytes of the heap and of buffers, once garbage is gone. */
function memoryUsed(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test('gives back what was put, and nothing that was done to it since', () => {
  const cases = collection();
  const value = { name: 'Ö', list: [1, null, { deep: true }] };
  cases.put('k', value, ['identity']);
  value.list.push(2);
  const { value: kept, label } = cases.get('k') ?? {};
  assert.deepEqual({ kept, label }, { kept: '{"name":"Ö","list":[1,null,{"deep":true}]}', label: ['identity'] });
  assert.equal(cases.get('other'), undefined);
});

test('what is made of a value is no younger than it', () => {
  let now = 0;
  const cases = new Shelf('cases', 400, { now: () => now });
  const { policy, method } = mixed();
  const call = (): CallContext => new CallContext(policy, method, new Map([['cases', cases]]));
  const asked = { call: 0, operation: 0, collection: 'cases' };
  const put = (key: string, value: string, by = call()): void => {
    by.perform({ ...asked, kind: 'put', key, json: given(value) });
    by.check();
    by.end('kept');
  };
  put('old', 'HIV');
  now = 250;
  const copying = call();
  const value = copying.perform({ ...asked, kind: 'get', key: 'old' });
  assert.equal(value, '"HIV"');
  put('copy', 'HIV', copying);
  put('new', 'of today');
  now = 400;
  const left = ['old', 'copy', 'new'].map((key) => call().perform({ ...asked, kind: 'get', key }));
  assert.deepEqual(left, ['null', 'null', '"of today"']);
  assert.deepEqual(cases.all().keys, ['new']);
});

test('a place that was written over lasts as long as it would have, and says what all carried that changed it', () => {
  let now = 0;
  const cases = new Shelf('cases', 100, { now: () => now });
  const seen = (): unknown => {
    const { value, label } = cases.get('k') ?? {};
    return { value, label, listed: cases.all() };
  };
  now = 50;
  cases.put('k', 'open', ['operational']);
  cases.put('k', 'made of something old', ['personal'], { since: 10 });
  const both = ['operational', 'personal'];
  const written = '"made of something old"';
  assert.deepEqual(seen(), { value: written, label: both, listed: { keys: ['k'], label: both } });
  now = 110;
  assert.deepEqual(seen(), { value: undefined, label: both, listed: { keys: [], label: both } });
  // What carries less does not take away what was left there, nor does what is over before it is stored.
  cases.put('k', 'over', ['operational'], { since: 10 });
  assert.deepEqual(seen(), { value: undefined, label: both, listed: { keys: [], label: both } });
  cases.put('k', 'again', ['operational'], { since: 40 });
  assert.deepEqual(seen(), { value: '"again"', label: both, listed: { keys: ['k'], label: both } });
  now = 140;
  assert.deepEqual(seen(), { value: undefined, label: both, listed: { keys: [], label: both } });
  now = 150;
  assert.deepEqual(seen(), { value: undefined, label: undefined, listed: { keys: [], label: [] } });
  cases.put('k', 'over', ['personal'], { since: 10 });
  assert.equal(cases.get('k'), undefined);
});

test('what was deleted is not there, and knowing that carries a label', () => {
  const cases = collection();
  cases.put('k', 1, ['operational']);
  cases.delete('k', ['personal']);
  cases.delete('never there', ['personal']);
  const { value, label } = cases.get('k') ?? {};
  assert.deepEqual([value, label], [undefined, ['operational', 'personal']]);
  assert.deepEqual(cases.all(), { keys: [], label: ['operational', 'personal'] });
  assert.equal(cases.get('never there'), undefined);
  cases.put('k', 2, ['operational']);
  assert.deepEqual(cases.all(), { keys: ['k'], label: ['operational', 'personal'] });
});

test('places outlast a restart whole, where a store keeps them', () => {
  let now = 0;
  const options = { now: () => now, room: { collection: 4000, identity: 3000 } };
  const cases = new Shelf('cases', 100, options);
  cases.put('over', 0, ['personal']);
  now = 50;
  cases.put('k', { name: 'Ö' }, ['personal'], { since: 20, owner: 'jane' });
  cases.put('k', { name: 'Ö' }, ['operational'], { since: 30, owner: 'jane' });
  cases.put('gone', 1, []);
  cases.delete('gone', ['personal']);
  now = 100;
  const kept = JSON.parse(JSON.stringify(cases.snapshot())) as ReturnType<Shelf['snapshot']>;
  const again = new Shelf('cases', 100, { ...options, places: kept });
  assert.deepEqual(again.snapshot(), kept);
  assert.deepEqual(again.get('k'), {
    value: '{"name":"Ö"}',
    label: ['operational', 'personal'],
    since: 30,
    version: cases.get('k')?.version,
  });
  assert.deepEqual(again.all(), { keys: ['k'], label: ['operational', 'personal'] });
  assert.throws(() => again.put('more', 'x'.repeat(2000), [], { owner: 'jane' }), refusedFor('budget', true));
  again.put('more', 'x'.repeat(1000), []);
  now = 130;
  assert.equal(again.get('k')?.value, undefined);
  const forever = new Shelf('cases', Number.POSITIVE_INFINITY);
  forever.put('k', 1, []);
  const { valueEnd, placeEnd } = forever.snapshot()[0] ?? {};
  assert.deepEqual([valueEnd, placeEnd], [null, null]);
  assert.equal(new Shelf('cases', 1, { places: forever.snapshot() }).get('k')?.value, '1');
});

/** The memory that a collection takes for values while something is done with it. */
function memoryOf(action: () => void): Buffer[] {
  const allocated: Buffer[] = [];
  const whole = Buffer.allocUnsafeSlow;
  const allocate = mock.method(Buffer, 'allocUnsafeSlow', (size: number) => {
    const made = whole(size);
    allocated.push(made);
    return made;
  });
  action();
  allocate.mock.restore();
  return allocated;
}

const isWiped = (bytes: Buffer): boolean => bytes.length > 0 && bytes.every((byte) => byte === 0);

test('values are wiped where they are deleted, written over, or not kept at all', () => {
  const cases = new Shelf('cases', 100, { now: () => 1000 });
  const memory = memoryOf(() => {
    for (const key of ['a', 'b', 'c']) cases.put(key, `secret of ${key}`, []);
    cases.put('a', 'another', []);
    cases.delete('b', []);
    cases.put('c', 'too late', [], { since: 900 });
    cases.put('d', 'too late', [], { since: 900 });
  });
  assert.deepEqual(memory.map(isWiped), [true, true, true, false, true, true]);
  assert.equal(memory[3]?.toString(), '"another"');
  assert.ok(memory.every(({ length, buffer }) => length === buffer.byteLength));
});

test('what is over is wiped within a second by a timer, which stands still where there is nothing to wait for', () => {
  mock.timers.enable({ apis: ['setInterval'] });
  const started = mock.method(globalThis, 'setInterval');
  let now = 0;
  const cases = new Shelf('cases', 10_000, { now: () => now });
  const wait = (milliseconds: number): void => {
    now += milliseconds;
    mock.timers.tick(milliseconds);
  };
  const memory = memoryOf(() => {
    cases.put('a', 'secret', []);
    wait(500);
    cases.put('b', 'secret', []);
  });
  wait(9000);
  assert.deepEqual(memory.map(isWiped), [false, false]);
  wait(1000);
  assert.deepEqual(memory.map(isWiped), [true, true]);
  assert.equal(started.mock.callCount(), 1);
  cases.put('c', 'secret', []);
  assert.equal(started.mock.callCount(), 2);
  const forever = new Shelf('cases', Number.POSITIVE_INFINITY, { now: () => now });
  forever.put('a', 1, []);
  assert.equal(started.mock.callCount(), 2);
  started.mock.restore();
  mock.timers.reset();
});

/** Whether the engine's heap has a text that can still be reached. It is made once what is looked at was taken. */
async function isInHeap(make: () => string): Promise<boolean> {
  const snapshot = getHeapSnapshot();
  const text = make();
  let rest = '';
  for await (const chunk of snapshot) {
    const read = rest + String(chunk);
    if (read.includes(text)) return true;
    rest = read.slice(-text.length);
  }
  return false;
}

test('no value of a collection can be found in the heap once it is over', async () => {
  let now = 0;
  const cases = new Shelf('cases', 100, { now: () => now });
  // Made anew where it is needed, so that nothing but the collection could hold it.
  const secret = (): string => [...'gib dna dlo si terces eht'].reverse().join('');
  (() => cases.put('k', { text: secret() }, ['personal']))();
  (() => cases.get('k'))();
  now = 100;
  cases.sweep();
  assert.equal(await isInHeap(secret), false);
});

test('a record, a call and an identity have bounds, and each but the first ends the call that meets it', () => {
  const cases = collection();
  const record = 'x'.repeat(256 * 1024 - 2);
  const { policy, method } = mixed();
  const held = new Map([['cases', cases]]);
  const call = new CallContext(policy, method, held);
  const asked = { call: 0, operation: 0, collection: 'cases', kind: 'put' } as const;
  assert.throws(() => call.perform({ ...asked, key: 'a', json: given(`${record}xx`) }), refusedFor('budget', false));
  for (const key of ['', 'k'.repeat(257)]) {
    assert.throws(() => call.perform({ ...asked, key, json: given(1) }), refusedFor('grant', false));
    assert.throws(() => call.perform({ ...asked, kind: 'delete', key }), refusedFor('grant', false));
    assert.equal(new CallContext(policy, method, held).perform({ ...asked, kind: 'get', key }), 'null');
  }
  call.perform({ ...asked, key: 'k'.repeat(256), json: given(1) });
  call.perform({ ...asked, key: 'a', json: given(record) });
  // Also what is written over has been stored.
  assert.throws(() => call.perform({ ...asked, key: 'a', json: given(record) }), refusedFor('budget', true));
  call.perform({ ...asked, key: 'b', json: given(record.slice(8192)) });
  call.check();
  call.end('kept');
  const fill = (owner?: string): number => {
    for (let count = 0; ; count++) {
      try {
        cases.put(`${owner} ${count}`, record, [], owner === undefined ? {} : { owner });
      } catch (error) {
        assert.ok(refusedFor('budget', true)(error));
        return count;
      }
    }
  };
  assert.deepEqual([fill(), fill('jane'), fill('joe'), fill('ann'), fill('bob')], [61, 63, 63, 63, 3]);
});

test('what was deleted or is over takes room until its place ends, and whoever writes over it takes that over', () => {
  let now = 0;
  const room = { collection: 2500, identity: 1700 };
  const cases = new Shelf('cases', 100, { now: () => now, room });
  cases.put('a', 0, []);
  cases.put('b', 0, []);
  cases.delete('a', []);
  now = 50;
  assert.throws(() => cases.put('c', 0, []), refusedFor('budget', true));
  cases.put('c', 0, [], { owner: 'jane' });
  assert.throws(() => cases.put('d', 0, [], { owner: 'joe' }), refusedFor('budget', true));
  cases.put('a', 0, [], { owner: 'jane' });
  assert.throws(() => cases.put('b', 0, [], { owner: 'jane' }), refusedFor('budget', true));
  now = 100;
  cases.put('d', 0, []);
});

test('a value that is longer as it is stored than any record may be is refused', () => {
  const { policy, method } = mixed();
  const call = new CallContext(policy, method, new Map([['cases', collection()]]));
  const put = (value: Json): unknown =>
    call.perform({ call: 0, operation: 0, collection: 'cases', kind: 'put', key: 'k', json: given(value) });
  const numbers = Array(12_000).fill(1e20);
  assert.throws(() => put(numbers), refusedFor('budget', false));
  put(numbers.slice(0, 11_000));
});

test('a collection of nothing but names has an end, and takes no more memory than is counted', () => {
  const cases = collection();
  const before = memoryUsed();
  let count = 0;
  const owners = ['a', 'b', 'c', 'd'];
  const last = (key: string): void => void cases.put(key, 0, ['operational'], { owner: owners[count & 3] ?? '' });
  assert.throws(
    () => {
      for (; count < 1e6; count++) last(String(count));
    },
    refusedFor('budget', true),
  );
  assert.ok(count > 80_000 && count < 90_000, `${count} places`);
  const taken = memoryUsed() - before;
  assert.ok(taken < 64 * 1024 * 1024, `${taken} bytes`);
  assert.equal(cases.all().keys.length, count);
});

test('values of many small things take the memory that they are counted for', () => {
  const cases = collection();
  const text = `[${Array(80_000).fill('{}')}]`;
  const before = memoryUsed();
  for (let key = 0; key < 10; key++) cases.put(String(key), JSON.parse(text) as Json, []);
  const grown = memoryUsed() - before;
  // As objects it is twenty times as much; the last one may not be collected yet.
  assert.ok(grown < 5 * 10 * text.length, `${grown} bytes for ${10 * text.length}`);
  assert.equal(cases.all().keys.length, 10);
});
