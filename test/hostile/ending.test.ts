/** The end of a call: whatever a handler does to it, the call ends in an answer, a record and a receipt, and in time. */

import assert from 'node:assert/strict';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { Duplex } from 'node:stream';
import { after, before, describe, mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary, fromJson, toBinary, toJson } from '@bufbuild/protobuf';
import { fromHex } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { checkReceiptMessages, commitment, parseReceipt } from '@enclaim/attestation/receipt';
import { makeBootKeys } from '../../runtime/src/boot/keys.ts';
import { Calls } from '../../runtime/src/call/calls.ts';
import { AttestedServer } from '../../runtime/src/channel/server.ts';
import { anchorTime, BootClock } from '../../runtime/src/clock.ts';
import { EgressBroker } from '../../runtime/src/egress/broker.ts';
import { RefusalError } from '../../runtime/src/errors.ts';
import { FrameReader } from '../../runtime/src/frames.ts';
import { ReceiptSigner } from '../../runtime/src/log/receipts.ts';
import { ZERO_HASH } from '../../runtime/src/log/record-log.ts';
import { VolatileCollection } from '../../runtime/src/storage/volatile.ts';
import type { Call } from '../../runtime/src/worker/call.ts';
import { WorkerPool } from '../../runtime/src/worker/pool.ts';
import { MAX_FRAME_BYTES } from '../../runtime/src/worker/protocol.ts';
import type { WorkerProcess } from '../../runtime/src/worker/worker.ts';
import { startSubprocessor } from '../fakes/subprocessor.ts';
import { eventually, HANGS_MS } from '../support/eventually.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { frameOf, given, readText, type Said } from '../support/worker-text.ts';
import { type Served, serve } from './served.ts';

const STORE = "await ctx.store.cases.put('k', request.text); return {}";
const SECRET = { key: 'k', text: 'diagnosis' };
/** Uses up the records that a call may cause, then reads what it may not return: that is a refusal to record. */
const FULL = "for (let i = 0; i < 16; i++) await ctx.log('tick'); await ctx.store.cases.get('k'); return { word: 'x' }";

describe('a call without room for another record', () => {
  let lab: Lab;
  before(async () => {
    lab = await openLab({ handlers: { Put: STORE, Sum: FULL } });
    await lab.call('Put', SECRET);
  });
  after(() => lab.close());

  test('ends in its refusal, on record', async () => {
    const { status, receipt } = await lab.call('Sum', {});
    assert.equal(status, 7);
    assert.notEqual(receipt, undefined);
    const last = lab.records.at(-1);
    assert.deepEqual(
      [last?.decision, last?.reason.split(' ')[0], last?.figures['denied:response']],
      ['deny', 'flow', 1],
    );
  });
});

/** A server over `calls`, and a way to ask it for `Sum`. */
async function asking(port: number): Promise<ClientHttp2Session> {
  const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  await new Promise((resolve) => session.once('connect', resolve));
  return session;
}

/** The status of a call by its headers or trailers. */
function ask(session: ClientHttp2Session, method: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const headers = { ':method': 'POST', ':path': `/lab.v1.Lab/${method}`, 'content-type': 'application/grpc' };
  const stream = session.request({ ...headers, te: 'trailers' });
  const heard = (headers: IncomingHttpHeaders): void => {
    if (headers['grpc-status'] !== undefined) resolve(String(headers['grpc-status']));
  };
  stream.on('response', heard).on('trailers', heard).on('error', reject).resume();
  stream.on('close', () => reject(new Error('no status')));
  stream.end(Buffer.alloc(5));
  return promise;
}

describe('a server', () => {
  let served: Served;
  before(async () => {
    served = await serve({ Put: STORE, Sum: FULL });
    await served.lab.call('Put', SECRET);
  });
  after(() => served.close());

  test('answers such a call, and the next', async () => {
    const session = await asking(served.port);
    assert.deepEqual([await ask(session, 'Sum'), await ask(session, 'Sum')], ['7', '7']);
    session.destroy();
  });

  test('outlives calls that fail in a way that nobody thought of', async () => {
    const calls = {
      answer: async () => {
        throw new TypeError('nobody thought of it');
      },
    } as unknown as Calls;
    const keys = makeBootKeys();
    const tls = { key: keys.tls.key, certificate: keys.certificate(new Uint8Array()) };
    const server = new AttestedServer({ tls, admission: served.lab.admission, calls, attested: {} as never });
    const session = await asking(await server.listen('127.0.0.1', 0));
    for (const method of ['Sum', 'Watch', 'Collect', 'Chat']) assert.equal(await ask(session, method), '13');
    session.destroy();
    await server.close();
  });
});

