/** A collection holds what it was given, and no more memory than it counts. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ExposedMethod, Policy, Rule } from '@enclaim/policy-schema/admission';
import { labPolicy } from '../../test/support/lab.ts';
import { CallContext } from '../src/context.ts';
import { RefusalError } from '../src/errors.ts';
import { VolatileCollection } from '../src/store.ts';
import type { Json } from '../src/worker/protocol.ts';

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

const collection = (): VolatileCollection => new VolatileCollection('cases', Number.POSITIVE_INFINITY);

function heapUsed(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

test('gives back what was put, and nothing that was done to it since', () => {
  const cases = collection();
  const value = { name: 'Ö', list: [1, null, { deep: true }] };
  cases.put('k', value, ['identity']);
  value.list.push(2);
  (cases.get('k')?.value as { name: string }).name = 'changed';
  const { value: kept, label } = cases.get('k') ?? {};
  assert.deepEqual({ kept, label }, { kept: { name: 'Ö', list: [1, null, { deep: true }] }, label: ['identity'] });
  assert.equal(cases.get('other'), undefined);
});

test('what is made of a value is no younger than it', async () => {
  const cases = new VolatileCollection('cases', 400);
  const { policy, method } = mixed();
  const call = (): CallContext => new CallContext(policy, method, new Map([['cases', cases]]));
  const asked = { call: 0, operation: 0, collection: 'cases' };
  call().perform({ ...asked, kind: 'put', key: 'old', value: 'HIV' });
  await sleep(250);
  const copying = call();
  const value = copying.perform({ ...asked, kind: 'get', key: 'old' });
  assert.equal(value, 'HIV');
  copying.perform({ ...asked, kind: 'put', key: 'copy', value });
  call().perform({ ...asked, kind: 'put', key: 'new', value: 'of today' });
  await sleep(250);
  const left = ['old', 'copy', 'new'].map((key) => call().perform({ ...asked, kind: 'get', key }));
  assert.deepEqual(left, [null, null, 'of today']);
  assert.deepEqual(cases.list().keys, ['new']);
});

test('what was deleted is not there, and knowing that carries a label', () => {
  const cases = collection();
  cases.put('k', 1, ['operational']);
  cases.delete('k', ['personal']);
  cases.delete('never there', ['personal']);
  const { value, label } = cases.get('k') ?? {};
  assert.deepEqual([value, label], [undefined, ['operational', 'personal']]);
  assert.deepEqual(cases.list(), { keys: [], label: ['operational', 'personal'] });
  assert.equal(cases.get('never there'), undefined);
  cases.put('k', 2, ['operational']);
  assert.deepEqual(cases.list(), { keys: ['k'], label: ['operational'] });
});

test('a value that is longer as it is stored than any answer may be is refused', () => {
  const cases = collection();
  const numbers = Array(400_000).fill(1e20);
  assert.throws(() => cases.put('k', numbers, []), refusedFor('budget', false));
  cases.put('k', numbers.slice(0, 300_000), []);
});

test('a collection of nothing but names has an end, and the call that meets it too', () => {
  const cases = collection();
  let count = 0;
  assert.throws(
    () => {
      for (; count < 1e6; count++) cases.put(String(count), 0, []);
    },
    refusedFor('budget', true),
  );
  assert.ok(count > 200_000 && count < 270_000, `${count} entries`);
});

test('values of many small things take the memory that they are counted for', () => {
  const cases = collection();
  const text = `[${Array(300_000).fill('{}')}]`;
  const before = heapUsed();
  for (let key = 0; key < 10; key++) cases.put(String(key), JSON.parse(text) as Json, []);
  const grown = heapUsed() - before;
  // As objects it is twenty times as much; the last one may not be collected yet.
  assert.ok(grown < 5 * 10 * text.length, `${grown} bytes for ${10 * text.length}`);
  assert.equal(cases.list().keys.length, 10);
});
