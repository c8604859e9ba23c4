/** A call that is refused for what it read has stored nothing: it reads first, and stores only while it may still answer. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExposedMethod, Policy } from '@enclaim/policy-schema/admission';
import { Shelf } from '../../test/support/shelf.ts';
import { given } from '../../test/support/worker-text.ts';
import { RefusalError } from '../src/errors.ts';
import { CallContext } from '../src/flow/call-flow.ts';

const METHOD = 'a.B/Decide';
const RULE = {
  callers: ['anyone'],
  accepts: ['open'],
  reads: ['leaves', 'words'],
  stores: ['leaves', 'words'],
  sends: [],
};

/** A call of a method that returns only what is open, and the collections that it works on. */
function decide() {
  const policy = {
    services: { 'a.B': { Decide: { ...RULE, returns: ['open'] } } },
    collections: { leaves: { holds: ['health', 'open'] }, words: { holds: ['open'] } },
    subprocessors: { mailer: { receives: ['health'] }, printer: { receives: ['open'] } },
    access: { cedar: '', identities: {} },
    governance: { leaks: 'none' },
  } as unknown as Policy;
  const leaves = new Shelf('leaves', Number.POSITIVE_INFINITY);
  const words = new Shelf('words', Number.POSITIVE_INFINITY);
  leaves.put('1', 'asked', ['health']);
  const collections = new Map([['leaves', leaves] as const, ['words', words] as const]);
  const method = { id: METHOD, rule: { accepts: ['health', 'open'] } } as unknown as ExposedMethod;
  const context = new CallContext(policy, method, collections);
  context.accept(new Set(['open']), []);
  const asked = { call: 0, operation: 0 };
  return {
    context,
    leaves,
    words,
    get: (collection: string) => JSON.parse(context.perform({ ...asked, kind: 'get', collection, key: '1' }) as string),
    put: (collection: string) =>
      context.perform({ ...asked, kind: 'put', collection, key: '1', json: given('granted') }),
    drop: (collection: string) => context.perform({ ...asked, kind: 'delete', collection, key: '1' }),
  };
}

const refusedFor =
  (pattern: RegExp, pointer = `/services/${METHOD}/returns`) =>
  (error: unknown) =>
    error instanceof RefusalError && error.code === 'flow' && error.pointer === pointer && pattern.test(error.message);

test('what was read and may not be returned is followed by no change', () => {
  const { context, leaves, get, put, drop } = decide();
  assert.equal(get('leaves'), 'asked');
  assert.notEqual(context.silence, undefined);
  assert.throws(() => put('leaves'), refusedFor(/returns open, not health/));
  assert.throws(() => drop('leaves'), refusedFor(/returns open, not health/));
  assert.equal(leaves.get('1')?.value, '"asked"');
});

test('after a change nothing is read that may not be returned, and the call may still answer', () => {
  const { context, leaves, get, put } = decide();
  put('leaves');
  assert.throws(() => get('leaves'), refusedFor(/the call has changed a collection: it reads leaves before/));
  assert.throws(
    () => context.perform({ call: 0, operation: 1, kind: 'list', collection: 'leaves' }),
    refusedFor(/it reads leaves before/),
  );
  context.respond(new Set(['open']), []);
  assert.equal(context.silence, undefined);
  assert.equal(leaves.get('1')?.value, '"asked"');
  context.check();
  context.end('kept');
  assert.equal(leaves.get('1')?.value, '"granted"');
});

test('what may be returned is read before a change and after it', () => {
  const { context, get, put, words } = decide();
  assert.equal(get('words'), null);
  put('words');
  assert.equal(get('words'), 'granted');
  context.respond(new Set(['open']), []);
  assert.equal(words.get('1'), undefined);
  context.check();
  context.end('kept');
  assert.equal(words.get('1')?.value, '"granted"');
});

test('after a change no message is taken, and no answer waited for, that could carry more than its collection holds', () => {
  const { context, put } = decide();
  const nothing = new Set<string>();
  context.mayTake();
  context.mayHear('mailer', new Set(['health']));
  put('words');
  assert.throws(() => context.mayTake(), refusedFor(/words holds open, not health/, '/collections/words/holds'));
  context.mayHear('printer', nothing);
  assert.throws(() => context.mayHear('mailer', nothing), refusedFor(/it calls mailer before/));
  assert.throws(() => context.mayHear('printer', new Set(['health'])), refusedFor(/it calls printer before/));
  assert.throws(() => context.heard('printer', new Set(['health']), []), refusedFor(/it calls printer before/));
  assert.deepEqual(context.label, ['open']);
});

test('a call that fails leaves its label at the end, in every collection, and no value', () => {
  const { context, leaves, words, get, put } = decide();
  put('words');
  context.accept(new Set(['open']), []);
  assert.equal(get('words'), 'granted');
  context.end('dropped');
  assert.deepEqual([words.get('1')?.value, words.get('1')?.label], [undefined, ['open']]);
  assert.deepEqual(leaves.get('1')?.label, ['health']);
});
