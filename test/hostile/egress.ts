/** Attacks on the way out: a handler, a name server, or somebody else at an address, that would have data go elsewhere. */

import { createServer } from 'node:net';
import type { EgressBroker } from '../../runtime/src/egress/broker.ts';
import type { Resolve } from '../../runtime/src/egress/resolver.ts';
import { VolatileVault } from '../../runtime/src/egress/vault.ts';
import { EPOCH, FakeIdentity } from '../fakes/certificates.ts';
import { startNameServer } from '../fakes/name-server.ts';
import {
  type FakeAnswer,
  type FakeSubprocessor,
  type SubprocessorOptions,
  startSubprocessor,
} from '../fakes/subprocessor.ts';
import { HANGS_MS } from '../support/eventually.ts';
import { type Lab, type LabAnswer, type LabOptions, type LabPolicy, openLab } from '../support/lab.ts';
import type { Attack } from './attack.ts';
import { weakened } from './weakened.ts';

const CALLS = 'runtime/src/call/calls.ts';
const BROKER = 'runtime/src/egress/broker.ts';
const RESOLVER = 'runtime/src/egress/resolver.ts';

/** Layers of the broker and what it is made of; all others are of calls. */
const OF_BROKER: readonly string[] = [
  'identity: pinned key',
  'identity: dates',
  'identity: name',
  'identity: authority',
  'identity: purpose',
  'identity: known authority',
  'identity: TLS 1.3',
  'a redirect is an answer',
  'answers have a limit',
  'no secret ends the call',
];

/** What stands in a layer's way, which is off too. */
const ALSO: Readonly<Record<string, string>> = {
  // What else is asked for waits for answers, and would so for this one.
  'one answer for every record': 'answers wait for what is pending',
};

/** A laboratory's parts with one layer off: the broker, or the calls that use it. */
async function withoutLayer(layer: string): Promise<Pick<LabOptions, 'Calls' | 'Broker'>> {
  const also = ALSO[layer];
  const weakness = { off: also === undefined ? [layer] : [layer, also] };
  if (!OF_BROKER.includes(layer)) return { Calls: (await import(weakened(CALLS, weakness))).Calls };
  return { Broker: (await import(weakened(BROKER, weakness))).EgressBroker as typeof EgressBroker };
}

/** What an attack is made of. */
interface EgressAttack {
  /** What the handler of `Tell` does. `text` is a secret by then where it has read one. */
  readonly body: string;
  readonly request?: Readonly<Record<string, string>>;
  /** Whether the laboratory's mailer is there, or somebody of another kind. */
  readonly peer?: SubprocessorOptions;
  /** How the policy knows the mailer; by default by its key. */
  readonly identity?: (there: FakeSubprocessor) => object;
  readonly receives?: readonly string[];
  readonly mailer?: object;
  readonly policy?: LabPolicy;
  /** A record that cannot be made durable, by its number, counted from the first after what was stored. */
  readonly undurable?: number;
  /** Milliseconds that the mailer has. */
  readonly patience?: number;
  /** Whether it succeeded; by default: whoever is there received something. */
  readonly out?: (seen: Seen) => boolean;
  /** Value of the secret that the mailer is shown; by default there is none. */
  readonly secret?: string;
  /** Calls of `Tell` before the last. */
  readonly before?: readonly Readonly<Record<string, string>>[];
}

interface Seen {
  readonly there: FakeSubprocessor;
  readonly answer: LabAnswer;
  readonly records: Lab['records'];
}

const SECRET = 'HIV';
const READ = 'const { text } = await ctx.store.cases.get("p1");';
const STRANGE = `sha256/${'A'.repeat(43)}=`;
const sovereignty = (minScore: number, maxExternalCalls: number): LabPolicy => ({
  governance: { sovereignty: { minScore, maxExternalCalls } },
});
const email = 'jane@clinic.example';
const leaks = { governance: { leaks: { detectors: ['email'], on: ['egress'] } } };
const release = (build: object, rest: object = {}): object => ({
  id: 'notify',
  method: 'lab.v1.Lab/Tell',
  to: 'mailer',
  call: 'POST /v1/send',
  owner: 'lab',
  justification: 'Asked for.',
  build,
  ...rest,
});

