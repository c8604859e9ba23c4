/** What a handler could say past the labels, by releases and by when it is told something, to others and to itself. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type FakeSubprocessor, startSubprocessor } from './fakes/subprocessor.ts';
import { type Lab, type LabMethod, type LabPolicy, openLab } from './support/lab.ts';

let there: FakeSubprocessor;
before(async () => {
  there = await startSubprocessor();
});
after(() => there.stop());

/** A laboratory with a mailer that may have `receives`. */
async function labWith(
  handlers: Partial<Record<LabMethod, string>>,
  receives: readonly string[],
  policy: LabPolicy = {},
): Promise<Lab> {
  const mailer = {
    address: `https://mail.example:${there.port}`,
    identity: { spki: [there.spki] },
    region: 'r',
    receives,
  };
  return openLab({ handlers, policy: { subprocessors: { mailer }, ...policy } });
}

function rule(id: string, method: LabMethod, build: object, call = 'POST /v1/send'): object {
  return { id, method: `lab.v1.Lab/${method}`, to: 'mailer', call, owner: 'lab', justification: 'Asked for.', build };
}

describe('releases of a stream of requests', () => {
  test('take of its first message, however many the handler pulls', async () => {
    const lab = await labWith(
      {
        Put: "await ctx.store.cases.put('k', request.text); return {};",
        Chat: `const it = request[Symbol.asyncIterator](); await it.next();
          const secret = await ctx.store.cases.get('k');
          for (let i = 0; i < secret.charCodeAt(0) % 16; i++) await it.next();
          await ctx.release.notify();`,
      },
      ['operational', 'personal.contact.email'],
      { declassify: [rule('notify', 'Chat', { to: '$request.email' })] },
    );
    const before = there.received.length;
    const requests = Array.from({ length: 16 }, (_, i) => ({ email: `n${i}@x.example` }));
    for (const text of 'HIV') {
      await lab.call('Put', { text });
      await lab.call('Chat', requests);
    }
    lab.close();
    const said = there.received.slice(before).map(({ body }) => JSON.parse(body.toString()).to);
    assert.deepEqual(said, ['n0@x.example', 'n0@x.example', 'n0@x.example']);
  });
});
