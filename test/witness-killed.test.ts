/** A witness that is killed at any moment never comes to have cosigned two roots of one size. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killWitness } from './support/killed-witness.ts';
import { count } from './support/long.ts';

test('kill -9 while it answers, again and again: no size has two cosigned roots', async (t) => {
  const lives = await killWitness(count(20, 200, 6));
  t.diagnostic(JSON.stringify(lives));
  assert.equal(lives.forks, 0);
  assert.ok(lives.cosigned > 0 && lives.cut > 0, JSON.stringify(lives));
});

test('control: without a store before the answer, some have', async () => {
  const { forks } = await killWitness(8, ['stored before it is answered']);
  assert.ok(forks > 0);
});