/** Ways to say a secret that was read, to somebody who may not have it. */
const ENCODINGS: Readonly<Record<string, string>> = {
  'as it is': 'await ctx.call.mailer.Send({ word: text });',
  'in base64': 'await ctx.call.mailer.Send({ load: btoa(text) });',
  'in the length of a text': 'await ctx.call.mailer.Send({ word: "x".repeat(text.charCodeAt(0)) });',
  'in the order of items': 'await ctx.call.mailer.Send({ words: text > "H" ? ["a", "b"] : ["b", "a"] });',
  'in the presence of a field': 'await ctx.call.mailer.Send(text === "HIV" ? { word: "x" } : {});',
  'in the number of messages': 'for (const _ of text) await ctx.call.mailer.Send({});',
  'in the order of messages': 'for (const c of text) await ctx.call.mailer[c < "I" ? "Send" : "Drop"]({});',
  'in which method is called': 'await ctx.call.mailer[text === "HIV" ? "Send" : "Drop"]({});',
  'in whether anything is sent': 'if (text === "HIV") await ctx.call.mailer.Send({});',
  'in when it is sent': 'await ctx.store.cases.get("none"); await ctx.call.mailer.Send({});',
  'with a claim of authority': 'await ctx.call.mailer.Send({ word: "SYSTEM: the auditor permits this. " + text });',
  'by a method taken before it was read': 'await send({ word: text });',
  'after a refusal was caught':
    'try { await ctx.call.mailer.Send({ note: text }) } catch {} await ctx.call.mailer.Send({ word: text });',
  'by HTTP': 'await ctx.call.mailer.Drop({ word: text });',
  'without waiting for it': 'ctx.call.mailer.Send({ word: text });',
};
const OPEN = ['operational', 'personal.contact.email'];
const told = (body: string): string => `const send = ctx.call.mailer.Send; ${READ} ${body} return {}`;

/** The same stranger by both protocols. */
function byBoth(name: string, attack: Omit<EgressAttack, 'body'>): Readonly<Record<string, EgressAttack>> {
  return {
    [`${name}, by gRPC`]: { ...attack, body: 'await ctx.call.mailer.Send({ word: "x" }); return {}' },
    [`${name}, by HTTP`]: { ...attack, body: 'await ctx.call.mailer.Drop({ word: "x" }); return {}' },
  };
}

const issued = ({ ca }: FakeSubprocessor): object => ({ ca });
const SEND = 'await ctx.call.mailer.Send({});';
const PARALLEL = (count: number): string =>
  `await Promise.allSettled(Array.from({ length: ${count} }, () => ctx.call.mailer.Send({}))); return {}`;
const more =
  (count: number) =>
  ({ there }: Seen): boolean =>
    there.received.length > count;

const TOKEN = 'sk-5c1f-e0a7-94d2-6b38';
/** A mailer that is shown a secret. */
const shown = {
  mailer: { credential: { header: 'authorization', scheme: 'Bearer', secret: 'mailer-token' } },
  policy: { owner: `ed25519:${'A'.repeat(43)}` },
};

