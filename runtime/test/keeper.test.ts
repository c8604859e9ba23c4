/** The keeper that tests use hands a key out at its epoch alone, as a TPM with a counter does. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { FakeKeeper } from '../../test/fakes/keeper.ts';

test('a blob opens at its epoch, and neither before nor after', async () => {
  const keeper = new FakeKeeper();
  const key = randomBytes(32);
  const blob = await keeper.seal(key, 1);
  await assert.rejects(keeper.open(blob), { code: 'keeper' });
  assert.equal(await keeper.advance(), 1);
  assert.deepEqual(Buffer.from(await keeper.open(blob)), key);
  await keeper.advance();
  await assert.rejects(keeper.open(blob), { code: 'keeper' });
});

test('a key is sealed to the next epoch alone, and another keeper never opens it', async () => {
  const keeper = new FakeKeeper({ epoch: 7 });
  for (const epoch of [0, 6, 7, 9]) await assert.rejects(keeper.seal(randomBytes(32), epoch), { code: 'keeper' });
  const blob = await keeper.seal(randomBytes(32), 8);
  const other = new FakeKeeper({ epoch: 8 });
  for (const bytes of [blob, new Uint8Array(), randomBytes(60)]) await assert.rejects(other.open(bytes));
});
