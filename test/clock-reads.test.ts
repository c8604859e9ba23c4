/**
 * No test fails because a machine is busy: each place of the tests that measures how long something
 * takes is listed here with the reason why slowness cannot make it fail. A new one is to be argued
 * for; speed is measured in bench/.
 */

import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');

const HANGS = 'ends what hangs, after minutes';
const BUSY = 'keeps a processor busy for so long';
const EARLY = 'refuses what comes too early; late is as good';
const INSTANT = 'compares instants that were named, not how long something took';
const SEEN = 'is what the test reports, and asserts nothing';

/** Places by file, and the reason of each file. */
const LISTED: Readonly<Record<string, readonly [places: number, reason: string]>> = {
  'image/test/segment-cache.test.ts': [1, INSTANT],
  'runtime/test/clock.test.ts': [2, INSTANT],
  'runtime/test/governor/governor.test.ts': [2, BUSY],
  'runtime/test/worker/unanswered.test.ts': [4, BUSY],
  'test/client-channel.test.ts': [2, HANGS],
  'test/client-deployment.test.ts': [3, INSTANT],
  'test/drain.test.ts': [3, EARLY],
  'test/hostile/attack.ts': [2, HANGS],
  'test/hostile/house.ts': [2, 'a slower run lets through more records, by its own seconds'],
  'test/hostile/language.ts': [2, 'is the text of an attack'],
  'test/hostile/protocol.ts': [2, BUSY],
  'test/hostile/raw-http2.ts': [2, HANGS],
  'test/hostile/run.ts': [2, SEEN],
  'test/log-reader.test.ts': [2, HANGS],
  'test/reproduce-bytes.vm.test.ts': [1, INSTANT],
  'test/sealed-runtime.test.ts': [1, INSTANT],
  'test/succession.test.ts': [1, INSTANT],
  'test/support/eventually.ts': [2, HANGS],
  'test/support/kept-machines.ts': [1, INSTANT],
  'test/support/shelf.ts': [1, INSTANT],
  'test/verdict-end.test.ts': [1, INSTANT],
  'test/vm/governor.vm.test.ts': [2, EARLY],
  'test/vm/linux-guest.ts': [3, 'waits longer where the machine is slower'],
  'test/vm/proof.vm.test.ts': [2, INSTANT],
};

/** A clock that only durations are read from, or the wall clock in a difference or comparison. */
const READS = /performance\.now\b|\bhrtime\b|\bDate\.now\(\)\s*(?:-|<|>)|(?:[-<]|[^=]>)=?\s*Date\.now\(\)/g;

/** Limits of a test or suite that are shorter than what a busy machine may need. */
const LIMITS = /\b(?:test|describe|it)\([^\n]*\{[^\n]*\btimeout: (\d[\d_]*)/g;
const MIN_LIMIT_MS = 60_000;

function readsOf(text: string): number {
  return text.match(READS)?.length ?? 0;
}

const sources = new Map(
  globSync(['test/**/*.ts', '*/test/**/*.ts'], { cwd: root, exclude: ['**/node_modules/**'] })
    .sort()
    .map((file) => [file, readFileSync(join(root, file), 'utf8')]),
);
sources.delete('test/clock-reads.test.ts');

test('each place that measures a duration is listed with its reason, and no other is there', () => {
  assert.ok(sources.size > 300, `${sources.size} files`);
  const found = [...sources].map(([file, text]) => [file, readsOf(text)] as const).filter(([, places]) => places > 0);
  assert.deepEqual(
    Object.fromEntries(found),
    Object.fromEntries(Object.entries(LISTED).map(([file, [places]]) => [file, places])),
  );
});

test('no test has a limit of its own that a busy machine could meet', () => {
  for (const [file, text] of sources)
    for (const [where, limit = ''] of text.matchAll(LIMITS))
      assert.ok(Number(limit.replaceAll('_', '')) >= MIN_LIMIT_MS, `${file}: ${where}`);
});

test('(control) a test that asserts how long something took would be found', () => {
  for (const text of [
    'const began = performance.now(); assert.ok(performance.now() - began < 100);',
    'assert.ok(Date.now() - began < 1000);',
    'assert.ok(until > Date.now());',
    'const [seconds] = process.hrtime(began);',
  ])
    assert.ok(readsOf(text) > 0, text);
  for (const text of ['() => Date.now()', 'now: Date.now,', 'new Date(Date.now() + 60_000)'])
    assert.equal(readsOf(text), 0);
  const hasty = "test('is fast', { timeout: 5_000 }, () => {});";
  assert.equal([...hasty.matchAll(LIMITS)][0]?.[1], '5_000');
});
