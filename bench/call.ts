/**
 * `node bench/call.ts [seconds [words of a row]] [--profile FILE] [--garbage FILE]`: the cost of
 * each layer of a call.
 *
 * A unary call of 1 KiB under a raw HTTP/2 load generator in a process of its own, at 1, 16 and 64
 * streams, with one layer more in each row. The row in brackets does nothing but what no runtime
 * with workers and durable records can leave out: a message to another process and back, then a
 * durable write. The clinic's rows take a patient with an observation in, and give one back.
 *
 * Each figure: calls a second, median latency, microseconds of the server's processor (main thread
 * + engine and system + workers), KiB of garbage. `--profile` writes a CPU profile of the row with
 * everything on at 64 streams, and names its ten largest entries; `--garbage` writes samples of
 * what the server allocates there, and names those that take most bytes a call.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { createServer, type TLSSocket } from 'node:tls';
import { parseArgs } from 'node:util';
import { create, fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { parseBundle } from '@enclaim/attestation/bundle';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { type Admission, admit } from '../runtime/src/admission/admission.ts';
import { Batcher } from '../runtime/src/batcher.ts';
import { makeBootKeys } from '../runtime/src/boot/keys.ts';
import { Calls } from '../runtime/src/call/calls.ts';
import { AttestedServer } from '../runtime/src/channel/server.ts';
import { anchorTime, BootClock } from '../runtime/src/clock.ts';
import { openDevice } from '../runtime/src/log/device.ts';
import { ReceiptSigner } from '../runtime/src/log/receipts.ts';
import { RecordLog, ZERO_HASH } from '../runtime/src/log/record-log.ts';
import { WorkerClasses } from '../runtime/src/worker/classes.ts';
import { type Json, jsonText, NULL_TEXT, type WorkerText } from '../runtime/src/worker/json-text.ts';
import type { WorkerFactory } from '../runtime/src/worker/worker.ts';
import { clinicBundle } from '../test/support/app.ts';
import { openLab } from '../test/support/lab.ts';
import { startWorkers } from '../test/support/worker-process.ts';
import { allocated, type Costs, costsOf, profiled } from './call-costs.ts';
import { type Load, load } from './call-load.ts';
import { scratchFolder } from './scratch.ts';

const STREAMS = [1, 16, 64] as const;
const PATH = '/lab.v1.Lab/Sum';
const PAYLOAD = 1024;
/** Bytes of a usual record. */
const RECORD = 640;

/** A server to be asked. */
interface Listening {
  readonly port: number;
  close(): void;
}