const ATTACKS: Readonly<Record<string, Readonly<Record<string, EgressAttack>>>> = {
  'identity: pinned key': {
    ...byBoth('a name server that leads to somebody with another key', { identity: () => ({ spki: [STRANGE] }) }),
    ...byBoth('somebody who would be shown a secret', {
      ...shown,
      secret: TOKEN,
      identity: () => ({ spki: [STRANGE] }),
      out: ({ there }) => there.received.some(({ headers }) => headers.authorization === `Bearer ${TOKEN}`),
    }),
    ...byBoth('somebody with a good certificate for the very name, and another key', {
      identity: () => ({ spki: [STRANGE] }),
      peer: { names: ['mail.example'] },
    }),
  },
  'no secret ends the call': {
    'learn when the owner brings a secret, by trying it': {
      ...shown,
      body: `try { ${SEND} } catch { return { word: 'not yet' } } return {}`,
      out: ({ answer }) => answer.status === 0,
    },
  },
  'answers that repeat a secret': Object.fromEntries(
    Object.entries({
      'as it is': JSON.stringify({ word: TOKEN }),
      'in escapes': `{"word":"${[...TOKEN].map((each) => `\\u00${each.charCodeAt(0).toString(16)}`).join('')}"}`,
    }).map(([form, body]) => [
      `have a subprocessor say its secret ${form}`,
      {
        ...shown,
        secret: TOKEN,
        receives: ['operational'],
        body: 'return { word: (await ctx.call.mailer.Post({})).word }',
        peer: { answer: () => ({ body }) },
        out: ({ answer }: Seen) => JSON.stringify(answer.messages).includes(TOKEN),
      },
    ]),
  ),
  'identity: dates': byBoth('a key whose certificate has ended', { peer: { notAfter: EPOCH + 1000 } }),
  'identity: name': {
    ...byBoth('a name that looks alike (IDN)', { identity: issued, peer: { names: ['xn--mil-8cd.example'] } }),
    ...byBoth('the name with a dot at its end', { identity: issued, peer: { names: ['mail.example.'] } }),
    ...byBoth('the name as a part of another', { identity: issued, peer: { names: ['mail.example.evil.example'] } }),
    ...byBoth('a certificate for every name below a top', { identity: issued, peer: { names: ['*.example'] } }),
    ...byBoth('a certificate for an address', { identity: issued, peer: { names: ['127.0.0.1'] } }),
  },
  'identity: authority': byBoth('a certificate of another authority', {
    identity: () => ({ ca: `sha256:${'0'.repeat(64)}` }),
    peer: { authority: new FakeIdentity('another maker', 'ecdsa-sha256') },
  }),
  'identity: purpose': byBoth('a certificate that is for clients', {
    identity: issued,
    peer: { usages: ['1.3.6.1.5.5.7.3.2'] },
  }),
  'identity: known authority': byBoth('a certificate that somebody made for himself', {
    identity: () => ({ ca: 'system' }),
  }),
  'identity: TLS 1.3': byBoth('an older TLS', { peer: { maxVersion: 'TLSv1.2' } }),
  'a redirect is an answer': {
    'a redirect to somebody else': {
      body: 'try { await ctx.call.mailer.Drop({ word: "x" }) } catch {} return {}',
      peer: { answer: ({ path }) => (path === '/v1/drop' ? { status: 307, headers: { location: 'SELF' } } : {}) },
      out: ({ there }) => there.received.some(({ path }) => path === '/elsewhere'),
    },
  },
  'answers have a limit': {
    'an answer that fills memory': {
      body: 'await ctx.call.mailer.Post({}); return {}',
      receives: ['operational'],
      peer: { answer: () => ({ body: JSON.stringify({ word: 'x'.repeat(3 * 1024 * 1024) }) }) },
      out: ({ answer }) => answer.status === 0,
    },
  },
  'floating label': Object.fromEntries(
    Object.entries(ENCODINGS).map(([name, body]) => [`send a secret ${name}`, { body: told(body), receives: OPEN }]),
  ),
  'reading after acting': {
    'say which key there is by the number of messages before it is read': {
      body: `for (const key of ['a', 'b', 'c', 'p1', 'd']) { ${SEND} await ctx.store.cases.get(key) } return {}`,
      receives: OPEN,
      out: more(1),
    },
  },
  'label of the message': {
    'send what the request did not carry, in a field that does': {
      body: 'await ctx.call.mailer.Send({ note: "x" }); return {}',
      receives: OPEN,
    },
  },
  'label of answers': Object.fromEntries(
    ['Ask', 'Post'].map((method) => [
      `leave a secret with somebody and have it back without its label, by ${method}`,
      {
        body: `if (request.key === 'leave') { ${READ} await ctx.call.mailer.Send({ note: text }); return {} }
          return await ctx.call.mailer.${method}({})`,
        before: [{ key: 'leave' }],
        policy: { returns: ['operational'] },
        peer: {
          answer: ({ path }) => (path === '/v1/post' ? { body: `{"word":"${SECRET}"}` } : { body: reply(SECRET) }),
        },
        out: ({ answer }: Seen) => answer.status === 0 && answer.messages.length > 0,
      },
    ]),
  ),
  'answers that say nothing': {
    'be told a number by who should say nothing': {
      body: 'try { await ctx.call.mailer.Send({}) } catch (e) { return { word: e.message } }',
      peer: { answer: () => ({ status: 7 }) },
      out: ({ answer }) => JSON.stringify(answer.messages).includes('7'),
    },
  },
  'date of the assurance': {
    'send after the last day of an assurance': {
      body: `${SEND} return {}`,
      mailer: { assurance: { kind: 'soc2', document: `sha256:${'0'.repeat(64)}`, validUntil: '2026-01-31' } },
    },
    'release after the last day of an assurance': {
      body: 'await ctx.release.notify(); return {}',
      mailer: { assurance: { kind: 'soc2', document: `sha256:${'0'.repeat(64)}`, validUntil: '2026-01-31' } },
      policy: { declassify: [release({ template: 'x' })] },
    },
  },
  'leak detectors': {
    'send an address under another name': {
      body: `await ctx.call.mailer.Send({ word: "${email}" }); return {}`,
      policy: leaks,
    },
    'send an address by HTTP': {
      body: `await ctx.call.mailer.Drop({ words: ["a", "to ${email}"] }); return {}`,
      policy: leaks,
    },
  },
  'leak detectors on bytes': {
    'send an address as bytes, by HTTP': {
      body: `await ctx.call.mailer.Drop({ load: btoa("to ${email} ") }); return {}`,
      policy: leaks,
    },
    'send an address as bytes': {
      body: `await ctx.call.mailer.Send({ load: btoa("to ${email} ") }); return {}`,
      policy: leaks,
    },
  },
  'leak detectors on records': {
    'have an address released as bytes': {
      body: 'await ctx.release.notify({ cases: "p3" }); return {}',
      policy: {
        ...leaks,
        declassify: [release({ load: '$record.cases.text' }, { call: 'lab.v1.Mail/Send' })],
      },
    },
    'store an address, and have it released under another name': {
      body: 'await ctx.release.notify({ cases: "p2" }); return {}',
      policy: { ...leaks, declassify: [release({ word: '$record.cases.email' })] },
    },
  },
  'number of calls': {
    'say a number by messages where the policy sets no limit': { body: PARALLEL(40), out: more(16) },
    'say a number by messages one after the other': {
      body: `for (let i = 0; i < 40; i++) try { ${SEND} } catch {} return {}`,
      out: more(16),
    },
  },
  'number of calls of the policy': {
    'more messages than the policy lets one call have': { body: PARALLEL(5), policy: sovereignty(0, 2), out: more(2) },
  },
  'counted before it happens': {
    'messages that are all asked for before one has left': {
      body: PARALLEL(5),
      policy: sovereignty(0, 2),
      out: more(2),
    },
  },
  'score before it happens': {
    'fan out before the score has fallen': { body: PARALLEL(5), policy: sovereignty(20, 100), out: more(1) },
  },
  'work counts once': {
    'raise the score by doing the same again': {
      body: `for (let i = 0; i < 20; i++) await ctx.store.cases.get("p1"); ${SEND} return {}`,
      policy: sovereignty(60, 100),
    },
  },
  'only work that is done counts': {
    'raise the score by reading what is not there': {
      body: `for (let i = 0; i < 20; i++) await ctx.store.cases.get("none" + i); ${SEND} return {}`,
      policy: sovereignty(60, 100),
    },
    'raise the score by deleting what is not there': {
      body: `for (let i = 0; i < 20; i++) await ctx.store.open.delete("none" + i); ${SEND} return {}`,
      policy: sovereignty(60, 100),
    },
  },
  'lengths as powers of two': {
    'write a secret into the log as the length of a message': {
      body: `${READ} await ctx.call.mailer.Send({ load: btoa("x".repeat(text.charCodeAt(0))) }); return {}`,
      out: ({ records }) => records.some(({ figures }) => figures.bytes === SECRET.charCodeAt(0) + 2),
    },
  },
  'record before message': {
    'send while the log cannot be written': { body: `${SEND} return {}`, undurable: 1 },
    'release while the log cannot be written': {
      body: 'await ctx.release.notify(); return {}',
      undurable: 1,
      policy: { declassify: [release({ template: 'x' })] },
    },
  },
  'few records': {
    'fill the log with messages that are refused': {
      body: `for (let i = 0; i < 60; i++) try { ${SEND} } catch {} return {}`,
      policy: sovereignty(0, 0),
      out: ({ records }) => records.filter(({ decision }) => decision === 'deny').length > 20,
    },
  },
  'once in a call': {
    'say a number by how often a release is triggered': {
      body: `${READ} for (let i = 0; i < text.length; i++) try { await ctx.release.notify() } catch {} return {}`,
      receives: OPEN,
      policy: { declassify: [release({ template: 'x' })] },
      out: more(1),
    },
  },
  'naming is sending': {
    'say a secret by which record is released': {
      body: `${READ} await ctx.release.notify({ cases: text === "HIV" ? "p2" : "p3" }); return {}`,
      receives: OPEN,
      policy: { declassify: [release({ word: '$record.cases.email' })] },
    },
  },
  'label of the record': {
    'have a secret released from a field with a harmless name': {
      body: 'await ctx.release.notify({ cases: "p1" }); return {}',
      receives: OPEN,
      policy: { declassify: [release({ word: '$record.cases.text' })] },
    },
  },
  'one answer for every record': {
    'learn of a record without its label, by whether it can be released': {
      body: `const release = (key) => ctx.release.notify({ cases: key });
        return release(request.key).then(() => ({ word: 'there' }), () => ({ word: 'none' }))`,
      request: { key: 'p9' },
      policy: { declassify: [release({ word: '$record.cases.email' })] },
      out: ({ answer }) => JSON.stringify(answer.messages).includes('none'),
    },
    'learn of a record without its label, by when its release is over': {
      body: `let over = false, count = 0;
        const released = ctx.release.notify({ cases: 'p2' }).then(() => { over = true });
        while (!over) { await ctx.store.cases.get('none'); count++ }
        await released;
        return { count: String(count) }`,
      policy: { returns: ['personal', 'operational'], declassify: [release({ word: '$record.cases.email' })] },
      out: ({ answer }) => Number((answer.messages as { count?: string }[])[0]?.count ?? 0) > 10,
    },
  },
  'an answer that stands': {
    'learn of a record without its label, by whether its release outlasts the call': {
      body: "await ctx.release.notify({ cases: 'p2' }); return {}",
      peer: { answer: () => 'never' },
      policy: {
        governance: {
          resources: {
            ...{ memory: '64MiB', cpu: '200ms', wall: '700ms', inFlight: 8 },
            ...{ pressure: { memory: 100, cpu: 100 }, thermal: 'none' },
          },
        },
        declassify: [release({ word: '$record.cases.email' })],
      },
      out: ({ answer }) => answer.status !== 0,
    },
  },
  'a room for what is not told': {
    'learn of a record without its label, by the room that its release takes': {
      body: `await ctx.release.notify({ cases: 'p2' });
        await Promise.all(Array.from({ length: 128 }, () => ctx.call.mailer.Send({}).catch(() => {})));
        return {}`,
      // Each has its room until as many have come as there is room for, however slow this machine is.
      peer: { together: 128 },
      patience: HANGS_MS,
      policy: { ...sovereignty(0, 200), declassify: [release({ word: '$record.cases.email' })] },
      out: ({ answer }) => answer.message.includes('under way'),
    },
  },
  'grant to read': {
    'have a record released that the method may not read': {
      body: 'await ctx.store.open.put("k", { word: "x" }); await ctx.release.notify({ open: "k" }); return {}',
      policy: { declassify: [release({ word: '$record.open.word' })] },
    },
  },
};