/** A worker process that is this test: it says `first`, and then what `hear` makes of each message. */
function pretend(
  hear: (message: { kind: string; call: number }, say: (message: Said) => void) => void,
  first: Said = { kind: 'ready' },
): WorkerProcess {
  const frames = new FrameReader(MAX_FRAME_BYTES);
  const say = (message: Said): void => void socket.push(frameOf(message));
  const socket = new Duplex({
    read: () => {},
    write: (chunk, _encoding, done) => {
      for (const text of frames.push(chunk)) {
        const message = readText(text);
        if (message.kind === 'load') say(first);
        else hear(message as never, say);
      }
      done();
    },
  });
  return { socket, kill: () => {}, processorTime: () => 0 };
}

describe('a call that waits for its turn alone', () => {
  test('ends as soon as its time is over, and not at its turn', async () => {
    const dies = pretend(({ kind }, say) => kind === 'call' && say({ kind: 'not in the protocol' }));
    const processes = [dies, pretend(() => {})];
    const factory = async (): Promise<WorkerProcess> => processes.shift() ?? pretend(() => {});
    const pool = await WorkerPool.start({ factory, size: 1, stall: 60_000 }, { code: '', methods: [], metered: false });
    const hers = new AbortController();
    const run = (signal: AbortSignal): Promise<string> =>
      pool.run({ message: { grants: { streams: {} } }, perform: () => null, signal } as unknown as Call).then(
        () => 'done',
        ({ code }) => code,
      );
    void run(new AbortController().signal);
    const waiting = run(hers.signal);
    await sleep(50);
    hers.abort();
    assert.equal(await Promise.race([waiting, sleep(HANGS_MS, 'it waits', { ref: false })]), 'budget');
    pool.close();
  });
});

describe('a call that does not wait for what it sends', () => {
  test('ends in time, with its declaration', async () => {
    const there = await startSubprocessor({ answer: () => 'never' });
    const identity = { spki: [there.spki] };
    const mailer = { address: `https://mail.example:${there.port}`, identity, region: 'eu-west', assurance: 'none' };
    const pressure = { memory: 20, cpu: 60 };
    const resources = { memory: '16MiB', cpu: '100ms', wall: '500ms', inFlight: 1, pressure };
    const lab = await openLab({
      policy: { subprocessors: { mailer: { ...mailer, receives: ['operational'] } }, governance: { resources } },
      handlers: { Tell: 'ctx.call.mailer.Send({}).catch(() => {}); return {}', Put: 'return {}' },
    });
    const { status, message } = await lab.call('Tell', {});
    assert.deepEqual([status, message], [8, 'the call took longer than the 500 ms that it declares']);
    assert.equal(lab.records.at(-1)?.reason, 'budget /governance/resources/wall');
    assert.equal((await lab.call('Put', {})).status, 0, 'there is room for another');
    lab.close();
    await there.stop();
  });
});

describe('messages that a worker sends behind its last word', () => {
  test('are refused, and do not leave', async () => {
    const lab = await openLab({ handlers: {} });
    lab.close();
    const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Watch') ?? assert.fail();
    const sends: Promise<unknown>[] = [];
    const pool = {
      run: async ({ perform }: Call) => {
        for (let operation = 0; operation < 3; operation++)
          sends.push((async () => perform({ kind: 'send', call: 0, operation, json: given({ word: 'x' }) }))());
        // None is waited for. The first is on its way to a caller who takes no more before the call is over.
        return sleep(20, given(null));
      },
    };
    const left: Uint8Array[] = [];
    const over = Promise.withResolvers<void>();
    const calls = new Calls({
      ...{ admission: lab.admission, pool, boot: new Uint8Array(32), clock: new BootClock(anchorTime()) },
      log: { place: () => ({ index: 0, hash: ZERO_HASH, durable: Promise.resolve() }), pending: undefined },
      receipts: new ReceiptSigner(() => new Uint8Array(64)),
    });
    const { status } = await calls.answer(method, {
      next: async () => new Uint8Array(),
      send: (message) => {
        left.push(message);
        return over.promise;
      },
      signal: AbortSignal.timeout(5000),
    });
    over.resolve();
    const late = await Promise.allSettled(sends.slice(1));
    assert.deepEqual([status, left.length], [0, 1]);
    for (const each of late) assert.equal(each.status === 'rejected' && each.reason.message, 'the call is over');
  });
});

