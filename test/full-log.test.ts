/** A log that fills: health says so before it is full, and a later boot serves nothing and says why. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseBundle } from '@enclaim/attestation/bundle';
import { type EvidenceRecord, recordEntry } from '@enclaim/attestation/record';
import { readSegment, segmentFaults } from '@enclaim/attestation/segment';
import { startRuntime } from '@enclaim/runtime';
import { openDevice } from '../runtime/src/log/device.ts';
import type { Runtime } from '../runtime/src/runtime.ts';
import { clinicBundle } from './support/app.ts';
import { recordsOnDisk } from './support/log-disk.ts';
import { CAPACITY, MISSING_LAYERS, startWorkers } from './support/worker-process.ts';

/** Small, so that some hundred calls fill it. */
const LOG = 256 * 1024;

let folder: string;
let device: Awaited<ReturnType<typeof openDevice>> | undefined;
let bundle: Awaited<ReturnType<typeof clinicBundle>>;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-full-log-'));
  bundle = await clinicBundle();
  await writeFile(join(folder, 'log'), '');
});
after(async () => {
  await device?.close();
  await rm(folder, { recursive: true });
});

async function boot(): Promise<Runtime> {
  await device?.close();
  device = await openDevice(join(folder, 'log'));
  return startRuntime({
    platform: {
      kind: 'tpm',
      device: { ak: null, ek: null, ekCertificate: null },
      sign: async () => ({ case: 'tpm', value: {} }),
      activate: () => Promise.reject(new Error('no TPM')),
    },
    bundle: { ...parseBundle(bundle.bytes), policyDigest: bundle.policy, digest: bundle.digest },
    image: 'enclaim-test',
    log: { device, capacity: LOG },
    workers: { factory: startWorkers(), size: 1, missing: MISSING_LAYERS, capacity: CAPACITY },
    listen: { host: '127.0.0.1', port: 0 },
  });
}

/** Asks with an empty message; answers with the last headers and the last byte of the messages. */
async function ask(
  session: ClientHttp2Session,
  path: string,
): Promise<{ headers: IncomingHttpHeaders; last?: number }> {
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request(headers);
  let found: IncomingHttpHeaders = {};
  const hear = (heard: IncomingHttpHeaders): void => {
    if (heard['grpc-status'] !== undefined) found = heard;
  };
  stream.on('response', hear).on('trailers', hear);
  stream.end(Buffer.alloc(5));
  const data = Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>));
  const last = data.at(-1);
  return { headers: found, ...(last !== undefined && { last }) };
}

const opened = ({ port }: Runtime): ClientHttp2Session =>
  connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, ALPNProtocols: ['h2'] });

const serving = async (session: ClientHttp2Session): Promise<boolean> =>
  (await ask(session, '/grpc.health.v1.Health/Check')).last === 1;

const submit = async (session: ClientHttp2Session): Promise<string> =>
  decodeURIComponent(String((await ask(session, '/clinic.v1.Intake/Submit')).headers['grpc-message']));

const records = (): Promise<EvidenceRecord[]> => recordsOnDisk(join(folder, 'log'), LOG);

test('health says NOT_SERVING before the log is full, and a record says it; calls are refused before they are read', async () => {
  const runtime = await boot();
  const { left = 0 } = runtime.statement.log;
  assert.ok(left > LOG * 0.3 && left < LOG, `${left} bytes`);
  const session = opened(runtime);
  assert.equal(await serving(session), true);
  let [answered, warned] = [0, 0];
  while (!(await submit(session)).includes('the log is full')) {
    answered++;
    if (!(await serving(session))) warned++;
  }
  assert.ok(answered > 20 && warned > 1 && warned < answered, `${answered} answered, ${warned} of them when warned`);
  session.destroy();
  await runtime.close();
  const reasons = (await records()).map(({ reason }) => reason);
  assert.equal(reasons.filter((reason) => reason === 'log nearly full').length, 1);
  assert.deepEqual(reasons.slice(-2), ['segment end', 'end']);
  const all = await records();
  const segment = readSegment(all.slice(-2, -1));
  assert.deepEqual([segment.first, segment.end], [0, all.length - 2]);
  assert.deepEqual(segmentFaults(segment, all.slice(0, -2).map(recordEntry), runtime.admission.policy), []);
  assert.ok(segment.controls.size > 0, 'the policy answers controls');
});

test('a boot after that has its record, and serves nothing', async () => {
  const runtime = await boot();
  const session = opened(runtime);
  assert.equal(await serving(session), false);
  assert.match(await submit(session), /the log is nearly full: \d+ bytes are left/);
  session.destroy();
  await runtime.close();
  const [first] = (await records()).slice(-2);
  assert.match(first?.reason ?? '', /^boot, .*log nearly full, nothing served$/);
  assert.ok((first?.figures['log.left'] ?? LOG) < LOG / 8);
});
