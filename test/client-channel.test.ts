/** The attested channel as a transport: what a generated client expects of it, and what belongs to which connection. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { type AttestedChannel, type CheckedReceipt, type ConnectOptions, connect } from '@enclaim/client';
import { credentials, Metadata, makeClientConstructor, type ServiceError, status } from '@grpc/grpc-js';
import { HANGS_MS } from './support/eventually.ts';
import { ECHO, type PretendServer, startPretendServer } from './support/pretend-server.ts';

let server: PretendServer;
before(async () => {
  server = await startPretendServer();
});
after(() => server.stop());

const same = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `${ECHO}${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

/** A client as grpc-js generates them. */
const EchoClient = makeClientConstructor(
  {
    Unary: method('Unary', false, false),
    NoReceipt: method('NoReceipt', false, false),
    OtherReceipt: method('OtherReceipt', false, false),
    Hold: method('Hold', false, false),
    ServerStream: method('ServerStream', false, true),
    ClientStream: method('ClientStream', true, false),
    Bidi: method('Bidi', true, true),
  },
  'test.v1.Echo',
);

/** An open channel, a client over it, and the receipts that were checked. */
async function open(options: Partial<ConnectOptions> = {}): Promise<{
  channel: AttestedChannel;
  client: InstanceType<typeof EchoClient>;
  receipts: CheckedReceipt[];
  [Symbol.dispose]: () => void;
}> {
  const receipts: CheckedReceipt[] = [];
  const channel = await connect(server.target, {
    references: server.references,
    onReceipt: (receipt) => receipts.push(receipt),
    ...options,
  });
  const client = new EchoClient(server.target, credentials.createInsecure(), { channelOverride: channel });
  return { channel, client, receipts, [Symbol.dispose]: () => channel.close() };
}

function unary(
  client: InstanceType<typeof EchoClient>,
  name: string,
  request: Buffer,
  options: object = {},
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client[name]?.(
      request,
      new Metadata(),
      { deadline: Date.now() + HANGS_MS, ...options },
      (error: ServiceError | null, response: Buffer) => (error === null ? resolve(response) : reject(error)),
    );
  });
}

