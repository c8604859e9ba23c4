/**
 * gRPC over HTTP/2, as frames carry it: messages cut anywhere, requests of too many messages or too
 * few, and ends that come before a request's. False if this fails: a caller is told by the protocol
 * what became of its call, whatever it sent.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_MESSAGE_BYTES } from '@enclaim/attestation/grpc-request';
import { block, CALL, endsStream, type Fields, FLAG, FRAME, frame, RawConnection } from './hostile/raw-http2.ts';
import { type Served, serve } from './hostile/served.ts';
import { eventually } from './support/eventually.ts';
import { NOTE, prefixed } from './support/requests.ts';

const NO_ERROR = Buffer.alloc(4);
/** More than one frame of HTTP/2 carries. */
const MANY = 5000;

let served: Served;
let session: ClientHttp2Session;
before(async () => {
  served = await serve({
    Sum: 'return { key: request.key }',
    Collect: 'let count = 0; for await (const _ of request) count++; return { count }',
    Watch: 'if (request.key === "none") return; yield { key: request.key }; await new Promise(() => {})',
    Chat: 'return',
  });
  session = connect(`https://127.0.0.1:${served.port}`, { rejectUnauthorized: false });
  await once(session, 'connect');
});
after(() => {
  session.destroy();
  served.close();
});

function open(method: string, more: OutgoingHttpHeaders = {}, options = {}): ClientHttp2Stream {
  const headers = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request(
    { ...headers, ':path': `/lab.v1.Lab/${method}`, ...more },
    { endStream: false, ...options },
  );
  return stream.on('error', () => {});
}

interface Ended {
  readonly status: string | undefined;
  readonly message: string;
  readonly body: Buffer;
  /** Headers and trailers. */
  readonly said: IncomingHttpHeaders;
}

async function endOf(stream: ClientHttp2Stream): Promise<Ended> {
  const said: IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  for (const event of ['response', 'trailers']) stream.on(event, (headers) => Object.assign(said, headers));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(stream, 'close');
  const message = decodeURIComponent(String(said['grpc-message'] ?? ''));
  return { status: said['grpc-status'] as string | undefined, message, body: Buffer.concat(chunks), said };
}

/** Sends parts, each in a frame of its own, then the end of the request. */
async function send(method: string, ...parts: readonly Uint8Array[]): Promise<Ended> {
  const stream = open(method);
  const end = endOf(stream);
  for (const part of parts) await new Promise((resolve) => stream.write(part, resolve));
  stream.end();
  return end;
}

/** Answers of `Collect`. */
const counted = (count: number): Buffer => {
  const low = Buffer.of(0x18, (count & 127) | 128, count >> 7);
  return prefixed(count < 128 ? Buffer.of(0x18, count) : low);
};

describe('messages of a request', () => {
  const note = prefixed(NOTE);

  test('are read wherever frames cut them', async () => {
    const two = Buffer.concat([note, note]);
    for (let at = 1; at < two.length; at++) {
      const { status, body } = await send('Collect', two.subarray(0, at), two.subarray(at));
      assert.deepEqual([status, body], ['0', counted(2)], `cut at ${at}`);
    }
    for (let at = 1; at < note.length; at++) {
      const { status, body } = await send('Sum', note.subarray(0, at), note.subarray(at));
      assert.deepEqual([status, body], ['0', note], `cut at ${at}`);
    }
    const { body } = await send('Collect', ...Array.from(two, (byte) => Buffer.of(byte)));
    assert.deepEqual(body, counted(2), 'byte by byte');
  });

  test('are read one by one, however many one frame carries', async () => {
    const { status, body } = await send('Collect', Buffer.concat(Array.from({ length: MANY }, () => note)));
    assert.deepEqual([status, body], ['0', counted(MANY)]);
  });

  test('may have no bytes', async () => {
    const empty = prefixed(Buffer.alloc(0));
    assert.deepEqual((await send('Sum', empty)).body, empty);
    assert.deepEqual((await send('Collect', empty, empty)).body, counted(2));
  });

  test('are one for a unary method, no more and no fewer', async () => {
    const { length } = served.lab.records;
    for (const [name, parts] of Object.entries({
      none: [],
      two: [note, note],
      'two in one frame': [Buffer.concat([note, note])],
      'one, and a byte of another': [note, note.subarray(0, 1)],
    })) {
      for (const method of ['Sum', 'Watch']) {
        const { status } = await send(method, ...parts);
        assert.equal(status, '12', `${method}, ${name}`);
      }
    }
    assert.equal(served.lab.records.length, length, 'no call began');
  });

  test('of a stream may be none', async () => {
    const none = await send('Collect');
    assert.deepEqual([none.status, none.message, none.body], ['0', '', prefixed(Buffer.alloc(0))]);
  });

  test('that end in the middle end their call', async () => {
    for (const [method, begun] of [
      ['Sum', []],
      ['Collect', []],
      ['Collect', [note]],
    ] as const) {
      for (const at of [1, 4, 5, note.length - 1]) {
        const { status, message } = await send(method, ...begun, note.subarray(0, at));
        assert.deepEqual([status, message], ['13', 'the request ends within a message'], `${method}, ${at}`);
      }
    }
  });

  test('that are too long are refused before they come', async () => {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(MAX_MESSAGE_BYTES + 1, 1);
    for (const method of ['Sum', 'Collect']) {
      const stream = open(method);
      stream.write(prefix);
      assert.equal((await endOf(stream)).status, '8', method);
    }
  });
});