describe('while somebody outside is awaited', () => {
  /** Somebody who says nothing, once `answer` is there. */
  let answer: Promise<unknown>;
  class Slow extends EgressBroker {
    override async send(): ReturnType<EgressBroker['send']> {
      await answer;
      return { status: 'ok', body: new Uint8Array(), repeatsSecret: false };
    }
  }
  const identity = { spki: [`sha256/${'A'.repeat(43)}=`] };
  const mailer = { address: 'https://mail.example:1', identity, region: 'r', receives: ['operational', 'personal'] };
  const open = (handlers: Parameters<typeof openLab>[0]['handlers']): Promise<Lab> =>
    openLab({ policy: { subprocessors: { mailer } }, Broker: Slow, handlers });

  test('nothing is read to be kept until then', async () => {
    const lab = await open({
      Put: STORE,
      Tell: `ctx.call.mailer.Send({}).catch(() => {});
        await Promise.all(Array.from({ length: 200 }, () => ctx.store.cases.get('k').catch(() => {}))); return {}`,
    });
    await lab.call('Put', SECRET);
    const get = mock.method(VolatileCollection.prototype, 'get');
    const answered = Promise.withResolvers<void>();
    answer = answered.promise;
    const call = lab.call('Tell', {});
    await sleep(100);
    const early = get.mock.callCount();
    answered.resolve();
    await call;
    assert.deepEqual([early, get.mock.callCount()], [0, 200]);
    get.mock.restore();
    lab.close();
  });

  test('what a call does not wait for is done all the same', async () => {
    const lab = await open({
      Tell: `ctx.call.mailer.Send({}); ctx.store.open.put('k', 1); return {}`,
      Sum: `return { flag: (await ctx.store.open.get('k')) === 1 }`,
    });
    answer = sleep(50);
    assert.equal((await lab.call('Tell', {})).status, 0);
    assert.deepEqual((await lab.call('Sum', {})).messages, [{ flag: true }]);
    lab.close();
  });

  test('at most one message of the caller is taken', async () => {
    const lab = await open({
      Chat: `const messages = request[Symbol.asyncIterator]();
        await messages.next();
        let count = 0;
        for (let i = 0; i < 200; i++) messages.next().then(() => count++, () => {});
        await ctx.call.mailer.Send({});
        for (let turn = 0; turn < 9; turn++) await null;
        yield { count: String(count) };`,
    });
    const { descriptor, ...method } =
      lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Chat') ?? assert.fail();
    let taken = 0;
    let before = 0;
    answer = eventually('a message is taken', () => taken > 0)
      .then(() => sleep(200))
      .then(() => {
        before = taken;
      });
    const sent: string[] = [];
    await lab.calls.answer(
      { ...method, descriptor },
      {
        next: () => sleep(5, toBinary(descriptor.input, fromJson(descriptor.input, { key: `n${taken++}` }))),
        send: async (message) =>
          void sent.push(JSON.stringify(toJson(descriptor.output, fromBinary(descriptor.output, message)))),
        signal: AbortSignal.timeout(HANGS_MS),
      },
    );
    lab.close();
    assert.match(sent[0] ?? '', /^({}|{"count":"1"})$/);
    assert.ok(before <= 3, `${before} messages were taken before the answer`);
    assert.ok(before > 0);
  });
});

describe('a message of a stream that never leaves', () => {
  test('is not in the receipt', async () => {
    const pressure = { memory: 100, cpu: 100 };
    const resources = { memory: '10MiB', cpu: '100ms', wall: '300ms', inFlight: 8, pressure, thermal: 'none' };
    const lab = await openLab({
      // Its time ends while its first message waits for the disk.
      durable: () => sleep(500),
      policy: { governance: { resources } },
      handlers: { Watch: "yield { word: 'x' }" },
    });
    const { status, messages, receipt } = await lab.call('Watch', {});
    await sleep(600);
    lab.close();
    const { body } = parseReceipt(receipt ?? new Uint8Array());
    const nothing = digestText('sha256', commitment('response', fromHex(body.salt), []));
    assert.deepEqual([status, messages, body.decision.returned], [8, [], []]);
    assert.equal(body.response, nothing);
  });
});

