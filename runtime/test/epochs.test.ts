/** An epoch begins within the policy's time after the one before; where none can begin, that is told once, and taken back. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Epochs } from '../src/epochs.ts';

const EVERY = 60_000;

test('epochs follow each other, and one that fails is tried again until it is overdue, and after that', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const pass = async (milliseconds: number): Promise<void> => {
    t.mock.timers.tick(milliseconds);
    await setImmediate();
  };
  let isFailing = false;
  let tried = 0;
  const told: boolean[] = [];
  const epochs = new Epochs({
    every: EVERY,
    advance: async () => {
      tried++;
      if (isFailing) throw new Error('the keeper is busy');
    },
    onOverdue: (isOverdue) => told.push(isOverdue),
  });
  await pass(EVERY - 1);
  assert.equal(tried, 0);
  await pass(1);
  await pass(EVERY);
  assert.deepEqual([tried, told], [2, []]);

  isFailing = true;
  await pass(EVERY);
  await pass(EVERY / 2);
  assert.deepEqual([tried, told], [4, []], 'tried again, and not yet overdue');
  await pass(EVERY / 2);
  await pass(EVERY / 2);
  assert.deepEqual([tried, told], [6, [true]], 'told once');
  isFailing = false;
  await pass(EVERY / 2);
  assert.deepEqual([tried, told], [7, [true, false]]);
  await pass(EVERY);
  assert.equal(tried, 8);

  await epochs.close();
  await pass(2 * EVERY);
  assert.equal(tried, 8, 'none begins after the end');
});

test('an epoch that neither begins nor fails is overdue, too', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const told: boolean[] = [];
  const hanging = Promise.withResolvers<void>();
  const epochs = new Epochs({ every: EVERY, advance: () => hanging.promise, onOverdue: (is) => told.push(is) });
  t.mock.timers.tick(EVERY);
  await setImmediate();
  t.mock.timers.tick(EVERY - 1);
  assert.deepEqual(told, []);
  t.mock.timers.tick(1);
  assert.deepEqual(told, [true]);
  hanging.resolve();
  await setImmediate();
  assert.deepEqual(told, [true, false]);
  await epochs.close();
});

test('the end waits for an epoch that is under way', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const advancing = Promise.withResolvers<void>();
  const epochs = new Epochs({ every: EVERY, advance: () => advancing.promise, onOverdue: () => assert.fail() });
  t.mock.timers.tick(EVERY);
  let isClosed = false;
  const closed = epochs.close().then(() => {
    isClosed = true;
  });
  await setImmediate();
  assert.equal(isClosed, false);
  advancing.resolve();
  await closed;
});
