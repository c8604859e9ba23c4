/** A run passes only if its tests and all that ran beside them did, and the runner's counts are its last lines. */

import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import type { TestEvent } from 'node:test/reporters';
import { report } from '../scripts/test-report.ts';

// The run that this is part of may have been asked for lists of its own.
for (const name of ['ENCLAIM_TEST_NOT_RUN', 'ENCLAIM_TEST_TIMES']) delete process.env[name];

const COUNTS = ['tests 1', 'pass 1', 'fail 0'];

function diagnostic(message: string): TestEvent {
  return { type: 'test:diagnostic', data: { nesting: 0, message, level: 'info' } } as TestEvent;
}

/** The end of a run, as the runner tells it. */
function summary(success: boolean): TestEvent {
  return {
    type: 'test:summary',
    data: { success, duration_ms: 1, file: undefined, counts: {} },
  } as unknown as TestEvent;
}

async function reported(
  events: readonly TestEvent[],
  failed: Promise<readonly string[]> = Promise.resolve([]),
): Promise<{ readonly passed: boolean; readonly lines: string[] }> {
  let text = '';
  const out = new Writable({
    write: (chunk, _, done) => {
      text += chunk;
      done();
    },
  });
  async function* run(): AsyncGenerator<TestEvent> {
    yield* events;
  }
  const passed = await report(run(), { ended: () => failed, waiting: () => [] }, out);
  return { passed, lines: text.trimEnd().split('\n') };
}

const whole = (success: boolean): TestEvent[] => [...COUNTS.map(diagnostic), summary(success)];

test('(control) a run of which everything passed has passed', async () => {
  const { passed, lines } = await reported(whole(true));
  assert.equal(passed, true);
  assert.deepEqual(
    lines.map((line) => line.replace('ℹ ', '')),
    COUNTS,
  );
});

test('a step that fails beside it fails the run, and is named before the counts', async () => {
  const { passed, lines } = await reported(whole(true), Promise.resolve(['hostile']));
  assert.equal(passed, false);
  assert.deepEqual(
    lines.map((line) => line.replace('ℹ ', '')),
    ['failed: hostile', ...COUNTS],
  );
});

test('the counts wait for a step that takes longer than the tests', async () => {
  const step = Promise.withResolvers<readonly string[]>();
  const ended = reported(whole(true), step.promise);
  const first = await Promise.race([ended, new Promise<void>((resolve) => setImmediate(resolve))]);
  assert.equal(first, undefined);
  step.resolve(['hostile']);
  assert.equal((await ended).passed, false);
});

test('a run whose tests fail has failed, and so has one that breaks off', async () => {
  assert.equal((await reported(whole(false))).passed, false);
  assert.equal((await reported([])).passed, false);
});
