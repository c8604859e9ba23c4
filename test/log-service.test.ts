/** Anyone reads hashes of the log, named readers alone its entries, and nobody what is not durable yet. */

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { after, test } from 'node:test';
import { create, type DescMethod, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { fromUtf8 } from '@enclaim/attestation/bytes';
import {
  GetCheckpointRequestSchema,
  GetCheckpointResponseSchema,
  GetEntriesResponseSchema,
  GetTileResponseSchema,
  Log,
  LogProofSchema,
  READER_METADATA,
  WatchResponseSchema,
} from '@enclaim/attestation/log-service';
import { leafHash } from '@enclaim/attestation/merkle';
import { noteKey, parseCheckpoint, tileBytes, verifyNote } from '@enclaim/attestation/tlog';
import { type AttestedChannel, connect } from '@enclaim/client';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { eventually } from './support/eventually.ts';
import {
  type LogServer,
  type LogServerOptions,
  readerName,
  readerProof,
  startLogServer,
} from './support/log-server.ts';
import { refusalInfo } from './support/refusal-info.ts';
import { prefixed } from './support/requests.ts';

const reader = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');
const open = new AsyncDisposableStack();
after(() => open.disposeAsync());

async function served(options: LogServerOptions = {}): Promise<{ server: LogServer; channel: AttestedChannel }> {
  const server = open.adopt(
    await startLogServer({ entries: 700, readers: [readerName(reader.publicKey)], ...options }),
    (each) => each.stop(),
  );
  const channel = open.use(await connect(server.target, { references: server.references }));
  return { server, channel };
}

function proofOf(channel: AttestedChannel, pair = reader): Metadata {
  return metadataOf(readerProof(pair.privateKey, pair.publicKey, channel.attestation));
}

function metadataOf(fields: Record<string, Buffer>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
  return metadata;
}

/** The answer of a unary method. */
function ask<Method extends DescMethod>(
  channel: AttestedChannel,
  method: Method,
  request: MessageInitShape<Method['input']>,
  metadata = new Metadata(),
): Promise<Buffer> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const bytes = Buffer.from(toBinary(method.input, create(method.input, request)));
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const same = (each: Buffer): Buffer => each;
  const path = `/${method.parent.typeName}/${method.name}`;
  client.makeUnaryRequest(path, same, same, bytes, metadata, (error, answer) =>
    error ? reject(error) : resolve(answer ?? Buffer.alloc(0)),
  );
  return promise;
}

/** Whether a call was refused for this reason. */
function refused(code: status, reason: string) {
  return (error: ServiceError): boolean => {
    const [details] = error.metadata.get('grpc-status-details-bin');
    assert.equal(refusalInfo(details as Buffer).reason, reason, error.details);
    return error.code === code;
  };
}

const { getCheckpoint, getEntries, getProof, getTile, watch } = Log.method;

test('a checkpoint is a note under the log key of the statement', async () => {
  const { server, channel } = await served();
  const answer = fromBinary(GetCheckpointResponseSchema, await ask(channel, getCheckpoint, {}));
  const { origin } = server.statement.log;
  const key = noteKey(origin, 'ed25519', Buffer.from(server.logKey.slice('ed25519:'.length), 'base64url'));
  const { text } = await verifyNote(answer.checkpoint, [key]);
  assert.deepEqual(parseCheckpoint(text), { origin, size: 700, root: server.log.root(700), extensions: [] });
});

test('before there is a checkpoint, every method says so', async () => {
  const { channel } = await served({ source: () => undefined });
  const none = refused(status.UNAVAILABLE, 'LOG_NO_CHECKPOINT');
  await assert.rejects(ask(channel, getCheckpoint, {}), none);
  await assert.rejects(ask(channel, getTile, { level: 0, index: 0n, width: 1 }), none);
  await assert.rejects(ask(channel, getEntries, { first: 0n, count: 1 }, proofOf(channel)), none);
  await assert.rejects(ask(channel, getProof, { index: 0n }), none);
  await assert.rejects(ask(channel, watch, { size: 0n }), none);
});

test('tiles are those of the durable tree, and not a hash beyond', async () => {
  const { server, channel } = await served();
  const tile = async (level: number, index: number, width: number): Promise<Uint8Array> =>
    fromBinary(GetTileResponseSchema, await ask(channel, getTile, { level, index: BigInt(index), width })).hashes;
  const leaves = server.log.data.map(leafHash);
  for (const each of [
    { level: 0, index: 0, width: 256 },
    { level: 0, index: 2, width: 188 },
    { level: 1, index: 0, width: 2 },
  ])
    assert.deepEqual(Buffer.from(await tile(each.level, each.index, each.width)), Buffer.from(tileBytes(leaves, each)));
  server.log.grow(100);
  server.log.undurable = 100;
  const { reads } = server.log;
  for (const [level, index, width] of [
    [0, 2, 189],
    [0, 3, 1],
    [1, 0, 3],
    [7, 0, 1],
    [63, 0, 1],
    [0, 2 ** 53, 256],
  ] as const)
    await assert.rejects(tile(level, index, width), refused(status.OUT_OF_RANGE, 'LOG_BEYOND'));
  for (const [level, index, width] of [
    [0, 0, 0],
    [0, 0, 257],
    [64, 0, 1],
  ] as const)
    await assert.rejects(tile(level, index, width), refused(status.INVALID_ARGUMENT, 'LOG_REQUEST'));
  assert.equal(server.log.reads, reads, 'the disk was not asked');
});