describe('a call that is cut off while it waits for others', () => {
  test('says in its receipt what left, and no more', async () => {
    const there = await startSubprocessor({ answer: () => 'never' });
    const disk = Promise.withResolvers<void>();
    let waits = false;
    const lab = await openLab({
      handlers: {
        Put: 'await ctx.store.cases.put(request.key, { email: request.email }); return {}',
        Chat: "await ctx.release.notify({ cases: 'p' }); yield { word: 'A' }",
      },
      policy: {
        returns: ['personal', 'operational'],
        subprocessors: {
          mailer: {
            address: `https://mail.example:${there.port}`,
            identity: { spki: [there.spki] },
            region: 'r',
            receives: ['personal', 'operational'],
          },
        },
        declassify: [
          {
            ...{ id: 'notify', method: 'lab.v1.Lab/Chat', to: 'mailer', call: 'POST /v1/send', owner: 'lab' },
            ...{ justification: 'test', build: { word: '$record.cases.email' } },
          },
        ],
      },
      durable: () => (waits ? disk.promise : Promise.resolve()),
    });
    await lab.call('Put', { key: 'p', email: 'jane@clinic.example' });
    const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Chat');
    assert(method);
    waits = true;
    const over = new AbortController();
    const left: Uint8Array[] = [];
    const answering = lab.calls.answer(method, {
      next: async () => undefined,
      // As the server's.
      send: async (message) => {
        over.signal.throwIfAborted();
        left.push(message);
      },
      signal: over.signal,
    });
    while (lab.records.filter(({ reason }) => reason === 'stream').length === 0) await sleep(10);
    over.abort(new RefusalError('shutdown', 'the runtime is about to end'));
    await sleep(50);
    disk.resolve();
    const { status, receipt } = await answering;
    lab.close();
    await there.stop();
    const { body } = parseReceipt(receipt ?? new Uint8Array());
    assert.deepEqual([status, left.length, body.decision.returned], [14, 0, []]);
    checkReceiptMessages({ body }, { method: method.id, request: [], response: left, status });
  });
});

describe('what a call has sent', () => {
  test('is not taken back by a handler that fails early', async () => {
    let received = 0;
    const there = await startSubprocessor({
      answer: () => {
        received++;
        return {};
      },
    });
    const lab = await openLab({
      handlers: {
        Put: 'await ctx.store.cases.put(request.key, { email: request.email }); return {}',
        Tell: "await ctx.release.notify({ cases: 'p' }); throw 1",
      },
      policy: {
        subprocessors: {
          mailer: {
            address: `https://mail.example:${there.port}`,
            identity: { spki: [there.spki] },
            region: 'r',
            receives: ['personal', 'operational'],
          },
        },
        declassify: [
          {
            ...{ id: 'notify', method: 'lab.v1.Lab/Tell', to: 'mailer', call: 'POST /v1/send', owner: 'lab' },
            ...{ justification: 'test', build: { word: '$record.cases.email' } },
          },
        ],
      },
    });
    await lab.call('Put', { key: 'p', email: 'jane@clinic.example' });
    const { status } = await lab.call('Tell', {});
    lab.close();
    await there.stop();
    assert.deepEqual([status, received], [13, 1]);
  });
});

describe('the receipt of a refused stream', () => {
  test('does not say how many of its messages were taken', async () => {
    const lab = await openLab({
      handlers: {
        Put: STORE,
        Collect: `const { length } = await ctx.store.cases.get('k');
          const messages = request[Symbol.asyncIterator]();
          for (let taken = 0; taken < length; taken++) await messages.next();
          return {}`,
      },
    });
    await lab.call('Put', SECRET);
    const requests = Array.from({ length: 16 }, (_, at) => ({ key: `n${at}` }));
    const { status, receipt } = await lab.call('Collect', requests);
    const input = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Collect')?.descriptor.input;
    const sent = requests.map((each) => input && toBinary(input, fromJson(input, each))) as Uint8Array[];
    lab.close();
    const { body } = parseReceipt(receipt ?? new Uint8Array());
    const speaksOf = (count: number): boolean =>
      body.request === digestText('sha256', commitment('request', fromHex(body.salt), sent.slice(0, count)));
    assert.deepEqual([status, [...sent.keys(), sent.length].filter(speaksOf)], [7, [0]]);
    checkReceiptMessages({ body }, { method: body.method, request: sent, response: [], status });
  });
});

