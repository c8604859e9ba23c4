/** A boot serves only while no cause stands against it, in whatever order causes come and go. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Serving } from '../src/serving.ts';

test('one cause that ends does not end another', () => {
  let state = { refuses: '', serves: false };
  const serving = new Serving(
    {
      stop: (message) => (state = { ...state, refuses: message }),
      resume: () => (state = { ...state, refuses: '' }),
    },
    { serve: () => (state = { ...state, serves: true }), pause: () => (state = { ...state, serves: false }) },
  );
  serving.allow('room');
  assert.deepEqual(state, { refuses: '', serves: true });
  serving.pause('room');
  assert.deepEqual(state, { refuses: '', serves: false });
  serving.stop('quotes', 'no quote');
  assert.deepEqual(state, { refuses: 'no quote', serves: false });
  serving.stop('room', 'full');
  serving.allow('quotes');
  assert.deepEqual(state, { refuses: 'full', serves: false });
  serving.stop('quotes', 'no quote');
  serving.allow('room');
  assert.deepEqual(state, { refuses: 'no quote', serves: false });
  serving.allow('quotes');
  assert.deepEqual(state, { refuses: '', serves: true });
});
