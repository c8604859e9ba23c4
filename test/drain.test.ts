/** The end of a runtime: in order, with an answer for every call, and within its limit whatever callers and handlers do. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { parseBundle } from '@enclaim/attestation/bundle';
import { parseReceipt } from '@enclaim/attestation/receipt';
import { startRuntime } from '@enclaim/runtime';
import { makeBootKeys } from '../runtime/src/boot/keys.ts';
import type { AttestedServer } from '../runtime/src/channel/server.ts';
import { HealthCheckResponseSchema } from '../runtime/src/gen/grpc/health/v1/health_pb.js';
import { openDevice } from '../runtime/src/log/device.ts';
import { SERVER } from './hostile/served.ts';
import { weakened } from './hostile/weakened.ts';
import { clinicBundle } from './support/app.ts';
import { type Lab, openLab } from './support/lab.ts';
import { recordsOnDisk } from './support/log-disk.ts';
import { CAPACITY, MISSING_LAYERS, startWorkers } from './support/worker-process.ts';

const HEADERS = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
const LAB = '/lab.v1.Lab/';
/** An empty message, and one whose key is "k". */
const EMPTY = Buffer.alloc(5);
const NOTE = Buffer.from([0, 0, 0, 0, 3, 0x0a, 1, 0x6b]);

interface Ended {
  readonly status: string | undefined;
  readonly trailers: IncomingHttpHeaders;
  readonly data: Buffer;
  /** Milliseconds since the end was asked for. */
  readonly after: number;
}

