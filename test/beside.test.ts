/**
 * One hostile client beside honest ones: whatever it asks, of the server or through the proxy whose one attested connection
 * all share, the honest ones are answered, each call with its receipt, and their streams stay.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type AttestedChannel, connect } from '@enclaim/client';
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  credentials,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { block, CALL, endsStream, type Fields, FLAG, FRAME, frame, RawConnection } from './hostile/raw-http2.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { eventually } from './support/eventually.ts';
import { Program } from './support/program.ts';
import { askOddly, NOTE, ODD_REQUESTS, prefixed } from './support/requests.ts';
import { shownCertificate } from './support/shown-certificate.ts';
import { bundleStreams, HANGS_MS } from './support/stream-cells.ts';

const STREAMS = '/streams.v1.Streams/';
/** Calls of each honest client while the hostile one does its thing, at least. */
const HONEST_CALLS = 25;
/** How often the hostile client asks a thing. */
const TIMES = 10;
/** Attempts of one call by a client that tries again; grpc-js makes no more. */
const ATTEMPTS = 5;
/** Streams that stay when their proxy is told to end. */
const HELD = 20;
/** What a frame of HTTP/2 may carry at most, unless it is agreed otherwise. */
const FRAME_BYTES = 16_384;

const WAYS = ['to the server', 'through the proxy'] as const;
type Way = (typeof WAYS)[number];

let folder: string;
let server: AttestedRuntime;
let certificate: string;
let proxy: ProxyProcess;
let channel: AttestedChannel;
/** Evidence that the channel was shown: once for each connection. */
let shown = 0;
/** The number that the server gave to the latest call over the channel: it counts all that it answers. */
let sequence = 0;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-beside-'));
  server = await bootAttested(await bundleStreams());
  const { target, references } = server;
  await writeFile(join(folder, 'references.json'), JSON.stringify(references));
  channel = await connect(target, {
    references,
    onAttested: () => shown++,
    onReceipt: ({ body }) => {
      sequence = body.sequence;
    },
  });
  proxy = await ProxyProcess.start();
  certificate = await shownCertificate(server.runtime.port);
});
after(async () => {
  await proxy.program.stop('SIGKILL');
  channel.close();
  await server.stop();
  await rm(folder, { recursive: true });
});

/** `enclaim proxy`, in a process of its own as it always is. */
class ProxyProcess {
  readonly program: Program;
  readonly address: string;

  private constructor(program: Program, address: string) {
    this.program = program;
    this.address = address;
  }

  static async start(): Promise<ProxyProcess> {
    const words = ['proxy', server.target, '--references', join(folder, 'references.json')];
    const program = new Program([process.execPath, join(import.meta.dirname, '../cli/src/main.ts'), ...words]);
    const [address] = await program.line(/^(?:[\d.]+|\[[\da-f:]+\]):\d+$/);
    return new ProxyProcess(program, address);
  }

  /** Connections to its server of which it has printed the verdict. */
  get verdicts(): number {
    return this.program.said.match(/^verdict: /gm)?.length ?? 0;
  }
}

const same = (bytes: Buffer): Buffer => bytes;

/** An honest client, and the stream that it holds open. */
class Honest {
  readonly #client: Client;
  readonly #stream: ClientDuplexStream<Buffer, Buffer>;
  readonly #ended: Promise<number>;
  readonly #echoes: AsyncIterator<Buffer>;
  readonly failures: string[] = [];
  calls = 0;
  readonly close: () => void;

