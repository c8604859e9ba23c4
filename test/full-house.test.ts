/**
 * Callers who say nothing hold no place: beside a connection full of silent streams, calls of two
 * other connections are answered, all at once.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type AttestedChannel, connect } from '@enclaim/client';
import { type ClientWritableStream, credentials, makeClientConstructor, status } from '@grpc/grpc-js';
import { eventually } from './support/eventually.ts';
import { type StreamServer, startStreams } from './support/stream-cells.ts';

/** Silent streams of one connection: all that it may have but one. */
const SILENT = 63;
/** Calls at once, over two connections. */
const HONEST = 100;

const bytes = (value: Buffer): Buffer => value;
const method = (path: string, requestStream: boolean) => ({
  ...{ path: `/streams.v1.Streams/${path}`, requestStream, responseStream: false },
  ...{ requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes },
});
const Client = makeClientConstructor({ one: method('UnaryAll', false), many: method('ClientAll', true) }, 'Streams');
type Client = InstanceType<typeof Client>;
/** A field of text. */
const ITEM = Buffer.from([0x0a, 1, 0x78]);

let streams: StreamServer;
const channels: AttestedChannel[] = [];
const clients: Client[] = [];
before(async () => {
  streams = await startStreams();
  const { target, references } = streams.server;
  for (let i = 0; i < 3; i++) {
    const channel = await connect(target, { references });
    channels.push(channel);
    clients.push(new Client(target, credentials.createInsecure(), { channelOverride: channel }));
  }
});
after(async () => {
  for (const channel of channels) channel.close();
  await streams[Symbol.asyncDispose]();
});

/** A stream that sends one message and then nothing. */
function silent(client: Client, ended: () => void): ClientWritableStream<Buffer> {
  const call = client.many?.(() => ended()) as ClientWritableStream<Buffer>;
  call.write(ITEM);
  return call;
}

/** @returns the code that a call ended with */
function honest(client: Client): Promise<number> {
  return new Promise((resolve) => client.one?.(ITEM, (error: { code: number } | null) => resolve(error?.code ?? 0)));
}

test('63 silent streams of one connection refuse none of 100 calls at once on two others', async () => {
  const [holder, ...others] = clients as [Client, Client, Client];
  let over = 0;
  const held = Array.from({ length: SILENT }, () => silent(holder, () => over++));
  // The server has them all: a call that came after them on their connection is answered.
  assert.equal(await honest(holder), status.OK);
  const codes = await Promise.all(Array.from({ length: HONEST }, (_, i) => honest(others[i % 2] ?? holder)));
  assert.deepEqual([...new Set(codes)], [status.OK], codes.join());
  assert.equal(codes.length, HONEST);
  for (const call of held) call.cancel();
  await eventually('the silent ones to end', () => over === SILENT);
});
