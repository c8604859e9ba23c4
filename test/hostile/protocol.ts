/** Attacks on the runtime by a worker that says whatever it likes: frames forged, out of order, too many, too large. */

import { Duplex } from 'node:stream';
import * as framing from '../../runtime/src/frames.ts';
import { handlerValue } from '../../runtime/src/message/handler-value.ts';
import * as accounts from '../../runtime/src/worker/account.ts';
import type { Call } from '../../runtime/src/worker/call.ts';
import type { WorkerText } from '../../runtime/src/worker/json-text.ts';
import { MAX_FRAME_BYTES } from '../../runtime/src/worker/protocol.ts';
import * as whole from '../../runtime/src/worker/worker.ts';
import { frameOf, type Said } from '../support/worker-text.ts';
import { type Attack, comes, lasts } from './attack.ts';
import { weakened } from './weakened.ts';

const WORKER = 'runtime/src/worker/worker.ts';
const ACCOUNT = 'runtime/src/worker/account.ts';

type WorkerModule = typeof whole;
type Worker = whole.Worker;

/** A worker process that is this test. */
interface Forged {
  say(message: Said): void;
  raw(bytes: Uint8Array): void;
  readonly worker: Worker;
  /** Whether the runtime ended the process. */
  readonly killed: () => boolean;
  /** Bytes that the runtime has not read. */
  readonly unread: () => number;
}

async function forged({ Worker }: WorkerModule, metered = false): Promise<Forged> {
  let killed = false;
  const mouth = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => void done() });
  const kill = (): void => {
    killed = true;
  };
  const worker = new Worker({ socket: mouth, kill, processorTime: () => 0 }, 60_000);
  const raw = (bytes: Uint8Array): void => void mouth.push(bytes);
  const say = (message: Said): void => raw(frameOf(message));
  const loaded = worker.load({ code: '', methods: [], metered });
  if (metered) say(USED);
  say({ kind: 'ready' });
  await loaded;
  return { say, raw, worker, killed: () => killed, unread: () => mouth.readableLength };
}

const USED = { kind: 'used', total: 1000, heap: 1000, collected: false, calls: [] };
const put = { kind: 'put', call: 0, operation: 0, collection: 'cases', key: 'k', json: null };

/** Messages of which each must end the worker. */
const FORGED: Readonly<Record<string, Said>> = {
  'a kind that does not exist': { kind: 'grant', call: 0 },
  'a message to the worker sent back': { kind: 'result', operation: 0, json: null },
  'a field that does not exist': { ...put, label: [] },
  'a label of its own': { kind: 'done', call: 0, label: [], json: null },
  "a status that is the runtime's": { kind: 'status', call: 0, code: 'INTERNAL', text: '' },
  'a status of no text': { kind: 'status', call: 0, code: 'NOT_FOUND' },
  'a status of more text than a trailer takes': { kind: 'status', call: 0, code: 'NOT_FOUND', text: 'x'.repeat(257) },
  'a status of half a character': { kind: 'status', call: 0, code: 'NOT_FOUND', text: '\ud800' },
  'a call of another type': { ...put, call: '0' },
  'a negative call': { ...put, call: -1 },
  'a call beyond integers': { ...put, call: 2 ** 60 },
  'a call that is half a number': { ...put, call: 0.5 },
  'a collection that is a list': { ...put, collection: ['cases'] },
  'a key without end': { ...put, key: 'k'.repeat(513) },
  'an operation without a number': { kind: 'get', call: 0, collection: 'cases', key: 'k' },
  'an event of free text': { kind: 'log', call: 0, operation: 0, event: 'Jane Doe has measles', json: null },
  'keys of a release that are no text': { kind: 'release', call: 0, operation: 0, rule: 'r', keys: { a: 1 } },
};

/** Frames that must not be taken, and what of `frames.ts` refuses them. */
const FRAMES: Readonly<Record<string, readonly [bytes: readonly number[], layer: string]>> = {
  'a frame of no bytes': [[0, 0, 0, 0], 'frames of no bytes'],
  'a frame of four gigabytes': [[0xff, 0xff, 0xff, 0xff], 'frames of too many bytes'],
  'a frame one byte over the limit': [[0, 0x80, 0, 1], 'frames of too many bytes'],
  'a frame that is not UTF-8': [[0, 0, 0, 1, 0xff], 'frames are text'],
};