  /** @param address of a proxy; by default it has the attested channel */
  constructor(address?: string) {
    const insecure = credentials.createInsecure();
    this.#client =
      address === undefined
        ? new Client(server.target, insecure, { channelOverride: channel })
        : new Client(address, insecure, { 'grpc.use_local_subchannel_pool': 1 });
    // A channel is closed by who has it.
    this.close = () => void (address === undefined || this.#client.close());
    this.#stream = this.#client.makeBidiStreamRequest(`${STREAMS}BidiAll`, same, same, { deadline: deadline() });
    this.#stream.on('error', () => {});
    this.#ended = new Promise((resolve) => this.#stream.once('status', ({ code }) => resolve(code)));
    this.#echoes = this.#stream.iterator({ destroyOnReturn: false });
  }

  /** A call, and a message of the stream. */
  async call(): Promise<void> {
    this.calls++;
    const told = await unary(this.#client, 'UnaryAll');
    if (told !== 'OK') this.failures.push(told);
    await this.echo();
  }

  /** A message of the stream. */
  async echo(): Promise<void> {
    this.#stream.write(NOTE);
    const { value, done } = await this.#echoes.next();
    if (done || !NOTE.equals(value)) this.failures.push('the stream gave no echo');
  }

  /** Ends the stream, and says what it and all calls came to. */
  async end(): Promise<{ readonly stream: number; readonly failures: readonly string[] }> {
    this.#stream.end();
    await this.#echoes.next();
    const stream = await this.#ended;
    this.close();
    return { stream, failures: this.failures };
  }
}

function deadline(): number {
  return Date.now() + HANGS_MS;
}

/** Whether nobody listens there. */
function refuses(address: string): Promise<boolean> {
  const [host, port] = address.split(':');
  return new Promise((resolve) => {
    const socket = connectTcp(Number(port), host);
    socket.once('connect', () => resolve(false)).once('error', () => resolve(true));
    socket.once('connect', () => socket.destroy());
  });
}

/** How an unary call ended: `OK` or what it was told. */
function unary(client: Client, method: string): Promise<string> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      STREAMS + method,
      same,
      same,
      NOTE,
      { deadline: deadline() },
      (error: ServiceError | null, answer?: Buffer) => {
        resolve(error?.message ?? (answer?.equals(NOTE) ? 'OK' : 'another answer'));
      },
    );
  });
}

/** What a hostile client does, over connections of its own; resolves with how many requests it has seen the end of. */
type Act = (way: Way) => Promise<number>;

/** Sends requests frame by frame, each over a connection that may be ended for it. */
function frames(...requests: readonly Fields[]): Act {
  return async (way) => {
    let ended = 0;
    for (let turn = 0; turn < TIMES; turn++) {
      for (const fields of requests) {
        const connection =
          way === 'to the server'
            ? await RawConnection.open(server.runtime.port)
            : await RawConnection.openPlain(Number(proxy.address.split(':')[1]));
        connection.greet();
        const own = CALL.map(([name, value]): Fields[number] => [
          name,
          name === ':path' ? `${STREAMS}UnaryAll` : value,
        ]);
        const head = block([...own.filter(([name]) => !fields.some(([each]) => each === name)), ...fields]);
        const parts: Buffer[] = [];
        for (let at = 0; at < head.length; at += FRAME_BYTES) {
          const flags = at + FRAME_BYTES >= head.length ? FLAG.endHeaders : 0;
          parts.push(
            frame(at === 0 ? FRAME.headers : FRAME.continuation, flags, 1, head.subarray(at, at + FRAME_BYTES)),
          );
        }
        connection.send(...parts, frame(FRAME.data, FLAG.endStream, 1, prefixed(NOTE)));
        const end = await connection.until(({ type, flags, stream }) => stream === 1 && endsStream(type, flags));
        if (end !== undefined || connection.ended) ended++;
        connection.close();
      }
    }
    return ended;
  };
}

/** Sends the whole table of odd requests, each over a connection of its own. */
async function oddities(way: Way): Promise<number> {
  let ended = 0;
  for (const odd of ODD_REQUESTS) {
    const session = openSession(way);
    await once(session, 'remoteSettings');
    const { http, grpc } = await askOddly(session, { path: `${STREAMS}UnaryAll`, body: prefixed(NOTE) }, odd);
    if (http === (odd.http ?? 200) && grpc === odd.grpc) ended++;
    session.destroy();
  }
  return ended;
}

function openSession(way: Way): ClientHttp2Session {
  const session =
    way === 'to the server'
      ? connectHttp2(`https://localhost:${server.runtime.port}`, { ca: certificate })
      : connectHttp2(`http://${proxy.address}`);
  return session.on('error', () => {});
}

/** Calls what always fails, with a policy that tries again: such clients do where a status is all that an answer has. */
async function retries(way: Way): Promise<number> {
  const [address, how]: [string, ChannelCredentials] =
    way === 'to the server'
      ? [`localhost:${server.runtime.port}`, credentials.createSsl(Buffer.from(certificate))]
      : [proxy.address, credentials.createInsecure()];
  const retryPolicy = {
    ...{ maxAttempts: ATTEMPTS, initialBackoff: '0.01s', maxBackoff: '0.01s', backoffMultiplier: 1 },
    retryableStatusCodes: ['NOT_FOUND'],
  };
  const client = new Client(address, how, {
    'grpc.service_config': JSON.stringify({ methodConfig: [{ name: [{}], retryPolicy }] }),
    'grpc.use_local_subchannel_pool': 1,
  });
  try {
    for (let turn = 0; turn < TIMES; turn++) assert.match(await unary(client, 'UnaryStatus'), /^5 NOT_FOUND/);
    return TIMES;
  } finally {
    client.close();
  }
}

