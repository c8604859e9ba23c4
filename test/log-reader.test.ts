/** A server that lies about its log is named: wrong tiles, another root, a shorter or another log, endless answers. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { after, test } from 'node:test';
import { create, type DescMethod, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { fromUtf8, utf8 } from '@enclaim/attestation/bytes';
import { digestText, type Sha256 } from '@enclaim/attestation/digest';
import { Log } from '@enclaim/attestation/log-service';
import { leafHash, merkleRoot } from '@enclaim/attestation/merkle';
import { formatCheckpoint, formatNote, noteKey, signatureLine, tileBytes } from '@enclaim/attestation/tlog';
import { connect } from '@enclaim/client';
import { LogError, LogReader, type LogReaderOptions } from '@enclaim/client/log';
import type { GrpcCall } from '../runtime/src/channel/grpc-call.ts';
import type { ServedMethods } from '../runtime/src/channel/served-methods.ts';
import { HANGS_MS } from './support/eventually.ts';
import {
  type LogServer,
  type LogServerOptions,
  type MemoryLog,
  readerName,
  startLogServer,
} from './support/log-server.ts';

const pair = generateKeyPairSync('ed25519');
const reader = {
  key: readerName(pair.publicKey),
  sign: (message: Uint8Array): Uint8Array => sign(null, message, pair.privateKey),
};
const open = new AsyncDisposableStack();
after(() => open.disposeAsync());

/** A log of 700 entries, and a reader of it. */
async function served(
  options: LogServerOptions = {},
  known: LogReaderOptions = {},
): Promise<{ server: LogServer; log: LogReader }> {
  const server = open.adopt(await startLogServer({ entries: 700, readers: [reader.key], ...options }), (each) =>
    each.stop(),
  );
  const channel = open.use(await connect(server.target, { references: server.references }));
  return { server, log: new LogReader(channel, { reader, pause: 1, ...known }) };
}

type Lie = (log: MemoryLog, call: GrpcCall) => void | Promise<void>;

/** The methods of a server that answers one of them as `lie` does. */
function lying({ parent, name }: DescMethod, lie: Lie): NonNullable<LogServerOptions['methods']> {
  return (honest: ServedMethods, log: MemoryLog): ServedMethods =>
    new Map([
      ...honest,
      [
        `/${parent.typeName}/${name}`,
        { streamsRequest: false, serve: (call) => void Promise.try(() => lie(log, call)).catch(() => {}) },
      ],
    ]);
}

/** A server that gives one answer, whatever it is asked. */
function answering<Method extends DescMethod>(
  method: Method,
  answer: (log: MemoryLog) => MessageInitShape<Method['output']>,
): NonNullable<LogServerOptions['methods']> {
  return lying(method, (log, call) =>
    call.end({ status: 0, response: toBinary(method.output, create(method.output, answer(log))) }),
  );
}

function named(code: LogError['code']) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof LogError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}

async function allOf(log: LogReader, first: number, end: number): Promise<string[]> {
  return (await Array.fromAsync(log.entries(first, end))).map(({ data }) => fromUtf8(data));
}

const { getCheckpoint, getEntries, getTile, watch } = Log.method;

test('an honest log is read: checkpoint, tiles, entries, and what comes', async () => {
  const { server, log } = await served();
  const { size, began, note } = await log.checkpoint();
  assert.deepEqual([size, began, note], [700, 0, server.log.newest?.note]);
  const leaves = server.log.data.map(leafHash);
  assert.deepEqual(
    Buffer.from(await log.tile(0, 1)),
    Buffer.from(tileBytes(leaves, { level: 0, index: 1, width: 256 })),
  );
  assert.deepEqual(
    await allOf(log, 200, 600),
    Array.from({ length: 400 }, (_, i) => `entry ${200 + i}`),
  );
  const seen: number[] = [];
  server.log.grow(300);
  server.log.sign();
  for await (const checkpoint of log.watch()) {
    seen.push(checkpoint.size);
    if (seen.length === 2) break;
    server.log.grow(300);
    server.log.sign();
  }
  assert.deepEqual(seen, [1000, 1300]);
});

test('a key that the policy does not name reads no entries', async () => {
  const { log } = await served({ readers: [] });
  await assert.rejects(allOf(log, 0, 1), named('refused'));
  const { log: keyless } = await served({}, { reader: undefined } as never);
  await assert.rejects(allOf(keyless, 0, 1), named('refused'));
});

test('a tile with another hash is refused, and so is one of another length', async () => {
  const changed = lying(getTile, async (log, call) => {
    const { hashes } = { hashes: await log.tile({ level: 0, index: 0, width: 256 }) };
    hashes[0] = (hashes[0] ?? 0) ^ 1;
    call.end({ status: 0, response: toBinary(getTile.output, create(getTile.output, { hashes })) });
  });
  const { log } = await served({ methods: changed });
  await assert.rejects(log.tile(0, 0), named('tile'));
  const { log: short } = await served({ methods: answering(getTile, () => ({ hashes: new Uint8Array(31) })) });
  await assert.rejects(short.tile(0, 0), named('tile'));
});

test('a checkpoint with another root than its tiles have is refused', async () => {
  const { server, log } = await served();
  const note = server.log.note(textOf(server.log, 700, merkleRoot([])));
  server.log.newest = { size: 700, note, coseSignature: () => new Uint8Array(64) };
  await assert.rejects(log.tile(0, 0), named('tile'));
});

