/** Sealed collections show nothing of what calls do that carry a secret, not even whether they end well. */

import { test } from 'node:test';
import { count } from '../../../test/support/long.ts';
import { entry } from '../log/support.ts';
import { compareRuns, RETENTION, type Stores } from '../two-runs.ts';
import { Rig } from './support.ts';

const PROGRAMS = count(200, 2000);

async function open(): Promise<Stores> {
  let rig = await Rig.boot({ collections: RETENTION });
  return {
    get collections() {
      return rig.store.collections;
    },
    wait: (milliseconds) => rig.clock.pass(milliseconds),
    record: () => void rig.log.place(entry('call')),
    restart: async () => {
      await rig.log.append(entry('last'));
      rig = await rig.again({ collections: RETENTION });
    },
  };
}

for (const [name, unlike] of [
  ['what calls do that carry a secret', true],
  ['whether calls that carry a secret end well', false],
] as const)
  test(`${PROGRAMS} programs do not show ${name}`, async () => {
    console.log(`sealed places: ${JSON.stringify(await compareRuns(open, PROGRAMS, unlike))}, alike in both runs`);
  });
