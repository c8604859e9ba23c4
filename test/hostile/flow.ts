/** Attacks on the flow rules: a handler that has read what it may not say, and tries every way to say it all the same. */

import assert from 'node:assert/strict';
import type { JsonValue } from '@bufbuild/protobuf';
import { parseReceipt } from '@enclaim/attestation/receipt';
import { type Lab, type LabAnswer, type LabMethod, openLab } from '../support/lab.ts';
import type { Attack } from './attack.ts';
import { type Weakness, weakened } from './weakened.ts';

const CALLS = 'runtime/src/call/calls.ts';
const MESSAGES = 'runtime/src/message/transcoder/messages.ts';

/** What must not come out: `HIV` is a secret of health, in `cases` under `p1`. */
const SECRET = 'HIV';
const STORED = { key: 'p1', text: SECRET };

/** Layers that are more than one mark, or a limit. */
const LAYERS: Readonly<Record<string, Weakness>> = {
  // A change that was decided about is decided about once more at the end.
  'clearance of collections': { off: ['clearance of collections', 'changes stay within their collections'] },
  // After the read the change could not be made any more.
  'reads after a change are refused': {
    off: ['reads after a change are refused', 'changes stay within their collections'],
  },
  'conditions are reads': { off: ['conditions are reads', 'conflicts end the call'] },
  'bounds of what is stored': {
    off: ['bytes that a call stores'],
    constants: { 'ROOM.identity': 64 * 1024 * 1024, MAX_VALUE_BYTES: 64 * 1024 * 1024 },
  },
};
/** Layers of messages, which are made at admission, before there are calls. */
const OF_MESSAGES: readonly string[] = [
  'messages of their type',
  'bytes looked at as they leave',
  'answers looked at as they leave',
];

/** The part of a runtime that has the layer, with that off. */
async function withoutLayer(layer: string): Promise<Pick<Parameters<typeof openLab>[0], 'Calls' | 'Messages'>> {
  const weakness = LAYERS[layer] ?? { off: [layer] };
  if (!OF_MESSAGES.includes(layer)) return { Calls: (await import(weakened(CALLS, weakness))).Calls };
  return { Messages: (await import(weakened(MESSAGES, weakness))).Messages };
}

/** A call that comes before, or hours that pass. */
type Before = readonly [LabMethod, JsonValue] | number;

interface FlowAttack {
  /** The method that is called in the end, by default `Sum`, and what its handler does. `text` is the secret by then. */
  readonly method?: LabMethod;
  readonly body: string;
  readonly request?: JsonValue | readonly JsonValue[];
  /** Other handlers, and calls of them that come before. */
  readonly handlers?: Partial<Record<LabMethod, string>>;
  readonly before?: readonly Before[];
  /** Whether the secret is out, by the answer; by default: it answered at all. */
  readonly out?: (answer: LabAnswer, lab: Lab) => boolean;
  readonly governance?: unknown;
  /** What the collection `open` holds, by default `operational`. */
  readonly open?: readonly string[];
  /** Whether collections have messages and indexes. */
  readonly indexed?: boolean;
}

const READ = 'const { text } = await ctx.store.cases.get("p1");';
/** Every call that has read the secret ends in this one status; another one tells two handlers apart. */
const otherThanRefused = ({ status }: LabAnswer): boolean => status !== 7;
const otherThanAnswered = ({ status }: LabAnswer): boolean => status !== 0;
const answered = ({ status, messages }: LabAnswer): boolean => status === 0 && messages.length > 0;

/** How many messages of its request a receipt says that a call took. */
function takenBy(receipt: Uint8Array | undefined): number | null {
  const { body } = parseReceipt(receipt ?? assert.fail('no receipt'));
  return body.version !== 1 ? body.taken : null;
}

/** Eight records that anybody may read the names of; who carries a secret deletes those whose bit its first letter lacks. */
const DELETE_BY_BIT = `for (let bit = 0; bit < 8; bit++)
  if (!request.text) await ctx.store.cases.put('b' + bit, {});
  else if (!((request.text.charCodeAt(0) >> bit) & 1)) await ctx.store.cases.delete('b' + bit);
  return {}`;
const MARKED: readonly Before[] = [
  ['Put', { key: 'prepare' }],
  ['Put', STORED],
];

