/**
 * What each layer of a call costs: `node bench/call.ts [seconds [words of a row]]`. A unary call of 1 KiB under a raw HTTP/2 load generator in
 * a process of its own, at 1, 16 and 64 streams, with one layer more in each row.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { connect } from 'node:http2';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { create, fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { Calls } from '../runtime/src/calls.ts';
import { anchorTime, BootClock } from '../runtime/src/clock.ts';
import { makeBootKeys } from '../runtime/src/keys.ts';
import { RecordLog } from '../runtime/src/log.ts';
import { rawMethod } from '../runtime/src/raw-service.ts';
import { ReceiptSigner } from '../runtime/src/receipts.ts';
import { openLab } from '../test/support/lab.ts';

const STREAMS = [1, 16, 64] as const;
const PATH = '/lab.v1.Lab/Sum';
const PAYLOAD = 1024;

/** What the load generator reports. */
interface Load {
  readonly perSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** The load generator: calls as fast as they are answered, on so many streams of one connection. */
async function generate(port: number, tls: boolean, streams: number, seconds: number, message: Buffer): Promise<Load> {
  const session = connect(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, { rejectUnauthorized: false });
  await once(session, 'connect');
  const headers = { ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc', te: 'trailers' };
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), message]);
  frame.writeUInt32BE(message.length, 1);
  const times: number[] = [];
  const warm = performance.now() + 1000;
  const end = warm + seconds * 1000;
  const call = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const stream = session.request(headers);
      stream.on('trailers', (trailers) => {
        if (trailers['grpc-status'] !== '0') reject(new Error(`status ${trailers['grpc-status']}`));
      });
      stream.on('error', reject);
      stream.on('end', resolve);
      stream.resume();
      stream.end(frame);
    });
  const lane = async (): Promise<void> => {
    for (let at = performance.now(); at < end; ) {
      await call();
      const now = performance.now();
      if (at > warm) times.push(now - at);
      at = now;
    }
  };
  await Promise.all(Array.from({ length: streams }, lane));
  session.close();
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? Number.NaN;
  return { perSecond: times.length / seconds, p50: at(0.5), p99: at(0.99) };
}

/** A server with one method; what it does with a request is the row's. */
async function serve(
  answer: (request: Buffer) => Promise<Buffer>,
  tls: boolean,
): Promise<{ port: number; close: () => void }> {
  const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Sum')?.descriptor;
  if (method === undefined) throw new TypeError('no method');
  const server = new Server({ 'grpc.enable_channelz': 0 });
  server.addService(
    { Sum: rawMethod(method) },
    {
      Sum: (call: { request: Buffer }, done: (error: Error | null, response?: Buffer) => void) => {
        answer(call.request).then((response) => done(null, response), done);
      },
    },
  );
  if (!tls) {
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return { port, close: () => server.forceShutdown() };
  }
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const keys = makeBootKeys();
  const listener = createServer({
    key: keys.tls.key,
    cert: keys.certificate(new Uint8Array()),
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3',
  });
  listener.on('secureConnection', (socket: TLSSocket) => injector.injectConnection(socket));
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    port,
    close: () => {
      listener.close();
      server.forceShutdown();
    },
  };
}

if (process.argv[2] === 'load') {
  process.once('message', async (asked) => {
    const { port, tls, streams, seconds, message } = asked as {
      port: number;
      tls: boolean;
      streams: number;
      seconds: number;
      message: string;
    };
    process.send?.(await generate(port, tls, streams, seconds, Buffer.from(message, 'base64')), () => process.exit());
  });
  await new Promise(() => {});
}

