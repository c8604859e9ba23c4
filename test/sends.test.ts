/** Messages of one call that its worker sends all at once: they leave in the order in which the receipt commits to them. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { fromHex } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { commitment, parseReceipt } from '@enclaim/attestation/receipt';
import { Calls } from '../runtime/src/call/calls.ts';
import { anchorTime, BootClock } from '../runtime/src/clock.ts';
import { RefusalError } from '../runtime/src/errors.ts';
import { ReceiptSigner } from '../runtime/src/log/receipts.ts';
import { ZERO_HASH } from '../runtime/src/log/record-log.ts';
import type { Call } from '../runtime/src/worker/call.ts';
import { type Lab, openLab } from './support/lab.ts';
import { given } from './support/worker-text.ts';

const MESSAGES = 20;
let lab: Lab;
before(async () => {
  lab = await openLab({ handlers: {} });
});
after(() => lab.close());

/** A call of `Watch` whose worker does as told; what left, and what the receipt says of it. */
async function watch(
  run: (send: (count: number) => Promise<unknown>) => Promise<unknown>,
  take: (message: Uint8Array) => Promise<void>,
): Promise<{ left: number[]; committed: boolean; status: number }> {
  const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Watch');
  if (method === undefined) throw new TypeError('no Watch');
  const { input, output } = method.descriptor;
  let operation = 0;
  const pool = {
    run: async ({ perform }: Call) => {
      const send = async (count: number) =>
        perform({ call: 0, operation: operation++, kind: 'send', json: given({ count: String(count) }) });
      await run(send);
      return given(null);
    },
  };
  const calls = new Calls({
    admission: lab.admission,
    pool,
    // Each record takes another time to become durable.
    log: { place: () => ({ index: 0, hash: ZERO_HASH, durable: sleep(Math.random() * 5) }), pending: undefined },
    receipts: new ReceiptSigner(() => new Uint8Array(64)),
    boot: new Uint8Array(32),
    clock: new BootClock(anchorTime()),
  });
  const left: Uint8Array[] = [];
  const { status, receipt = new Uint8Array() } = await calls.answer(method, {
    next: async () => toBinary(input, fromJson(input, { key: 'k' })),
    send: async (message) => {
      await take(message);
      left.push(message);
    },
    signal: AbortSignal.timeout(5000),
  });
  const { body } = parseReceipt(receipt);
  const expected = digestText('sha256', commitment('response', fromHex(body.salt), left));
  const countOf = (bytes: Uint8Array): JsonValue =>
    (toJson(output, fromBinary(output, bytes)) as { count: string }).count;
  return { left: left.map((bytes) => Number(countOf(bytes))), committed: body.response === expected, status };
}

test('many at once leave one after the other, however long each takes its caller', async () => {
  const counts = Array.from({ length: MESSAGES }, (_, at) => at + 1);
  let writing = 0;
  const result = await watch(
    (send) => Promise.all(counts.map(send)),
    async () => {
      assert.equal(++writing, 1, 'one is written at a time');
      await sleep(Math.random() * 5);
      writing--;
    },
  );
  assert.deepEqual(result, { left: counts, committed: true, status: 0 });
});

test('what comes after one that may not leave still leaves in order', async () => {
  const bad = Number.NaN; // no int64
  const result = await watch(
    (send) => Promise.allSettled([1, bad, 2, bad, 3].map(send)),
    () => sleep(1),
  );
  assert.deepEqual(result, { left: [1, 2, 3], committed: true, status: 0 });
});

test('a caller that has gone ends the rest', async () => {
  let taken = 0;
  const result = await watch(
    (send) => Promise.all([1, 2, 3, 4].map(send)),
    async () => {
      if (++taken > 2) throw new RefusalError('budget', 'the caller has gone');
    },
  );
  assert.deepEqual(result.left, [1, 2]);
  assert.equal(result.status, 8);
});
