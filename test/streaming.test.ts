/** Streams of every kind between callers, the runtime and confined workers. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Lab, openLab } from './support/lab.ts';

let lab: Lab;
before(async () => {
  lab = await openLab({
    handlers: {
      Put: 'await ctx.store.cases.put(request.key, { text: request.text }); return { key: request.key }',
      Sum: 'ctx.signal.addEventListener("abort", () => { throw 1 }); ctx.signal.addEventListener("abort", 7); await new Promise(() => {})',
      Collect: 'let count = 0; for await (const { key } of request) count += key.length; return { count }',
      Watch: 'for (let count = 1; count <= 5; count++) yield { count }',
      Chat: `for await (const { key } of request) {
        if (key === 'read') { await ctx.store.cases.get('p1'); continue; }
        yield { key };
      }`,
    },
  });
});
after(() => lab.close());

describe('streams', () => {
  test('a stream of requests is pulled to its end', async () => {
    const { messages } = await lab.call('Collect', [{ key: 'a' }, { key: 'bb' }, { key: 'ccc' }]);
    assert.deepEqual(messages, [{ count: '6' }]);
  });

  test('a stream of responses comes in order', async () => {
    const { messages, status } = await lab.call('Watch', {});
    assert.equal(status, 0);
    assert.deepEqual(
      messages,
      ['1', '2', '3', '4', '5'].map((count) => ({ count })),
    );
  });

  test('a call that is given up is told of it, and takes nobody with it', async () => {
    const signal = AbortSignal.timeout(200);
    const { status } = await lab.call('Sum', { key: 'k' }, signal);
    assert.equal(status, 8);
    const { messages } = await lab.call('Collect', [{ key: 'a' }]);
    assert.deepEqual(messages, [{ count: '1' }]);
    assert.deepEqual(lab.lost, []);
  });

  test('the label that grows in the middle of a stream stops it there, and the record says so', async () => {
    await lab.call('Put', { key: 'p1', text: 'secret' });
    const { messages, status, message } = await lab.call('Chat', [{ key: 'a' }, { key: 'read' }, { key: 'b' }]);
    assert.equal(status, 7, message);
    assert.deepEqual(messages, [{ key: 'a' }]);
    const denied = lab.records.at(-1);
    // After an answer a read carries all that the collection may hold.
    assert.deepEqual(denied?.label, ['operational', 'personal', 'personal.health']);
    assert.deepEqual([denied?.decision, denied?.reason], ['deny', 'flow /services/lab.v1.Lab/Chat/returns']);
    assert.equal(denied?.figures['denied:response'], 1);
  });
});
