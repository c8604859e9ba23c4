/** What a handler's call may send, to whom, what is recorded of it, and what the call carries afterwards. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { RefusalError } from '../runtime/src/errors.ts';
import {
  type FakeAnswer,
  type FakeSubprocessor,
  type ReceivedMessage,
  startSubprocessor,
} from './fakes/subprocessor.ts';
import { type Lab, type LabAnswer, type LabPolicy, openLab } from './support/lab.ts';
import { refusalInfo } from './support/refusal-info.ts';

const STORED = { key: 'p1', text: 'HIV', email: 'jane@clinic.example' };
const READ = 'const { text } = await ctx.store.cases.get("p1");';
const SEND = 'await ctx.call.mailer.Send({ word: "x" });';

let server: FakeSubprocessor;
let received: ReceivedMessage[] = [];
let answer: (message: ReceivedMessage) => FakeAnswer | 'never' = () => ({});

before(async () => {
  server = await startSubprocessor({
    answer: (message) => {
      received.push(message);
      return answer(message);
    },
  });
});
after(() => server.stop());

/** What differs from a mailer that may be sent everything. */
interface Case {
  readonly body: string;
  readonly request?: Readonly<Record<string, string>>;
  readonly receives?: readonly string[];
  readonly mailer?: object;
  readonly policy?: LabPolicy;
  readonly answer?: typeof answer;
  readonly durable?: () => Promise<void>;
  /** The method and what its caller sends, by default `Tell` and `request`. */
  readonly method?: 'Tell' | 'Chat';
  readonly requests?: readonly Readonly<Record<string, string>>[];
  readonly signal?: AbortSignal;
  /** What is stored before. */
  readonly stored?: typeof STORED;
}

interface Outcome extends LabAnswer {
  readonly lab: Lab;
}

/** Runs one call of `Tell` after a record of `p1` was stored. */
async function told({
  body,
  request = {},
  receives = ['personal', 'operational'],
  mailer,
  policy,
  ...rest
}: Case): Promise<Outcome> {
  received = [];
  answer = rest.answer ?? (() => ({}));
  const subprocessor = {
    address: `https://mail.example:${server.port}`,
    identity: { spki: [server.spki] },
    region: 'r',
    receives,
    ...mailer,
  };
  const lab = await openLab({
    handlers: {
      Put: 'await ctx.store.cases.put(request.key, { text: request.text, email: request.email }); return {}',
      [rest.method ?? 'Tell']: body,
    },
    policy: { subprocessors: { mailer: subprocessor }, ...policy },
    stall: 500,
    ...(rest.durable && { durable: rest.durable }),
  });
  try {
    await lab.call('Put', rest.stored ?? STORED);
    return { ...(await lab.call(rest.method ?? 'Tell', rest.requests ?? request, rest.signal)), lab };
  } finally {
    lab.close();
  }
}

/** Messages of the laboratory's protos, as the server got or gives them. */
function message(lab: Lab, name: string, bytes: Uint8Array): unknown {
  const schema = lab.admission.descriptors.registry.getMessage(`lab.v1.${name}`);
  assert(schema !== undefined);
  return toJson(schema, fromBinary(schema, bytes));
}

/** A `Reply` on the wire. */
function reply(id: string, word: string): Uint8Array {
  const field = (number: number, text: string) => [number * 8 + 2, text.length, ...Buffer.from(text)];
  return Uint8Array.from([...field(1, id), ...field(2, word)]);
}

const egressRecords = ({ lab }: Outcome) => lab.records.filter(({ sink }) => sink === 'send:mailer');
const last = ({ lab }: Outcome) => lab.records.at(-1);

