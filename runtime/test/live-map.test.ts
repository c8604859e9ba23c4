/** What was in a map of calls under way is cleared away by the small collections, and it is a map. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { LiveMap } from '../src/live-map.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options: { type: 'minor' }) => void;
setFlagsFromString('--no-expose-gc');
const small = (): void => collect({ type: 'minor' });

/** Entries at once, and the heap that each takes. */
const ENTRIES = 64;
const ENTRY_BYTES = 4096;
const TURNS = 20_000;

const oldBytes = (): number =>
  getHeapSpaceStatistics().reduce(
    (sum, { space_name, space_used_size }) => sum + (space_name === 'old_space' ? space_used_size : 0),
    0,
  );

/** Bytes that grew old while so many entries came and went, of which none is there for long. */
function grownOld(map: LiveMap<number, unknown> | Map<number, unknown>): number {
  const add = (key: number): unknown => map.set(key, new Array(ENTRY_BYTES / 8).fill(1.5));
  for (let key = 0; key < ENTRIES; key++) add(key);
  // The table grows old, as that of any map does that is quiet for a while.
  for (let turn = 0; turn < 3; turn++) small();
  const before = oldBytes();
  let most = 0;
  for (let key = ENTRIES; key < TURNS; key++) {
    map.delete(key - ENTRIES);
    add(key);
    if (key % 1000 === 0) {
      small();
      most = Math.max(most, oldBytes() - before);
    }
  }
  return most;
}

test('entries that come and go do not grow old', () => {
  assert.ok(grownOld(new LiveMap()) < 4 * ENTRIES * ENTRY_BYTES);
});

test("(control) in the engine's map nearly all of them do", () => {
  assert.ok(grownOld(new Map()) > 20 * ENTRIES * ENTRY_BYTES);
});

test('it holds what a map holds, in the same order', () => {
  const [live, map] = [new LiveMap<number, string>(), new Map<number, string>()];
  for (let turn = 0; turn < 5000; turn++) {
    const key = (turn * 7919) % 251;
    if (turn % 3 === 0) assert.equal(live.delete(key), map.delete(key));
    else {
      live.set(key, String(turn));
      map.set(key, String(turn));
    }
    assert.equal(live.size, map.size);
    assert.equal(live.get(key), map.get(key));
    assert.equal(live.has(key), map.has(key));
  }
  assert.deepEqual([...live], [...map]);
  assert.deepEqual([...live.keys()], [...map.keys()]);
  assert.deepEqual([...live.values()], [...map.values()]);
});
