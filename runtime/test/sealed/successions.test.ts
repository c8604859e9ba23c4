/** A hand-over that fails is tried again, ever later, and goes on at once after one that succeeds. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { signedSuccessions } from '../../../test/support/signed-succession.ts';
import { RefusalError } from '../../src/errors.ts';
import type { Bequest } from '../../src/storage/sealed/sealed-store.ts';
import { Successions } from '../../src/storage/sealed/successions.ts';

const MINUTE = 60_000;

test('a hand-over that fails is tried again after one minute, two, four, and each hour in the end', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { policy, state, to } = await signedSuccessions();
  let [attempts, isFailing, handed] = [0, true, undefined as Bequest | undefined];
  const store = {
    state,
    tryPassage: async () => {},
    bequeath: async (bequest: Bequest | undefined) => {
      attempts++;
      if (isFailing) throw new RefusalError('keeper', 'the TPM is busy');
      handed = bequest;
    },
    get handed() {
      return handed;
    },
  };
  const collection = { get: () => undefined, check: () => {}, apply: () => {} };
  const successions = await Successions.open({
    ...{ store, collection, policy, clock: { now: () => Date.UTC(2026, 10, 1) } },
    record: async () => {},
  } as unknown as Parameters<typeof Successions.open>[0]);
  /** Minutes pass, one by one. @returns the minutes at which it was tried */
  const tried = async (minutes: number): Promise<number[]> => {
    const when: number[] = [];
    for (let minute = 1; minute <= minutes; minute++) {
      const before = attempts;
      t.mock.timers.tick(MINUTE);
      for (let i = 0; i < 5; i++) {
        await turn();
        t.mock.timers.tick(0);
      }
      if (attempts > before) when.push(minute);
    }
    return when;
  };
  await assert.rejects(successions.hand(to(7)), /busy/);
  assert.deepEqual(await tried(260), [1, 3, 7, 15, 31, 63, 123, 183, 243]);
  const before = attempts;
  await assert.rejects(successions.hand(to(7)), /busy/);
  assert.equal(attempts, before);
  isFailing = false;
  await successions.hand(to(8));
  // One epoch takes the key from the heir of before, the next one hands it over.
  assert.equal(attempts, before + 2);
  assert.ok(successions.isHanded);
  await successions.close();
});
