/** A request that is small on the wire and large for a worker takes nothing from anybody else. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bundleOf, type Lab, openLab } from './support/lab.ts';

let lab: Lab;
before(async () => {
  lab = await openLab({ handlers: bundleOf({ Put: 'return { key: request.key }' }) });
});
after(() => lab.close());

test('more oversized requests than a worker has places are refused, and honest ones go on', async () => {
  const text = '\x01'.repeat(2 * 1024 * 1024); // six characters each as JSON: over a frame
  for (let i = 0; i < 70; i++) assert.equal((await lab.call('Put', { key: 'large', text })).status, 8);
  assert.equal((await lab.call('Put', { key: 'small', text: '' })).status, 0);
});