/** A server with one method; what it does with a request is the row's. */
async function serve(answer: (request: Buffer) => Promise<Buffer>, tls: boolean): Promise<Listening> {
  const same = (bytes: Buffer): Buffer => bytes;
  const server = new Server({ 'grpc.enable_channelz': 0 });
  server.addService(
    {
      Sum: {
        ...{ path: PATH, requestStream: false, responseStream: false },
        ...{ requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same },
      },
    },
    {
      Sum: (call: { request: Buffer }, done: (error: Error | null, response?: Buffer) => void) => {
        answered++;
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

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { profile: { type: 'string' }, garbage: { type: 'string' } },
});
const seconds = Number(positionals[0] ?? 3);
const only = positionals[1] ?? '';
const times: (() => number)[] = [];
const started = startWorkers();
/** Starts a worker whose processor time is counted. */
const factory: WorkerFactory = async () => {
  const made = await started();
  times.push(made.processorTime);
  return made;
};
/** Microseconds of processor that all workers have used. */
const workers = (): number => times.reduce((total, time) => total + time(), 0);
let answered = 0;
const lab = await openLab({
  handlers: { Sum: 'return { key: request.key, load: request.load }' },
  size: 1,
  factory,
});
const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Sum');
if (method === undefined) throw new TypeError('no method');
const { input, output } = method.descriptor;
const request = Buffer.from(
  toBinary(input, fromJson(input, { key: 'k', load: Buffer.alloc(PAYLOAD).toString('base64') })),
);
const folder = await scratchFolder();
const LOG_BYTES = 2 ** 28;
// A device has its blocks; a file that grows has to find them.
const blocks = await open(join(folder, 'log'), 'w');
// In pieces: so large an array would make the engine collect the whole heap again and again.
const piece = new Uint8Array(2 ** 20);
for (let at = 0; at < LOG_BYTES; at += piece.length) await blocks.write(piece);
await blocks.close();
const log = await RecordLog.open(await openDevice(join(folder, 'log')), LOG_BYTES);
const keys = makeBootKeys();
const { admission, pool } = lab;
const boot = new Uint8Array(32);
const NO_RECEIPT = Promise.resolve([new Uint8Array(300)]);
const { signal } = new AbortController();
const memory = { place: () => ({ index: 0, hash: ZERO_HASH, durable: Promise.resolve() }), pending: undefined };
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
  method: method.id,
  streams: { request: false, response: false },
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
  const message = { grants: granted, time: new Date().toISOString(), id: 'id', seed: '00'.repeat(32) };
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
await writeFile(join(folder, 'spare'), new Uint8Array(2 ** 20));
const spare = await openDevice(join(folder, 'spare'));
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
async function whole(of: Admission, calls: Calls): Promise<Listening> {
  const tls = { key: keys.tls.key, certificate: keys.certificate(new Uint8Array()) };
  const counted = {
    answer: (called, caller) => {
      answered++;
      return calls.answer(called, caller);
    },
  } as Calls;
  // No client asks for evidence here.
  const server = new AttestedServer({ tls, admission: of, calls: counted, attested: undefined as never });
  return { port: await server.listen('127.0.0.1', 0), close: () => void server.close() };
}

/** A case of the clinic, as its data has them: about 1.5 KiB as proto3 JSON. */
const CASE = {
  patient: {
    ...{ resourceType: 'Patient', id: 'pat-002', active: true, gender: 'male', birthDate: '1979-01-20' },
    identifier: [{ use: 'usual', system: 'urn:oid:1.2.36.146.595.217.0.1', value: '62610' }],
    name: [
      { use: 'official', family: 'Castillo', given: ['Omar', 'Jean'] },
      { use: 'nickname', given: ['Oma'] },
    ],
    telecom: [{ system: 'phone', value: '+46 65 619180', use: 'mobile' }],
    address: [{ use: 'home', line: ['Kungsgatan 4'], city: 'Göteborg', postalCode: '411 06', country: 'SE' }],
  },
  observations: [
    {
      ...{ resourceType: 'Observation', id: 'obs-002-1', status: 'final' },
      ...{ subject: { reference: 'Patient/pat-002' }, effectiveDateTime: '2026-07-13T17:15:00+02:00' },
      category: [
        { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'laboratory' }] },
      ],
      code: { coding: [{ system: 'http://loinc.org', code: '2093-3', display: 'Cholesterol [Mass/volume]' }] },
      valueQuantity: { value: 187.5, unit: 'mg/dL', system: 'http://unitsofmeasure.org', code: 'mg/dL' },
      referenceRange: [{ high: { value: 200, unit: 'mg/dL' } }],
    },
  ],
};

/** The clinic's methods. Neither stores anything: a collection that fills up would count. */
async function clinicCalls(): Promise<{ readonly admission: Admission; readonly calls: Calls }> {
  const { bytes, policy: digest } = await clinicBundle();
  const { policy, descriptors } = parseBundle(bytes);
  const admitted = admit(policy, descriptors, digest);
  const code = `const found = ${JSON.stringify({ caseId: 'c', ...CASE })};
    exports.handlers = {
      'clinic.v1.Intake/Submit': async (_, ctx) => ({ caseId: ctx.requestId, receivedAt: ctx.now() }),
      'clinic.v1.Intake/Read': async () => found,
    };`;
  const clinicPool = await WorkerClasses.start({ factory, size: 1 }, { code, metered: false }, admitted.classes);
  const receipts = new ReceiptSigner(keys.signReceipts);
  return {
    admission: admitted,
    calls: new Calls({ admission: admitted, pool: clinicPool, log, receipts, boot, clock }),
  };
}

const clinic = await clinicCalls();
const intake = (name: string, json: JsonValue): Asked => {
  const found = clinic.admission.exposed.find(({ descriptor }) => descriptor.name === name);
  if (found === undefined) throw new TypeError(`no method ${name}`);
  const { input: type } = found.descriptor;
  return { path: `/clinic.v1.Intake/${name}`, message: Buffer.from(toBinary(type, fromJson(type, json))) };
};

/** The calls of a row. */
interface Asked {
  readonly path: string;
  readonly message: Buffer;
}

interface Row {
  readonly name: string;
  readonly tls: boolean;
  readonly serve: () => Promise<Listening>;
  readonly asked: Asked;
}

/** Figures of a row at one number of streams. */
interface Measured {
  readonly load: Load;
  readonly costs: Costs;
}