describe('calls of subprocessors', () => {
  test('by gRPC: the message arrives, at the path and for the name that the policy has', async () => {
    const outcome = await told({ body: 'await ctx.call.mailer.Send({ to: "jane", words: ["a", "b"] }); return {}' });
    assert.equal(outcome.status, 0, outcome.message);
    const [{ path, authority, body } = assert.fail()] = received;
    assert.deepEqual([path, authority], ['/lab.v1.Mail/Send', `mail.example:${server.port}`]);
    assert.deepEqual(message(outcome.lab, 'Letter', body), { to: 'jane', words: ['a', 'b'] });
  });

  test('by HTTP: the same as JSON', async () => {
    const outcome = await told({ body: 'await ctx.call.mailer.Drop({ to: "jane", load: btoa("x") }); return {}' });
    assert.equal(outcome.status, 0, outcome.message);
    const [{ path, authority, body, headers } = assert.fail()] = received;
    assert.deepEqual([path, authority], ['/v1/drop', `mail.example:${server.port}`]);
    assert.deepEqual(JSON.parse(body.toString()), { to: 'jane', load: btoa('x') });
    assert.deepEqual(Object.keys(headers).sort(), [
      'accept',
      'accept-encoding',
      'connection',
      'content-length',
      'content-type',
      'host',
    ]);
  });

  test('by HTTP: whole numbers of an answer come as they are written, or not at all', async () => {
    const body = 'const { number } = await ctx.call.mailer.Post({ word: "x" }); return { word: String(number) }';
    const outcome = (number: string): ReturnType<typeof told> =>
      told({ body, receives: ['operational'], answer: () => ({ body: `{"id":"7","number":${number}}` }) });
    for (const number of ['9007199254740993', '-9223372036854775808', '"9007199254740993"'])
      assert.deepEqual((await outcome(number)).messages, [{ word: number.replaceAll('"', '') }]);
    for (const number of ['9223372036854775808', '9007199254740993.5', '9.007199254740993e15'])
      assert.notEqual((await outcome(number)).status, 0, number);
  });

  test('a whole number that a handler gives beyond 2^53 is refused, for it was rounded', async () => {
    const giving = (count: string): ReturnType<typeof told> => told({ body: `return { count: ${count} }` });
    assert.deepEqual((await giving('"9007199254740993"')).messages, [{ count: '9007199254740993' }]);
    assert.deepEqual((await giving('9007199254740991')).messages, [{ count: '9007199254740991' }]);
    assert.notEqual((await giving('9007199254740993')).status, 0);
  });

  for (const [method, said] of [
    ['Ask', reply('7', 'yes')],
    ['Post', JSON.stringify({ id: '7', word: 'yes', more: { not: 'declared' } })],
  ] as const) {
    test(`${method}: the answer comes back, without what its .proto does not declare`, async () => {
      const outcome = await told({
        body: `const said = await ctx.call.mailer.${method}({ word: "x" }); return { word: JSON.stringify(said) }`,
        receives: ['operational'],
        answer: () => ({ body: said }),
      });
      assert.deepEqual(outcome.messages, [{ word: '{"id":"7","word":"yes"}' }]);
    });

    test(`${method}: what comes back carries all that was ever sent there`, async () => {
      const outcome = await told({
        body: `await ctx.call.mailer.${method}({ word: "x" }); return { word: "x" }`,
        answer: () => ({ body: said }),
      });
      assert.equal(outcome.status, 7);
      assert.deepEqual(last(outcome)?.label, ['operational', 'personal', 'public']);
    });

    test(`${method}: and so does the status of a failure`, async () => {
      const body = `try { await ctx.call.mailer.${method}({}) } catch (e) { return { word: e.message } }`;
      const failing = () => ({ status: method === 'Ask' ? 5 : 404 });
      assert.equal((await told({ body, answer: failing })).status, 7);
      const open = await told({ body, answer: failing, receives: ['operational'] });
      assert.deepEqual(open.messages, [{ word: `mailer answered with status ${method === 'Ask' ? 5 : 404}` }]);
    });
  }

  test('an answer that says nothing leaves the label as it was, whatever stands in it', async () => {
    for (const method of ['Send', 'Drop']) {
      const outcome = await told({
        body: `await ctx.call.mailer.${method}({}); return { word: "x" }`,
        answer: () => ({ body: reply('7', 'yes') }),
      });
      assert.deepEqual(outcome.messages, [{ word: 'x' }]);
      assert.deepEqual(last(outcome)?.label, []);
    }
  });

  test('a failure of such a one is told without its status', async () => {
    const body = 'try { await ctx.call.mailer.Send({}) } catch (e) { return { word: e.code + " " + e.message } }';
    const outcome = await told({ body, answer: () => ({ status: 9 }) });
    assert.deepEqual(outcome.messages, [{ word: 'peer mailer did not take it' }]);
  });
});

