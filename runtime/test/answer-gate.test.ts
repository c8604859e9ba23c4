/** While a subprocessor is pending, its handler learns nothing new. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { AnswerGate } from '../src/egress/answer-gate.ts';

let gate: AnswerGate;
let answered: string[];
beforeEach(() => {
  gate = new AnswerGate();
  answered = [];
});

/** Notes when an operation is answered. */
async function noted(name: string, answer: Promise<unknown>): Promise<void> {
  await answer.catch(() => {});
  answered.push(name);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a gate that nothing closed is open', async () => {
  assert.equal(gate.pending, undefined);
  await gate.opened();
  assert.equal(await gate.held(Promise.resolve(7)), 7);
});

test('what finishes while an outward operation is pending is held until after its answer', async () => {
  const outward = Promise.withResolvers<string>();
  const all = [
    noted('outward', gate.outward(outward.promise)),
    noted('done', gate.held(Promise.resolve())),
    noted('failed', gate.held(Promise.reject(new Error('refused')))),
    noted('started', Promise.resolve(gate.pending)),
  ];
  await turn();
  assert.deepEqual(answered, []);
  outward.resolve('taken');
  await Promise.all(all);
  assert.equal(answered[0], 'outward');
  assert.equal(gate.pending, undefined);
});

test('outward operations are answered in order, a failed one too', async () => {
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  const all = [noted('first', gate.outward(first.promise)), noted('second', gate.outward(second.promise))];
  second.resolve();
  await turn();
  assert.deepEqual(answered, []);
  first.reject(new Error('not taken'));
  await Promise.all(all);
  assert.deepEqual(answered, ['first', 'second']);
});

test('an operation that was asked for while the gate was closed keeps it closed', async () => {
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  const all = [noted('first', gate.outward(first.promise)), noted('opened', gate.opened())];
  all.push(noted('second', gate.outward(second.promise)));
  first.resolve();
  await turn();
  assert.deepEqual(answered, ['first']);
  second.resolve();
  await Promise.all(all);
  assert.deepEqual(answered, ['first', 'second', 'opened']);
});
