/**
 * The stream matrix: four kinds of call × what the handler takes of the request × how the client sends, over the attested
 * channel and, through the proxy, by grpc-js and by Python's grpcio. Every cell ends with its status and its messages.
 */

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type AttestedChannel, type CheckedReceipt, connect, type RunningProxy, startProxy } from '@enclaim/client';
import { buildBundle } from '@enclaim/image';
import { type ClientDuplexStream, credentials, makeClientConstructor, type StatusObject, status } from '@grpc/grpc-js';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';

const app = join(import.meta.dirname, 'streams-app');
const SENT = ['a', 'b', 'c'];
const { OK, INTERNAL, NOT_FOUND } = status;
/** What the text of a status is, where there is one. */
const TEXTS: Readonly<Record<number, string>> = {
  [INTERNAL]: 'the handler threw',
  [NOT_FOUND]: ` ${'100 % of “case #7”: äöü, 𝄞 %41\r\n '.padStart(255, '€')}`,
};

/** What each method ends in, whoever calls it and however it sends. */
const EXPECTED: Readonly<Record<string, readonly [status: number, messages: readonly string[]]>> = {
  UnaryAll: [OK, ['a']],
  UnaryNone: [OK, ['none']],
  UnaryThrows: [INTERNAL, []],
  UnaryStatus: [NOT_FOUND, []],
  ServerAll: [OK, ['a']],
  ServerNone: [OK, []],
  ServerThrows: [INTERNAL, ['a']],
  ServerStatus: [NOT_FOUND, ['a']],
  ClientAll: [OK, ['abc']],
  ClientFirst: [OK, ['a']],
  ClientNone: [OK, ['none']],
  ClientThrows: [INTERNAL, []],
  ClientStatus: [NOT_FOUND, []],
  BidiAll: [OK, SENT],
  BidiFirst: [OK, ['a']],
  BidiNone: [OK, ['none', 'at all']],
  BidiThrows: [INTERNAL, SENT],
  BidiStatus: [NOT_FOUND, SENT],
  BidiAfter: [OK, ['abc', 'after']],
};
const TIMINGS = ['at once', 'slowly'] as const;
type Timing = (typeof TIMINGS)[number];
/** Between two messages of a client that sends slowly. */
const PAUSE_MS = 50;
/** Tells a call that hangs. */
const HANGS_MS = 120_000;

interface Ended {
  readonly code: number;
  /** Of a status other than OK. */
  readonly text?: string;
  readonly messages: readonly string[];
}

let server: AttestedRuntime;
let channel: AttestedChannel;
let proxy: RunningProxy;
const receipts: CheckedReceipt[] = [];
before(async () => {
  const bundle = await buildBundle({
    policyFile: join(app, 'policy.yaml'),
    protoDir: join(app, 'proto'),
    handlersEntry: join(app, 'handlers/index.ts'),
  });
  server = await bootAttested(bundle);
  const { target, references } = server;
  const onReceipt = (receipt: CheckedReceipt): unknown => receipts.push(receipt);
  channel = await connect(target, { references, onReceipt });
  proxy = await startProxy(target, { references, onReceipt, listen: { host: '127.0.0.1', port: 0 } });
});
after(async () => {
  await proxy.close();
  channel.close();
  await server.stop();
});

/** A field of text, as all messages here are. */
const encoded = (text: string): Buffer => Buffer.concat([Buffer.of(0x0a, text.length), Buffer.from(text)]);
const decoded = (bytes: Buffer): string => bytes.toString('utf8', 2);

const StreamsClient = makeClientConstructor(
  Object.fromEntries(
    Object.keys(EXPECTED).map((name) => [
      name,
      {
        path: `/streams.v1.Streams/${name}`,
        // To a client every kind is one of streams: how many messages there are is the server's and the method's affair.
        ...{ requestStream: true, responseStream: true },
        ...{ requestSerialize: encoded, requestDeserialize: decoded },
        ...{ responseSerialize: encoded, responseDeserialize: decoded },
      },
    ]),
  ),
  'streams.v1.Streams',
);
type StreamsClient = InstanceType<typeof StreamsClient>;

/** What a client sends to a method: of an unary request, one message. */
function sentTo(method: string): readonly string[] {
  return /^(Unary|Server)/.test(method) ? SENT.slice(0, 1) : SENT;
}