/** A conversation, which answers true where the runtime was led astray, and what prevents that. */
type Talk = readonly [layer: string, (it: Forged) => Promise<boolean>];

const TALKS: Readonly<Record<string, Talk>> = {
  'a report of work that nobody asked for': [
    'reports of metered workers',
    async ({ say, killed }) => {
      say(USED);
      return lasts(killed, 5);
    },
  ],
  'a bundle that is unusable after all': [
    'ready, once',
    async ({ say, worker }) => {
      say({ kind: 'unusable', reason: 'jane@clinic.example' });
      return (await worker.ended).includes('handler bundle');
    },
  ],
  'ready, a second time': [
    'ready, once',
    async ({ say, killed }) => {
      say({ kind: 'ready' });
      return lasts(killed, 5);
    },
  ],
  'a pong without a ping': [
    'count of pings',
    async ({ say, killed }) => {
      say({ kind: 'pong', ping: 7 });
      return lasts(killed, 5);
    },
  ],
  'an operation after the end': [
    'end of a call',
    async ({ say, worker }) => {
      let performed = 0;
      const done = running(worker, 1, () => performed++);
      say({ kind: 'done', call: 1, json: null });
      await done;
      say({ ...put, call: 1 });
      return comes(() => performed > 0, 5);
    },
  ],
  'an operation in one breath with the end': [
    'end of a call',
    async ({ say, worker }) => {
      let performed = 0;
      const done = running(worker, 1, () => performed++);
      say({ kind: 'done', call: 1, json: null });
      say({ ...put, call: 1 });
      await done;
      return performed > 0;
    },
  ],
  'an operation in the name of a call that never was': [
    'table of calls',
    async ({ say, worker }) => {
      let performed = 0;
      void running(worker, 1, () => performed++);
      say({ ...put, call: 2 });
      return comes(() => performed > 0, 5);
    },
  ],
  ...Object.fromEntries(
    [{ kind: 'done', json: null }, { kind: 'status', code: 'ABORTED', text: '' }, { kind: 'failed' }, put].flatMap(
      (message) =>
        [1, 2].map((call): [string, Talk] => [
          `${message.kind} of a call that ${call === 1 ? 'has ended' : 'never was'}`,
          [
            'calls by name',
            async ({ say, worker, killed }) => {
              const done = running(worker, 1, () => null);
              say({ kind: 'done', call: 1, json: null });
              await done;
              say({ ...message, call });
              return lasts(killed, 5);
            },
          ],
        ]),
    ),
  ),
  'the end of a call that nobody gave up': [
    'ends that were asked for',
    async ({ say, worker, killed }) => {
      void running(worker, 1, () => null);
      say({ kind: 'ended', call: 1 });
      return lasts(killed, 5);
    },
  ],
  'operations in one breath that take long each': [
    'turns of the loop',
    async ({ raw, worker }) => {
      let performed = 0;
      void running(worker, 1, () => {
        for (const until = performance.now() + 5; performance.now() < until; );
        return performed++;
      });
      const frames = Array.from({ length: 40 }, (_, operation) => frameOf({ ...put, call: 1, operation }));
      raw(Buffer.concat(frames));
      return performed === 40;
    },
  ],
  'messages in one breath whose values take long to read': [
    'turns of the loop',
    async ({ say, worker, unread, killed }) => {
      void running(worker, 1, ({ json }) => handlerValue(json));
      const value = Object.fromEntries(Array.from({ length: 90_000 }, (_, at) => [at, null]));
      for (let operation = 0; operation < 20; operation++) say({ ...put, call: 1, operation, json: value });
      return unread() === 0 && !killed();
    },
  ],
  'operations without end': [
    'limit of operations',
    async ({ say, worker }) => {
      let performed = 0;
      void running(worker, 1, () => {
        performed++;
        return new Promise(() => {});
      });
      for (let operation = 0; operation < 1000; operation++) say({ ...put, call: 1, operation });
      return comes(() => performed > 256, 20);
    },
  ],
};

function running(
  worker: Worker,
  id: number,
  perform: (put: { readonly json: WorkerText }) => unknown,
): Promise<unknown> {
  const streams = { request: false, response: false };
  const grants = { method: 'm', streams, reads: [], stores: [], sends: {}, releases: [] };
  const message = { grants, time: '', id: '', seed: '' };
  const { signal } = new AbortController();
  return worker.run(id, { message, perform: perform as unknown as Call['perform'], signal }).catch(() => undefined);
}