describe('a message without a form in JSON', () => {
  test('of a caller is refused as one, on record', async () => {
    const lab = await openLab({ handlers: { Sum: 'return {}', Collect: 'for await (const _ of request); return {}' } });
    // `at` is a time after the year 9999, which JSON has no text for.
    const late = Buffer.from('2a07088080d0f0f010', 'hex');
    for (const name of ['Sum', 'Collect']) {
      const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === name) ?? assert.fail();
      const next = async () => late;
      const { signal } = new AbortController();
      const { status, message } = await lab.calls.answer(method, { next, send: async () => {}, signal });
      assert.deepEqual([status, message], [3, 'the request has no JSON form as a lab.v1.Note']);
      assert.equal(lab.records.at(-1)?.reason, 'request');
    }
    lab.close();
  });
});

/** One field over and over, which a decoder takes for one: only who counts before sees how many. */
const tooMany = (tag: number): Uint8Array => Buffer.alloc(2 * 100_001, Buffer.of(tag, 0));

describe('a message of more parts than may be', () => {
  test('of a caller is refused, on record', async () => {
    const lab = await openLab({ handlers: { Sum: 'return {}' } });
    const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Sum');
    assert(method);
    const { signal } = new AbortController();
    const ask = (request: Uint8Array) =>
      lab.calls.answer(method, { next: async () => request, send: async () => {}, signal });
    const { status, message } = await ask(tooMany(0x0a));
    const { reason } = lab.records.at(-1) ?? {};
    const fewer = await ask(tooMany(0x0a).subarray(2));
    lab.close();
    assert.deepEqual([status, message, reason], [3, 'the request has more than 100000 parts', 'request']);
    assert.equal(fewer.status, 0);
  });

  test('of a subprocessor is no answer', async () => {
    let body = tooMany(0x12);
    const there = await startSubprocessor({ answer: () => ({ body }) });
    const identity = { spki: [there.spki] };
    const receives = ['operational'];
    const mailer = { address: `https://mail.example:${there.port}`, identity, region: 'r', receives };
    const lab = await openLab({
      policy: { returns: ['personal', 'operational'], subprocessors: { mailer } },
      handlers: {
        Tell: "return ctx.call.mailer.Ask({}).then(() => ({ word: 'read' }), ({ message }) => ({ word: message }))",
      },
    });
    const { messages } = await lab.call('Tell', {});
    body = tooMany(0x12).subarray(2);
    const fewer = await lab.call('Tell', {});
    lab.close();
    await there.stop();
    assert.deepEqual(messages, [{ word: 'the answer has more than 100000 parts' }]);
    assert.deepEqual(fewer.messages, [{ word: 'read' }]);
  });
});

describe('text of a worker', () => {
  const reason = 'jane@clinic.example has measles';
  const unusable = { kind: 'unusable', reason };

  /** What a caller is told whose workers are these, one after the other. */
  async function told(...workers: WorkerProcess[]): Promise<string> {
    const lab = await openLab({ factory: async () => workers.shift() ?? pretend(() => {}), handlers: { Put: '' } });
    const { status, message } = await lab.call('Put', {});
    lab.close();
    assert.equal(status, 13);
    return message;
  }

  /** What is said of a failure: its place, and the id of the record. */
  const failed = (where: string): RegExp => new RegExp(`^${where} \\(error [0-9a-f]{32}\\)$`);

  test('reaches no caller as a reason of a worker that is unusable after all', async () => {
    const worker = pretend(({ kind, call }, say) => {
      if (kind !== 'call') return;
      say({ kind: 'log', call, operation: 0, event: 'x', json: null });
      say(unusable);
    });
    assert.match(await told(worker), failed('the worker was ended: it said something that is not in the protocol'));
  });

  test('reaches no caller as a reason of a worker that takes the place of another', async () => {
    const dies = pretend(({ kind }, say) => kind === 'call' && say({ kind: 'not in the protocol' }));
    const others = Array.from({ length: 8 }, () => pretend(() => {}, unusable));
    assert.match(await told(dies, ...others), failed('no worker could be started'));
  });

  test('reaches whoever boots', async () => {
    const boot = openLab({ factory: async () => pretend(() => {}, unusable), handlers: { Put: '' } });
    await assert.rejects(boot, { code: 'worker', message: `the handler bundle is unusable: ${reason}` });
  });
});
