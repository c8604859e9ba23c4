/**
 * The table of ends: four kinds of call × ways to end. After a read that it may not return, all ends of a kind are told alike,
 * whatever was taken of the request; before it, each is told as what it is.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fromJson, toBinary } from '@bufbuild/protobuf';
import { fromHex, utf8 } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { commitment, parseReceipt } from '@enclaim/attestation/receipt';
import { Calls } from '../runtime/src/call/calls.ts';
import { anchorTime, BootClock } from '../runtime/src/clock.ts';
import { RefusalError } from '../runtime/src/errors.ts';
import { ReceiptSigner } from '../runtime/src/log/receipts.ts';
import { ZERO_HASH } from '../runtime/src/log/record-log.ts';
import type { Call } from '../runtime/src/worker/call.ts';
import { HandlerStatus } from '../runtime/src/worker/handler-status.ts';
import type { JsonText } from '../runtime/src/worker/json-text.ts';
import type { Made, Operation } from '../runtime/src/worker/protocol.ts';
import { WorkerLostError } from '../runtime/src/worker/worker.ts';
import { type Lab, type LabMethod, openLab } from './support/lab.ts';
import { given } from './support/worker-text.ts';

let lab: Lab;
before(async () => {
  lab = await openLab({ handlers: {} });
});
after(() => lab.close());

const KINDS = { Sum: 'unary', Watch: 'server stream', Collect: 'client stream', Chat: 'both' } as const;
type Kind = keyof typeof KINDS;

/** A handler's part of a call, as its worker says it. */
interface Handler {
  ask(operation: Record<string, unknown> & { readonly kind: Operation['kind'] }): Promise<JsonText>;
  /** Ends the call from outside. */
  abort(reason: Error): void;
}

const late = new RefusalError('budget', 'the call took longer than it declares', { pointer: '/x/wall' });
const ending = new RefusalError('shutdown', 'the runtime is about to end');
/** Ends what a worker is asked for, as the pool does it. */
const cut = (handler: Handler, why: Error, told: Error = why): never => {
  handler.abort(why);
  throw told;
};
const failed = (error: Error): never => {
  throw error;
};
const NOT_FOUND = new HandlerStatus('NOT_FOUND', 'no such case');
const WAYS: Readonly<Record<string, (handler: Handler) => Promise<Made> | Made>> = {
  ok: () => given({}),
  'a status': () => NOT_FOUND,
  'another status': () => new HandlerStatus('PERMISSION_DENIED', 'diagnosis'),
  throw: () => failed(new RefusalError('worker', 'the handler threw')),
  'refused operation': async (handler) => given(await handler.ask({ kind: 'get', collection: 'nothing', key: 'k' })),
  'no message of its type': () => given({ word: 7 }),
  'caller gone': (handler) => cut(handler, new Error('gone'), new RefusalError('budget', 'the call was given up')),
  deadline: (handler) => cut(handler, late),
  budget: () => failed(new RefusalError('budget', 'a call used more processor than it declares')),
  'worker death': () => failed(new WorkerLostError('it has ended', true)),
  shutdown: (handler) => cut(handler, ending),
};

interface Told {
  readonly status: number;
  readonly message: string;
  readonly details: string;
  readonly label: readonly string[];
  readonly taken: number | null;
  /** Whether the receipt commits to no message of the request. */
  readonly none: boolean;
}

/** The calls of one boot, on whose log `durable` decides. */
function boot(durable: () => Promise<void> = async () => {}) {
  let run: (call: Call) => Promise<Made> = async () => given({});
  const calls = new Calls({
    admission: lab.admission,
    pool: { run: (call) => run(call) },
    log: { place: () => ({ index: 0, hash: ZERO_HASH, durable: durable() }), pending: undefined },
    receipts: new ReceiptSigner(() => new Uint8Array(64)),
    boot: new Uint8Array(32),
    clock: new BootClock(anchorTime()),
  });
  return async (name: LabMethod, handled: (handler: Handler) => Promise<Made>) => {
    const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === name) ?? assert.fail();
    const { input } = method.descriptor;
    const over = new AbortController();
    run = async ({ perform, request }) => {
      await request?.();
      let operation = 0;
      const ask: Handler['ask'] = async (asked) => perform({ call: 0, operation: operation++, ...asked } as Operation);
      return handled({ ask, abort: (reason) => over.abort(reason) });
    };
    return calls.answer(method, {
      next: async () => toBinary(input, fromJson(input, { key: 'k', text: 'diagnosis' })),
      send: async () => {},
      signal: over.signal,
    });
  };
}

/** What a caller is told at the end of a call that has, or has not, read what it may not return. */
async function told(kind: Kind, way: string, reads: boolean, taken: number): Promise<Told> {
  const call = boot();
  await call('Put', async ({ ask }) => {
    await ask({ kind: 'put', collection: 'cases', key: 'k', json: given('diagnosis') });
    return given({});
  });
  const answer = await call(kind, async (handler) => {
    if (reads) await handler.ask({ kind: 'get', collection: 'cases', key: 'k' });
    for (let at = 0; at < taken; at++) await handler.ask({ kind: 'next' });
    return (WAYS[way] ?? assert.fail())(handler);
  });
  const { body } = parseReceipt(answer.receipt ?? assert.fail('no receipt'));
  assert(body.version !== 1);
  return {
    ...{ status: answer.status, message: answer.message, details: Buffer.from(answer.details ?? []).toString('hex') },
    ...{ label: body.decision.label, taken: body.taken },
    none: body.request === digestText('sha256', commitment('request', fromHex(body.salt), [])),
  };
}

for (const [name, what] of Object.entries(KINDS)) {
  const kind = name as Kind;
  const streams = kind === 'Collect' || kind === 'Chat';
  describe(what, () => {
    test('all ends are alike after a read that it may not return', async () => {
      const first = await told(kind, 'ok', true, 0);
      assert.deepEqual([first.status, first.taken, first.none], [7, streams ? null : 1, streams]);
      for (const way of Object.keys(WAYS)) {
        for (const taken of streams ? [0, 1, 2] : [0]) {
          assert.deepEqual(await told(kind, way, true, taken), first, `${way}, ${taken} taken`);
        }
      }
    });

    test('each end is told as what it is before that', async () => {
      const ends = await Promise.all(Object.keys(WAYS).map((way) => told(kind, way, false, streams ? 2 : 0)));
      assert.ok(new Set(ends.map(({ message }) => message)).size >= Object.keys(WAYS).length - 1);
      for (const { taken } of ends) assert.equal(taken, streams ? 2 : 1);
    });

    test("a handler's status is an answer, and its receipt says so", async () => {
      const answer = await boot()(kind, async () => NOT_FOUND);
      const { body } = parseReceipt(answer.receipt ?? assert.fail('no receipt'));
      assert(body.version !== 1);
      assert.deepEqual([answer.status, answer.message, answer.response.length], [5, 'no such case', 0]);
      assert.deepEqual([body.status, body.decision.result, answer.details], [5, 'allow', undefined]);
      const text = commitment('status', fromHex(body.salt), [utf8('no such case')]);
      assert.equal(body.text, digestText('sha256', text));
    });

    test('nothing is said where it cannot be recorded', async () => {
      for (const [way, end] of Object.entries(WAYS)) {
        const answer = await boot(() => Promise.reject(new Error('EIO')))(kind, async (handler) => end(handler));
        assert.deepEqual([answer.status, answer.receipt, answer.response.length], [14, undefined, 0], way);
      }
    });
  });
}