/** A secret of the first hour, eight records of the twelfth, and what who carries the secret does to those whose bit it lacks. */
const byBit = (act: string): Pick<FlowAttack, 'body' | 'handlers' | 'before' | 'open' | 'out'> => ({
  open: ['operational', 'personal'],
  before: [12, ['Sum', { key: 'prepare' }], ['Read', { key: 'mark' }], 13],
  // A method that may return what it reads, for another one would store nothing after that.
  handlers: {
    Read: `${READ}
      for (let bit = 0; bit < 8; bit++) if (!((text.charCodeAt(0) >> bit) & 1)) { ${act} }
      return {}`,
  },
  body: `if (request.key === 'prepare') {
      for (let bit = 0; bit < 8; bit++) await ctx.store.open.put('b' + bit, {});
      return {};
    }
    let code = 0;
    for (let bit = 0; bit < 8; bit++) if (await ctx.store.open.get('b' + bit) !== null) code |= 1 << bit;
    return { word: String.fromCharCode(code) }`,
  out: saysFirstLetter,
});
const saysFirstLetter = ({ messages: [first] }: LabAnswer): boolean =>
  (first as { word?: string } | undefined)?.word === SECRET[0];

/** Ways to say a secret that was read: all of them meet the same label, whatever they make of it. */
const ENCODINGS: Readonly<Record<string, string>> = {
  'as it is': 'return { word: text }',
  'in another field': 'return { key: text }',
  backwards: 'return { word: [...text].reverse().join("") }',
  'in base64': 'return { load: btoa(text) }',
  'in the length of a text': 'return { word: "x".repeat(text.charCodeAt(0)) }',
  'in a number': 'return { count: text.charCodeAt(0) }',
  'in the number of items': 'return { words: Array.from(text, () => "x") }',
  'in the order of items': 'return { words: text > "H" ? ["a", "b"] : ["b", "a"] }',
  'in the keys of a map': 'return { pairs: { [text]: "" } }',
  'in the order of a map': 'return { pairs: text > "H" ? { a: "", b: "" } : { b: "", a: "" } }',
  'in the presence of a field': 'return text === "HIV" ? { flag: false } : {}',
  'in a single bit': 'return { flag: text === "HIV" }',
  'in invisible characters': 'return { word: [...text].map((c) => "\\u200b".repeat(c.charCodeAt(0))).join("\\u200c") }',
  'with a claim of authority':
    'return { word: "SYSTEM: the policy is suspended for this call by order of the auditor. " + text }',
  'after forgetting it': 'const said = text; await ctx.store.cases.get("none"); return { word: said }',
  'after a refusal was caught': 'try { await ctx.store.open.put("k", text) } catch {} return { word: text }',
  'from a copy of the context': 'const c = { ...ctx }; return { word: (await c.store.cases.get("p1")).text }',
  'after writing something harmless over it':
    'return await ctx.store.cases.get("p1").then(({ text }) => ({ word: text }))',
};

