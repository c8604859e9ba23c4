/** What a handler could say past the labels, by releases and by when it is told something, to others and to itself. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, EgressBroker } from '../runtime/src/egress/broker.ts';
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

describe('releases of records', () => {
  const BITS = 8;
  const ids = Array.from({ length: BITS }, (_, i) => `r${i}`);
  const declassify = ids.map((id) => rule(id, 'Tell', { to: '$record.cases.f' }));
  const governance = { sovereignty: { minScore: 0, maxExternalCalls: BITS } };
  /** Says eight bits by eight records; releases them all, and has `said` of what it was told. */
  const telling = (write: string, observe: string, said: string): Partial<Record<LabMethod, string>> => ({
    Put: `const c = request.text.charCodeAt(0); for (let i = 0; i < ${BITS}; i++) { const bit = (c >> i) & 1; ${write} } return {};`,
    Tell: `let c = 0; const seen = [];
      for (let i = 0; i < ${BITS}; i++) { ${observe} }
      ${said}`,
  });
  const CAUGHT = "await ctx.release['r' + i]({ cases: 'b' + i }).catch((e) => { seen.push(i + e.code + e.message) });";
  const WORDS = 'return { words: seen }';
  const ALL = ['operational', 'personal'];

  /** What the call answers for one secret, and for another. */
  async function answersTo(
    handlers: Partial<Record<LabMethod, string>>,
    policy: LabPolicy = {},
    receives: readonly string[] = ALL,
    secrets: readonly string[] = ['H', 'V', '\0', 'ÿ'],
  ): Promise<{ answers: string[]; lab: Lab }> {
    const lab = await labWith(handlers, receives, { declassify, governance, ...policy });
    const answers: string[] = [];
    for (const text of secrets) {
      await lab.call('Put', { text });
      const { status, messages } = await lab.call('Tell', {});
      answers.push(status === 0 ? JSON.stringify(messages) : `status ${status}`);
    }
    lab.close();
    return { answers, lab };
  }
  const put = (value: string): string => `await ctx.store.cases.put('b' + i, ${value});`;

  const WAYS: Readonly<Record<string, readonly [write: string, policy?: LabPolicy, receives?: readonly string[]]>> = {
    'whether there is a record': [
      "await ctx.store.cases[bit ? 'put' : 'delete']('b' + i, ...(bit ? [{ f: 'x' }] : []));",
    ],
    'whether it has a field': [put("bit ? { f: 'x' } : {}")],
    'what a detector finds in it': [
      put("{ f: bit ? 'jane@clinic.example' : 'x' }"),
      { governance: { ...governance, leaks: { detectors: ['email'], on: ['egress'] } } },
    ],
    'whether its receiver may have it': [put("{ f: 'x' }"), {}, ['operational']],
    'whether it is too long': [put("{ f: 'x'.repeat(bit ? 1100000 : 1) }")],
  };
  for (const [way, [write, policy, receives]] of Object.entries(WAYS)) {
    test(`do not say ${way}`, async () => {
      const { answers } = await answersTo(telling(write, CAUGHT, WORDS), policy, receives);
      assert.deepEqual(new Set(answers), new Set(['[{}]']));
    });
  }

  const missing = "await ctx.store.cases[bit ? 'put' : 'delete']('b' + i, ...(bit ? [{ f: 'x' }] : []));";
  const quiet = "await ctx.release['r' + i]({ cases: 'b' + i }).catch(() => {});";
  test('do not say it by the number of messages that the call has left', async () => {
    const left = 'for (;;) await ctx.call.mailer.Send({}).then(() => seen.push("x"));';
    const { answers } = await answersTo(
      telling(missing, quiet, `try { ${left} } catch { return { count: String(seen.length) } }`),
      { governance: { sovereignty: { minScore: 0, maxExternalCalls: BITS + 2 } } },
    );
    assert.deepEqual(new Set(answers), new Set(['[{"count":"2"}]']));
  });

  test('do not say it by the number of records that the call has left', async () => {
    const left = "for (;;) { await ctx.log('x'); seen.push('x') }";
    const [write, policy] = WAYS['what a detector finds in it'] ?? assert.fail();
    const { answers } = await answersTo(
      telling(write, quiet, `try { ${left} } catch { return { count: String(seen.length) } }`),
      policy,
    );
    assert.deepEqual(new Set(answers), new Set(['[{"count":"16"}]']));
  });

  test('do not say it by the room that they take', async () => {
    const deaf = await startSubprocessor({ answer: () => 'never' });
    const mailer = {
      address: `https://mail.example:${deaf.port}`,
      identity: { spki: [deaf.spki] },
      region: 'r',
      receives: ALL,
    };
    const full = `const send = () => ctx.call.mailer.Send({}).catch(({ message }) => seen.push(message));
      await Promise.all(Array.from({ length: 128 }, send));
      return { count: String(seen.filter((message) => message.includes('under way')).length) }`;
    const { answers } = await answersTo(
      telling(missing, quiet, full),
      { subprocessors: { mailer }, governance: { sovereignty: { minScore: 0, maxExternalCalls: 200 } } },
      ALL,
      ['\0', 'ÿ'],
    );
    await deaf.stop();
    assert.deepEqual(answers, ['[{}]', '[{}]']);
  });

  test('do not say it by when they are over', async () => {
    const timed = `let over = false, n = 0;
      const release = ctx.release['r' + i]({ cases: 'b' + i }).finally(() => { over = true }).catch(() => {});
      while (!over) { await ctx.store.cases.get('none'); n++ } await release; seen.push(n > 20 ? '1' : '0');`;
    // What tells the time reads, after it has released: so the method may return what is read.
    const { answers } = await answersTo(telling(missing, timed, WORDS), { returns: ALL });
    assert.equal(new Set(answers).size, 1, answers.join());
    assert.match(answers[0] ?? '', /words/);
  });

  test('stand in the record of the call with what came of them', async () => {
    const { lab } = await answersTo(telling(put("bit ? { f: 'x' } : {}"), quiet, 'return {}'));
    const [first] = lab.records.filter(({ method, reason }) => method === 'lab.v1.Lab/Tell' && reason === 'ok');
    // H is 01001000, from its least bit.
    const refused = Object.keys(first?.figures ?? {}).filter(
      (name) => name.startsWith('release:') && name.includes(' '),
    );
    assert.deepEqual(
      refused.sort(),
      ['0', '1', '2', '4', '5', '7'].map((i) => `release:r${i} request`),
    );
  });
});

