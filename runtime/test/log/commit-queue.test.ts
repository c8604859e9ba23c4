/** What a queue of commits was woken for is done, whatever stands next in it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { CommitQueue } from '../../src/log/commit-queue.ts';

test('a queue that is woken before work in place of a write does what is due behind it', async () => {
  const done: string[] = [];
  const queue = new CommitQueue(async (batch) => {
    done.push(batch === undefined ? 'due' : 'write');
  }, 4096);
  const between = queue.between(async () => {
    done.push('task');
  });
  queue.wake();
  await between;
  for (let i = 0; i < 5; i++) await turn();
  assert.deepEqual(done, ['task', 'due']);
});

test('a write does what is due itself, once', async () => {
  let performed = 0;
  const queue = new CommitQueue(async () => {
    performed++;
  }, 4096);
  const { done } = queue.place({ text: 'a', length: 1, hash: '00' }, 0);
  queue.wake();
  await done.promise;
  for (let i = 0; i < 5; i++) await turn();
  assert.equal(performed, 1);
});
