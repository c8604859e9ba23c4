/** A collection holds what it was given, and no more memory than it counts. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { VolatileCollection } from '../src/store.ts';
import type { Json } from '../src/worker/protocol.ts';

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
