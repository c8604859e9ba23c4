/** What a receipt file says of the messages that it holds. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { EvidenceError } from '@enclaim/attestation';
import { parseReceiptFile, verifyReceiptFile } from '../src/receipt-file.ts';
import { type Messages, type ReceiptBoot, receiptBoot } from './refused-receipt.ts';

const REFUSED = 7;
const [hello, other] = [Buffer.from('hello'), Buffer.from('other')];
const nothing: Messages = { request: [], response: [] };

let boot: ReceiptBoot;
before(async () => {
  boot = await receiptBoot();
});

async function compared(
  status: number,
  said: Messages,
  held: Messages,
  taken?: number | null | 'first',
): Promise<string> {
  const file = parseReceiptFile(await boot.fileOf(status, said, held, taken));
  const { verdict, messages } = await verifyReceiptFile(file, { references: boot.references });
  assert.equal(verdict.ok, true);
  return messages;
}

/** Whether a file is refused for what it holds. */
function refused(...file: Parameters<typeof compared>): Promise<void> {
  return assert.rejects(compared(...file), EvidenceError);
}

test('a receipt that says of no number of messages fits every request: the response alone was compared', async () => {
  for (const taken of ['first', null] as const) {
    for (const request of [[], [hello], [hello, other]])
      assert.equal(await compared(REFUSED, nothing, { request, response: [] }, taken), 'response');
    await refused(REFUSED, nothing, { request: [], response: [hello] }, taken);
  }
  await refused(REFUSED, { request: [hello], response: [] }, { request: [hello], response: [] }, null);
});

test('of a refused call that commits to its request, both were compared', async () => {
  const call = { request: [hello], response: [] };
  for (const taken of ['first', 1] as const) {
    assert.equal(await compared(REFUSED, call, call, taken), 'both');
    for (const request of [[], [other]]) await refused(REFUSED, call, { request, response: [] }, taken);
  }
});

test('of a call that ended before it had taken all, the first messages were compared', async () => {
  const call = { request: [hello], response: [other] };
  for (const status of [0, REFUSED]) {
    assert.equal(await compared(status, call, { ...call, request: [hello, other] }), 'prefix');
    assert.equal(await compared(status, { ...call, request: [] }, call), 'response');
    await refused(status, call, { ...call, request: [other, hello] });
    await refused(status, call, { ...call, request: [] });
    await refused(status, call, { ...call, request: [hello, other] }, 2);
    await refused(status, call, { ...call, request: [hello, other] }, 0);
  }
  // Version 1 has no word for it.
  await refused(0, call, { ...call, request: [hello, other] }, 'first');
});

test('of a call that ended well, both were compared, a request of no message too', async () => {
  const call = { request: [], response: [hello] };
  for (const taken of ['first', 0] as const) {
    assert.equal(await compared(0, call, call, taken), 'both');
    assert.equal(await compared(0, nothing, nothing, taken), 'both');
  }
  await refused(0, nothing, { request: [hello], response: [] }, 'first');
  await refused(0, call, call, null);
});

test('the text of a status is compared where it is held', async () => {
  const call = { ...nothing, text: 'there is no such case' };
  assert.equal(await compared(REFUSED, call, call), 'both');
  assert.equal(await compared(REFUSED, call, nothing), 'both');
  await refused(REFUSED, call, { ...nothing, text: 'there is one' });
});
