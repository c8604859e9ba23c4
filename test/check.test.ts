/** The check of a change runs the tests of every room that the change can break, but for the slow files that it names. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { roomsOfChange } from '../scripts/changed-rooms.ts';
import { root } from '../scripts/imports.ts';
import { MAY_IMPORT, withThoseAbove } from '../scripts/room-table.ts';
import { SLOW_TESTS } from '../scripts/slow-tests.ts';

const all = Object.keys(MAY_IMPORT);

test('every slow file is there, a unit test of a room, and has a reason', () => {
  for (const [file, reason] of Object.entries(SLOW_TESTS)) {
    assert.ok(existsSync(join(root, file)), file);
    assert.match(file, /\.test\.ts$/);
    assert.ok(all.includes(file.split('/')[0] ?? ''), file);
    assert.notEqual(reason, '');
  }
});

test('rooms above are those that import it, by way of others too', () => {
  assert.deepEqual(withThoseAbove(['guest']), ['guest', 'cli']);
  assert.deepEqual(withThoseAbove(['runtime']), ['runtime', 'guest', 'cli']);
  assert.deepEqual(
    withThoseAbove(['policy-schema']),
    all.filter((room) => room !== 'examples'),
  );
  assert.deepEqual(withThoseAbove([]), []);
});

for (const [paths, rooms] of [
  [[], []],
  [['docs/policy/policy.md', 'CHANGELOG.md', 'test/vm/disk.vm.test.ts', 'bench/run.ts'], []],
  [['cli/src/main.ts'], ['cli']],
  [
    ['docs/policy/policy.md', 'client/test/route.test.ts'],
    ['client', 'cli'],
  ],
  [
    ['guest/README.md', 'client/src/index.ts'],
    ['guest', 'client', 'cli'],
  ],
  // What no room is, and every room may rest on.
  [['package-lock.json'], all],
  [['cli/src/main.ts', 'test/fakes/gce.ts'], all],
  [['test/support/long.ts'], all],
  [['tsconfig.json'], all],
  [['scripts/run-tests.ts'], all],
  [['no-such-folder/a.ts'], all],
] satisfies (readonly [string[], string[]])[])
  test(`a change of ${paths.join(', ') || 'nothing'} concerns ${rooms.join(', ') || 'no room'}`, () =>
    assert.deepEqual(roomsOfChange(paths), rooms));
