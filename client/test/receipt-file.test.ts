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

async function compared(status: number, said: Messages, held: Messages): Promise<string> {
  const file = parseReceiptFile(await boot.fileOf(status, said, held));
  const { verdict, messages } = await verifyReceiptFile(file, { references: boot.references });
  assert.equal(verdict.ok, true);
  return messages;
}

test('of a refused call that commits to no request, a file holds any: the response alone was compared', async () => {
  for (const request of [[], [hello], [hello, other]])
    assert.equal(await compared(REFUSED, nothing, { request, response: [] }), 'response');
  await assert.rejects(compared(REFUSED, nothing, { request: [], response: [hello] }), EvidenceError);
});

test('of a refused call that commits to its request, both were compared', async () => {
  const call = { request: [hello], response: [] };
  assert.equal(await compared(REFUSED, call, call), 'both');
  for (const request of [[], [other]])
    await assert.rejects(compared(REFUSED, call, { request, response: [] }), EvidenceError);
});

test('of a call that ended well, both were compared, a request of no message too', async () => {
  assert.equal(await compared(0, { request: [], response: [hello] }, { request: [], response: [hello] }), 'both');
  await assert.rejects(compared(0, nothing, { request: [hello], response: [] }), EvidenceError);
});