const seconds = Number(process.argv[2] ?? 3);
const only = process.argv[3] ?? '';
const lab = await openLab({
  handlers: { Sum: 'return { key: request.key, load: request.load }' },
  size: 1,
});
const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Sum');
if (method === undefined) throw new TypeError('no method');
const { input, output } = method.descriptor;
const request = Buffer.from(
  toBinary(input, fromJson(input, { key: 'k', load: Buffer.alloc(PAYLOAD).toString('base64') })),
);
const folder = await mkdtemp(join(tmpdir(), 'enclaim-bench-'));
const log = await RecordLog.open(await open(join(folder, 'log'), 'w+'), 2 ** 32);
const keys = makeBootKeys();
const { admission, pool } = lab;
const boot = new Uint8Array(32);
const memory = { place: () => ({ hash: new Uint8Array(32), durable: Promise.resolve() }) };
const unsigned = { sign: async () => new Uint8Array(300) };

async function through(calls: Calls, bytes: Buffer): Promise<Buffer> {
  if (method === undefined) throw new TypeError('no method');
  const caller = { next: async () => bytes, send: async () => {}, signal: AbortSignal.timeout(30_000) };
  const { status, message, response } = await calls.answer(method, caller);
  if (status !== 0) throw new Error(message);
  return Buffer.from(response);
}

const json = (bytes: Buffer): JsonValue => toJson(input, fromBinary(input, bytes));
const clock = new BootClock(anchorTime());
const labelled = new Calls({ admission, pool, log: memory, receipts: unsigned, boot, clock });
const recorded = new Calls({ admission, pool, log, receipts: unsigned, boot, clock });
const receipted = new Calls({ admission, pool, log, receipts: new ReceiptSigner(keys.signReceipts), boot, clock });
const granted = {
  time: new Date().toISOString(),
  id: 'id',
  seed: '00'.repeat(32),
  reads: [],
  stores: [],
  sends: {},
  releases: [],
};
const echo = async (bytes: Buffer): Promise<Buffer> => {
  const { key, load } = fromBinary(input, bytes) as unknown as { key: string; load: Uint8Array };
  return Buffer.from(toBinary(output, create(output, { key, load } as never)));
};
const worked = async (bytes: Buffer): Promise<Buffer> => {
  const message = {
    method: method.id,
    request: json(bytes) as never,
    streams: { request: false, response: false },
    ...granted,
  };
  const made = await pool.run({ message, perform: () => null, signal: AbortSignal.timeout(30_000) });
  return Buffer.from(toBinary(output, fromJson(output, made as JsonValue)));
};

const ROWS: readonly (readonly [name: string, tls: boolean, answer: (request: Buffer) => Promise<Buffer>])[] = [
  ['grpc-js alone', false, echo],
  ['+ TLS 1.3', true, echo],
  ['+ worker, instance per call', true, worked],
  ['+ labels and decisions', true, (bytes) => through(labelled, bytes)],
  ['+ durable record', true, (bytes) => through(recorded, bytes)],
  ['+ signed receipt', true, (bytes) => through(receipted, bytes)],
];

console.log(
  `${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${PAYLOAD} bytes, ${seconds} s per figure`,
);
console.log(`${''.padEnd(28)}${STREAMS.map((count) => `${count} streams`.padStart(34)).join('')}`);
for (const [name, tls, answer] of ROWS) {
  if (!name.includes(only)) continue;
  const { port, close } = await serve(answer, tls);
  const cells: string[] = [];
  for (const streams of STREAMS) {
    const child = fork(import.meta.filename, ['load']);
    const before = process.cpuUsage();
    child.send({ port, tls, streams, seconds, message: request.toString('base64') });
    const [load] = (await once(child, 'message')) as [Load];
    const { user, system } = process.cpuUsage(before);
    const each = (user + system) / (load.perSecond * (seconds + 1));
    cells.push(`${Math.round(load.perSecond)}/s p50 ${load.p50.toFixed(2)} ms ${Math.round(each)} µs CPU`.padStart(34));
  }
  console.log(`${name.padEnd(28)}${cells.join('')}`);
  close();
}
lab.close();
await rm(folder, { recursive: true });
process.exit();
