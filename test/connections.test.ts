/** Which connection a call came on is known, for calls are shared out by it; and no connection carries calls for ever. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { block, CALL, FLAG, FRAME, frame, NOTE, RawConnection } from './hostile/raw-http2.ts';
import { serve } from './hostile/served.ts';
import type { Weakness } from './hostile/weakened.ts';
import { eventually } from './support/eventually.ts';

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

/** A connection gets old soon, and so does the time for its calls. */
const AGED: Weakness = { constants: { CONNECTION_AGE_MS: 300, CONNECTION_GRACE_MS: 4000 } };
/** The last stream that is served, by the server's farewell. */
const lastOf = ({ frames }: RawConnection): number | undefined =>
  frames.find(({ type }) => type === FRAME.goaway)?.payload.readUInt32BE(0);

test('an old connection is told which call is its last; that is answered, and none begins after', async () => {
  const { lab, port, close } = await serve(
    { Sum: 'return {}', Collect: 'for await (const _ of request); return {}' },
    AGED,
  );
  const connection = (await RawConnection.open(port)).greet();
  const collect = CALL.map(([name, value]) => [name, name === ':path' ? '/lab.v1.Lab/Collect' : value] as const);
  connection.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(collect)));
  await eventually('the farewell', () => lastOf(connection) !== undefined);
  assert.equal(lastOf(connection), 1);
  const { length } = lab.records;
  connection.send(frame(FRAME.headers, FLAG.endHeaders, 3, block(CALL)), frame(FRAME.data, FLAG.endStream, 3, NOTE));
  connection.send(frame(FRAME.data, FLAG.endStream, 1, NOTE));
  assert.notEqual(await connection.trailersOf(1, HANG_MS), undefined, 'the call under way');
  await connection.over;
  assert.equal(lab.records.length, length + 1, 'no call began after');
  close();
});

test('a call that goes on beyond the time of its old connection ends with that', async () => {
  const { port, close } = await serve({ Sum: 'await new Promise(() => {})' }, AGED);
  const connection = (await RawConnection.open(port)).greet().answerPings();
  connection.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(CALL)), frame(FRAME.data, FLAG.endStream, 1, NOTE));
  await connection.over;
  assert.equal(lastOf(connection), 1);
  assert.equal(await connection.trailersOf(1, 1), undefined);
  close();
});