test('a reader that the policy names is given entries, and nobody else is', async () => {
  const { server, channel } = await served();
  const range = { first: 690n, count: 256 };
  const { entries } = fromBinary(GetEntriesResponseSchema, await ask(channel, getEntries, range, proofOf(channel)));
  assert.deepEqual(
    entries.map((each) => fromUtf8(each)),
    Array.from({ length: 10 }, (_, i) => `entry ${690 + i}`),
  );
  server.log.grow(1);
  server.log.undurable = 1;
  const { reads } = server.log;
  await assert.rejects(
    ask(channel, getEntries, { first: 700n, count: 1 }, proofOf(channel)),
    refused(status.OUT_OF_RANGE, 'LOG_BEYOND'),
  );
  const notReader = refused(status.UNAUTHENTICATED, 'LOG_READER');
  await assert.rejects(ask(channel, getEntries, range), notReader);
  await assert.rejects(ask(channel, getEntries, range, proofOf(channel, stranger)), notReader);
  for (const length of [0, 95, 97]) {
    const metadata = metadataOf({ [READER_METADATA]: Buffer.alloc(length) });
    await assert.rejects(ask(channel, getEntries, range, metadata), notReader);
  }
  // A signature of another connection of the same boot, and of another boot.
  const beside = open.use(await connect(server.target, { references: server.references }));
  await assert.rejects(ask(channel, getEntries, range, proofOf(beside)), notReader);
  const boot = { ...channel.attestation, bootDigest: new Uint8Array(32) };
  const elsewhere = metadataOf(readerProof(reader.privateKey, reader.publicKey, boot));
  await assert.rejects(ask(channel, getEntries, range, elsewhere), notReader);
  assert.equal(server.log.reads, reads, 'the disk was not asked');
  for (const count of [0, 257])
    await assert.rejects(
      ask(channel, getEntries, { first: 0n, count }, proofOf(channel)),
      refused(status.INVALID_ARGUMENT, 'LOG_REQUEST'),
    );
});

test('without readers in the policy nobody reads entries', async () => {
  const { channel } = await served({ readers: [] });
  await assert.rejects(
    ask(channel, getEntries, { first: 0n, count: 1 }, proofOf(channel)),
    refused(status.UNAUTHENTICATED, 'LOG_READER'),
  );
});

test('on plain h2 hashes are read, entries are not', async () => {
  const { server } = await served();
  const session = connectHttp2(`https://${server.target}`, { rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  open.defer(() => session.destroy());
  await once(session, 'connect');
  const asked = async (path: string, message: Uint8Array): Promise<Record<string, unknown>> => {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const found: Record<string, unknown> = {};
    stream
      .on('response', (fields) => Object.assign(found, fields))
      .on('trailers', (fields) => Object.assign(found, fields));
    stream.end(prefixed(message));
    stream.resume();
    await once(stream, 'close');
    return found;
  };
  const hashes = await asked(
    '/enclaim.v1.Log/GetCheckpoint',
    toBinary(GetCheckpointRequestSchema, create(GetCheckpointRequestSchema)),
  );
  assert.equal(hashes['grpc-status'], '0');
  const entries = await asked(
    '/enclaim.v1.Log/GetEntries',
    toBinary(getEntries.input, create(getEntries.input, { first: 0n, count: 1 })),
  );
  assert.equal(entries['grpc-status'], String(status.FAILED_PRECONDITION));
});

test('an answer with entries ends before it is long, and begins with one', async () => {
  const { server, channel } = await served({ entries: 0 });
  server.log.data.push(...Array.from({ length: 10 }, () => new Uint8Array(65_535)));
  server.log.sign();
  const { entries } = fromBinary(
    GetEntriesResponseSchema,
    await ask(channel, getEntries, { first: 0n, count: 10 }, proofOf(channel)),
  );
  assert.equal(entries.length, 4);
});

test('entries that only a mirror holds are named so', async () => {
  const { server, channel } = await served();
  server.log.minimum = 256;
  await assert.rejects(
    ask(channel, getEntries, { first: 255n, count: 2 }, proofOf(channel)),
    refused(status.NOT_FOUND, 'LOG_FORGOTTEN'),
  );
  assert.equal(fromBinary(GetCheckpointResponseSchema, await ask(channel, getCheckpoint, {})).minimum, 256n);
});

test('a proof is waited for, and one of a record that is not there is refused', async () => {
  const { channel } = await served();
  const proof = fromBinary(LogProofSchema, await ask(channel, getProof, { index: 699n }));
  assert.equal(proof.index, 699n);
  await assert.rejects(ask(channel, getProof, { index: 700n }), refused(status.OUT_OF_RANGE, 'LOG_BEYOND'));
});

test('a watch is sent the newest checkpoint, and those that come', async () => {
  const { server, channel } = await served();
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const same = (each: Buffer): Buffer => each;
  const request = Buffer.from(toBinary(watch.input, create(watch.input, { size: 0n })));
  const stream = client.makeServerStreamRequest('/enclaim.v1.Log/Watch', same, same, request);
  stream.on('error', () => {});
  const sizes: number[] = [];
  stream.on('data', (bytes: Buffer) => {
    const [, size] = fromBinary(WatchResponseSchema, bytes).checkpoint.split('\n');
    sizes.push(Number(size));
  });
  await eventually('checkpoint 1', () => sizes.length === 1);
  server.log.grow(1);
  server.log.sign();
  await eventually('checkpoint 2', () => sizes.length === 2);
  assert.deepEqual(sizes, [700, 701]);
  stream.cancel();
});
