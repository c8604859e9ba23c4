/** The broker against the network and against peers that are who they should be, and behave as they should not. */

import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { Subprocessor } from '@enclaim/policy-schema/admission';
import { EgressBroker } from '../runtime/src/egress/broker.ts';
import { askServers, isReachable, type Resolve } from '../runtime/src/egress/resolver.ts';
import { RefusalError } from '../runtime/src/errors.ts';
import { startNameServer } from './fakes/name-server.ts';
import { type FakeAnswer, type FakeSubprocessor, startSubprocessor } from './fakes/subprocessor.ts';
import { eventually } from './support/eventually.ts';

const HTTP = { verb: 'POST', path: '/v1/send' } as const;
const GRPC = 't.Mail/Send';
const never = new AbortController().signal;

let server: FakeSubprocessor;
let answer: () => FakeAnswer | 'never' = () => ({});
before(async () => {
  server = await startSubprocessor({ answer: () => answer() });
});
after(() => server.stop());

function broker(
  resolve: Resolve = async () => ['127.0.0.1'],
  { port = server.port, timeout = 5000 } = {},
): EgressBroker {
  const mailer: Subprocessor = {
    description: '',
    address: `https://mail.example:${port}`,
    identity: { spki: [server.spki] },
    region: 'r',
    receives: [],
    calls: [],
    assurance: 'none',
  };
  return new EgressBroker({ subprocessors: { mailer }, resolve, now: Date.now, timeout });
}

/** The code and cause of the refusal that a sending ends in. */
async function refusal(sent: Promise<unknown>): Promise<string> {
  return sent.then(
    () => assert.fail('it was sent'),
    (error: unknown) => {
      assert(error instanceof RefusalError, String(error));
      return `${error.code}: ${(error.cause as Error | undefined)?.message ?? error.message}`;
    },
  );
}

describe('answers', () => {
  test('a redirect is an answer like any other that is not ok, and is not followed', async () => {
    const location = `https://mail.example:${server.port}/elsewhere`;
    for (const status of [301, 302, 307, 308]) {
      const before = server.received.length;
      answer = () => ({ status, headers: { location } });
      const { status: said } = await broker().send('mailer', HTTP, Buffer.from('{}'), never);
      assert.deepEqual([said, server.received.length], [status, before + 1]);
    }
  });

  test('more than a mebibyte is refused, by either protocol, whether or not it is announced', async () => {
    answer = () => ({ body: Buffer.alloc(1024 * 1024 + 1) });
    assert.match(await refusal(broker().send('mailer', HTTP, Buffer.from('{}'), never)), /^peer: more than/);
    assert.equal((await broker().send('mailer', GRPC, Buffer.alloc(0), never)).status, 8);
  });

  test('who never answers is given up', async () => {
    answer = () => 'never';
    for (const call of [HTTP, GRPC] as const) {
      assert.match(
        await refusal(broker(undefined, { timeout: 300 }).send('mailer', call, Buffer.from('{}'), never)),
        /^peer/,
      );
    }
  });

  test('a call that is given up ends what it had under way', async () => {
    answer = () => 'never';
    for (const call of [HTTP, GRPC] as const) {
      const given = new AbortController();
      const sent = broker().send('mailer', call, Buffer.from('{}'), given.signal);
      setTimeout(() => given.abort(), 100);
      assert.match(await refusal(sent), /^peer/);
    }
  });

  test('a status of gRPC comes back as one', async () => {
    answer = () => ({ status: 5 });
    assert.equal((await broker().send('mailer', GRPC, Buffer.alloc(0), never)).status, 5);
  });
});

