/** An epoch begins within the policy's time after the one before; where none can begin, that is told once, and taken back. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Epochs, RoomEpochs } from '../src/epochs.ts';

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

const MINUTE = 60_000;

/** Lets time pass, and what begins then end. */
async function pass(t: { mock: { timers: { tick(by: number): void } } }, milliseconds: number): Promise<void> {
  t.mock.timers.tick(milliseconds);
  for (let turns = 0; turns < 5; turns++) await setImmediate();
}

test('for want of room an epoch begins once in two minutes, and once in an hour where none gave any', async (t) => {
  for (const [gave, wait] of [
    [true, 2 * MINUTE],
    [false, 60 * MINUTE],
    [undefined, 2 * MINUTE],
  ] as const) {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let begun = 0;
    const epochs = new RoomEpochs({
      isHeld: () => true,
      advance: async () => {
        begun++;
        if (gave === undefined) throw new Error('the keeper is busy');
        return gave;
      },
    });
    for (let i = 0; i < 100; i++) epochs.look();
    await pass(t, 0);
    assert.equal(begun, 1);
    await pass(t, wait - MINUTE);
    assert.equal(begun, 1, `${gave}`);
    await pass(t, MINUTE);
    assert.equal(begun, 2, `${gave}`);
    await epochs.close();
    t.mock.timers.reset();
  }
});

test('an epoch for want of room begins no sooner after one of the policy, which is tried again after it', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let begun = 0;
  const epochs = new RoomEpochs({ isHeld: () => true, advance: async () => ++begun < 0 });
  epochs.look();
  await pass(t, 0);
  assert.equal(begun, 1);
  epochs.began();
  await pass(t, MINUTE);
  epochs.began();
  await pass(t, MINUTE);
  assert.equal(begun, 1);
  await pass(t, MINUTE);
  assert.equal(begun, 2);
  await epochs.close();
});

test('an epoch for another reason is one of the policy, whose time runs anew', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const told: boolean[] = [];
  let tried = 0;
  const epochs = new Epochs({ every: EVERY, advance: async () => void tried++, onOverdue: (is) => told.push(is) });
  for (let i = 0; i < 10; i++) {
    await pass(t, EVERY - 1);
    epochs.began();
  }
  assert.deepEqual([tried, told], [0, []]);
  await pass(t, EVERY);
  assert.deepEqual([tried, told], [1, []]);
  await epochs.close();
});