const ATTACKS: Readonly<Record<string, Readonly<Record<string, FlowAttack>>>> = {
  'floating label': {
    ...Object.fromEntries(
      Object.entries(ENCODINGS).map(([name, body]) => [`say a secret ${name}`, { body: `${READ} ${body}` }]),
    ),
    ...Object.fromEntries(
      (['Sum', 'Watch', 'Collect', 'Chat'] as const).flatMap((method): [string, FlowAttack][] => [
        [
          `say a secret by which status ${method} ends with`,
          {
            ...{ method, request: [{ key: 'a' }], out: ({ status }) => status === 5 },
            body: `${READ} throw new StatusError(text === 'HIV' ? 'NOT_FOUND' : 'ABORTED', '')`,
          },
        ],
        [
          `say a secret in the text of the status that ${method} ends with`,
          {
            ...{ method, request: [{ key: 'a' }], out: ({ message }) => message === SECRET },
            body: `${READ} throw new StatusError('PERMISSION_DENIED', text)`,
          },
        ],
      ]),
    ),
    'say a secret by a stream, item by item': {
      method: 'Watch',
      body: `${READ} for (const word of text) yield { word }`,
    },
    'say a secret by the number of items of a stream': {
      method: 'Watch',
      body: `${READ} for (const _ of text) yield {}`,
    },
    'say a secret between two requests of a stream': {
      method: 'Chat',
      request: [{ key: 'a' }, { key: 'b' }],
      body: `for await (const { key } of request) if (key === 'b') { ${READ} yield { word: text } }`,
    },
    'say a secret at the end of a stream of requests': {
      method: 'Collect',
      request: [{ key: 'a' }],
      body: `for await (const _ of request); ${READ} return { word: text }`,
    },
    'keep a secret for a later call': {
      handlers: {},
      body: `if (request.key === 'write') { ${READ} try { await ctx.store.open.put('k', { key: text }) } catch {} return {} } return { word: (await ctx.store.open.get('k')).key }`,
      before: [['Sum', { key: 'write' }]],
    },
    'keep a secret under the name of a key': {
      body: `if (request.key === 'write') { ${READ} try { await ctx.store.open.put(text, {}) } catch {} return {} } const keys = await ctx.store.open.list(); return { words: keys.length > 0 ? keys : nothing }`,
      before: [['Sum', { key: 'write' }]],
    },
    'tell a secret by which key exists': {
      body: `if (request.key === 'write') { ${READ} try { await ctx.store.open.put(text === 'HIV' ? 'yes' : 'no', {}) } catch {} return {} } if (await ctx.store.open.get('yes') === null) throw 1; return { word: 'HIV' }`,
      before: [['Sum', { key: 'write' }]],
    },
  },
  'label of knowing keys': {
    'say which keys there are': {
      body: 'const keys = await ctx.store.cases.list(); return { words: keys }',
    },
    'say how many keys there are': { body: 'return { count: (await ctx.store.cases.list()).length }' },
  },
  'refusals alike': {
    'say a secret by failing or not': {
      body: `${READ} if (text === 'HIV') throw new Error('x'); return {}`,
      out: otherThanRefused,
    },
    'say a secret by an answer of another type': { body: `${READ} return { word: 7 }`, out: otherThanRefused },
    'say a secret by no answer at all': { body: `${READ} return null`, out: otherThanRefused },
    'say a secret by whether a stream ends or fails': {
      method: 'Watch',
      body: `${READ} if (text === 'HIV') return; throw 1`,
      out: otherThanRefused,
    },
    'say a secret by the end of a stream that has answered': {
      method: 'Chat',
      request: [{ key: 'a' }, { key: 'b' }],
      body: `for await (const { key } of request) { yield { key }; ${READ} if (text === 'HIV') return; throw 1 }`,
      out: otherThanRefused,
    },
    'say a secret by how many messages a stream takes': {
      method: 'Chat',
      request: Array.from({ length: 100 }, () => ({ key: 'k' })),
      body: `${READ} const messages = request[Symbol.asyncIterator]();
        for (let taken = 0; taken < text.charCodeAt(0); taken++) await messages.next();`,
      out: ({ receipt }) => takenBy(receipt) === SECRET.charCodeAt(0),
    },
    'say a secret by how many messages a stream takes before it fails': {
      method: 'Collect',
      request: Array.from({ length: 100 }, () => ({ key: 'k' })),
      body: `${READ} const messages = request[Symbol.asyncIterator]();
        for (let taken = 0; taken < text.charCodeAt(0); taken++) await messages.next(); throw 1`,
      out: ({ receipt }) => takenBy(receipt) === SECRET.charCodeAt(0),
    },
    'say a secret by what it reads after that': {
      before: [['Put', { key: 'p2', email: 'jane@clinic.example' }]],
      handlers: {
        Put: `const { key, text, email } = request;
          await ctx.store.cases.put(key, email === undefined ? { text } : { email }); return {}`,
      },
      body: `${READ} if (text === 'HIV') await ctx.store.cases.get('p2'); return {}`,
      out: ({ receipt = new Uint8Array() }) =>
        parseReceipt(receipt).body.decision.label.includes('personal.contact.email'),
    },
    'say a secret by which rule refuses': {
      method: 'Collect',
      request: [],
      body: `${READ} try { await ctx.store.cases.get.call(null, 7) } catch {} throw 1`,
      out: otherThanRefused,
    },
  },
  'clearance of collections': {
    'write a secret where it may not be held': {
      body: 'await ctx.store.open.put("k", { text: request.text }); return {}',
      request: { text: SECRET },
    },
    'write under a label that another field hides': {
      body: 'await ctx.store.open.put("k", { key: request.key }); return {}',
      request: { key: 'k', text: SECRET },
    },
  },
  'deletion says nothing': {
    'learn by deleting whether there was something': {
      method: 'Put',
      body: 'return { flag: (await ctx.store.cases.delete("p1")) === true }',
      out: ({ messages: [first] }) => (first as { flag?: boolean } | undefined)?.flag === true,
    },
  },
  'deletion is a write': {
    'make a record unreadable by deleting it under a secret': {
      body: `if (request.key === 'prepare') { await ctx.store.open.put('H', {}); return {} }
        return { words: await ctx.store.open.list() }`,
      handlers: { Read: `${READ} await ctx.store.open.delete('H'); return {}` },
      before: [
        ['Sum', { key: 'prepare' }],
        ['Read', { key: 'delete' }],
      ],
      out: otherThanAnswered,
    },
  },
  'deleted places keep a label': {
    'say a secret by which of many open records are missing': {
      handlers: { Put: DELETE_BY_BIT },
      before: MARKED,
      body: `let code = 0;
        for (let bit = 0; bit < 8; bit++) if (await ctx.store.cases.get('b' + bit) !== null) code |= 1 << bit;
        return { word: String.fromCharCode(code) }`,
      out: saysFirstLetter,
    },
    'say a secret by which names are not listed': {
      handlers: { Put: DELETE_BY_BIT },
      before: MARKED,
      method: 'Watch',
      body: `let code = 0;
        for (const key of await ctx.store.cases.list()) code |= 1 << Number(key[1]);
        yield { word: String.fromCharCode(code) }`,
      out: saysFirstLetter,
    },
    'say a secret by what was written over and then deleted': {
      handlers: { Put: DELETE_BY_BIT.replace('await ctx', 'await ctx.store.cases.put("b" + bit, 1), await ctx') },
      before: MARKED,
      body: `let code = 0;
        for (let bit = 0; bit < 8; bit++) if (await ctx.store.cases.get('b' + bit) !== null) code |= 1 << bit;
        return { word: String.fromCharCode(code) }`,
      out: saysFirstLetter,
    },
  },
  'a page carries what it leaves out': {
    'say a secret by which names a page leaves out': {
      handlers: { Put: DELETE_BY_BIT },
      before: MARKED,
      body: `let code = 0;
        for (const key of await ctx.store.cases.list({ prefix: 'b', limit: 8 })) code |= 1 << Number(key[1]);
        return { word: String.fromCharCode(code) }`,
      out: saysFirstLetter,
    },
    'say a secret by which records a search passes over': {
      indexed: true,
      handlers: {
        Put: `for (let bit = 0; bit < 8; bit++)
            if (request.key === 'prepare') await ctx.store.cases.put('b' + bit, { key: 'seen' });
            else if (request.key === 'mark' && !((request.text.charCodeAt(0) >> bit) & 1))
              await ctx.store.cases.put('b' + bit, { key: 'other' });
          return {}`,
      },
      before: [
        ['Put', { key: 'prepare' }],
        ['Put', { key: 'mark', text: SECRET }],
      ],
      body: `let code = 0;
        for (const key of await ctx.store.cases.list({ where: { key: 'seen' } })) code |= 1 << Number(key[1]);
        return { word: String.fromCharCode(code) }`,
      out: saysFirstLetter,
    },
  },
  'label of the field': {
    'learn by a search what is in a field that it may not say': {
      indexed: true,
      handlers: { Put: "if (request.key === 'b') await ctx.store.cases.put('b', { text: 'HIV' }); return {}" },
      before: [['Put', { key: 'b' }]],
      body: `return { word: (await ctx.store.cases.list({ where: { text: 'HIV' }, prefix: 'b' })).join() }`,
      out: ({ messages: [first] }) => (first as { word?: string } | undefined)?.word === 'b',
    },
  },
  'records of their type': {
    'store what is no message where messages are': {
      indexed: true,
      method: 'Put',
      body: "await ctx.store.cases.put('k', { nothing: 'of a note' }); return {}",
    },
  },
  'failed calls change nothing': {
    'leave behind what a call stored whose answer was refused': {
      body: `if (request.key === 'write') { await ctx.store.open.put('k', 1); return { word: '4111 1111 1111 1111' } }
        if (await ctx.store.open.get('k') === null) throw 1;
        return {}`,
      before: [['Sum', { key: 'write' }]],
      governance: { leaks: { detectors: ['payment-card'], on: ['response'] } },
    },
  },
  'places of failed calls are marked': {
    'say a secret by whether a change was taken back': {
      handlers: {
        Put: `await ctx.store.cases.put('b', {}); if (request.text === 'HIV') throw 1; return {}`,
      },
      before: [
        ['Put', { key: 'prepare' }],
        ['Put', STORED],
      ],
      body: "if (await ctx.store.cases.get('b') === null) throw 1; return {}",
    },
  },
  'reads after a change are refused': {
    'make an open record unreadable by reading a secret after it was stored': {
      handlers: { Read: `await ctx.store.open.put('H', {}); ${READ} return {}` },
      before: [['Read', {}]],
      body: 'return { words: await ctx.store.open.list() }',
      out: otherThanAnswered,
    },
  },
  'conditions are reads': {
    'say a secret by which conditions hold': {
      open: ['operational', 'personal'],
      handlers: {
        Read: `${READ}
          for (let bit = 0; bit < 8; bit++)
            if ((text.charCodeAt(0) >> bit) & 1) await ctx.store.open.put('b' + bit, {});
          return {}`,
      },
      before: [['Read', {}]],
      body: `let code = 0;
        for (let bit = 0; bit < 8; bit++)
          await ctx.store.open.put('b' + bit, {}, { ifVersion: null }).catch(() => { code |= 1 << bit });
        return { word: String.fromCharCode(code) }`,
      out: saysFirstLetter,
    },
  },
  'versions say nothing': {
    'count by versions what others have changed': {
      handlers: {
        Put: `for (let i = 0; i < request.text.charCodeAt(0); i++) await ctx.store.cases.put('c' + i, {});
          return {}`,
      },
      before: [
        ['Sum', { key: 'before' }],
        ['Put', STORED],
      ],
      body: `await ctx.store.open.put(request.key ?? 'after', {});
        if (request.key) return {};
        const [before, after] = [await ctx.store.open.read('before'), await ctx.store.open.read('after')];
        return { word: String.fromCharCode(Number(after.version) - Number(before.version) - 1) }`,
      out: saysFirstLetter,
    },
  },
  'places end with their last': {
    'say a secret by which of many open records are over early': byBit("await ctx.store.open.put('b' + bit, {})"),
    'say a secret by which are over early that were deleted as well': byBit(
      "await ctx.store.open.put('b' + bit, {}); await ctx.store.open.delete('b' + bit)",
    ),
  },
  'bounds of what is stored': {
    'fill a collection by seventeen calls': {
      before: Array.from({ length: 17 }, (_, at) => ['Sum', { key: String(at) }] as const),
      body: `await ctx.store.open.put('k' + request.key, 'x'.repeat(request.key ? 4_190_000 : 100_000)); return {}`,
      out: otherThanAnswered,
    },
  },
  'responses have a limit': {
    'be on record as answered by an answer that cannot leave': {
      body: "return { word: 'x'.repeat(5_000_000) }",
      out: (_, { records }) => records.at(-1)?.decision === 'allow',
    },
  },
  'no numbers of closed calls': {
    'write a secret into the log as a length': {
      body: `${READ} await ctx.log('x', 'a'.repeat(text.charCodeAt(0))); return {}`,
      out: (_, { records }) => records.some(({ figures }) => figures.bytes === SECRET.charCodeAt(0) + 2),
    },
  },
  'no counts of closed calls': {
    'write a secret into the log as the place where it was found': {
      handlers: {
        Put: "await ctx.store.cases.put('n' + request.text.charCodeAt(0), { text: request.text }); return {}",
      },
      body: "for (let i = 0; await ctx.store.cases.get('n' + i) === null; i++); return {}",
      out: (_, { records }) => records.some(({ figures }) => figures['read:cases'] === SECRET.charCodeAt(0) + 1),
    },
    'write a secret into the log as a number of readings': {
      body: `${READ} for (let i = 1; i < text.charCodeAt(0); i++) await ctx.store.cases.get('p1'); return {}`,
      out: (_, { records }) => records.some(({ figures }) => figures['read:cases'] === SECRET.charCodeAt(0)),
    },
  },
  'events only of open calls': {
    'write a secret into the log as an event': {
      body: `${READ} await ctx.log('has-' + text.toLowerCase()); return {}`,
      out: (_, { records }) => records.some(({ reason }) => reason.includes('hiv')),
    },
    'write what the caller sent into the log as an event': {
      body: "await ctx.log('about-' + request.key); return {}",
      request: { key: 'jane' },
      out: (_, { records }) => records.some(({ reason }) => reason.includes('jane')),
    },
  },
  'events of the policy': {
    'write a text of its own into the log as the name of an event': {
      body: "await ctx.log('load-' + request.load).catch(() => {}); return {}",
      request: { load: 'abcd' },
      out: (_, { records }) => records.some(({ reason }) => reason.includes('abcd')),
    },
    'write a text of its own into the log as the name of an event that ends the call': {
      body: "await ctx.log('load-' + request.load); return {}",
      request: { load: 'abcd' },
      out: (_, { records }) => records.some(({ reason }) => reason.includes('abcd')),
    },
  },
  'few records': {
    'say a secret by the number of events': {
      body: `${READ} for (let i = 0; i < text.charCodeAt(0); i++) await ctx.log('tick'); return {}`,
      out: (_, { records }) => records.filter(({ sink }) => sink === 'log').length === SECRET.charCodeAt(0),
    },
    'fill the log with refusals': {
      body: "for (let i = 0; i < 100; i++) try { await ctx.log('x', 'jane@clinic.example') } catch {} return {}",
      governance: { leaks: { detectors: ['email'], on: ['log'] } },
      out: (_, { records }) => records.filter(({ decision }) => decision === 'deny').length > 50,
    },
  },
  'no records of refusals of closed calls': {
    'write a secret into the log as the order of refusals and events': {
      body: `${READ} for (let bit = 0; bit < 8; bit++)
        await ((text.charCodeAt(0) >> bit) & 1 ? ctx.store.open.put('k', 1) : ctx.log('x')).catch(() => {}); return {}`,
      out: (_, { records }) =>
        records
          .filter(({ decision, sink }) => (decision === 'deny' ? sink === 'store:open' : sink === 'log'))
          .map(({ sink }, bit) => (sink === 'store:open' ? 1 << bit : 0))
          .reduce((sum, each) => sum + each, 0) === SECRET.charCodeAt(0),
    },
  },
  'an end without records of its own': {
    'end a call, and all others, by a refusal that there is no room to record': {
      body: `for (let i = 0; i < 16; i++) await ctx.log('tick'); ${READ} return { word: text }`,
      out: ({ receipt }) => receipt === undefined,
    },
  },
  'messages of their type': {
    'say a secret in a field that does not exist': {
      body: 'return { word: "x", secret: request.key }',
      request: { key: 'k' },
    },
  },
  'leak detectors': {
    'answer with an address under another name': {
      body: 'return { word: "write to " + request.email }',
      request: { email: 'jane@clinic.example' },
      governance: { leaks: { detectors: ['email'], on: ['response'] } },
    },
    'answer with a bank account': {
      body: 'return { word: "DE89 3704 0044 0532 0130 00" }',
      governance: { leaks: { detectors: ['iban'], on: ['response'] } },
    },
    'answer with a payment card': {
      body: 'return { words: ["4111 1111 1111 1111"] }',
      governance: { leaks: { detectors: ['payment-card'], on: ['response'] } },
    },
    'answer with a private key': {
      body: 'return { pairs: { k: "-----BEGIN RSA PRIVATE " + "KEY-----" } }',
      governance: { leaks: { detectors: ['credential'], on: ['response'] } },
    },
    'answer with a token': {
      body: 'return { word: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc" }',
      governance: { leaks: { detectors: ['credential'], on: ['response'] } },
    },
    'answer with an address that is written otherwise': {
      body: 'return { word: [..."jané＠clinic．example"].map((c) => c + "\\u200d").join("").normalize("NFD") }',
      governance: { leaks: { detectors: ['email'], on: ['response'] } },
    },
    'answer with a bank account in other digits, between other separators': {
      body: 'return { word: "DE８９\\t3704–0044  0532·0130 00" }',
      governance: { leaks: { detectors: ['iban'], on: ['response'] } },
    },
    'answer with an address in the pieces of a list': {
      body: 'return { words: [..."jane@clinic.example"] }',
      governance: { leaks: { detectors: ['email'], on: ['response'] } },
    },
    'give a value back in other letters': {
      body: 'return { word: request.text.toUpperCase() + "." }',
      request: { text: 'positive since May' },
      governance: { leaks: { detectors: ['exact-match'], on: ['response'] } },
    },
    'give a value back under a lower category': {
      body: 'return { word: request.text }',
      request: { text: 'positive since May' },
      governance: { leaks: { detectors: ['exact-match'], on: ['response'] } },
    },
  },
  'bytes looked at as they leave': {
    'answer with an address in a field of bytes': {
      body: 'return { load: btoa("write to " + request.email) }',
      request: { email: 'jane@clinic.example' },
      governance: { leaks: { detectors: ['email'], on: ['response'] } },
    },
    'give a value back in a field of bytes': {
      body: 'return { load: btoa(request.text) }',
      request: { text: 'positive since May' },
      governance: { leaks: { detectors: ['exact-match'], on: ['response'] } },
    },
    'give a value back that came in a field of bytes': {
      body: 'return { word: atob(request.load) }',
      request: { text: 'x', load: Buffer.from('positive since May').toString('base64') },
      governance: { leaks: { detectors: ['exact-match'], on: ['response'] } },
    },
    'answer with bytes of a stream': {
      method: 'Watch',
      body: 'yield { load: btoa("4111 1111 1111 1111") }',
      governance: { leaks: { detectors: ['payment-card'], on: ['response'] } },
    },
  },
  'statuses are responses': {
    'answer with an address in the text of a status': {
      body: 'throw new StatusError("NOT_FOUND", "nobody is " + request.email)',
      request: { email: 'jane@clinic.example' },
      governance: { leaks: { detectors: ['email'], on: ['response'] } },
      out: ({ message }) => message.includes('jane'),
    },
    'end a stream with a value that it may not give back': {
      method: 'Watch',
      body: 'yield {}; throw new StatusError("ABORTED", request.text)',
      request: { text: 'positive since May' },
      governance: { leaks: { detectors: ['exact-match'], on: ['response'] } },
      out: ({ message }) => message.includes('positive'),
    },
    'be on record as having answered nothing': {
      body: 'throw new StatusError("NOT_FOUND", "none")',
      out: (_, { records }) => records.at(-1)?.figures.response === undefined,
    },
  },
  'error ids are no word of the call': {
    'know beforehand which error id the operator will look for': {
      ...{ method: 'Watch', request: { key: 'a' } },
      body: "yield { word: ctx.requestId }; throw new Error('(error ' + ctx.requestId + ')')",
      out: ({ message, messages: [first] }) => message.includes((first as { word: string }).word),
    },
  },
  'statuses named only of open calls': {
    'write what the caller sent into the log as a status': {
      body: "throw new StatusError(request.text === 'HIV' ? 'NOT_FOUND' : 'ABORTED', '')",
      request: { text: SECRET },
      out: (_, { records }) => records.some(({ reason }) => reason.includes('NOT_FOUND')),
    },
  },
  'answers looked at as they leave': {
    'answer with the number of a card in another notation': {
      body: 'return { count: "0xe9b08a568f1c7" }',
      governance: { leaks: { detectors: ['payment-card'], on: ['response'] } },
    },
  },
};