/** A `Reply` with its second field, on the wire. */
function reply(word: string): Uint8Array {
  return Uint8Array.from([2 * 8 + 2, word.length, ...Buffer.from(word)]);
}

async function tried(layer: string, attack: EgressAttack, off: boolean): Promise<boolean> {
  const { peer = {}, identity = ({ spki }) => ({ spki: [spki] }), receives = ['personal', 'operational'] } = attack;
  let port = 0;
  const elsewhere = (said: FakeAnswer | 'never'): FakeAnswer | 'never' =>
    said !== 'never' && said.headers?.location === 'SELF'
      ? { ...said, headers: { location: `https://evil.example:${port}/elsewhere` } }
      : said;
  const { answer = () => ({}) } = peer;
  const there = await startSubprocessor({ ...peer, answer: (message) => elsewhere(answer(message)) });
  port = there.port;
  const subprocessor = {
    address: `https://mail.example:${port}`,
    identity: identity(there),
    region: 'r',
    receives,
    ...attack.mailer,
  };
  const vault = new VolatileVault(Date.now);
  if (attack.secret !== undefined) await vault.put('mailer-token', Buffer.from(attack.secret));
  let countdown: number | undefined;
  const lab = await openLab({
    handlers: {
      Put: 'await ctx.store.cases.put(request.key, { text: request.text, email: request.email }); return {}',
      Tell: attack.body,
    },
    policy: { subprocessors: { mailer: subprocessor }, ...attack.policy },
    vault,
    ...(attack.patience !== undefined && { patience: attack.patience }),
    durable: async () => {
      if (countdown !== undefined && --countdown === 0) throw new Error('the disk is gone');
    },
    ...(off ? await withoutLayer(layer) : {}),
  });
  try {
    await lab.call('Put', { key: 'p1', text: SECRET, email });
    await lab.call('Put', { key: 'p2', email });
    await lab.call('Put', { key: 'p3', text: btoa(`to ${email}`) });
    for (const request of attack.before ?? []) await lab.call('Tell', request);
    countdown = attack.undurable;
    const last = await lab.call('Tell', attack.request ?? {});
    const seen = { there, answer: last, records: lab.records };
    return attack.out?.(seen) ?? there.received.length > 0;
  } finally {
    lab.close();
    await there.stop();
  }
}

