/** Budgets and the end of a boot where they matter: the kernel's own counts, a cgroup around the worker, and PID 1 told to end. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { References } from '@enclaim/attestation';
import { toBase64 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { type AttestedChannel, type CheckedReceipt, connect } from '@enclaim/client';
import { startProxy } from '@enclaim/client/proxy';
import { buildBundle, buildImage, findApp, projectRoot, writeImage } from '@enclaim/image';
import { type RunningMachine, startMachine } from '@enclaim/image/machine';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { ENTRIES } from '../../image/src/programs/entries.ts';
import { bundleOf, type LabMethod, labPolicy } from '../support/lab.ts';
import { recordsOnDisk } from '../support/log-disk.ts';

/** Generous: an emulated processor works for seconds on what a real one does at once, and counts what others take of it. */
const BUDGET = { memory: '32MiB', cpu: '20s', wall: '300s' };
const governance = { resources: { ...BUDGET, inFlight: 8, pressure: { memory: 100, cpu: 100 } } };
const CHAT = "for await (const _ of request) yield { count: '1' }";
const FROM = '2026-01-01T00:00:00Z';
/** Time for two connections to be verified by a slow guest, and a few seconds more. */
const LASTS_MS = 20_000;
/** A Note with the key "k". */
const NOTE = Buffer.from([0x0a, 1, 0x6b]);
/** A field that no Note has: it is refused once it has come. */
const LONG_NOTE = Buffer.concat([Buffer.of(0x7a, 0x80, 0x80, 0x80, 1), Buffer.alloc(2 << 20)]);

let folder: string;
let machine: RunningMachine;
let channel: AttestedChannel;
let accepted: References;
const lines: string[] = [];
const receipts: CheckedReceipt[] = [];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-governor-'));
  const [guest, ...others] = ENTRIES;
  assert(guest !== undefined);
  const image = await buildImage({ entries: [{ ...guest, source: 'test/vm/drain-guest.ts' }, ...others] });
  await writeImage(image, join(folder, 'image'));
  const source = join(folder, 'source');
  await mkdir(join(source, 'handlers'), { recursive: true });
  await cp(join(projectRoot, 'test/hostile/proto'), join(source, 'proto'), { recursive: true });
  await writeFile(join(source, 'policy.json'), JSON.stringify(labPolicy({ governance })));
  const bodies = {
    Sum: 'return { key: request.key }',
    Put: 'for (;;);',
    Read: 'await new Promise(() => {})',
    Chat: CHAT,
  };
  await writeFile(
    join(source, 'handlers/index.js'),
    `const exports = {}; ${bundleOf(bodies)}; export const { handlers } = exports;`,
  );
  const app = await buildBundle(await findApp(source));
  await writeFile(join(folder, 'app.enclaim'), app.bytes);
  const { artefacts, references } = image.manifest;
  machine = await startMachine({
    app: join(folder, 'app.enclaim'),
    boot: { kind: 'uki', uki: join(folder, 'image', artefacts.uki.file) },
    commandLine: references.tpm.commandLine,
    policy: app.policy,
    stateFolder: join(folder, 'state'),
  });
  void (async () => {
    for await (const line of machine.console) lines.push(line);
  })();
  const { root, issuer } = machine.tpmAuthority ?? assert.fail('no TPM');
  const certificates = await Promise.all(
    [root, issuer].map(async (pem) => new X509Certificate(await readFile(pem)).raw),
  );
  accepted = {
    enclaim: 'references/1',
    images: [references.tpm],
    policy: app.policy,
    bundles: [app.digest],
    owner: 'any',
    anchors: {
      attestationKeys: [],
      endorsementRoots: [],
      unsafeSwtpmRoots: [digestText('sha256', sha256(certificates[0] ?? new Uint8Array()))],
      certificates: certificates.map(toBase64),
    },
  };
  channel = await connect(`127.0.0.1:${machine.port}`, { references: accepted, onReceipt: (it) => receipts.push(it) });
});
after(async () => {
  channel?.close();
  await machine?.stop();
  await rm(folder, { recursive: true });
});

function clientOf(channelOverride: AttestedChannel): Client {
  return new Client('', credentials.createInsecure(), { channelOverride });
}

/** Calls a method and answers with its status and what it says. */
function call(
  method: LabMethod,
  client: Client = clientOf(channel),
  message: Buffer = NOTE,
): Promise<{ code: number; details: string }> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(`/lab.v1.Lab/${method}`, Buffer.from, Buffer.from, message, (error: ServiceError | null) =>
      resolve(error === null ? { code: 0, details: '' } : { code: error.code, details: error.details }),
    );
  });
}

/** All records of the log, as text. */
async function logText(): Promise<string> {
  return JSON.stringify(await recordsOnDisk(join(folder, 'state/state.img')));
}

