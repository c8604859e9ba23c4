/** Which connection a call came on is known, for calls are shared out by it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CALL, NOTE, RawConnection } from './hostile/raw-http2.ts';
import { serve } from './hostile/served.ts';

const HANG_MS = 120_000;

test('calls of one connection are of one, whatever they say, and those of two are of two', async () => {
  const { lab, port, close } = await serve({ Sum: 'return {}' });
  const seen: unknown[] = [];
  const { answer } = lab.calls;
  lab.calls.answer = (method, caller) => {
    seen.push(caller.connection);
    return answer.call(lab.calls, method, caller);
  };
  const [first, second] = [(await RawConnection.open(port)).greet(), (await RawConnection.open(port)).greet()];
  await first.call(1, CALL, NOTE, HANG_MS);
  await first.call(3, [...CALL, ['enclaim-connection', 'mine']], NOTE, HANG_MS);
  await second.call(1, CALL, NOTE, HANG_MS);
  assert.equal(seen.length, 3);
  assert.equal(seen[0], seen[1]);
  assert.notEqual(seen[0], seen[2]);
  first.close();
  second.close();
  close();
});
