/**
 * `node bench/call.ts [seconds [words of a row]]`: the cost of each layer of a call.
 *
 * A unary call of 1 KiB under a raw HTTP/2 load generator in a process of its own, at 1, 16 and 64
 * streams, with one layer more in each row. The row in brackets does nothing but what no runtime
 * with workers and durable records can leave out: a message to another process and back, then a
 * durable write.
 */

import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:http2';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { createServer, type TLSSocket } from 'node:tls';
import { create, fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { Batcher } from '../runtime/src/batcher.ts';
import { makeBootKeys } from '../runtime/src/boot/keys.ts';
import { Calls } from '../runtime/src/call/calls.ts';
import { rawMethod } from '../runtime/src/channel/raw-service.ts';
import { AttestedServer } from '../runtime/src/channel/server.ts';
import { anchorTime, BootClock } from '../runtime/src/clock.ts';
import { openDevice } from '../runtime/src/log/device.ts';
import { ReceiptSigner } from '../runtime/src/log/receipts.ts';
import { RecordLog, ZERO_HASH } from '../runtime/src/log/record-log.ts';
import { type Json, jsonText, NULL_TEXT, type WorkerText } from '../runtime/src/worker/json-text.ts';
import { openLab } from '../test/support/lab.ts';

const STREAMS = [1, 16, 64] as const;
const PATH = '/lab.v1.Lab/Sum';
const PAYLOAD = 1024;
/** Bytes of a usual record. */
const RECORD = 640;

/** Figures that the load generator reports. */
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

/** A server to be asked. */
interface Listening {
  readonly port: number;
  close(): void;
}

/** A server with one method; what it does with a request is the row's. */
async function serve(answer: (request: Buffer) => Promise<Buffer>, tls: boolean): Promise<Listening> {
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
const LOG_BYTES = 2 ** 28;
// A device has its blocks; a file that grows has to find them.
await writeFile(join(folder, 'log'), new Uint8Array(LOG_BYTES));
const log = await RecordLog.open(await openDevice(join(folder, 'log')), LOG_BYTES);
const keys = makeBootKeys();
const { admission, pool } = lab;
const boot = new Uint8Array(32);
const NO_RECEIPT = Promise.resolve([new Uint8Array(300)]);
const { signal } = new AbortController();
const memory = { place: () => ({ hash: ZERO_HASH, durable: Promise.resolve() }) };
const unsigned = { sign: () => ({ batch: NO_RECEIPT, index: 0 }) };

async function through(calls: Calls, bytes: Buffer): Promise<Buffer> {
  if (method === undefined) throw new TypeError('no method');
  const caller = { next: async () => bytes, send: async () => {}, signal };
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
    streams: { request: false, response: false },
    ...granted,
  };
  const made = await pool.run({ message, json: jsonText(json(bytes) as Json), perform: () => NULL_TEXT, signal });
  return Buffer.from(toBinary(output, fromJson(output, JSON.parse(made as WorkerText))));
};

/** Whatever is written to this process comes back. */
const mirror = spawn(
  process.execPath,
  ['-e', "const s = new (require('node:net').Socket)({ fd: 3 }); s.pipe(s).on('close', () => process.exit())"],
  { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] },
).stdio[3] as Duplex;
const awaited: { left: number; resolve: () => void }[] = [];
mirror.on('data', ({ length }: Buffer) => {
  for (let left = length, first = awaited[0]; left > 0 && first !== undefined; first = awaited[0]) {
    const taken = Math.min(left, first.left);
    left -= taken;
    first.left -= taken;
    if (first.left === 0) awaited.shift()?.resolve();
  }
});
const spare = await openDevice(join(folder, 'log'));
const written = new Batcher(async (items: readonly null[]) => {
  await spare.write(new Uint8Array(items.length * RECORD), 0, items.length * RECORD, 0);
  return items;
}, LOG_BYTES);
const least = async (bytes: Buffer): Promise<Buffer> => {
  await new Promise<void>((resolve) => {
    awaited.push({ left: bytes.length, resolve });
    mirror.write(bytes);
  });
  await written.add(null);
  return echo(bytes);
};

