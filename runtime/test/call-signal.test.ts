/** A call's signal tells its end to the same listeners, in the same order and with the same reason, as an `AbortController`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import { abortSignalOf, CallEnd, type CallSignal } from '../src/call-signal.ts';

/** A thing that is done with a signal: a listener comes or goes, by number, or the call ends. */
type Step = { readonly kind: 'add' | 'remove'; readonly listener: number } | { readonly kind: 'abort' };

const listener = fc.nat({ max: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('add' as const), listener }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), listener }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const) }) },
);

/** What a signal tells its listeners. The first of them takes the last away when it is called. */
function told(signal: CallSignal, abort: (reason: Error) => void, steps: readonly Step[]): unknown[] {
  const heard: unknown[] = [];
  const listeners = [0, 1, 2, 3].map((number) => () => {
    heard.push(number, signal.aborted, signal.reason);
    if (number === 0) signal.removeEventListener('abort', listeners[3] as () => void);
  });
  for (const [at, each] of steps.entries()) {
    if (each.kind === 'abort') abort(new Error(`end ${at}`));
    else if (each.kind === 'add')
      signal.addEventListener('abort', listeners[each.listener] as () => void, { once: true });
    else signal.removeEventListener('abort', listeners[each.listener] as () => void);
    heard.push(signal.aborted, signal.reason);
  }
  return heard;
}

test('tells what an AbortController tells', () => {
  let ends = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const [end, controller] = [new CallEnd(), new AbortController()];
      const said = told(end, (reason) => end.abort(reason), steps);
      assert.deepEqual(
        said.map(String),
        told(controller.signal, (reason) => controller.abort(reason), steps).map(String),
      );
      ends += steps.some(({ kind }) => kind === 'abort') ? 1 : 0;
    }),
    { numRuns: 5000 },
  );
  assert.ok(ends > 500, `${ends} ends`);
});

test('has a reason where none is given', () => {
  const end = new CallEnd();
  end.abort();
  assert.ok(end.aborted && end.reason instanceof Error);
});

test('is an AbortSignal for the system, before and after its end', () => {
  const [early, late, why] = [new CallEnd(), new CallEnd(), new Error('why')];
  early.abort(why);
  assert.equal(abortSignalOf(early).reason, why);
  const signal = abortSignalOf(late);
  assert.equal(signal.aborted, false);
  late.abort(why);
  assert.equal(signal.reason, why);
  assert.equal(abortSignalOf(signal), signal);
});
