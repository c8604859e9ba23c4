/** A secret reaches the subprocessor that the policy names, in its header, and no handler, record, error or answer. */

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { inspect } from 'node:util';
import type { Subprocessor } from '@enclaim/policy-schema/admission';
import { EgressBroker } from '../runtime/src/egress/broker.ts';
import type { Resolve } from '../runtime/src/egress/resolver.ts';
import { type Vault, VolatileVault } from '../runtime/src/egress/vault.ts';
import { RefusalError } from '../runtime/src/errors.ts';
import {
  type FakeAnswer,
  type FakeSubprocessor,
  type ReceivedMessage,
  startSubprocessor,
} from './fakes/subprocessor.ts';
import { type Lab, type LabAnswer, type LabPolicy, openLab } from './support/lab.ts';
import { refusalInfo } from './support/refusal-info.ts';
import { ownerName } from './support/secrets-server.ts';

const HTTP = { verb: 'POST', path: '/v1/send' } as const;
const GRPC = 't.Mail/Send';
const CREDENTIAL = { header: 'authorization', scheme: 'Bearer', secret: 'mailer-token' };
const TOKEN = 'sk-"4f9b\\2c/7d8e1a';
const never = new AbortController().signal;

let server: FakeSubprocessor;
let answer: (message: ReceivedMessage) => FakeAnswer | 'never' = () => ({});
before(async () => {
  server = await startSubprocessor({ answer: (message) => answer(message) });
});
after(() => server.stop());

function mailer(more: object = {}): Subprocessor {
  return {
    description: '',
    address: `https://mail.example:${server.port}`,
    identity: { spki: [server.spki] },
    region: 'r',
    receives: [],
    calls: [],
    assurance: 'none',
    credential: CREDENTIAL,
    ...more,
  };
}

async function vaultOf(value: string | undefined = TOKEN): Promise<Vault> {
  const vault = new VolatileVault(Date.now);
  if (value !== '') await vault.put('mailer-token', Buffer.from(value));
  return vault;
}

function brokerOf(vault: Vault, more: object = {}, resolve: Resolve = async () => ['127.0.0.1']): EgressBroker {
  return new EgressBroker({ subprocessors: { mailer: mailer(more) }, resolve, vault, now: Date.now, timeout: 5000 });
}

async function refusalOf(sent: Promise<unknown>): Promise<RefusalError> {
  return sent.then(
    () => assert.fail('it was sent'),
    (error: unknown) => (error instanceof RefusalError ? error : assert.fail(String(error))),
  );
}

/** All that can be seen of an error, its causes included. */
const shown = (error: unknown): string => inspect(error, { depth: 10, showHidden: true, maxStringLength: null });

