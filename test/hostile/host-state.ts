/** Attacks on what is stored over boots: strangers who fill what its next epoch needs. */

import * as whole from '../../runtime/src/storage/sealed/sealed-store.ts';
import { entry, FakeDisk } from '../../runtime/test/log/support.ts';
import { MIB, put, TestClock } from '../../runtime/test/sealed/support.ts';
import { FakeKeeper } from '../fakes/keeper.ts';
import type { Attack } from './attack.ts';
import { onSource, passes } from './source-attack.ts';

const STORE = { path: 'runtime/src/storage/sealed/sealed-store.ts' as const, whole };
/** Records of more bytes than a slot of the disk has, and those of one call. */
const RECORDS = 4000;
const AT_ONCE = 50;
const KEY_CHARS = 250;

/** Whether strangers who store as much as they can keep the next epoch from beginning. */
async function fills({ SealedStore }: typeof whole): Promise<boolean> {
  const log = await new FakeDisk(8 * MIB).open();
  const collections = new Map([['cases', { retention: Number.POSITIVE_INFINITY }]]);
  const parts = { keeper: new FakeKeeper(), clock: new TestClock(), system: 'test', collections };
  const store = await SealedStore.open({ log, ...parts });
  const cases = store.collections.get('cases');
  if (cases === undefined) throw new TypeError('no collection');
  for (let from = 0; from < RECORDS; from += AT_ONCE) {
    const changes = Array.from({ length: AT_ONCE }, (_, i) => put(`${from + i}`.padStart(KEY_CHARS, 'x'), 1));
    if (!(await passes(() => cases.check(changes)))) break;
    const { durable } = log.place(entry('call'));
    cases.apply(changes);
    await durable;
  }
  const begins = await passes(() => store.advance());
  await store.close();
  return !begins;
}

/** Attacks on what is stored over boots. */
export const stateAttacks: readonly Attack[] = [
  onSource(STORE, 'store until no epoch can begin any more', 'room for the next index', fills),
];