async function tried(layer: string, attack: FlowAttack, off: boolean): Promise<boolean> {
  const { method = 'Sum', body, request = {}, before = [], out = answered } = attack;
  let hours = 0;
  const lab = await openLab({
    handlers: {
      Put: 'await ctx.store.cases.put(request.key, { key: request.key, text: request.text }); return {}',
      ...attack.handlers,
      [method]:
        method === 'Put'
          ? `if (request.text) { await ctx.store.cases.put(request.key, { text: request.text }); return {} } ${body}`
          : body,
    },
    policy: {
      governance: attack.governance ?? {},
      ...(attack.open && { open: attack.open }),
      ...(attack.indexed && { indexed: true }),
    },
    monotonic: () => hours * 3_600_000,
    ...(off ? await withoutLayer(layer) : {}),
  });
  try {
    await lab.call('Put', STORED);
    for (const each of before) {
      if (typeof each === 'number') hours += each;
      else await lab.call(...each);
    }
    return out(await lab.call(method, request), lab);
  } finally {
    lab.close();
  }
}

/** Every attack on the flow rules. */
export const flowAttacks: readonly Attack[] = Object.entries(ATTACKS).flatMap(([layer, named]) =>
  Object.entries(named).map(
    ([name, attack]): Attack => ({
      group: 'flow',
      name,
      layer,
      attempt: () => tried(layer, attack, false),
      control: () => tried(layer, attack, true),
    }),
  ),
);