describe('beside the messages of a request', () => {
  test('trailers are taken, and say nothing', async () => {
    for (const method of ['Sum', 'Collect']) {
      const stream = open(method, {}, { waitForTrailers: true });
      stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '7', 'x-late': 'y' }));
      stream.end(prefixed(NOTE));
      const { status, said } = await endOf(stream);
      assert.deepEqual([status, said['x-late']], ['0', undefined], method);
    }
  });

  test('custom_metadata, binary or not, is taken and not given back', async () => {
    const more = {
      'x-text': 'a',
      'x-padded-bin': 'AAE=',
      'x-unpadded-bin': 'AAE',
      'x-many-bin': 'AA,AQ',
      'x-no-bin': '*',
    };
    const stream = open('Sum', more);
    stream.end(prefixed(NOTE));
    const { status, said } = await endOf(stream);
    assert.equal(status, '0');
    assert.deepEqual(
      Object.keys(said).filter((name) => name.startsWith('x-')),
      [],
    );
  });

  test('a binary trailer comes without padding', async () => {
    const { said } = await send('Sum', prefixed(NOTE));
    assert.match(String(said['enclaim-receipt-bin']), /^[A-Za-z0-9+/]{300,}$/);
  });
});

/** Frames of stream 1 that end it, in their order, once one of `type` has come and all was read. */
async function endsOf(connection: RawConnection, type: number): Promise<string[]> {
  await connection.until((it) => it.stream === 1 && it.type === type && endsStream(type, it.flags));
  await connection.settled();
  return connection.frames
    .filter(({ type, flags, stream }) => stream === 1 && endsStream(type, flags))
    .map(({ type, payload }) => (type === FRAME.reset ? `reset ${payload.readUInt32BE(0)}` : 'trailers'));
}

const to = (path: string): Fields => CALL.map(([name, value]) => [name, name === ':path' ? path : value]);

