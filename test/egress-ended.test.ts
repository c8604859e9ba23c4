/** Connections to subprocessors end with the call that began them, however early it was given up and whoever is silent. */

import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Subprocessor } from '@enclaim/policy-schema/admission';
import { EgressBroker } from '../runtime/src/egress/broker.ts';
import type { identify as identifyPeer } from '../runtime/src/egress/peer.ts';
import { weakened } from './hostile/weakened.ts';
import { eventually, HANGS_MS } from './support/eventually.ts';

const PEER = 'runtime/src/egress/peer.ts';

const HTTP = { verb: 'POST', path: '/v1/send' } as const;
const GRPC = 't.Mail/Send';
const RESOLVE_MS = 20;
/** Before there is an address, and while the other end leaves TLS unanswered. */
const ABORTS = [RESOLVE_MS / 2, RESOLVE_MS * 5];
const MAX_CALLS = 128;

let silent: Server;
const sockets = new Set<Socket>();
/** Takes connections and never says a byte: only the near end ends them. */
before(async () => {
  silent = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.resume();
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
});
after(() => {
  for (const socket of sockets) socket.destroy();
  silent.close();
});

function brokerOf(resolve = () => sleep(RESOLVE_MS, ['127.0.0.1'])): EgressBroker {
  const mailer: Subprocessor = {
    description: '',
    address: `https://mail.example:${(silent.address() as AddressInfo).port}`,
    identity: { spki: [`sha256/${'A'.repeat(43)}=`] },
    region: 'r',
    receives: [],
    calls: [],
    assurance: 'none',
  };
  return new EgressBroker({ subprocessors: { mailer }, resolve, now: Date.now, timeout: 2 * HANGS_MS });
}

/** What the refusal of a message says that is given up after some milliseconds. */
async function givenUp(broker: EgressBroker, call: typeof HTTP | typeof GRPC, abortAt: number): Promise<string> {
  const sent = broker.send('mailer', call, Buffer.from('{}'), AbortSignal.timeout(abortAt));
  return sent.then(
    () => 'it was sent',
    (error: Error) => error.message,
  );
}

for (const call of [HTTP, GRPC] as const) {
  for (const abortAt of ABORTS) {
    const how = typeof call === 'string' ? 'gRPC' : 'HTTP';
    test(`given up after ${abortAt} ms, a call by ${how} leaves no connection`, async () => {
      const broker = brokerOf();
      await Promise.all(Array.from({ length: 10 }, () => givenUp(broker, call, abortAt)));
      await sleep(1000);
      await eventually('the end of every connection', () => sockets.size === 0);
    });
  }
}

test('who is given up counts until nothing is left of it', async () => {
  const address = Promise.withResolvers<string[]>();
  const broker = brokerOf(() => address.promise);
  const said = await Promise.all(Array.from({ length: MAX_CALLS }, () => givenUp(broker, GRPC, 10)));
  assert.ok(said.every((message) => message === 'mailer did not answer'));
  assert.match(await givenUp(broker, GRPC, 10), /128 calls of others/);
  address.resolve(['127.0.0.1']);
  await eventually('an end of theirs', async () => (await givenUp(broker, GRPC, 10)) === 'mailer did not answer');
});

test('TLS has a time limit of its own', async () => {
  const short = weakened(PEER, { constants: { TLS_MS: 200 } });
  const { identify }: { identify: typeof identifyPeer } = await import(short);
  const socket = connect((silent.address() as AddressInfo).port, '127.0.0.1');
  const peer = {
    name: 'mailer',
    host: 'mail.example',
    port: 443,
    identity: { ca: 'system' as const },
    references: undefined,
    credential: undefined,
  };
  await assert.rejects(identify(socket, peer, 'h2', Date.now()), { message: 'no TLS with mailer' });
  socket.destroy();
});