/** A checkpoint's text. */
function textOf(log: MemoryLog, size: number, root: Uint8Array = log.root(size)): string {
  return formatCheckpoint({ origin: log.origin, size, root, extensions: [] });
}

test('a checkpoint under another key, or of another origin, is refused', async () => {
  const other = generateKeyPairSync('ed25519');
  const raw = other.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const forged = (log: MemoryLog): string => {
    const text = textOf(log, 700);
    const line = signatureLine(noteKey(log.origin, 'ed25519', raw), sign(null, utf8(text), other.privateKey));
    return formatNote(text, [line]);
  };
  const { log } = await served({ methods: answering(getCheckpoint, (its) => ({ checkpoint: forged(its) })) });
  await assert.rejects(log.checkpoint(), named('checkpoint'));
  const elsewhere = (its: MemoryLog): string => its.note(textOf(its, 700).replace(its.origin, 'pretend/other'));
  const { log: origin } = await served({
    methods: answering(getCheckpoint, (its) => ({ checkpoint: elsewhere(its) })),
  });
  await assert.rejects(origin.checkpoint(), named('checkpoint'));
});

test('a log that is shorter than it was, or another one, is refused', async () => {
  const { server, log } = await served();
  await log.checkpoint();
  server.log.sign(699);
  await assert.rejects(log.checkpoint(), named('shrunk'));
  server.log.data[300] = utf8('rewritten');
  server.log.grow(50);
  server.log.sign();
  await assert.rejects(log.checkpoint(), named('fork'));
  const seen = { size: 10, root: merkleRoot([]) };
  const { log: later } = await served({}, { seen });
  await assert.rejects(later.checkpoint(), named('fork'));
});

test('a log that does not continue the one that its boot began with is refused', async () => {
  const statement = (size: number): { log: object } => ({
    log: {
      origin: 'pretend/began',
      size,
      root: digestText('sha256', merkleRoot([new Uint8Array(32)]) as Sha256),
      minimum: 0,
      left: 2 ** 20,
    },
  });
  const { log: fork } = await served({ pretend: { statement: statement(1) as never } });
  await assert.rejects(fork.checkpoint(), named('fork'));
  const { log: shrunk } = await served({ pretend: { statement: statement(701) as never } });
  await assert.rejects(shrunk.checkpoint(), named('shrunk'));
});

test('a log whose first records only a mirror holds is read from there on', async () => {
  const { server, log } = await served();
  server.log.minimum = 512;
  const { minimum } = await log.checkpoint();
  assert.equal(minimum, 512);
  assert.deepEqual(
    await allOf(log, 690, 700),
    Array.from({ length: 10 }, (_, i) => `entry ${690 + i}`),
  );
  await assert.rejects(log.tile(0, 0), named('refused'));
  await assert.rejects(allOf(log, 500, 600), named('refused'));
});

test('a boot whose disk was put back is named when its log is read on', async () => {
  const { server, log } = await served();
  server.log.grow(1);
  server.log.sign();
  await log.checkpoint();
  server.rotate(); // another boot, which finds 700 entries
  const deadline = performance.now() + HANGS_MS;
  let named: unknown;
  while (named === undefined && performance.now() < deadline)
    named = await log.checkpoint().then(
      () => undefined,
      (error: unknown) => (error instanceof LogError && error.code === 'refused' ? undefined : error),
    );
  assert.ok(named instanceof LogError, String(named));
  assert.equal(named.code, 'shrunk', named.message);
});

test('entries that are not those of the tree are refused, and as many as were not asked for', async () => {
  for (const [entries, code] of [
    [[utf8('entry 1')], 'tile'],
    [[], 'answer'],
    [[utf8('entry 0'), utf8('entry 1'), utf8('entry 2')], 'answer'],
  ] as const) {
    const { log } = await served({ methods: answering(getEntries, () => ({ entries: [...entries] })) });
    await assert.rejects(allOf(log, 0, 2), named(code));
  }
});

test('an answer of 10 MB, and one that is no message, are refused', async () => {
  const long = answering(getCheckpoint, () => ({ checkpoint: 'x'.repeat(10 * 1024 * 1024) }));
  const { log } = await served({ methods: long });
  await assert.rejects(log.checkpoint(), named('answer'));
  const nothing = lying(getCheckpoint, (_log, call) => call.end({ status: 0, response: Uint8Array.of(0xff) }));
  const { log: odd } = await served({ methods: nothing });
  await assert.rejects(odd.checkpoint(), named('answer'));
});

test('a watch that repeats itself without an end, and one that ends at once, end in an error', async () => {
  let sent = 0;
  const endless = lying(watch, async (log, call) => {
    const bytes = toBinary(watch.output, create(watch.output, { checkpoint: log.newest?.note ?? '' }));
    for (; ; sent++) await call.send(bytes);
  });
  const { log } = await served({ methods: endless });
  await log.checkpoint();
  await assert.rejects(Array.fromAsync(log.watch()), named('silent'));
  assert.ok(sent > 0);
  const { log: ended } = await served({ methods: lying(watch, (_log, call) => call.end({ status: 14 })) });
  await assert.rejects(Array.fromAsync(ended.watch()), named('silent'));
});