describe('connections', () => {
  test('one for each message: nothing of a call is seen in the next', async () => {
    answer = () => ({});
    const [first, before] = [broker(), server.connections()];
    for (const call of [HTTP, GRPC, HTTP, GRPC] as const) await first.send('mailer', call, Buffer.from('{}'), never);
    assert.equal(server.connections() - before, 4);
  });

  test('none is left open', async () => {
    answer = () => ({});
    const before = process.getActiveResourcesInfo().filter((name) => name.startsWith('T')).length;
    for (let i = 0; i < 10; i++) await broker().send('mailer', GRPC, Buffer.alloc(0), never);
    const left = (): number => process.getActiveResourcesInfo().filter((name) => name.startsWith('T')).length - before;
    await eventually('the end of all but the timer of this look', () => left() <= 1);
  });

  test('bytes that are no TLS, and silence, are refused', async () => {
    for (const said of ['HTTP/1.1 200 OK\r\n\r\n', '']) {
      const talker = createServer((socket) => {
        socket.on('error', () => {});
        if (said !== '') socket.end(said);
      });
      await new Promise<void>((resolve) => talker.listen(0, '127.0.0.1', resolve));
      const { port } = talker.address() as AddressInfo;
      for (const call of [HTTP, GRPC] as const) {
        const timed = broker(undefined, { port, timeout: 500 });
        assert.match(await refusal(timed.send('mailer', call, Buffer.from('{}'), never)), /^peer/);
      }
      talker.close();
    }
  });

  test('the next address is tried where nobody is at the first', async () => {
    answer = () => ({});
    for (const call of [HTTP, GRPC] as const) {
      const two = broker(async () => ['127.0.0.2', '127.0.0.1']);
      assert.equal((await two.send('mailer', call, Buffer.from('{}'), never)).status, 'ok');
    }
  });

  test('messages over a mebibyte, and to others than the policy names, do not leave', async () => {
    const before = server.connections();
    assert.match(await refusal(broker().send('mailer', HTTP, Buffer.alloc(1024 * 1024 + 1), never)), /^budget/);
    for (const name of ['other', 'constructor', '__proto__', 'mailer ', 'MAILER', 'mail.example'])
      assert.match(await refusal(broker().send(name, HTTP, Buffer.from('{}'), never)), /^grant/);
    assert.equal(server.connections(), before);
  });

  test('no more than 128 at once', async () => {
    answer = () => 'never';
    const one = broker(undefined, { timeout: 1500 });
    const all = Array.from({ length: 140 }, () => refusal(one.send('mailer', HTTP, Buffer.from('{}'), never)));
    const refused = (await Promise.all(all)).filter((said) => said.startsWith('budget'));
    assert.equal(refused.length, 12);
  });
});

describe('names', () => {
  const ADDRESSES: Readonly<Record<string, boolean>> = {
    '93.184.216.34': true,
    '10.1.2.3': true,
    '192.168.0.9': true,
    '2001:db8::1': true,
    'fd00::1': true,
    '127.0.0.1': false,
    '127.9.9.9': false,
    '0.0.0.0': false,
    '169.254.169.254': false,
    '224.0.0.1': false,
    '255.255.255.255': false,
    '::1': false,
    '::': false,
    '::ffff:127.0.0.1': false,
    '::ffff:169.254.169.254': false,
    '::7f00:1': false,
    '64:ff9b::7f00:1': false,
    '64:ff9b:1::7f00:1': false,
    '64:ff9b:1:ffff::a9fe:a9fe': false,
    '64:ff9b:2::1': true,
    '::ffff:0:127.0.0.1': false,
    '2001:0:7f00:1::': false,
    '2001:1::1': true,
    '2002:7f00:1::1': false,
    'fd00:ec2::254': false,
    'fd00:ec2::253': false,
    'fd20:ce::254': false,
    '168.63.129.16': false,
    '::ffff:168.63.129.16': false,
    '168.63.129.17': true,
    '100.100.100.200': false,
    '192.0.0.192': false,
    'fe80::1': false,
    'fe80::1%eth0': false,
    'ff02::1': false,
    localhost: false,
    '2130706433': false,
    '0x7f.1': false,
    '': false,
  };
  for (const [address, expected] of Object.entries(ADDRESSES)) {
    test(`${address || 'nothing'} is ${expected ? 'tried' : 'not tried'}`, () =>
      assert.equal(isReachable(address), expected));
  }

  async function asked(addresses: readonly string[]): Promise<string | readonly string[]> {
    const server = await startNameServer(() => addresses);
    try {
      return await askServers([server.address])('mail.example').catch((error) => error.code);
    } finally {
      server.stop();
    }
  }

  test('answers are taken from the given server, at most four, without those that lead back here', async () => {
    assert.deepEqual(await asked(['127.0.0.1', '10.0.0.1', '169.254.169.254']), ['10.0.0.1']);
    assert.equal((await asked(['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5'])).length, 4);
    assert.equal(await asked(['127.0.0.1']), 'peer');
    assert.equal(await asked([]), 'peer');
  });

  test('without a name server nobody is found', async () => {
    assert.match(await refusal(askServers([])('mail.example')), /^peer/);
  });
});