test('a boot that confines its workers says so, and is accepted without an exception', () => {
  const check = channel.attestation.verdict.checks.find(({ id }) => id === 'confinement');
  assert.deepEqual([check?.outcome, check?.detail], ['passed', 'handlers are confined by all layers']);
});

test('a metered worker works under seccomp, and a call that burns is ended by its cgroup’s count', async () => {
  assert.equal((await call('Sum')).code, 0);
  const { code, details } = await call('Put');
  assert.deepEqual([code, details], [8, 'the call used more than the 20000 ms of processor it declares']);
  assert.equal((await call('Sum')).code, 0);
});

interface Seconds {
  /** By seconds since the verdict's end: how a call ends that begins then, and how much of the stream comes. */
  readonly seconds: Map<number, { code: number; echoed: number }>;
  readonly cut: { readonly after: number; readonly code: number; readonly details: string };
}

/** A stream with a message each second, and calls beside it, until the stream is cut. */
async function watched(client: Client, end: number): Promise<Seconds> {
  const seconds: Seconds['seconds'] = new Map();
  const stream = client.makeBidiStreamRequest('/lab.v1.Lab/Chat', Buffer.from, Buffer.from);
  let cut: Seconds['cut'] | undefined;
  stream.on('error', ({ code, details }: ServiceError) => {
    cut = { after: Date.now() - end, code, details };
  });
  let echoed = 0;
  stream.on('data', () => echoed++);
  while (cut === undefined) {
    const second = Math.floor((Date.now() - end) / 1000);
    const before = echoed;
    stream.write(NOTE);
    const [{ code }] = await Promise.all([call('Sum', client), sleep(1000)]);
    seconds.set(second, { code, echoed: echoed - before });
  }
  return { seconds, cut };
}

test('a verdict that ends while a stream runs: nothing begins after it, and the stream is cut ten seconds later', async (t) => {
  const end = Date.now() + LASTS_MS;
  const references = { ...accepted, validity: { notBefore: FROM, notAfter: new Date(end).toISOString() } };
  const target = `127.0.0.1:${machine.port}`;
  const direct = await connect(target, { references });
  const proxy = await startProxy(target, { references, listen: { host: '127.0.0.1', port: 0 } });
  try {
    const clients = { channel: clientOf(direct), proxy: new Client(proxy.address, credentials.createInsecure()) };
    for (const { name, seconds, cut } of await Promise.all(
      Object.entries(clients).map(async ([name, client]) => ({ name, ...(await watched(client, end)) })),
    )) {
      for (const [second, { code, echoed }] of seconds)
        t.diagnostic(`${name}, second ${second}: a call ends with status ${code}, ${echoed} messages of the stream`);
      t.diagnostic(`${name}, ${cut.after} ms after the end: the stream ends with ${cut.code}, ${cut.details}`);
      const codes = (when: (second: number) => boolean): number[] => [
        ...new Set([...seconds].filter(([second]) => when(second)).map(([, { code }]) => code)),
      ];
      assert.deepEqual([codes((second) => second < 0), codes((second) => second >= 0)], [[0], [14]]);
      assert.ok([...seconds].some(([second, { echoed }]) => second > 0 && echoed > 0));
      assert.deepEqual([cut.code, cut.details], [14, 'the verdict of its connection has ended']);
      assert.ok(cut.after >= 10_000 && (seconds.get(11)?.echoed ?? 0) === 0);
    }
  } finally {
    direct.close();
    await proxy.close();
  }
});

test('PID 1 told to end: calls are told so with a receipt, the log has the last word, the machine is off', async () => {
  // The end comes once the guest was sent enough, and some call was under way by then.
  const calls: ReturnType<typeof call>[] = [];
  for (let over = false; !over; ) {
    const next = call('Read');
    calls.push(next, call('Sum', undefined, LONG_NOTE));
    void next.then(({ code }) => {
      over ||= code === 14;
    });
    for (let waited = 0; !over && waited < 10_000; waited += 100) await sleep(100);
  }
  const { code, refusal } = await machine.ended;
  const told = (await Promise.all(calls)).filter(({ code }) => code === 14).map(({ details }) => details);
  assert(told.includes('the runtime is about to end'), `${told.join()}\n${lines.join('\n')}`);
  assert(receipts.some(({ body }) => body.status === 14));
  assert.deepEqual([code, refusal], [0, null]);
  assert.deepEqual(lines.slice(-2), ['enclaim: draining', 'enclaim: drained']);
  const records = (await logText()).match(/"reason":"[^"]*"/g) ?? [];
  assert.match(records[0] ?? '', /"boot(, temperature not observed)?"/);
  assert.equal(records.at(-1), '"reason":"end"');
});
