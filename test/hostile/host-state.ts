/** Attacks on what is stored over boots: strangers who fill what its next epoch needs. */

import { RefusalError } from '../../runtime/src/errors.ts';
import type { HeirKeeper } from '../../runtime/src/storage/sealed/keeper.ts';
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

const LAUNCH = { policy: `sha384:${'00'.repeat(48)}`, from: [], to: [] } as const;

/** Whether a later epoch is handed over to an heir to whom it could not be handed over when that was asked for. */
async function handsLater({ SealedStore }: typeof whole): Promise<boolean> {
  const log = await new FakeDisk(8 * MIB).open();
  const collections = new Map([['cases', { retention: Number.POSITIVE_INFINITY }]]);
  let isFailing = true;
  const handOver = async () => {
    if (isFailing) throw new RefusalError('keeper', 'the TPM is busy');
    return new Uint8Array(64);
  };
  const heirs = { handOver } as unknown as HeirKeeper;
  const keeper = Object.assign(new FakeKeeper(), { heirs });
  const store = await SealedStore.open({ log, keeper, clock: new TestClock(), system: 'test', collections });
  await passes(() => store.bequeath({ passage: LAUNCH, digest: '', succession: new Uint8Array(8) }));
  isFailing = false;
  await store.advance();
  const isHanded = store.handed !== undefined;
  await store.close();
  return isHanded;
}

/** Whether a launch goes on with its state once its heir has begun an epoch. */
async function goesOn({ SealedStore }: typeof whole): Promise<boolean> {
  const disk = new FakeDisk(8 * MIB);
  const heirs = { handOver: async () => new Uint8Array(64), epochOfHeir: async () => 1 } as unknown as HeirKeeper;
  const parts = { keeper: Object.assign(new FakeKeeper(), { heirs }), clock: new TestClock(), system: 'test' };
  const collections = new Map([['cases', { retention: Number.POSITIVE_INFINITY }]]);
  const store = await SealedStore.open({ log: await disk.open(), ...parts, collections });
  await store.bequeath({ passage: LAUNCH, digest: '', succession: new Uint8Array(8) });
  await store.close();
  return passes(async () => (await SealedStore.open({ log: await disk.open(), ...parts, collections })).close());
}

/** Attacks on what is stored over boots. */
export const stateAttacks: readonly Attack[] = [
  onSource(STORE, 'store until no epoch can begin any more', 'room for the next index', fills),
  onSource(STORE, 'be heir of an epoch that nobody handed over', 'hand-overs that failed', handsLater),
  onSource(STORE, 'go on beside the heir, and change the disks later', 'heirs that have begun', goesOn),
];