test('messages whose outcome is told to nobody have as much room as others, and neither takes of the other', async () => {
  const mailer = {
    description: '',
    address: 'https://mail.example',
    identity: { ca: 'system' as const },
    region: 'r',
    receives: [],
    calls: [],
    assurance: 'none' as const,
  };
  const broker = new EgressBroker({
    subprocessors: { mailer },
    resolve: () => new Promise(() => {}),
    now: Date.now,
    timeout: 500,
  });
  for (const room of ['untold', 'told'] as const) {
    const sent = Array.from({ length: 130 }, () =>
      broker.send('mailer', { verb: 'POST', path: '/' }, new Uint8Array(), new AbortController().signal, room),
    );
    const codes = (await Promise.allSettled(sent)).map((each) => each.status === 'rejected' && each.reason.code);
    assert.deepEqual(
      ['peer', 'budget'].map((code) => codes.filter((each) => each === code).length),
      [128, 2],
      room,
    );
  }
});

describe('what a read finds', () => {
  const KEYS = 16;
  const each = (act: string): string =>
    `for (let i = 0; i < ${KEYS}; i++) { ${act}; await ctx.store.cases.get('v' + i) } return {}`;
  const LOOK =
    "if (request.key === 'look') return { words: [...await ctx.store.open.list(), String(await ctx.store.open.get('at'))] };";
  const FILL = `if (request.key === 'fill') { for (let i = 0; i < ${KEYS}; i++) await ctx.store.open.put('d' + i, 1); return {} }`;

  /** Ways to let others see how far a call has come. */
  const WAYS: Readonly<Record<string, readonly [method: LabMethod, body: string]>> = {
    'by messages of a stream': ['Watch', each("yield { word: '.' }")],
    'by messages to others': ['Tell', each('await ctx.call.mailer.Send({})')],
    'by what it stores': ['Sum', each("await ctx.store.open.put('at', i)")],
    'by what it deletes': ['Sum', each("await ctx.store.open.delete('d' + i)")],
    'by what it logs': ['Watch', each("await ctx.log('x')")],
  };
  /** Secrets: one key that there is, or one value among others that has a label. */
  const SECRETS: Readonly<Record<string, string>> = {
    'which key there is': '',
    'which value has a label': `if (request.key) { for (let i = 0; i < ${KEYS}; i++) await ctx.store.cases.put('v' + i, 0); return {} }`,
  };
  for (const [way, [method, body]] of Object.entries(WAYS)) {
    for (const [what, before] of Object.entries(SECRETS)) {
      test(`does not say ${what}, ${way}`, async () => {
        const seen = new Set<string>();
        for (const secret of ['\x01', '\x05', '\x0f']) {
          const Put = `${before} await ctx.store.cases.put('v' + request.text.charCodeAt(0), 1); return {}`;
          const Sum = `${LOOK} ${FILL} ${method === 'Sum' ? body : ''}`;
          const lab = await labWith({ Put, [method]: body, Sum }, ['operational']);
          const sent = there.received.length;
          await lab.call('Put', { key: 'fill' });
          await lab.call('Put', { text: secret });
          await lab.call('Sum', { key: 'fill' });
          const records = lab.records.length;
          const { messages } = await lab.call(method, {});
          const events = lab.records.slice(records).filter(({ reason }) => reason === 'handler:x').length;
          const open = await lab.call('Sum', { key: 'look' });
          seen.add(JSON.stringify([messages.length, there.received.length - sent, open.messages, events]));
          lab.close();
        }
        assert.equal(seen.size, 1, [...seen].join(' '));
      });
    }
  }
});