describe('broker', () => {
  for (const call of [HTTP, GRPC] as const) {
    const by = call === GRPC ? 'gRPC' : 'HTTP';
    const send = (broker: EgressBroker) => broker.send('mailer', call, Buffer.from('{}'), never);

    test(`by ${by}: the header carries scheme and secret, and the newest one`, async () => {
      answer = () => ({});
      const vault = await vaultOf();
      const broker = brokerOf(vault);
      await send(broker);
      assert.equal(server.received.at(-1)?.headers.authorization, `Bearer ${TOKEN}`);
      await vault.put('mailer-token', Buffer.from('sk-another'));
      await send(broker);
      assert.equal(server.received.at(-1)?.headers.authorization, 'Bearer sk-another');
      await send(brokerOf(vault, { credential: { header: 'x-api-key', secret: 'mailer-token' } }));
      const { headers } = server.received.at(-1) ?? assert.fail();
      assert.deepEqual([headers['x-api-key'], headers.authorization], ['sk-another', undefined]);
    });

    test(`by ${by}: without a credential there is no header, whatever is in the vault`, async () => {
      answer = () => ({});
      await send(brokerOf(await vaultOf(), { credential: undefined }));
      assert.equal(server.received.at(-1)?.headers.authorization, undefined);
    });

    test(`by ${by}: without its value nothing is connected to, and the refusal is final`, async () => {
      const [received, connections] = [server.received.length, server.connections()];
      const { code, message, pointer, final } = await refusalOf(send(brokerOf(await vaultOf(''))));
      assert.deepEqual(
        [code, message, pointer, final],
        ['secret', 'the secret mailer-token is not there', '/subprocessors/mailer/credential', true],
      );
      assert.deepEqual([server.received.length, server.connections()], [received, connections]);
    });

    test(`by ${by}: a value that goes while the peer is identified is shown to nobody`, async () => {
      const received = server.received.length;
      const vault = await vaultOf();
      const resolve: Resolve = async () => {
        await vault.remove('mailer-token');
        return ['127.0.0.1'];
      };
      const { code, final } = await refusalOf(send(brokerOf(vault, {}, resolve)));
      assert.deepEqual([code, final, server.received.length], ['secret', true, received]);
    });

    test(`by ${by}: another peer at the address is shown nothing, and no error says it`, async () => {
      const stranger = await startSubprocessor();
      const address = `https://mail.example:${stranger.port}`;
      const error = await refusalOf(send(brokerOf(await vaultOf(), { address })));
      assert.deepEqual([error.code, stranger.received.length], ['peer', 0]);
      assert(!shown(error).includes(TOKEN));
      await stranger.stop();
    });

    test(`by ${by}: no error of a peer that fails says the secret`, async () => {
      const failing: readonly (() => FakeAnswer | 'never')[] = [
        () => 'never',
        () => ({ body: Buffer.alloc(1024 * 1024 + 1, TOKEN) }),
        () => ({ headers: { 'content-encoding': TOKEN }, body: TOKEN }),
      ];
      for (const each of failing) {
        answer = each;
        const given = new AbortController();
        const sent = brokerOf(await vaultOf()).send('mailer', call, Buffer.from('{}'), given.signal);
        if (each === failing[0]) setTimeout(() => given.abort(), 100);
        const seen = await sent.catch((error: unknown) => error);
        if (seen instanceof Error) assert(!shown(seen).includes('4f9b'), shown(seen));
      }
    });
  }

  test('an answer that repeats the secret is marked, in each form that a handler would read it in', async () => {
    const broker = brokerOf(await vaultOf());
    const sent = async (body: string | Uint8Array, call: typeof HTTP | typeof GRPC): Promise<boolean> => {
      answer = () => ({ body: Buffer.from(body as string) });
      return (await broker.send('mailer', call, Buffer.from('{}'), never)).repeatsSecret;
    };
    const escaped = [...TOKEN].map((each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
    const base64 = (before: string) => Buffer.from(`${before}${TOKEN}!`).toString('base64');
    for (const call of [HTTP, GRPC] as const) {
      for (const body of [TOKEN, `x${TOKEN}y`, base64(''), base64('a'), base64('ab')])
        assert.equal(await sent(body, call), true, body);
      assert.equal(await sent(Buffer.from(`?${TOKEN}>`).toString('base64url'), call), true);
      for (const body of ['', TOKEN.slice(1), TOKEN.slice(0, -1), TOKEN.toUpperCase(), base64('').slice(4)])
        assert.equal(await sent(body, call), false, body);
    }
    for (const body of [JSON.stringify({ word: TOKEN }), `{"word":"${escaped}"}`, `{"a":1,"a":"${escaped}"}`])
      assert.equal(await sent(body, HTTP), true, body);
  });

  test('a long secret is known by its end: how it begins may be common to all that its issuer made', async () => {
    const long = `${'h'.repeat(200)}.${'0123456789abcdef'.repeat(8)}`;
    const broker = brokerOf(await vaultOf(long));
    for (const [body, isIt] of [
      [long, true],
      [Buffer.from(`${long},`).toString('base64'), true],
      [long.slice(0, 250), false],
    ] as const) {
      answer = () => ({ body });
      assert.equal((await broker.send('mailer', HTTP, Buffer.from('{}'), never)).repeatsSecret, isIt);
    }
  });

  test('what is no HTTP is not shown in an error, though it repeats the secret', async () => {
    // A peer that is who it should be, and speaks another protocol.
    answer = () => ({ headers: { 'x-said': TOKEN }, status: 500 });
    assert.equal((await brokerOf(await vaultOf()).send('mailer', HTTP, Buffer.from('{}'), never)).status, 500);
    const talker = createServer((socket) => void socket.on('error', () => {}).end(TOKEN));
    await new Promise<void>((resolve) => talker.listen(0, '127.0.0.1', resolve));
    const { port } = talker.address() as AddressInfo;
    const error = await refusalOf(
      brokerOf(await vaultOf(), { address: `https://mail.example:${port}` }).send(
        'mailer',
        HTTP,
        Buffer.from(''),
        never,
      ),
    );
    assert(!shown(error).includes('4f9b'));
    talker.close();
  });
});

/** Runs one call of `Tell` in a laboratory whose mailer is shown a secret. */
async function told(
  body: string,
  { value = TOKEN, policy = {}, stored = false }: { value?: string; policy?: LabPolicy; stored?: boolean } = {},
): Promise<LabAnswer & { readonly lab: Lab }> {
  const owner = ownerName(generateKeyPairSync('ed25519').privateKey);
  const lab = await openLab({
    handlers: { Put: 'await ctx.store.cases.put("p1", { email: "a@b.example" }); return {}', Tell: body },
    policy: { owner, subprocessors: { mailer: { ...ofLab(), ...(stored && { receives: ['personal'] }) } }, ...policy },
    vault: await vaultOf(value),
  });
  try {
    if (stored) await lab.call('Put', {});
    return { ...(await lab.call('Tell', {})), lab };
  } finally {
    lab.close();
  }
}

const ofLab = (): object => ({
  address: `https://mail.example:${server.port}`,
  identity: { spki: [server.spki] },
  region: 'r',
  receives: ['operational'],
  credential: CREDENTIAL,
});
const release = {
  ...{ id: 'notify', method: 'lab.v1.Lab/Tell', to: 'mailer', call: 'POST /v1/send' },
  ...{ owner: 'lab', justification: 'Asked for.', build: { template: 'x' } },
};

describe('calls', () => {
  test('messages of handlers and releases carry the secret', async () => {
    answer = () => ({});
    const before = server.received.length;
    const policy = { declassify: [release] };
    const body =
      'await ctx.call.mailer.Send({}); await ctx.call.mailer.Drop({}); await ctx.release.notify(); return {}';
    const { status, message, lab } = await told(body, { policy });
    assert.equal(status, 0, message);
    const sent = server.received.slice(before);
    assert.deepEqual(
      sent.map(({ path, headers }) => [path, headers.authorization]),
      ['/lab.v1.Mail/Send', '/v1/drop', '/v1/send'].map((path) => [path, `Bearer ${TOKEN}`]),
    );
    assert(!JSON.stringify(lab.records).includes('4f9b'));
  });

  test('a handler that looks everywhere finds none of it', async () => {
    answer = () => ({ status: 401, body: TOKEN });
    const body = `const seen = new Set(); const texts = [];
      const look = (value, depth) => {
        if (typeof value === 'string') texts.push(value);
        if (typeof value === 'function') texts.push(String(value));
        if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value) || depth > 6) return;
        seen.add(value);
        for (const key of Reflect.ownKeys(value)) {
          texts.push(String(key));
          try { look(value[key], depth + 1) } catch (error) { look(error, depth + 1) }
        }
        look(Object.getPrototypeOf(value), depth + 1);
      };
      for (const method of ['Send', 'Drop', 'Ask', 'Post'])
        try { look(await ctx.call.mailer[method]({}), 0) } catch (error) { look(error, 0); texts.push(error.stack) }
      look(ctx, 0); look(globalThis, 0); look(request, 0);
      return { word: texts.join(' ').includes('4f9b') ? 'found' : 'none of ' + (texts.length > 100) };`;
    const { messages, message } = await told(body, { policy: { returns: ['operational', 'personal'] } });
    assert.deepEqual([messages, message], [[{ word: 'none of true' }], '']);
  });

  for (const [method, said] of [
    ['Ask', () => Buffer.from([10, TOKEN.length, ...Buffer.from(TOKEN)])],
    ['Post', () => JSON.stringify({ id: TOKEN })],
  ] as const)
    test(`${method}: an answer that repeats the secret ends in leak, which says nothing of it`, async () => {
      answer = () => ({ body: said() });
      const body = `try { const { id } = await ctx.call.mailer.${method}({}); return { word: id } }
        catch (error) { return { word: error.code + ' ' + error.message } }`;
      const { messages, lab } = await told(body);
      assert.deepEqual(messages, [{ word: 'leak mailer repeats the secret that it was shown' }]);
      assert.equal(lab.records.at(-1)?.figures['send:mailer leak'], 1);
      assert(!JSON.stringify(lab.records).includes('4f9b'));
    });

  test('of an answer without fields a handler is not told what is in it', async () => {
    answer = () => ({ body: TOKEN });
    const body = 'await ctx.call.mailer.Drop({}); await ctx.call.mailer.Send({}); return { word: "both" }';
    assert.deepEqual((await told(body)).messages, [{ word: 'both' }]);
  });

  test('a release of a record, of which a handler learns nothing, does not tell that the value is not there', async () => {
    const ofRecord = { ...release, build: { word: '$record.cases.email' } };
    const body = 'await ctx.release.notify({ cases: "p1" }); return { word: "on its way" }';
    const { messages, lab } = await told(body, { value: '', policy: { declassify: [ofRecord] }, stored: true });
    assert.deepEqual(messages, [{ word: 'on its way' }]);
    assert.equal(lab.records.at(-1)?.figures['release:notify secret'], 1);
  });

  test('without its value the call ends UNAVAILABLE, whatever its handler catches, and a call that needs none is served', async () => {
    const before = server.connections();
    const body = 'try { await ctx.call.mailer.Send({}) } catch {} return { word: "went on" }';
    const { status, message, details, messages, lab } = await told(body, { value: '' });
    assert.deepEqual([status, message, messages], [14, 'the secret mailer-token is not there', []]);
    assert.equal(refusalInfo(details ?? assert.fail()).reason, 'SECRET');
    assert.equal(
      lab.records.find(({ decision }) => decision === 'error')?.reason,
      'secret /subprocessors/mailer/credential',
    );
    assert.equal(server.connections(), before);
    assert.deepEqual((await told('return { word: "served" }', { value: '' })).messages, [{ word: 'served' }]);
  });
});