const PLAIN = 'grpc-js alone';
const LEAST = '(+ trip, write, nothing else)';
const WHOLE = '+ trailers and limits: all';
const sums: Asked = { path: PATH, message: request };
const row = (name: string, listen: () => Promise<Listening>, { tls = true, asked = sums } = {}): Row => ({
  ...{ name, tls, asked },
  serve: listen,
});
const ROWS: readonly Row[] = [
  row(PLAIN, () => serve(echo, false), { tls: false }),
  row('+ TLS 1.3', () => serve(echo, true)),
  row(LEAST, () => serve(least, true)),
  row('+ worker, instance per call', () => serve(worked, true)),
  row('+ labels and decisions', () => serve((bytes) => through(labelled, bytes), true)),
  row('+ durable record', () => serve((bytes) => through(recorded, bytes), true)),
  row('+ signed receipt', () => serve((bytes) => through(receipted, bytes), true)),
  row(WHOLE, () => whole(admission, receipted)),
  row('clinic, all: a case handed in', () => whole(clinic.admission, clinic.calls), { asked: intake('Submit', CASE) }),
  row('clinic, all: a case given back', () => whole(clinic.admission, clinic.calls), {
    asked: intake('Read', { caseId: 'c' }),
  }),
  row(PLAIN, () => serve(echo, false), { tls: false }),
];

async function measuredAt({ tls, asked: { path, message } }: Row, port: number, streams: number): Promise<Measured> {
  let figures: Load | undefined;
  const costs = await costsOf(workers, async () => {
    const before = answered;
    figures = await load({ port, tls, path, streams, seconds, message: message.toString('base64') });
    return answered - before;
  });
  if (figures === undefined) throw new TypeError('no figures');
  return { load: figures, costs };
}

const CELL = 56;

console.log(
  `${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${PAYLOAD} bytes, ${seconds} s per figure`,
);
console.log(
  `${''.padEnd(30)}${STREAMS.map((count) => `${count} stream${count === 1 ? '' : 's'}`.padStart(CELL)).join('')}`,
);
const measured: { readonly name: string; readonly figures: readonly Measured[] }[] = [];
for (const each of ROWS) {
  if (!each.name.includes(only)) continue;
  const { port, close } = await each.serve();
  const figures: Measured[] = [];
  for (const streams of STREAMS) figures.push(await measuredAt(each, port, streams));
  measured.push({ name: each.name, figures });
  const cells = figures.map(({ load: { perSecond, p50 }, costs: { main, engine, worker, garbage } }) => {
    const processor = `${[main, engine, worker].map((each) => each.toFixed(0)).join('+')} µs`;
    return `${Math.round(perSecond)}/s  ${p50.toFixed(2)} ms  ${processor}  ${garbage.toFixed(1)} KiB`.padStart(CELL);
  });
  console.log(`${each.name.padEnd(30)}${cells.join('')}`);
  if (each.name === WHOLE && values.profile !== undefined) {
    const lines = await profiled(values.profile, () => measuredAt(each, port, 64));
    console.log(`${values.profile}, 64 streams, largest entries:\n${lines.join('\n')}`);
  }
  if (each.name === WHOLE && values.garbage !== undefined) {
    const lines = await allocated(values.garbage, async () => {
      const before = answered;
      await measuredAt(each, port, 64);
      return answered - before;
    });
    console.log(`${values.garbage}, 64 streams, most bytes a call:\n${lines.join('\n')}`);
  }
  close();
}
const plain = measured.filter(({ name }) => name === PLAIN).map(({ figures }) => figures);
/** The mean of the rows of grpc-js alone, at the same number of streams. */
const mean = (at: number, of: (figure: Measured) => number): number =>
  plain.reduce((total, figures) => total + (figures[at] === undefined ? Number.NaN : of(figures[at])), 0) /
  plain.length;
const processor = ({ costs: { main, engine, worker } }: Measured): number => main + engine + worker;
for (const { name, figures } of measured) {
  if (plain.length === 0 || (name !== LEAST && name !== WHOLE)) continue;
  const shares = figures.map((figure, at) => {
    const share = figure.load.perSecond / mean(at, ({ load: { perSecond } }) => perSecond);
    const later = figure.load.p50 - mean(at, ({ load: { p50 } }) => p50);
    const cost = mean(at, processor) / processor(figure);
    return `${share.toFixed(2)} × plain, ${cost.toFixed(2)} × by processor, p50 + ${later.toFixed(2)} ms`.padStart(
      CELL,
    );
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