/** Takes every message, each after a time of its own choosing. */
function slowBroker(...delays: readonly number[]): typeof EgressBroker {
  class Slow {
    #sent = 0;
    async send(): Promise<Answer> {
      await sleep(delays[this.#sent++]);
      return { status: 'ok', body: new Uint8Array(), repeatsSecret: false };
    }
  }
  return Slow as unknown as typeof EgressBroker;
}

describe('answers of others', () => {
  const mailer = {
    address: 'https://mail.example',
    identity: { ca: 'system' },
    region: 'r',
    receives: ['operational'],
  };

  test('say nothing by when they come', async () => {
    const lab = await openLab({
      handlers: {
        Tell: `let told = false, turns = 0;
          const sent = ctx.call.mailer.Drop({}).then(() => { told = true });
          while (!told) { await ctx.store.open.put('k', 'x'); turns++ }
          return { count: turns }`,
      },
      policy: { subprocessors: { mailer } },
      Broker: slowBroker(1, 60, 120),
    });
    const turns = [];
    for (let call = 0; call < 3; call++) {
      const [answer] = (await lab.call('Tell', {})).messages as { count: string }[];
      turns.push(Number(answer?.count));
    }
    lab.close();
    // One that waits for the answer, and one that may be asked for before it is seen.
    assert.ok(
      turns.every((count) => count >= 1 && count <= 2),
      turns.join(' '),
    );
  });

  test('come in the order in which they were asked for, refusals among them', async () => {
    const lab = await openLab({
      handlers: {
        Tell: `const words = [], said = (at) => () => { words.push(String(at)) };
          const send = (at) => ctx.call.mailer[at % 2 ? 'Drop' : 'Ask']({ note: at === 2 ? 'x' : '' }).then(said(at), said(at));
          const release = ctx.release.notify().then(said('r'));
          await Promise.all([release, ...[0, 1, 2, 3, 4].map(send)]);
          return { words }`,
      },
      policy: { subprocessors: { mailer }, declassify: [rule('notify', 'Tell', { template: 'x' })] },
      Broker: slowBroker(60, 30, 0, 90, 10, 0),
    });
    const { messages } = await lab.call('Tell', {});
    lab.close();
    assert.deepEqual(messages, [{ words: ['r', '0', '1', '2', '3', '4'] }]);
  });
});
