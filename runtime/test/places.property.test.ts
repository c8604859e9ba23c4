/** Collections in memory show nothing of what calls do that carry a secret, not even whether they end well. */

import { test } from 'node:test';
import { count } from '../../test/support/long.ts';
import { Shelf } from '../../test/support/shelf.ts';
import { compareRuns, RETENTION, type Stores } from './two-runs.ts';

const PROGRAMS = count(5000, 20_000, 500);

async function open(): Promise<Stores> {
  let time = 0;
  const collections = new Map<string, Shelf>();
  const start = (): void => {
    for (const [name, retention] of Object.entries(RETENTION)) {
      const places = collections.get(name)?.snapshot() ?? [];
      collections.set(name, new Shelf(name, retention, { now: () => time, places }));
    }
  };
  start();
  return {
    collections,
    wait: (milliseconds) => {
      time += milliseconds;
    },
    record: () => {},
    restart: async () => start(),
  };
}

for (const [name, unlike] of [
  ['what calls do that carry a secret', true],
  ['whether calls that carry a secret end well', false],
] as const)
  test(`${PROGRAMS} programs do not show ${name}`, async () => {
    console.log(`places: ${JSON.stringify(await compareRuns(open, PROGRAMS, unlike))}, alike in both runs`);
  });