/** Whether a metered worker whose first word is `ready` is taken for one. */
async function unreported({ Worker }: WorkerModule): Promise<boolean> {
  const mouth = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => void done() });
  const worker = new Worker({ socket: mouth, kill: () => {}, processorTime: () => 0 }, 60_000);
  const loaded = worker.load({ code: '', methods: [], metered: true });
  mouth.push(framing.encodeFrame({ kind: 'ready' }, MAX_FRAME_BYTES));
  return loaded.then(
    () => true,
    () => false,
  );
}

/** Whether a metered worker may take back what it has reported. */
async function takesBack(module: WorkerModule): Promise<boolean> {
  const { say, killed } = await forged(module, true);
  say({ ...USED, total: 1 });
  return lasts(killed, 5);
}

/** Whether a worker works for seconds in the name of a call that declares less, and says `total` of so much work. */
function worksUnseen({ Account }: typeof accounts, total: (worked: number) => number): boolean {
  let worked = 1_000_000;
  let stopped = false;
  const account = new Account(() => worked);
  const stop = (): void => {
    stopped = true;
  };
  account.take({ kind: 'used', total: worked, heap: 0, collected: false, calls: [] });
  account.open(1, { memory: 1e6, processor: 50_000, wall: 1000, pointer: '' }, stop);
  for (let turn = 0; turn < 50 && !stopped; turn++) {
    worked += 100_000;
    account.take({ kind: 'used', total: total(worked), heap: 0, collected: false, calls: [] });
    if (account.exceeded()) stopped = true;
  }
  return !stopped;
}

async function withoutLayers(...off: string[]): Promise<Forged> {
  return forged(await weakWorker(...off));
}

async function weakWorker(...off: string[]): Promise<WorkerModule> {
  return await import(weakened(WORKER, { off }));
}

async function taken({ FrameReader }: typeof framing, bytes: readonly number[]): Promise<boolean> {
  return [...new FrameReader(MAX_FRAME_BYTES).push(Uint8Array.from(bytes))].length >= 0;
}

/** Every attack on the protocol. */
export const protocolAttacks: readonly Attack[] = [
  ...Object.entries(FORGED).map(([name, message]): Attack => {
    const heard = async ({ say, worker, killed }: Forged): Promise<boolean> => {
      void running(worker, 0, () => new Promise(() => {}));
      say(message);
      return lasts(killed, 5);
    };
    return {
      group: 'forged messages',
      name,
      layer: 'protocol',
      attempt: async () => heard(await forged(whole)),
      // A call of another type is no call that runs either.
      control: async () => heard(await withoutLayers('protocol', 'calls by name')),
    };
  }),
  ...Object.entries(TALKS).map(
    ([name, [layer, talk]]): Attack => ({
      group: 'forged messages',
      name,
      layer,
      attempt: async () => talk(await forged(whole)),
      control: async () => talk(await withoutLayers(layer)),
    }),
  ),
  {
    group: 'forged messages',
    name: 'ready, with no report of what it took',
    layer: 'report before ready',
    attempt: () => unreported(whole),
    control: async () => unreported(await weakWorker('report before ready')),
  },
  {
    group: 'forged messages',
    name: 'a report of less than before',
    layer: 'reports only grow',
    attempt: () => takesBack(whole),
    control: async () => takesBack(await weakWorker('reports only grow')),
  },
  {
    group: 'forged messages',
    name: 'reports of work in the name of nobody',
    layer: 'work held against charges',
    attempt: async () => worksUnseen(accounts, (worked) => worked),
    control: async () =>
      worksUnseen(await import(weakened(ACCOUNT, { off: ['work held against charges'] })), (worked) => worked),
  },
  {
    group: 'forged messages',
    name: 'a report of work that is still to come',
    layer: 'no report ahead of the kernel',
    attempt: async () => worksUnseen(accounts, () => Number.MAX_SAFE_INTEGER),
    control: async () => {
      const off = ['work held against charges', 'no report ahead of the kernel'];
      return worksUnseen(await import(weakened(ACCOUNT, { off })), () => Number.MAX_SAFE_INTEGER);
    },
  },
  ...Object.entries(FRAMES).map(
    ([name, [bytes, layer]]): Attack => ({
      group: 'forged frames',
      name,
      layer,
      attempt: () => taken(framing, bytes),
      control: async () => taken(await import(weakened('runtime/src/frames.ts', { off: [layer] })), bytes),
    }),
  ),
];
