/** A runtime that is somebody else's, against the supervisor: what it cannot have, and that it ends at the first wrong word. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { toBase64 } from '@enclaim/attestation/bytes';
import { MAX_CONTROL_BYTES, MAX_QUESTION_BYTES } from '@enclaim/runtime/control';
import { encodeFrame, FrameReader } from '@enclaim/runtime/frames';
import type { Keeper } from '@enclaim/runtime/keeper';
import { type Answer, askedKeeper } from '../../runtime/src/asked-keeper.ts';
import { socketPair } from '../src/linux/unix-socket.ts';
import type { Refusal } from '../src/refusal.ts';
import { RuntimeLink, type RuntimeLinkOptions } from '../src/runtime-link.ts';
import type { StatedBoot } from '../src/stated-boot.ts';
import { runtimeOptions } from '../src/supervisor.ts';
import { TpmError } from '../src/tpm/index.ts';

const SERVING = { kind: 'serving', exposed: 1, plain: 0, withheld: 0 };
const quote = (id: number) => ({ kind: 'quote', id, root: toBase64(new Uint8Array(32)) });
const never = (): Promise<never> => new Promise(() => {});
const heirs = { handOver: never, epochOfHeir: never, takeOver: never, resume: never, retire: never };
const SLOW = { epoch: never, seal: never, open: never, advance: never, recover: never, heirs } as const;
const SLOW_KEEPER = { kind: 'tpm', begun: () => null, ...SLOW } as const;
const worker = { kill: () => {}, exit: never() };

/** A link whose other end is this test. */
function taken(t: TestContext, change: Partial<RuntimeLinkOptions> = {}) {
  const [ours, theirs] = socketPair();
  const [socket, runtime] = [new Socket({ fd: ours }), new Socket({ fd: theirs })];
  t.after(() => [socket, runtime].map((end) => end.destroy()));
  const lines: string[] = [];
  let kills = 0;
  const failure = Promise.withResolvers<Refusal>();
  const link = new RuntimeLink(socket, {
    platform: { quote: never, activate: never, keeper: SLOW_KEEPER },
    stated: { state: () => {}, covered: (root: Uint8Array) => root, useKeeper: () => {} } as unknown as StatedBoot,
    startWorker: async () => worker,
    kill: () => kills++,
    failed: failure.resolve,
    say: (line) => lines.push(line),
    ...change,
  });
  link.serving.catch(failure.resolve);
  const raw = (bytes: Uint8Array): void => void runtime.write(bytes);
  const say = (...messages: unknown[]): void => raw(Buffer.concat(messages.map((it) => encodeFrame(it, 1 << 30))));
  return { link, runtime, raw, say, lines, kills: () => kills, failure: failure.promise };
}

/** The runtime's own keeper at the other end of a link. */
function keeperBehind({ runtime, say }: ReturnType<typeof taken>): Keeper {
  const frames = new FrameReader(MAX_CONTROL_BYTES);
  const waiting = new Map<number, (answer: Answer) => void>();
  runtime.on('data', (chunk: Uint8Array) => {
    for (const text of frames.push(chunk)) {
      const answer: Answer = JSON.parse(text);
      waiting.get(answer.id)?.(answer);
    }
  });
  let next = 0;
  return askedKeeper('tpm', async (kind, question) => {
    const id = next++;
    const answer = await new Promise<Answer>((resolve) => {
      waiting.set(id, resolve);
      say(question(id));
    });
    if (answer.kind === 'failed') throw new Error(answer.reason);
    assert.equal(answer.kind, kind);
    return answer as never;
  });
}

const many = <T>(count: number, make: (id: number) => T): T[] => Array.from({ length: count }, (_, id) => make(id));

const WRONG: Readonly<Record<string, readonly unknown[]>> = {
  'a word that does not exist': [{ kind: 'reboot' }],
  'a field that does not exist': [{ ...SERVING, port: 22 }],
  'that it serves, twice: the console is no channel': [SERVING, SERVING],
  'that it serves a number that no count is': [{ ...SERVING, exposed: 2 ** 40 }],
  'a question beyond the integers of a frame': [{ ...quote(0), id: 2 ** 32 }],
  'a request larger than any': [{ kind: 'refused', reason: 'x'.repeat(MAX_QUESTION_BYTES) }],
  'more questions than the hardware is asked at once': many(129, quote),
  'more workers than there may be': many(65, (id) => ({ kind: 'start', id })),
  'an epoch that is none': [{ kind: 'seal', id: 0, key: '', epoch: 0 }],
  'more questions than the keeper is asked at once': many(129, (id) => ({ kind: 'epoch', id })),
  'one worker twice': many(2, () => ({ kind: 'start', id: 7 })),
};