describe('a runtime that ends', () => {
  let lab: Lab;
  let server: AttestedServer;
  let session: ClientHttp2Session;
  let begun = 0;
  let cut = 0;
  let took = 0;
  /** Names of `ends`, in the order in which they came. */
  const order: string[] = [];
  const ends: Record<string, Promise<Ended>> = {};

  const open = (path: string): ClientHttp2Stream => session.request({ ...HEADERS, ':path': path });
  const endOf = async (stream: ClientHttp2Stream): Promise<Ended> => {
    const chunks: Buffer[] = [];
    let trailers: IncomingHttpHeaders = {};
    stream.on('response', (headers) => {
      if (headers['grpc-status'] !== undefined) trailers = headers;
    });
    stream.on('trailers', (said) => {
      trailers = said;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', () => {});
    if (!stream.closed) await once(stream, 'close');
    const after = performance.now() - begun;
    return { status: trailers['grpc-status'] as string | undefined, trailers, data: Buffer.concat(chunks), after };
  };

  const end = (name: string, stream: ClientHttp2Stream): void => {
    ends[name] = endOf(stream).finally(() => order.push(name));
  };

  before(async () => {
    lab = await openLab({
      handlers: {
        Collect: 'let count = 0; for await (const _ of request) count++; return { count }',
        Sum: 'await new Promise(() => {})',
        Watch: `const load = btoa('x'.repeat(200000)); for (;;) yield { load };`,
      },
    });
    const keys = makeBootKeys();
    const tls = { key: keys.tls.key, certificate: keys.certificate(new Uint8Array()) };
    // A keepalive that comes due while calls end must not end their connection.
    const often = { constants: { LOOK_MS: 1000 } };
    const Server: typeof AttestedServer = (await import(weakened(SERVER, often))).AttestedServer;
    server = new Server({ tls, admission: lab.admission, calls: lab.calls, attested: {} as never });
    const port = await server.listen('127.0.0.1', 0);
    server.serve();
    session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    session.on('error', () => {});
    await once(session, 'connect');

    const watch = open('/grpc.health.v1.Health/Watch');
    end('watch', watch);
    watch.end(EMPTY);
    const collect = open(`${LAB}Collect`);
    end('collect', collect);
    collect.write(NOTE);
    const patient = open(`${LAB}Sum`);
    end('patient', patient);
    patient.end(NOTE);
    const unread = open(`${LAB}Watch`);
    unread.on('error', () => {});
    unread.pause();
    unread.end(NOTE);
    await sleep(2000);

    begun = performance.now();
    const closing = server.close();
    assert.equal(server.close(), closing, 'there is one end');
    await sleep(300);
    const late = open(`${LAB}Sum`);
    end('late', late);
    late.end(NOTE);
    ends.stranger = (async () => {
      const other = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
      const [error] = await once(other, 'error').catch((refused) => [refused]);
      return { status: (error as NodeJS.ErrnoException).code, trailers: {}, data: Buffer.alloc(0), after: 0 };
    })();
    collect.end(NOTE);
    cut = await closing;
    took = performance.now() - begun;
  });
  after(() => {
    session.destroy();
    lab.close();
  });

  test('says first that it does not serve, and keeps nobody watching', async () => {
    const { data } = await (ends.watch as Promise<Ended>);
    const statuses: number[] = [];
    for (let at = 0; at < data.length; ) {
      const length = data.readUInt32BE(at + 1);
      statuses.push(fromBinary(HealthCheckResponseSchema, data.subarray(at + 5, at + 5 + length)).status);
      at += 5 + length;
    }
    assert.deepEqual(statuses, [1, 2]);
    assert.equal(order[0], 'watch');
  });

  test('answers the call under way, with its receipt', async () => {
    const { status, trailers, data } = await (ends.collect as Promise<Ended>);
    assert.equal(status, '0');
    assert.deepEqual([...data.subarray(5)], [0x18, 2]);
    receiptOf(trailers);
  });

  test('takes no new call: on a connection that it has, with a receipt; on no other', async () => {
    const { status, trailers } = await (ends.late as Promise<Ended>);
    assert.equal(status, '14');
    assert.equal(receiptOf(trailers).body.status, 14);
    await ends.patient;
    assert.ok(order.indexOf('late') < order.indexOf('patient'), order.join());
    assert.equal((await (ends.stranger as Promise<Ended>)).status, 'ECONNREFUSED');
  });

  test('tells those that it cuts off, with a receipt and a reason', async () => {
    const { status, trailers, after: when } = await (ends.patient as Promise<Ended>);
    assert.equal(status, '14');
    assert.equal(receiptOf(trailers).body.status, 14);
    assert.match(Buffer.from(String(trailers['grpc-status-details-bin']), 'base64').toString('latin1'), /SHUTDOWN/);
    assert.ok(when > 4500, `${when} ms`);
  });

  test('does not wait for a caller who does not read, and counts whom it cut', () => {
    assert.ok(took > 4500, `${took} ms`);
    assert.equal(cut, 2);
    assert.equal(lab.records.filter(({ reason }) => reason === 'shutdown').length, 3);
  });
});

function receiptOf(trailers: IncomingHttpHeaders): ReturnType<typeof parseReceipt> {
  return parseReceipt(Buffer.from(String(trailers['enclaim-receipt-bin']), 'base64'));
}

test('the last record of a boot says that it ended, and how many calls it cut', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-drain-'));
  try {
    const bundle = await clinicBundle();
    const path = join(folder, 'log');
    await writeFile(path, '');
    const runtime = await startRuntime({
      platform: {
        kind: 'tpm',
        device: { ak: null, ek: null, ekCertificate: null },
        sign: async () => ({ case: 'tpm', value: {} }),
        activate: () => Promise.reject(new Error('no TPM')),
      },
      bundle: { ...parseBundle(bundle.bytes), policyDigest: bundle.policy, digest: bundle.digest },
      image: 'enclaim-test',
      log: { device: await openDevice(path), capacity: 1 << 20 },
      workers: { factory: startWorkers(), size: 1, missing: MISSING_LAYERS, capacity: CAPACITY },
      listen: { host: '127.0.0.1', port: 0 },
    });
    await runtime.close();
    const records = await recordsOnDisk(path, 1 << 20);
    assert.deepEqual(
      records.map(({ reason, figures }) => [reason, figures.cut]),
      [
        ['boot, workers without user, namespaces, root, cgroup', undefined],
        ['end', 0],
      ],
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
