/** A call whose end has no record keeps no room for its changes, and one that met a refusal has looked. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandlerOperations, type HandlerOperationsOptions } from '../src/call/handler-operations.ts';
import { placeEnd } from '../src/call/place-end.ts';
import { RefusalError } from '../src/errors.ts';
import { Transaction } from '../src/storage/transaction.ts';
import { Rig } from './sealed/support.ts';

const value = { value: '"x"', since: Number.POSITIVE_INFINITY, owner: 'a' } as unknown as Parameters<
  Transaction['put']
>[2];

test('room of an index that was promised to a call without a record is there for calls of other collections', async () => {
  const rig = await Rig.boot({ collections: { one: 1000, two: 1000 } });
  /** How many changes of a collection fit, until it is refused. */
  const fits = (name: string): number => {
    const call = new Transaction(rig.store.collections);
    for (let count = 0; ; count += 20) {
      for (let i = 0; i < 20; i++) call.put(name, `${count + i}`.padStart(250, 'x'), value, undefined);
      try {
        call.check([]);
      } catch {
        return count;
      }
    }
  };
  const all = fits('two');
  const call = new Transaction(rig.store.collections);
  for (let i = 0; i < all; i++) call.put('one', `${i}`.padStart(250, 'y'), value, undefined);
  const full = new RefusalError('log', 'the log is full');
  const end = () => {
    call.check([]);
    return placeEnd({ end: () => assert.fail(full) }, call, {} as Parameters<typeof placeEnd>[2]);
  };
  assert.throws(end, full);
  assert.equal(fits('two'), all);
  await rig.store.close();
});

test('an operation that is refused has looked, so that what tells of it waits for what it saw', () => {
  for (const isRefused of [true, false]) {
    let looked = 0;
    const perform = () => {
      if (isRefused) throw new RefusalError('conflict', 'another version');
      return 'null';
    };
    const parts = { method: 'm', context: { perform }, ledger: { looked: () => looked++ } };
    const operations = new HandlerOperations(parts as unknown as HandlerOperationsOptions);
    const put = { kind: 'put', collection: 'one', key: 'a', json: '1' } as unknown as Parameters<
      typeof operations.perform
    >[0];
    const act = () => operations.perform(put, undefined);
    if (isRefused) assert.throws(act, { code: 'conflict' });
    else act();
    assert.equal(looked, 1);
  }
});
