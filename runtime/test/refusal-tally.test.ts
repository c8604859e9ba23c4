/**
 * Refusals without a handler are counted, none is lost, and their records do not grow with their
 * number.
 */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { RefusalTally } from '../src/call/refusal-tally.ts';

let now: number;
let records: [code: string, count: number][];
let tally: RefusalTally;
beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  [now, records] = [0, []];
  tally = new RefusalTally({ write: (code, count) => void records.push([code, count]), now: () => now });
});
afterEach(() => mock.timers.reset());

function pass(milliseconds: number): void {
  now += milliseconds;
  mock.timers.tick(milliseconds);
}

test('the first of a kind has a record of its own, and one record stands for all others of the second', () => {
  assert.equal(tally.hasRecord('request'), true);
  for (let count = 0; count < 1000; count++) assert.equal(tally.hasRecord('request'), false);
  assert.equal(tally.hasRecord('budget'), true, 'another kind');
  assert.deepEqual(records, []);
  pass(1000);
  assert.deepEqual(records, [['request', 1000]]);
  assert.equal(tally.hasRecord('request'), false, 'that was the record of this second');
  pass(1000);
  assert.deepEqual(records.at(-1), ['request', 1]);
  pass(1000);
  assert.equal(tally.hasRecord('request'), true);
});

test('in the long run there is a record a minute, and none is lost', () => {
  let own = 0;
  const day = 24 * 60 * 60;
  for (let second = 0; second < day; second++) {
    for (let count = 0; count < 3; count++) if (tally.hasRecord('request')) own++;
    pass(1000);
  }
  tally.close();
  assert.ok(own + records.length <= 60 + day / 60 + 1, `${own} and ${records.length} records`);
  assert.equal(
    records.reduce((sum, [, count]) => sum + count, own),
    3 * day,
  );
});

test('what is counted at the end is recorded', () => {
  for (let count = 0; count < 3; count++) tally.hasRecord('flow');
  tally.close();
  assert.deepEqual(records, [['flow', 2]]);
  tally.close();
  assert.equal(records.length, 1);
});