/** As many streams as its connection has, in each of which nothing is ever said. */
async function silence(way: Way): Promise<number> {
  const session = openSession(way);
  await once(session, 'remoteSettings');
  const headers = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
  const streams = Array.from({ length: 64 }, () => {
    const stream = session.request({ ...headers, ':path': `${STREAMS}BidiAll` }, { endStream: false });
    return stream.on('error', () => {});
  });
  silent.push(session);
  return streams.length;
}
const silent: ClientHttp2Session[] = [];

const entries = (count: number, value: string): Fields => Array.from({ length: count }, (_, at) => [`k${at}`, value]);
const ROWS: readonly (readonly [name: string, requests: number, act: Act])[] = [
  [
    'metadata by names of a connection',
    9 * TIMES,
    frames(
      ...['http2-settings', 'connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'].map(
        (name): Fields => [[name, 'x']],
      ),
      [['te', 'x']],
      [['host', 'x']],
      [['content-length', 'x']],
    ),
  ],
  [
    'metadata of 65, of 120 and of 3000 entries',
    3 * TIMES,
    frames(entries(65, 'v'), entries(120, 'v'), entries(3000, 'v')),
  ],
  [
    'a value of 16, of 64 and of 100 KiB',
    3 * TIMES,
    frames(...[16, 64, 100].map((kib): Fields => [['k', 'x'.repeat(kib * 1024)]])),
  ],
  ['methods, types of content and timeouts that are none', ODD_REQUESTS.length, oddities],
  ['calls that always fail, tried again and again', TIMES, retries],
  ['streams in which nothing is said', 64, silence],
];

test('a client that tries again does so, to the server and through the proxy', async () => {
  const client = new Client(server.target, credentials.createInsecure(), { channelOverride: channel });
  for (const way of WAYS) {
    assert.equal(await unary(client, 'UnaryAll'), 'OK');
    const before = sequence;
    await retries(way);
    assert.equal(await unary(client, 'UnaryAll'), 'OK');
    assert.equal(sequence - before - 1, TIMES * ATTEMPTS, way);
  }
});

describe('a hostile client', () => {
  after(() => {
    for (const session of silent) session.destroy();
  });

  for (const [name, requests, act] of ROWS) {
    for (const way of WAYS) {
      test(`${name}, ${way}: honest ones notice nothing`, async (t) => {
        const honest = [new Honest(), new Honest(proxy.address)];
        for (const each of honest) await each.call();
        const before = { shown, verdicts: proxy.verdicts };
        let over = false;
        const acting = act(way).finally(() => {
          over = true;
        });
        await Promise.all(
          honest.map(async (each) => {
            while (!over || each.calls < HONEST_CALLS) await each.call();
          }),
        );
        assert.equal(await acting, requests, 'every request of the hostile client has ended');
        for (const each of honest) assert.deepEqual(await each.end(), { stream: status.OK, failures: [] });
        assert.deepEqual({ shown, verdicts: proxy.verdicts }, before, 'no connection was given up');
        const calls = honest.map((each) => each.calls);
        t.diagnostic(`${requests} hostile requests; honest calls that succeeded: ${calls.join(' and ')}`);
      });
    }
  }
});

test('the end of a proxy by SIGTERM: what ends in time does, what stays is told, and the server serves on', async () => {
  const ending = await ProxyProcess.start();
  const through = new Honest(ending.address);
  const direct = new Honest();
  const hostile = new Client(ending.address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  const told = Array.from({ length: HELD }, () => {
    const held = hostile.makeBidiStreamRequest(`${STREAMS}BidiAll`, same, same, { deadline: deadline() });
    held.on('error', () => {}).write(NOTE);
    const echo = once(held, 'data');
    return { echo, status: new Promise<string>((end) => held.once('status', (it) => end(`${it.code} ${it.details}`))) };
  });
  await Promise.all(told.map(({ echo }) => echo));
  await through.call();

  const over = ending.program.stop();
  await eventually('that no new client is taken', () => refuses(ending.address));
  // Its stream was there before: it goes on, and ends as its client ends it.
  await through.echo();
  assert.deepEqual(await through.end(), { stream: status.OK, failures: [] });
  for (let turn = 0; turn < HONEST_CALLS; turn++) await direct.call();
  const statuses = new Set(await Promise.all(told.map((each) => each.status)));
  assert.deepEqual([...statuses], ['14 the proxy ends, and the call took too long']);
  assert.equal((await over).code, 0);
  assert.match(await unary(hostile, 'UnaryAll'), /^14 UNAVAILABLE: /);
  assert.deepEqual(await direct.end(), { stream: status.OK, failures: [] });
  hostile.close();
});
