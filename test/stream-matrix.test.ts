/**
 * The stream matrix: four kinds of call × what the handler takes of the request × how the client sends. Every cell ends with
 * its status and its messages: by grpc-js over the attested channel and through the proxy, by Python's grpcio directly and
 * through the proxy. By clients of other languages it is test/peers/stream-matrix.peer.ts.
 */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AttestedChannel, type CheckedReceipt, connect } from '@enclaim/client';
import { type ClientDuplexStream, credentials, makeClientConstructor, type StatusObject, status } from '@grpc/grpc-js';
import { needs, PYTHON } from './support/machine-needs.ts';
import { shownCertificate } from './support/shown-certificate.ts';
import {
  alike,
  CELLS,
  type EndedCell,
  expected,
  holdProgram,
  nameOf,
  type StreamCell,
  type StreamServer,
  startStreams,
  takenBy,
} from './support/stream-cells.ts';

let streams: StreamServer;
let channel: AttestedChannel;
const overChannel: CheckedReceipt[] = [];
before(async () => {
  streams = await startStreams();
  const { target, references } = streams.server;
  channel = await connect(target, { references, onReceipt: (receipt) => overChannel.push(receipt) });
});
after(async () => {
  channel.close();
  await streams[Symbol.asyncDispose]();
});

/** A field of text, as all messages here are. */
const encoded = (text: string): Buffer => Buffer.concat([Buffer.of(0x0a, text.length), Buffer.from(text)]);
const decoded = (bytes: Buffer): string => bytes.toString('utf8', 2);

const StreamsClient = makeClientConstructor(
  Object.fromEntries(
    CELLS.map(({ method }) => [
      method,
      {
        path: `/streams.v1.Streams/${method}`,
        // To a client every kind is one of streams: how many messages there are is the server's and the method's affair.
        ...{ requestStream: true, responseStream: true },
        ...{ requestSerialize: encoded, requestDeserialize: decoded },
        ...{ responseSerialize: encoded, responseDeserialize: decoded },
      },
    ]),
  ),
  'streams.v1.Streams',
);
type StreamsClient = InstanceType<typeof StreamsClient>;

/** One cell by grpc-js. */
async function callByJs(client: StreamsClient, cell: StreamCell): Promise<EndedCell> {
  const { method, sent, pauseMs, deadlineMs } = cell;
  const call = client[method]?.({ deadline: Date.now() + deadlineMs }) as ClientDuplexStream<string, string>;
  const messages: string[] = [];
  call.on('data', (message: string) => messages.push(message)).on('error', () => {});
  const ended = new Promise<StatusObject>((resolve) => call.on('status', resolve));
  for (const text of sent) {
    if (pauseMs > 0) await sleep(pauseMs);
    call.write(text);
  }
  if (pauseMs > 0) await sleep(pauseMs);
  call.end();
  const { code, details } = await ended;
  return { code, ...(code !== status.OK && { text: details }), messages };
}

describe('by grpc-js', () => {
  for (const way of ['over the channel', 'through the proxy']) {
    test(way, async () => {
      const receipts = way === 'over the channel' ? overChannel : streams.receipts;
      using client = clientOver(way);
      for (const cell of CELLS) {
        receipts.length = 0;
        const end = expected(cell);
        assert.deepEqual(alike(await callByJs(client.it, cell)), end, nameOf(cell));
        const [{ body, messages } = assert.fail('no receipt'), ...more] = receipts;
        assert.deepEqual(
          [body.method, body.status, body.decision.result, more.length],
          [`streams.v1.Streams/${cell.method}`, end.code, cell.method.endsWith('Throws') ? 'error' : 'allow', 0],
        );
        const taken = takenBy(cell);
        assert.equal(body.version !== 1 && body.taken, taken, nameOf(cell));
        // Of a call that ends early it is time how many were sent by then.
        if (taken === cell.sent.length) assert.equal(messages, 'both');
      }
    });
  }
});

function clientOver(way: string): Disposable & { readonly it: StreamsClient } {
  const insecure = credentials.createInsecure();
  const it =
    way === 'over the channel'
      ? new StreamsClient(streams.server.target, insecure, { channelOverride: channel })
      : new StreamsClient(streams.proxy.address, insecure);
  return { it, [Symbol.dispose]: () => void (way === 'over the channel' || it.close()) };
}

describe("by Python's grpcio", needs("python's gRPC"), () => {
  const command = [PYTHON, join(import.meta.dirname, 'peers/grpcio/stream_matrix.py')];

  test('directly', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'enclaim-streams-'));
    try {
      const port = streams.server.runtime.port;
      const certificate = join(folder, 'server.pem');
      await writeFile(certificate, await shownCertificate(port));
      // By name: it is what the certificate is held against.
      await holdProgram(command, `localhost:${port}`, certificate);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('through the proxy', async () => {
    streams.receipts.length = 0;
    await holdProgram(command, streams.proxy.address);
    assert.equal(streams.receipts.length, CELLS.length, 'each with its receipt');
  });
});
