/** Attacks of the host by its clock, which it sets as it likes, before a boot and during one. */

import { setTimeout as sleep } from 'node:timers/promises';
import * as time from '../../guest/src/time.ts';
import * as clock from '../../runtime/src/clock.ts';
import { Shelf } from '../support/shelf.ts';
import type { Attack } from './attack.ts';
import { onSource, passes } from './source-attack.ts';

const CLOCK = { path: 'runtime/src/clock.ts' as const, whole: clock };
const TIME = { path: 'guest/src/time.ts' as const, whole: time };

/** Runs an action while the host's clock says something else. */
async function atTime<T>(said: () => number, action: () => T | Promise<T>): Promise<T> {
  const { now } = Date;
  Date.now = said;
  try {
    return await action();
  } finally {
    Date.now = now;
  }
}

const HOUR = 3_600_000;

/** Every attack by the clock. */
export const clockAttacks: readonly Attack[] = [
  ...(['an hour back', 'an hour ahead'] as const).map((name, at) =>
    onSource(
      CLOCK,
      `set the clock ${name} during a boot`,
      'one reading of the clock',
      async ({ BootClock, anchorTime }) => {
        const clock = new BootClock(anchorTime());
        const before = clock.now();
        const after = await atTime(
          () => before + (at === 0 ? -HOUR : HOUR),
          () => clock.now(),
        );
        return Math.abs(after - before) > 1000;
      },
    ),
  ),
  onSource(
    CLOCK,
    'begin a boot before the last record of the one before',
    'no time before the newest record',
    async ({ BootClock, anchorTime }) => {
      const last = Date.now();
      const clock = await atTime(
        () => last - 24 * HOUR,
        () => new BootClock(anchorTime()),
      );
      clock.notBefore(last);
      return clock.now() < last;
    },
  ),
  onSource(TIME, 'begin a boot in 1970', 'no time before the kernel was built', async ({ readTime }) =>
    passes(() => readTime('#1 SMP Debian 6.12.95-1 (2026-07-01)', { wall: 1000, monotonic: 0 })),
  ),
  ...(
    ['keep a value beyond its retention, by a clock set back', 'lose a value early, by a clock set ahead'] as const
  ).map((name, at) =>
    onSource(CLOCK, name, 'one reading of the clock', async ({ BootClock, anchorTime }) => {
      const clock = new BootClock(anchorTime());
      const collection = new Shelf('cases', at === 0 ? 200 : HOUR / 2, { now: () => clock.now() });
      collection.put('k', 'v', []);
      if (at === 0) await sleep(300);
      const jump = at === 0 ? -HOUR : HOUR;
      const now = Date.now();
      const found = await atTime(
        () => now + jump,
        () => collection.get('k'),
      );
      return (found !== undefined) === (at === 0);
    }),
  ),
];
