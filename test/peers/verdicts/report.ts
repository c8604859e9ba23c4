/** What a comparison found, said and asserted: nothing that ours alone accepts, and something compared. */

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { LONG } from '../../support/long.ts';
import type { Tally } from './comparison.ts';
import { DISAGREEMENTS, type Disagreement } from './disagreements.ts';

/** Fails where a row of the table explained nothing in all of the cases: it would hide the next fault. */
export function assertNeeded(peer: string, needed: ReadonlySet<Disagreement>): void {
  if (!LONG) return;
  const idle = DISAGREEMENTS.filter((row) => row.peer === peer && row.vectors === undefined && !needed.has(row));
  assert.deepEqual(
    idle.map(({ kind, reason }) => `${kind}: ${reason}`),
    [],
  );
}

/** Says the counts of every kind, and fails where a disagreement is not explained or nothing was compared. */
export function assertAgreement(
  t: TestContext,
  tallies: ReadonlyMap<string, Tally>,
  cases: 'generated' | 'vectors' = 'generated',
): void {
  assert.ok(tallies.size > 0, 'no case was judged');
  for (const [kind, tally] of tallies) {
    const { cases: total, bothAccept, bothRefuse, stricter, explained, unexplained } = tally;
    t.diagnostic(`${kind}: ${total} cases, ${bothAccept} accepted by both, ${bothRefuse} refused by both`);
    for (const [reason, times] of byCount(stricter)) t.diagnostic(`  ours alone refuses ${times}: ${reason}`);
    for (const [row, times] of byCount(explained)) t.diagnostic(`  explained ${times}: ${row.reason} (${row.source})`);
    const lines = [...unexplained].map(([what, ids]) => `${ids.length}: ${what} (${ids.slice(0, 3).join('; ')})`);
    assert.equal(lines.length, 0, `${kind}: not explained are\n${lines.join('\n')}`);
    // A peer that refuses all, or is refused all, has judged nothing; vectors of a kind may all be good ones.
    const judged = bothAccept > 0 && (bothRefuse > 0 || cases === 'vectors');
    assert.ok(judged, `${kind}: nothing was accepted, or nothing refused, by both`);
  }
}

function byCount<K>(counts: ReadonlyMap<K, number>): [K, number][] {
  return [...counts].sort(([, a], [, b]) => b - a);
}
