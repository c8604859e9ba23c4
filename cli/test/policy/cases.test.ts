/** `enclaim test` fails where a case does not come out as expected, and says where. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLINIC, clinic, enclaim } from './run-command.ts';

test('test fails where a case does not come out as expected, and says where', async () => {
  const made = clinic(['policy.test.yaml', 'expect: allow', 'expect: deny']);
  const { status, out } = await enclaim(made, 'test');
  assert.equal(status, 1);
  assert.match(out, /^wrong a case is kept\n {6}policy\.test\.yaml:3: expected deny, found allow/m);
  assert.equal((await enclaim(CLINIC, 'test', '--policy', 'policy.full.yaml')).status, 0);
  assert.equal((await enclaim(CLINIC, 'test', '--policy', 'policy.notify.yaml')).status, 0);
});

test('test refuses a table that is none, with places', async () => {
  const made = clinic(['policy.test.yaml', 'sink: store:cases', 'snk: store:cases']);
  const { status, err } = await enclaim(made, 'test');
  assert.equal(status, 1);
  assert.match(err, /policy\.test\.yaml:6:5 tests\[0\]\.snk: unknown key "snk"; did you mean "sink"\?/);
});