/** How many of its messages the handler takes, as the receipt says it. */
function takenBy(method: string): number {
  if (/^(Client|Bidi)First/.test(method)) return 1;
  return /^(Client|Bidi)None/.test(method) ? 0 : sentTo(method).length;
}

/** One cell by grpc-js. */
async function callByJs(client: StreamsClient, method: string, timing: Timing): Promise<Ended> {
  const call = client[method]?.({ deadline: Date.now() + HANGS_MS }) as ClientDuplexStream<string, string>;
  const messages: string[] = [];
  call.on('data', (message: string) => messages.push(message)).on('error', () => {});
  const ended = new Promise<StatusObject>((resolve) => call.on('status', resolve));
  for (const text of sentTo(method)) {
    call.write(text);
    if (timing === 'slowly') await sleep(PAUSE_MS);
  }
  call.end();
  const { code, details } = await ended;
  return { code, ...(code !== OK && { text: details }), messages };
}

/** All cells by Python: a line of JSON each. */
const PYTHON = `
import json, sys, time, grpc
address, cells = sys.argv[1], json.loads(sys.argv[2])
channel = grpc.insecure_channel(address)
def encoded(text): return b'\\x0a' + bytes([len(text)]) + text.encode()
for method, sent, pause in cells:
    call, messages = channel.stream_stream('/streams.v1.Streams/' + method), []
    def requests():
        for text in sent:
            yield encoded(text)
            if pause: time.sleep(pause)
    response = call(requests(), timeout=${HANGS_MS / 1000})
    try:
        for message in response: messages.append(message[2:].decode())
    except grpc.RpcError: pass
    ended = { 'code': response.code().value[0], 'messages': messages }
    if ended['code']: ended['text'] = response.details()
    print(json.dumps(ended), flush=True)
`;

const python = '/usr/bin/python3';
const withoutGrpcio =
  spawnSync(python, ['-c', 'import grpc']).status === 0 ? false : "Debian's python3-grpcio is not installed";
const CELLS = Object.keys(EXPECTED).flatMap((method) => TIMINGS.map((timing) => [method, timing] as const));

function expected(method: string): Ended {
  const [code, messages] = EXPECTED[method] ?? assert.fail();
  return { code, ...(code !== OK && { text: TEXTS[code] ?? assert.fail() }), messages };
}

describe('by grpc-js', () => {
  for (const way of ['over the channel', 'through the proxy']) {
    test(way, async () => {
      using client = clientOver(way);
      for (const [method, timing] of CELLS) {
        receipts.length = 0;
        assert.deepEqual(await callByJs(client.it, method, timing), expected(method), `${method}, ${timing}`);
        const [{ body, messages } = assert.fail('no receipt'), ...more] = receipts;
        assert.deepEqual(
          [body.method, body.status, body.decision.result, more.length],
          [`streams.v1.Streams/${method}`, expected(method).code, method.endsWith('Throws') ? 'error' : 'allow', 0],
        );
        const taken = takenBy(method);
        assert.equal(body.version === 2 && body.taken, taken, `${method}, ${timing}`);
        // Of a call that ends early it is time how many were sent by then.
        if (taken === sentTo(method).length) assert.equal(messages, 'both');
      }
    });
  }
});

function clientOver(way: string): Disposable & { readonly it: StreamsClient } {
  const insecure = credentials.createInsecure();
  const it =
    way === 'over the channel'
      ? new StreamsClient(server.target, insecure, { channelOverride: channel })
      : new StreamsClient(proxy.address, insecure);
  return { it, [Symbol.dispose]: () => void (way === 'over the channel' || it.close()) };
}

test("by Python's grpcio, through the proxy", { skip: withoutGrpcio }, async () => {
  receipts.length = 0;
  const cells = CELLS.map(([method, timing]) => [method, sentTo(method), timing === 'slowly' ? PAUSE_MS / 1000 : 0]);
  const { stdout } = await promisify(execFile)(python, ['-c', PYTHON, proxy.address, JSON.stringify(cells)], {
    timeout: 5 * HANGS_MS,
  });
  const ended = stdout.trim().split('\n');
  for (const [at, [method, timing]] of CELLS.entries()) {
    assert.deepEqual(JSON.parse(ended[at] ?? '{}'), expected(method), `${method}, ${timing}`);
  }
  assert.equal(receipts.length, CELLS.length, 'each with its receipt');
});