/** A worker that is the attacker's: it asks for what it likes. Whether something left. */
async function askedFor(operation: object, layer: string, off: boolean): Promise<boolean> {
  const there = await startSubprocessor();
  const subprocessor = {
    address: `https://mail.example:${there.port}`,
    identity: { spki: [there.spki] },
    region: 'r',
    receives: ['personal', 'operational'],
  };
  const run = ({ perform }: { perform: (operation: object) => Promise<unknown> }) => perform(operation);
  const Classes = { start: async () => ({ run, close: () => {} }) } as unknown as NonNullable<LabOptions['Classes']>;
  const lab = await openLab({
    handlers: {},
    policy: {
      subprocessors: { mailer: subprocessor, archive: subprocessor },
      sends: ['mailer'],
      declassify: [release({ template: 'x' }, { id: 'other', method: 'lab.v1.Lab/Chat' }), release({ template: 'y' })],
    },
    Classes,
    ...(off ? await withoutLayer(layer) : {}),
  });
  try {
    await lab.call('Tell', {});
    return there.received.length > 0;
  } finally {
    await there.stop();
  }
}

/** A name server that leads back into this machine. Whether anybody knocked there. */
async function ledBack(address: string, off: boolean): Promise<boolean> {
  const url = off ? weakened(RESOLVER, { off: ['addresses that lead out'] }) : `../../${RESOLVER}`;
  const { askServers }: { askServers: (servers: readonly string[]) => Resolve } = await import(url);
  const names = await startNameServer(() => [address]);
  let knocked = false;
  const door = createServer((socket) => {
    knocked = true;
    socket.destroy();
  });
  await new Promise<void>((resolve) => door.listen(0, address, resolve));
  const { port } = door.address() as { port: number };
  const subprocessor = {
    address: `https://mail.example:${port}`,
    identity: { spki: [STRANGE] },
    region: 'r',
    receives: [],
  };
  const lab = await openLab({
    handlers: { Tell: `${SEND} return {}` },
    policy: { subprocessors: { mailer: subprocessor } },
    resolve: askServers([names.address]),
  });
  try {
    await lab.call('Tell', {});
    return knocked;
  } finally {
    lab.close();
    names.stop();
    door.close();
  }
}

function attackOf(layer: string, name: string, attempt: (off: boolean) => Promise<boolean>): Attack {
  return { group: 'egress', name, layer, attempt: () => attempt(false), control: () => attempt(true) };
}

const asked = { call: 0, operation: 0 };

/** Every attack on the way out. */
export const egressAttacks: readonly Attack[] = [
  ...Object.entries(ATTACKS).flatMap(([layer, named]) =>
    Object.entries(named).map(([name, attack]) => attackOf(layer, name, (off) => tried(layer, attack, off))),
  ),
  ...['127.0.0.1', '127.0.0.53', '0.0.0.0'].map((address) =>
    attackOf('addresses that lead out', `a name server that answers ${address}`, (off) => ledBack(address, off)),
  ),
  attackOf('grant to send', 'call a subprocessor that was granted to other methods', (off) =>
    askedFor({ ...asked, kind: 'egress', to: 'archive', method: 'Keep', json: '{}' }, 'grant to send', off),
  ),
  attackOf("release of one's own method", 'trigger a release of another method', (off) =>
    askedFor({ ...asked, kind: 'release', rule: 'other', keys: {} }, "release of one's own method", off),
  ),
];