/** The runtime's own server, as clients of plain `h2` find it. */
async function whole(): Promise<Listening> {
  const tls = { key: keys.tls.key, certificate: keys.certificate(new Uint8Array()) };
  // No client asks for evidence here.
  const server = new AttestedServer({ tls, admission, calls: receipted, attested: undefined as never });
  return { port: await server.listen('127.0.0.1', 0), close: () => void server.close() };
}

const PLAIN = 'grpc-js alone';
const LEAST = '(+ trip, write, nothing else)';
const WHOLE = '+ trailers and limits: all';
const ROWS: readonly (readonly [name: string, tls: boolean, serve: () => Promise<Listening>])[] = [
  [PLAIN, false, () => serve(echo, false)],
  ['+ TLS 1.3', true, () => serve(echo, true)],
  [LEAST, true, () => serve(least, true)],
  ['+ worker, instance per call', true, () => serve(worked, true)],
  ['+ labels and decisions', true, () => serve((bytes) => through(labelled, bytes), true)],
  ['+ durable record', true, () => serve((bytes) => through(recorded, bytes), true)],
  ['+ signed receipt', true, () => serve((bytes) => through(receipted, bytes), true)],
  [WHOLE, true, whole],
  [PLAIN, false, () => serve(echo, false)],
];

console.log(
  `${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${PAYLOAD} bytes, ${seconds} s per figure`,
);
console.log(
  `${''.padEnd(30)}${STREAMS.map((count) => `${count} stream${count === 1 ? '' : 's'}`.padStart(34)).join('')}`,
);
const measured: { name: string; loads: Load[] }[] = [];
for (const [name, tls, listen] of ROWS) {
  if (!name.includes(only)) continue;
  const { port, close } = await listen();
  const loads: Load[] = [];
  const cells: string[] = [];
  for (const streams of STREAMS) {
    const child = fork(import.meta.filename, ['load']);
    const before = process.cpuUsage();
    child.send({ port, tls, streams, seconds, message: request.toString('base64') });
    const [load] = (await once(child, 'message')) as [Load];
    const { user, system } = process.cpuUsage(before);
    const each = (user + system) / (load.perSecond * (seconds + 1));
    loads.push(load);
    cells.push(`${Math.round(load.perSecond)}/s p50 ${load.p50.toFixed(2)} ms ${Math.round(each)} µs CPU`.padStart(34));
  }
  measured.push({ name, loads });
  console.log(`${name.padEnd(30)}${cells.join('')}`);
  close();
}
const plain = measured.filter(({ name }) => name === PLAIN).map(({ loads }) => loads);
const mean = (of: (loads: Load[]) => number): number => plain.reduce((sum, loads) => sum + of(loads), 0) / plain.length;
for (const { name, loads } of measured) {
  if (plain.length === 0 || (name !== LEAST && name !== WHOLE)) continue;
  const shares = loads.map(({ perSecond, p50 }, at) => {
    const share = perSecond / mean((of) => of[at]?.perSecond ?? Number.NaN);
    const later = p50 - mean((of) => of[at]?.p50 ?? Number.NaN);
    return `${share.toFixed(2)} × plain, p50 + ${later.toFixed(2)} ms`.padStart(34);
  });
  console.log(`${name.padEnd(30)}${shares.join('')}`);
}
const writes: number[] = [];
for (let at = 0; at < 300; at++) {
  const before = performance.now();
  await spare.write(new Uint8Array(RECORD), 0, RECORD, at * RECORD);
  writes.push(performance.now() - before);
}
console.log(`one durable write of ${RECORD} bytes: p50 ${writes.sort((a, b) => a - b)[150]?.toFixed(2)} ms`);
await spare.close();
lab.close();
await rm(folder, { recursive: true });
process.exit();