describe('decisions', () => {
  const CASES: Readonly<Record<string, readonly [Case, code: string, pointer: string]>> = {
    'the call carries what the receiver may not have': [
      { body: `${READ} ${SEND} return {}`, receives: ['operational'] },
      'receives',
      '/subprocessors/mailer/receives',
    ],
    'the message itself carries it': [
      { body: 'await ctx.call.mailer.Send({ note: "x" }); return {}', receives: ['operational'] },
      'receives',
      '/subprocessors/mailer/receives',
    ],
    'the request carried it': [
      { body: `${SEND} return {}`, request: { text: 'x' }, receives: ['operational'] },
      'receives',
      '/subprocessors/mailer/receives',
    ],
    'the assurance has ended': [
      {
        body: `${SEND} return {}`,
        mailer: { assurance: { kind: 'soc2', document: `sha256:${'0'.repeat(64)}`, validUntil: '2026-01-31' } },
        policy: {},
      },
      'assurance',
      '/subprocessors/mailer/assurance/validUntil',
    ],
    'a detector finds something in a text': [
      {
        body: 'await ctx.call.mailer.Send({ word: "jane@clinic.example" }); return {}',
        policy: { governance: { leaks: { detectors: ['email'], on: ['egress'] } } },
      },
      'leak',
      '/governance/leaks',
    ],
    'a detector finds something in bytes': [
      {
        body: 'await ctx.call.mailer.Send({ load: btoa("to jane@clinic.example") }); return {}',
        policy: { governance: { leaks: { detectors: ['email'], on: ['egress'] } } },
      },
      'leak',
      '/governance/leaks',
    ],
    'a detector finds something in bytes that leave as base64': [
      {
        body: 'await ctx.call.mailer.Drop({ load: btoa("to jane@clinic.example") }); return {}',
        policy: { governance: { leaks: { detectors: ['email'], on: ['egress'] } } },
      },
      'leak',
      '/governance/leaks',
    ],
  };
  for (const [name, [it, code, pointer]] of Object.entries(CASES)) {
    test(`refused where ${name}`, async () => {
      const outcome = await told(it);
      assert.notEqual(outcome.status, 0);
      assert.equal(received.length, 0);
      const [record] = egressRecords(outcome).filter(({ decision }) => decision === 'deny');
      const leak = outcome.lab.records.find(({ sink, decision }) => sink === 'egress' && decision === 'deny');
      // Once a call carries what others must not see, its refusals stand in the record of its end.
      const last = outcome.lab.records.at(-1);
      if (last?.figures['denied:send:mailer'] === 1) assert.equal(last.decision, 'deny');
      else assert.equal((record ?? leak)?.reason, `${code} ${pointer}`);
    });
  }

  test('a claim about the assurance is named in the refusal', async () => {
    const assurance = { kind: 'soc2', document: `sha256:${'0'.repeat(64)}`, validUntil: '2026-01-31' };
    const claims = [{ id: 'vouched', kind: 'subprocessors-assured', statement: 'They are audited.', controls: [] }];
    const outcome = await told({ body: `${SEND} return {}`, mailer: { assurance }, policy: { claims } });
    assert.equal(outcome.status, 9);
    const { reason, metadata } = refusalInfo(outcome.details ?? assert.fail());
    assert.deepEqual([reason, metadata.claim], ['ASSURANCE', 'vouched']);
  });

  test('a message that is not of its type is refused', async () => {
    const outcome = await told({ body: 'await ctx.call.mailer.Send({ secret: 1 }); return {}' });
    assert.deepEqual([outcome.status, received.length], [3, 0]);
  });

  test('a subprocessor and a method that were not granted are not there', async () => {
    const body =
      'return { words: [...Object.keys(ctx.call), ...Object.keys(ctx.call.mailer), typeof ctx.call.archive] }';
    const { messages } = await told({ body });
    assert.deepEqual(messages, [{ words: ['mailer', 'Send', 'Drop', 'Ask', 'Post', 'undefined'] }]);
  });
});