/** What was under way to the old boot as it went is not sent to the new one: that is for the caller to say. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  for (const hangs = performance.now() + HANGS_MS; ; ) {
    try {
      return await call();
    } catch (error) {
      if ((error as ServiceError).code !== status.UNAVAILABLE || performance.now() > hangs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

describe('a generated client', () => {
  test('calls, streams both ways, and has every response receipted', async () => {
    using it = await open();
    assert.deepEqual(await unary(it.client, 'Unary', Buffer.from('hello')), Buffer.from('hello'));

    const pushed = it.client.ServerStream?.(Buffer.from([5, 1, 2]));
    assert.equal((await Array.fromAsync(pushed as AsyncIterable<Buffer>)).length, 5);

    const total = await new Promise<Buffer>((resolve, reject) => {
      const stream = it.client.ClientStream?.((error: ServiceError | null, response: Buffer) =>
        error === null ? resolve(response) : reject(error),
      );
      for (let index = 0; index < 50; index++) stream.write(Buffer.alloc(100));
      stream.end();
    });
    assert.equal(total.toString(), '5000');

    const both = it.client.Bidi?.();
    for (const word of ['one', 'two', 'three']) {
      both.write(Buffer.from(word));
      const [echoed] = (await once(both, 'data')) as [Buffer];
      assert.equal(echoed.toString(), word);
    }
    both.end();
    await once(both, 'end');
    assert.deepEqual(
      it.receipts.map(({ body }) => body.method),
      ['Unary', 'ServerStream', 'ClientStream', 'Bidi'].map((name) => `${ECHO}${name}`.slice(1)),
    );
  });

  test('sends and gets messages of 4 MiB', async () => {
    const largest = 4 * 1024 * 1024;
    using it = await open({ channelOptions: { 'grpc.max_receive_message_length': largest } });
    const message = Buffer.alloc(largest, 7);
    assert.ok((await unary(it.client, 'Unary', message)).equals(message));
    await assert.rejects(unary(it.client, 'Unary', Buffer.alloc(largest + 1)), { code: status.RESOURCE_EXHAUSTED });
  });

  test('gets no more of one call than its receipt can be held against', async () => {
    using it = await open();
    const message = Buffer.alloc(4 * 1024 * 1024 - 1024);
    message[0] = 17;
    const pushed = it.client.ServerStream?.(message);
    let received = 0;
    await assert.rejects(
      async () => {
        for await (const each of pushed as AsyncIterable<Buffer>) received += each.length;
      },
      { code: status.RESOURCE_EXHAUSTED },
    );
    assert.ok(received <= 64 * 1024 * 1024, `${received} bytes`);
    assert.equal(it.receipts.length, 0);
  });

  test('passes metadata both ways, text and binary', async () => {
    using it = await open();
    const metadata = new Metadata();
    metadata.set('echo', 'text');
    metadata.set('echo-bin', Buffer.from([0, 255]));
    const call = it.client.Unary?.(Buffer.from('x'), metadata, () => {});
    const [back] = (await once(call, 'metadata')) as [Metadata];
    const [ended] = (await once(call, 'status')) as [{ metadata: Metadata }];
    assert.deepEqual(back.get('echo'), ['text']);
    assert.deepEqual(back.get('echo-bin'), [Buffer.from([0, 255])]);
    assert.deepEqual(ended.metadata.get('echo-trailer'), ['text']);
  });

  test('sees deadlines and cancellation end its calls', async () => {
    using it = await open();
    await assert.rejects(unary(it.client, 'Hold', Buffer.from('x'), { deadline: Date.now() + 200 }), {
      code: status.DEADLINE_EXCEEDED,
    });
    const call = it.client.Hold?.(Buffer.from('x'), (error: ServiceError) => call.emit('refused', error));
    setTimeout(() => call.cancel(), 50);
    const [error] = (await once(call, 'refused')) as [ServiceError];
    assert.equal(error.code, status.CANCELLED);
  });

  test('gets DATA_LOSS for a response without a receipt, and for one with that of another', async () => {
    using it = await open();
    await assert.rejects(unary(it.client, 'NoReceipt', Buffer.from('x')), {
      code: status.DATA_LOSS,
      details: 'receipt refused: the response has no receipt',
    });
    await assert.rejects(unary(it.client, 'OtherReceipt', Buffer.from('x')), {
      code: status.DATA_LOSS,
      details: 'receipt refused: receipt commits to another response',
    });
    assert.deepEqual(it.receipts, []);
  });
});

describe('a reconnection', () => {
  test('is verified anew, and a call keeps the attestation of the connection that carried it', async () => {
    const attested: string[] = [];
    using it = await open({ onAttested: ({ statement }) => attested.push(statement.bootId) });
    const old = server.statement.bootId;
    const held = unary(it.client, 'Hold', Buffer.from('held'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    server.rotate();
    await patiently(() => unary(it.client, 'Unary', Buffer.from('after')));
    const current = server.statement.bootId;
    assert.notEqual(current, old);
    assert.equal(it.channel.attestation.statement.bootId, current);
    server.release();
    assert.equal((await held).toString(), 'held');
    assert.deepEqual(
      it.receipts.map(({ body, attestation }) => [body.method.split('/')[1], attestation.statement.bootId]),
      [
        ['Unary', current],
        ['Hold', old],
      ],
    );
    assert.deepEqual(attested, [old, current]);
  });

  test('to a boot that is not what the references say carries nothing, and the reason is in the status', async () => {
    const acceptable = { ...server.references };
    using it = await open({ references: acceptable });
    await unary(it.client, 'Unary', Buffer.from('before'));
    // The references are the same object: it is the key behind the server that turns bad.
    Object.assign(acceptable, { anchors: { ...acceptable.anchors, attestationKeys: [] } });
    server.rotate();
    await new Promise((resolve) => setTimeout(resolve, 200));
    await assert.rejects(unary(it.client, 'Unary', Buffer.from('after')), (error: ServiceError) => {
      assert.equal(error.code, status.UNAVAILABLE);
      assert.match(error.details, /EvidenceError/);
      return true;
    });
    assert.throws(() => it.channel.attestation, { name: 'ChannelError', code: 'closed' });
  });
});

describe('two channels', () => {
  test('to one server share neither connection nor verdict', async () => {
    const before = server.connections;
    using first = await open();
    using second = await open();
    assert.equal(server.connections - before, 2);
    assert.notDeepEqual(first.channel.attestation.evidence, second.channel.attestation.evidence);
    await assert.rejects(
      connect(server.target, { references: { ...server.references, bundles: [] } }),
      { name: 'VerdictError' },
      'an accepted channel must not lend its connection',
    );
  });
});

describe('the exchange', () => {
  test('has one deadline, however slowly the other end trickles', async () => {
    const slow = await startPretendServer({
      exchange: (socket) =>
        new Promise((_resolve, reject) => {
          const timer = setInterval(() => socket.write(Buffer.from([0])), 20);
          socket.on('close', () => {
            clearInterval(timer);
            reject(new Error('closed'));
          });
          // A frame of a mebibyte, one byte at a time.
          socket.write(Buffer.from([0, 0x10, 0, 0]));
        }),
    });
    try {
      await assert.rejects(connect(slow.target, { references: slow.references, handshakeTimeout: 300 }), {
        name: 'ChannelError',
        code: 'timeout',
      });
    } finally {
      slow.stop();
    }
  });

  test('with a server that says no ends with its reason', async () => {
    const { encodeFrame } = await import('@enclaim/attestation/handshake');
    const refusing = await startPretendServer({
      exchange: async (socket) => {
        socket.write(encodeFrame({ case: 'refused', value: { reason: 'too many wait' } }));
        await once(socket, 'close');
        throw new Error('closed');
      },
    });
    try {
      await assert.rejects(connect(refusing.target, { references: refusing.references }), {
        name: 'ChannelError',
        code: 'protocol',
        message: /the server refused: too many wait/,
      });
    } finally {
      refusing.stop();
    }
  });
});