describe('an answer', () => {
  const early: Readonly<Record<string, readonly [path: string, body: Buffer, more?: Fields]>> = {
    'of a handler that takes nothing': ['/lab.v1.Lab/Chat', Buffer.alloc(0)],
    'of a handler that takes nothing of what has come': ['/lab.v1.Lab/Chat', prefixed(NOTE)],
    'to a method that does not exist': ['/lab.v1.Lab/Nothing', prefixed(NOTE)],
    'to a request that is no call': ['/lab.v1.Lab/Sum', prefixed(NOTE), [['grpc-encoding', 'br']]],
    'to a message that is none': ['/lab.v1.Lab/Sum', prefixed(NOTE, 2)],
  };
  for (const [name, [path, body, more = []]] of Object.entries(early)) {
    test(`${name} comes before the end of its request, and ends that without an error`, async () => {
      const connection = (await RawConnection.open(served.port)).greet();
      connection.send(
        frame(FRAME.headers, FLAG.endHeaders, 1, block([...to(path), ...more])),
        frame(FRAME.data, 0, 1, body),
      );
      assert.deepEqual(await endsOf(connection, FRAME.reset), ['trailers', 'reset 0']);
      // What was on its way is thrown away, and the connection goes on.
      connection.send(frame(FRAME.data, FLAG.endStream, 1, Buffer.alloc(16_000)));
      assert.notEqual(await connection.call(3, CALL, prefixed(NOTE)), undefined);
      connection.close();
    });
  }

  test('to a whole request ends with its trailers', async () => {
    for (const path of ['/lab.v1.Lab/Sum', '/lab.v1.Lab/Chat', '/lab.v1.Lab/Collect', '/lab.v1.Lab/Nothing']) {
      const connection = (await RawConnection.open(served.port)).greet();
      connection.send(
        frame(FRAME.headers, FLAG.endHeaders, 1, block(to(path))),
        frame(FRAME.data, FLAG.endStream, 1, prefixed(NOTE)),
      );
      assert.deepEqual(await endsOf(connection, FRAME.headers), ['trailers'], path);
      connection.close();
    }
  });

  test('before the end of a request that ends soon is not followed by a reset', async () => {
    const connection = (await RawConnection.open(served.port)).greet();
    const body = prefixed(NOTE);
    connection.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(to('/lab.v1.Lab/Chat'))));
    assert.deepEqual(await endsOf(connection, FRAME.headers), ['trailers']);
    connection.send(frame(FRAME.data, 0, 1, body), frame(FRAME.data, FLAG.endStream, 1, body));
    await sleep(1500);
    assert.deepEqual(await endsOf(connection, FRAME.headers), ['trailers']);
    connection.close();
  });

  test('without a message is its status alone', async () => {
    const stream = open('Watch');
    stream.end(prefixed(Buffer.from('\x0a\x04none')));
    const said: string[] = [];
    for (const event of ['response', 'trailers']) stream.on(event, () => said.push(event));
    assert.equal((await endOf(stream)).status, '0');
    assert.deepEqual(said, ['response']);
  });
});

describe('a caller that resets its request without an error', () => {
  for (const [name, path] of [
    ['unary', '/lab.v1.Lab/Sum'],
    ['of a stream', '/lab.v1.Lab/Collect'],
  ] as const) {
    test(`${name}: its request has not ended`, async () => {
      const connection = (await RawConnection.open(served.port)).greet();
      const { length } = served.lab.records;
      connection.send(
        frame(FRAME.headers, FLAG.endHeaders, 1, block(to(path))),
        frame(FRAME.data, 0, 1, prefixed(NOTE)),
      );
      if (path.endsWith('Collect')) await eventually('its call', () => served.lab.pool.calls === 1);
      connection.send(frame(FRAME.reset, 0, 1, NO_ERROR));
      assert.notEqual(await connection.call(3, CALL, prefixed(NOTE)), undefined);
      await eventually('the end of its call', () => served.lab.pool.calls === 0);
      const decisions = served.lab.records.slice(length).map(({ method, decision }) => `${method} ${decision}`);
      assert.deepEqual(
        decisions.filter((each) => each !== 'lab.v1.Lab/Sum allow').length,
        path.endsWith('Sum') ? 0 : 1,
      );
      assert.equal(decisions.filter((each) => each === 'lab.v1.Lab/Sum allow').length, 1, 'the other call');
      connection.close();
    });
  }
});

describe('the time that a caller gives', () => {
  test('ends its call with the status of that, whatever is under way', async () => {
    const timed = { 'grpc-timeout': '200m' };
    const unfinished = open('Sum', timed);
    const untaken = open('Collect', timed);
    const answered = open('Watch', timed);
    answered.end(prefixed(NOTE));
    const ends = await Promise.all([unfinished, untaken, answered].map(endOf));
    assert.deepEqual(
      ends.map(({ status }) => status),
      ['4', '4', '4'],
    );
    await eventually('the end of their calls', () => served.lab.pool.calls === 0);
  });

  test('that is over at once begins no call', async () => {
    const { length } = served.lab.records;
    for (const timeout of ['0S', '0n', '1n', '999u']) {
      const stream = open('Sum', { 'grpc-timeout': timeout });
      stream.end(prefixed(NOTE));
      assert.equal((await endOf(stream)).status, '4', timeout);
    }
    assert.equal(served.lab.records.length, length);
  });
});