describe('paths', () => {
  test('what the policy does not name of a subprocessor is not there, whatever path the bundle writes for it', async () => {
    const body =
      'return { words: Object.keys(ctx.call.mailer).concat(await ctx.call.mailer.Post({}).then(() => "sent", () => "refused")) }';
    const all = await told({ body: body.replace('Post({})', 'Send({})') });
    assert.deepEqual([all.messages, received.length], [[{ words: ['Send', 'Drop', 'Ask', 'Post', 'sent'] }], 1]);
    received = [];
    const one = await told({
      body: 'return { words: Object.keys(ctx.call.mailer) }',
      mailer: { calls: ['lab.v1.Mail/Send'] },
    });
    assert.deepEqual([one.messages, received.length], [[{ words: ['Send'] }], 0]);
  });
});

describe('sovereignty', () => {
  const sovereignty = (minScore: number, maxExternalCalls = 10): LabPolicy => ({
    governance: { sovereignty: { minScore, maxExternalCalls } },
  });

  test('a call outside that would bring the score under the least is refused with its arithmetic, and not made', async () => {
    const claims = [{ id: 'local', kind: 'local-first', statement: 'Work is done here.', controls: [] }];
    const outcome = await told({ body: `${SEND} return {}`, policy: { ...sovereignty(50, 4), claims } });
    assert.deepEqual([outcome.status, received.length], [9, 0]);
    assert.equal(outcome.message, 'sovereignty score 100 × 1 / (1 + 4) = 20, at least 50');
    const { reason, metadata } = refusalInfo(outcome.details ?? assert.fail());
    assert.deepEqual(
      [reason, metadata.claim, metadata.pointer, metadata.score, metadata.minScore, metadata.local, metadata.weight],
      ['SOVEREIGNTY', 'local', '/governance/sovereignty/minScore', '20', '50', '1', '4'],
    );
    const [record] = egressRecords(outcome).filter(({ decision }) => decision === 'deny');
    assert.equal(record?.reason, 'sovereignty /governance/sovereignty/minScore');
    assert.deepEqual(record?.claims, ['local']);
  });

  test('exactly the least is enough', async () => {
    assert.equal((await told({ body: `${SEND} return {}`, policy: sovereignty(20) })).status, 0);
  });

  test('work done here raises the score, each piece of it once', async () => {
    const once = 'await ctx.store.open.put("k", {});';
    const enough = await told({ body: `${once} ${SEND} return {}`, policy: sovereignty(33) });
    assert.equal(enough.status, 0);
    const again = await told({ body: `${once.repeat(9)} ${SEND} return {}`, policy: sovereignty(34) });
    assert.match(again.message, /100 × 2 \/ \(2 \+ 4\) = 33/);
    const nothing =
      'for (const k of "abcdefgh") await ctx.store.cases.get(k); for (const k of "abcdefgh") await ctx.store.open.delete(k);';
    assert.match((await told({ body: `${nothing} ${SEND} return {}`, policy: sovereignty(21) })).message, /100 × 1 /);
  });

  test('calls outside are counted before they are made, also those asked for in one moment', async () => {
    const body = `const all = await Promise.allSettled(Array.from({ length: 5 }, () => ctx.call.mailer.Send({})));
      return { words: all.map(({ status }) => status) }`;
    const { messages } = await told({ body, policy: sovereignty(0, 2) });
    assert.deepEqual(messages, [{ words: ['fulfilled', 'fulfilled', 'rejected', 'rejected', 'rejected'] }]);
    assert.equal(received.length, 2);
  });
});

