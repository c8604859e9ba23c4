/** A client certificate reaches the subprocessor that the policy names, in the handshake, and nobody else at its address. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { inspect } from 'node:util';
import type { Subprocessor } from '@enclaim/policy-schema/admission';
import { EgressBroker } from '../runtime/src/egress/broker.ts';
import { clientCertificateFault } from '../runtime/src/egress/client-certificate.ts';
import { VolatileVault } from '../runtime/src/egress/vault.ts';
import { RefusalError } from '../runtime/src/errors.ts';
import { EPOCH, FakeIdentity, pemOf } from './fakes/certificates.ts';
import { type FakeAnswer, type FakeSubprocessor, startSubprocessor } from './fakes/subprocessor.ts';
import { type FakeClient, fakeClient, SERVER_AUTH } from './support/client-certificate.ts';

const CALLS = { HTTP: { verb: 'POST', path: '/v1/send' }, gRPC: 't.Mail/Send' } as const;
const NAME = 'mailer-certificate';
const UNAVAILABLE = 14;
const never = new AbortController().signal;
const authority = new FakeIdentity('maker of clients', 'ecdsa-sha256');
const client = fakeClient(authority);

let server: FakeSubprocessor;
let answer: () => FakeAnswer | 'never' = () => ({});
before(async () => {
  server = await startSubprocessor({ answer: () => answer(), clients: { authority, demands: true } });
});
after(() => server.stop());

function brokerOf(vault: VolatileVault, more: object = {}): EgressBroker {
  const mailer = {
    ...{ description: '', address: `https://mail.example:${server.port}`, identity: { spki: [server.spki] } },
    ...{ region: 'r', receives: [], calls: [], assurance: 'none', credential: { certificate: NAME }, ...more },
  } as Subprocessor;
  const resolve = async () => ['127.0.0.1'];
  return new EgressBroker({ subprocessors: { mailer }, resolve, vault, now: Date.now, timeout: 10_000 });
}

async function vaultOf(of: FakeClient | undefined = client): Promise<VolatileVault> {
  const vault = new VolatileVault(Date.now);
  if (of !== undefined) await vault.put(NAME, Buffer.from(of.pem));
  return vault;
}

async function refusalOf(sent: Promise<unknown>): Promise<RefusalError> {
  return sent.then(
    () => assert.fail('it was sent'),
    (error: unknown) => (error instanceof RefusalError ? error : assert.fail(String(error))),
  );
}

for (const [by, call] of Object.entries(CALLS)) {
  const send = (broker: EgressBroker) => broker.send('mailer', call, Buffer.from('{}'), never);

  test(`by ${by}: a server that demands a certificate is shown the newest one, and answers`, async () => {
    answer = () => ({});
    const vault = await vaultOf();
    const broker = brokerOf(vault);
    assert.equal((await send(broker)).status, 'ok');
    assert.deepEqual(server.shown.at(-1), Buffer.from(client.certificate));
    const next = fakeClient(authority, { scheme: 'ed25519' });
    await vault.put(NAME, Buffer.from(next.pem));
    assert.equal((await send(broker)).status, 'ok');
    assert.deepEqual(server.shown.at(-1), Buffer.from(next.certificate));
  });

  test(`by ${by}: without a credential that server takes nothing`, async () => {
    const received = server.received.length;
    // In TLS 1.3 a client learns of it by what it reads next.
    const sent = send(brokerOf(await vaultOf(), { credential: undefined }));
    const how = await sent.then(
      ({ status }) => status,
      ({ code }: RefusalError) => code,
    );
    assert(how === 'peer' || how === UNAVAILABLE, String(how));
    assert.equal(server.received.length, received);
  });

  test(`by ${by}: a certificate that is not there, or not valid now, ends the call before a connection`, async () => {
    const connections = server.connections();
    const none = new VolatileVault(Date.now);
    const past = await vaultOf(fakeClient(authority, { notAfter: EPOCH + 1000 }));
    const future = await vaultOf(fakeClient(authority, { notBefore: Date.now() + 86_400_000 }));
    for (const [vault, why] of [
      [none, 'is not there'],
      [past, 'is not valid now'],
      [future, 'is not valid now'],
    ] as const) {
      const { code, message, pointer, final } = await refusalOf(send(brokerOf(vault)));
      assert.deepEqual(
        [code, message, pointer, final],
        ['secret', `the certificate ${NAME} ${why}`, '/subprocessors/mailer/credential', true],
      );
    }
    assert.equal(server.connections(), connections);
  });

  test(`by ${by}: another peer at the address is shown no certificate, and no error says the key`, async () => {
    const stranger = await startSubprocessor({ clients: { authority, demands: false } });
    const address = `https://mail.example:${stranger.port}`;
    const error = await refusalOf(send(brokerOf(await vaultOf(), { address })));
    await stranger.idle();
    assert.deepEqual([error.code, stranger.shown.length, stranger.received.length], ['peer', 0, 0]);
    const [, secret = assert.fail()] = client.key.split('\n');
    assert(!inspect(error, { depth: 10, showHidden: true, maxStringLength: null }).includes(secret));
    await stranger.stop();
  });

  test(`by ${by}: a withdrawal ends the connection that is open`, async () => {
    const vault = await vaultOf();
    const reached = Promise.withResolvers<void>();
    answer = () => {
      reached.resolve();
      return 'never';
    };
    const sent = refusalOf(send(brokerOf(vault)));
    await reached.promise;
    await vault.remove(NAME);
    const { code, message } = await sent;
    assert.deepEqual([code, message], ['secret', `the certificate ${NAME} is not there`]);
    await server.idle();
  });
}

test('a server that asks for no certificate is shown none', async () => {
  const quiet = await startSubprocessor();
  const more = { address: `https://mail.example:${quiet.port}`, identity: { spki: [quiet.spki] } };
  const sent = await brokerOf(await vaultOf(), more).send('mailer', CALLS.HTTP, Buffer.from('{}'), never);
  assert.deepEqual([sent.status, quiet.shown.length], ['ok', 0]);
  await quiet.stop();
});

test('what is no key with its chain is refused, and nothing of it is repeated', () => {
  const other = fakeClient(authority);
  const [, secret = assert.fail()] = client.key.split('\n');
  const chain = pemOf(client.certificate);
  const BAD: Readonly<Record<string, RegExp>> = {
    '': /private keys/,
    [chain]: /0 private keys/,
    [client.key]: /no certificate/,
    [client.key + client.pem]: /2 private keys/,
    [client.key + pemOf(other.certificate)]: /not that of the first certificate/,
    [client.key + pemOf(authority.root(), client.certificate)]: /not for clients|not that of the first/,
    [client.key + chain.repeat(9)]: /more than/,
    [client.pem + 'x'.repeat(16 * 1024)]: /more than/,
    [`${client.pem}${secret}`]: /not a PEM block/,
    [client.key.replaceAll('PRIVATE', 'ENCRYPTED PRIVATE') + chain]: /not a PEM block/,
    [client.key.replace(secret, secret.toLowerCase()) + chain]: /cannot be used|private key/,
    [client.key + chain.replace(/\n[^\n]{30}/, '\n')]: /./,
    [client.key + pemOf(new Uint8Array(64))]: /./,
    [fakeClient(authority, { usages: [SERVER_AUTH] }).pem]: /not for clients/,
  };
  for (const [value, why] of Object.entries(BAD)) {
    const fault = clientCertificateFault(Buffer.from(value)) ?? assert.fail(value);
    assert.match(fault, why);
    assert(!fault.includes(secret));
  }
  assert.equal(clientCertificateFault(Buffer.from(client.pem)), undefined);
  assert.equal(clientCertificateFault(Buffer.from(client.pem.trimEnd())), undefined);
  assert.equal(clientCertificateFault(Buffer.from(pemOf(client.certificate) + client.key)), undefined);
});