for (const [what, said] of Object.entries(WRONG)) {
  test(`ended: a runtime that says ${what}`, async (t) => {
    const { say, failure, kills } = taken(t);
    say(...said);
    const { code } = await failure;
    assert.deepEqual([code, kills()], ['runtime', 1]);
  });
}

test('as much as it may have, it has', async (t) => {
  const { say, lines, kills, link } = taken(t, { platform: { quote: async () => ({}) as never, activate: never } });
  say(SERVING, ...many(64, (id) => ({ kind: 'start', id })), ...many(128, quote));
  await link.serving;
  say(...many(128, quote)); // those before are answered by now
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual([lines.length, kills()], [1, 0]);
});

describe('the keeper of the state', () => {
  const key = new Uint8Array(32).fill(7);

  test('seals, opens and begins epochs for the runtime', async (t) => {
    const asked: unknown[] = [];
    const keeper = {
      ...SLOW_KEEPER,
      epoch: async () => 4,
      seal: async (...all: unknown[]) => {
        asked.push(all);
        return Uint8Array.of(1, 2);
      },
      open: async (blob: Uint8Array) => {
        asked.push(blob);
        return key;
      },
      advance: async () => 5,
      heirs,
    };
    const there = keeperBehind(taken(t, { platform: { quote: never, activate: never, keeper } }));
    assert.equal(await there.epoch(), 4);
    assert.deepEqual(await there.seal(key, 5), Uint8Array.of(1, 2));
    assert.equal(await there.advance(), 5);
    assert.deepEqual(await there.open(Uint8Array.of(3)), key);
    assert.deepEqual(asked, [[key, 5], Uint8Array.of(3)]);
  });

  test('is missed by name where the platform has none, and its refusals arrive', async (t) => {
    const without = keeperBehind(taken(t, { platform: { quote: never, activate: never } }));
    await assert.rejects(without.epoch(), { code: 'keeper', message: /keeps no keys/ });
    const open = () => Promise.reject(new TpmError('provenance', 'sealed under other registers'));
    const keeper = { ...SLOW_KEEPER, open, epoch: async () => 4 };
    const link = taken(t, { platform: { quote: never, activate: never, keeper } });
    const there = keeperBehind(link);
    await assert.rejects(there.open(key), { code: 'keeper', message: /other registers/ });
    await assert.rejects(there.open(new Uint8Array(2049)), { code: 'keeper' });
    assert.equal(await there.epoch(), 4);
    assert.equal(link.kills(), 0);
  });
});

test('a worker that has ended makes room for another', async (t) => {
  const { say, kills } = taken(t, { startWorker: async () => ({ ...worker, exit: Promise.resolve() as never }) });
  for (let id = 0; id < 100; id++) {
    say({ kind: 'start', id });
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(kills(), 0);
});

test('ended: a runtime that asks and does not read the answers', async (t) => {
  const outblob = 'x'.repeat(8 * 1024 * 1024);
  const large = async () => ({ kind: 'snp', outblob, auxblob: '' }) as const;
  const { say, failure, runtime } = taken(t, { platform: { quote: large, activate: never } });
  runtime.pause();
  say(...many(64, quote));
  assert.match((await failure).message, /does not read/);
});

test('nothing is answered after the end, and no word more is obeyed', async (t) => {
  let quotes = 0;
  const count = async () => ++quotes as never;
  const { say, failure, runtime } = taken(t, { platform: { quote: count, activate: never } });
  let heard = 0;
  runtime.on('data', () => heard++);
  say({ kind: 'refused', reason: 'over' }, quote(1), quote(2));
  assert.equal((await failure).message, 'over');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([quotes, heard], [0, 0]);
});

test('a runtime that is gone is the end, before it serves and after', async (t) => {
  for (const said of [[], [SERVING]]) {
    const { say, failure, runtime, kills } = taken(t);
    say(...said);
    if (said.length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const closed = once(runtime, 'close');
    runtime.destroy();
    assert.match((await failure).message, /control socket/);
    await closed;
    assert.equal(kills(), 1);
  }
});

test('the runtime has its control socket and no console: the host reads that', () => {
  assert.deepEqual(runtimeOptions(9).fds, [null, null, null, 9]);
});