describe('records', () => {
  test('each message has one, durable before it leaves, with its length; the call says how many there were', async () => {
    const outcome = await told({ body: `${SEND} ${SEND} return {}` });
    assert.deepEqual(
      egressRecords(outcome).map(({ decision, reason, claims, figures }) => [decision, reason, claims, figures]),
      [
        ['allow', 'lab.v1.Mail/Send', ['closed'], { bytes: 3 }],
        ['allow', 'lab.v1.Mail/Send', ['closed'], { bytes: 3 }],
      ],
    );
    assert.deepEqual(last(outcome)?.figures, {
      call: 1,
      response: 1,
      'send:mailer': 2,
      'send:mailer calls': 2,
      'send:mailer bytes': 6,
    });
  });

  test('beyond public data a length is told as a power of two', async () => {
    const body = `${READ} try { await ctx.call.mailer.Send({ note: text, word: "x".repeat(3000) }) } catch {} return {}`;
    const outcome = await told({ body });
    const [record] = egressRecords(outcome);
    assert.deepEqual(record?.figures, { bytes: 4096 });
  });

  test('a message does not leave before its record is durable, and never where it cannot be', async () => {
    const disk = Promise.withResolvers<void>();
    disk.promise.catch(() => {});
    let records = 0;
    // The first record of this laboratory is that of the call that stores; the second that of the message.
    const outcome = told({
      body: `${SEND} return {}`,
      durable: () => (++records === 2 ? disk.promise : Promise.resolve()),
    });
    while (records < 2) await sleep(10);
    await sleep(100);
    assert.equal(received.length, 0);
    disk.reject(new RefusalError('log', 'the disk is gone'));
    assert.equal((await outcome).status, 14);
    assert.equal(received.length, 0);
  });

  test('who was not reached is recorded', async () => {
    const identity = { spki: [`sha256/${'A'.repeat(43)}=`] };
    const outcome = await told({ body: `${SEND} return {}`, mailer: { identity } });
    assert.deepEqual([outcome.status, received.length], [14, 0]);
    assert.deepEqual(
      egressRecords(outcome).map(({ decision, reason }) => [decision, reason]),
      [
        ['allow', 'lab.v1.Mail/Send'],
        ['error', 'peer /subprocessors/mailer/identity'],
      ],
    );
  });

  test('a handler need not wait: what it sent is in the record of its call', async () => {
    const outcome = await told({ body: 'ctx.call.mailer.Send({ word: "x" }); return {}' });
    assert.equal(received.length, 1);
    assert.equal(last(outcome)?.figures['send:mailer calls'], 1);
  });
});

describe('calls that end otherwise', () => {
  test('within a stream, a message stops at the request after which the call carries too much', async () => {
    const outcome = await told({
      method: 'Chat',
      requests: [{ key: 'a' }, { key: 'b' }, { text: 'HIV' }, { key: 'c' }],
      body: 'for await (const { key } of request) { await ctx.call.mailer.Send({ word: key }); yield { key } }',
      receives: ['operational'],
    });
    assert.deepEqual([outcome.status, outcome.messages, received.length], [7, [{ key: 'a' }, { key: 'b' }], 2]);
  });

  test('a worker that dies after it has sent does not send again', async () => {
    const outcome = await told({ body: `${SEND} for (;;);` });
    assert.deepEqual([outcome.status, received.length], [13, 1]);
  });

  test('a caller who goes takes along what is under way', async () => {
    const gone = new AbortController();
    const waiting = (): 'never' => {
      gone.abort();
      return 'never';
    };
    const outcome = await told({ body: `${SEND} return {}`, answer: waiting, signal: gone.signal });
    assert.equal(outcome.status, 8);
    assert.deepEqual(
      egressRecords(outcome).map(({ decision }) => decision),
      ['allow', 'error'],
    );
  });
});

describe('releases', () => {
  const notify = {
    id: 'notify',
    method: 'lab.v1.Lab/Tell',
    to: 'mailer',
    call: 'POST /v1/send',
    owner: 'privacy@lab.example',
    justification: 'Asked for.',
  };
  const policy: LabPolicy = {
    declassify: [{ ...notify, build: { to: '$request.email', template: 'case-received' } }],
  };
  const email = 'jane@clinic.example';
  const receives = ['personal.contact.email'];

  test('the runtime builds the message; the call may carry what its receiver may not have', async () => {
    const outcome = await told({
      body: `${READ} await ctx.release.notify(); return {}`,
      request: { email, text: 'x' },
      receives,
      policy: { ...policy, returns: ['personal', 'operational'] },
    });
    assert.equal(outcome.status, 0, outcome.message);
    assert.deepEqual(
      received.map(({ path, body }) => [path, JSON.parse(body.toString())]),
      [['/v1/send', { to: email, template: 'case-received' }]],
    );
    const [record] = egressRecords(outcome);
    assert.equal(record?.reason, 'release notify of privacy@lab.example');
    assert.deepEqual(record?.figures, { bytes: 1024 });
  });

  test('by gRPC: fields of the method’s request', async () => {
    const outcome = await told({
      body: 'await ctx.release.notify(); return {}',
      request: { email },
      receives,
      policy: {
        declassify: [{ ...notify, call: 'lab.v1.Mail/Send', build: { to: '$request.email', word: 'received' } }],
      },
    });
    assert.equal(outcome.status, 0, outcome.message);
    assert.deepEqual(message(outcome.lab, 'Letter', received[0]?.body ?? assert.fail()), {
      to: email,
      word: 'received',
    });
  });

  test('a rule works once in a call: it says one bit', async () => {
    const body = `const said = []; for (let i = 0; i < 3; i++) said.push(await ctx.release.notify().then(() => 'ok', (e) => e.code));
      return { words: said }`;
    const outcome = await told({ body, request: { email }, receives, policy });
    assert.deepEqual([outcome.messages, received.length], [[{ words: ['ok', 'grant', 'grant'] }], 1]);
  });

  test('what it names has to be there', async () => {
    const outcome = await told({ body: 'await ctx.release.notify(); return {}', receives, policy });
    assert.deepEqual([outcome.status, outcome.message, received.length], [3, 'release notify needs $request.email', 0]);
  });

  const ofRecord = { declassify: [{ ...notify, build: { to: '$record.cases.email', template: 'done' } }] };
  const RELEASE = 'await ctx.release.notify({ cases: "p1" }); return {}';

  test('of a record: it carries its own label, whatever its field is called', async () => {
    const refused = await told({ body: RELEASE, receives, policy: ofRecord });
    assert.deepEqual([refused.status, received.length], [0, 0]);
    assert.equal(last(refused)?.figures['release:notify flow'], 1);
    const allowed = await told({ body: RELEASE, policy: ofRecord });
    assert.equal(allowed.status, 0, allowed.message);
    assert.deepEqual(JSON.parse(received[0]?.body.toString() ?? ''), { to: STORED.email, template: 'done' });
    assert.deepEqual(last(allowed)?.label, []);
  });

  test('of a record, by gRPC: detectors look at the bytes that its base64 becomes', async () => {
    for (const [text, leave] of [
      ['to jane@clinic.example', 0],
      ['to nobody', 1],
    ] as const) {
      await told({
        body: 'await ctx.release.notify({ cases: "p1" }); return {}',
        stored: { ...STORED, text: btoa(text) },
        policy: {
          declassify: [{ ...notify, call: 'lab.v1.Mail/Send', build: { load: '$record.cases.text' } }],
          governance: { leaks: { detectors: ['email'], on: ['egress'] } },
        },
      });
      assert.equal(received.length, leave, text);
    }
  });

  test('of a record: its length is told as a power of two, and who does not take it is in the record of the call', async () => {
    const outcome = await told({ body: RELEASE, policy: ofRecord, answer: () => ({ status: 500 }) });
    assert.deepEqual([outcome.status, received.length], [0, 1]);
    assert.deepEqual(
      egressRecords(outcome).map(({ decision, figures }) => [decision, figures]),
      [['allow', { bytes: 1024 }]],
    );
    assert.equal(last(outcome)?.figures['release:notify peer'], 1);
  });

  test('which record it is says what the call carries', async () => {
    const health = { receives: ['personal.contact', 'operational'], policy: ofRecord };
    const outcome = await told({ body: `${READ} ${RELEASE}`, ...health });
    assert.deepEqual([outcome.status, received.length], [7, 0]);
  });

  test('a record that a handler wrote is looked at by the detectors; what the owner named is not', async () => {
    const governance = { leaks: { detectors: ['email'], on: ['egress'] } };
    const found = await told({ body: RELEASE, policy: { ...ofRecord, governance } });
    assert.deepEqual([found.status, received.length], [0, 0]);
    assert.equal(last(found)?.figures['release:notify leak'], 1);
    const named = await told({
      body: 'await ctx.release.notify(); return {}',
      request: { email },
      policy: { ...policy, governance },
    });
    assert.equal(named.status, 0, named.message);
  });

  test('of another method it is not there', async () => {
    const lab = await openLab({
      handlers: { Put: 'return { words: Object.keys(ctx.release) }' },
      policy: {
        subprocessors: {
          mailer: { address: 'https://mail.example', identity: { ca: 'system' }, region: 'r', receives },
        },
        ...policy,
      },
    });
    const { messages } = await lab.call('Put', {});
    lab.close();
    assert.deepEqual(messages, [{}]);
  });
});
