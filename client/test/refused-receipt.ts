/** Receipt files of calls that a boot refused, which no echo does: with the evidence of that boot, and its signature. */

import assert from 'node:assert/strict';
import { mock } from 'node:test';
import type { References } from '@enclaim/attestation';
import { digestText } from '@enclaim/attestation/digest';
import { commitment, type ReceiptBody } from '@enclaim/attestation/receipt';
import { Client, credentials } from '@grpc/grpc-js';
import { resultOf } from '../../runtime/src/batcher.ts';
import { ReceiptSigner } from '../../runtime/src/log/receipts.ts';
import { ECHO, startPretendServer } from '../../test/support/pretend-server.ts';
import { connect } from '../src/channel.ts';
import type { CheckedReceipt } from '../src/receipt-call.ts';
import { receiptFile } from '../src/receipt-file.ts';

/** Messages of a call. */
export interface Messages {
  readonly request: readonly Uint8Array[];
  readonly response: readonly Uint8Array[];
  /** Text of the status, by default empty. */
  readonly text?: string;
}

/** A boot that signs what it is told. */
export interface ReceiptBoot {
  readonly references: References;
  /**
   * A receipt file whose receipt has this status and commits to `said`, and that holds `messages`.
   * @param taken what it says of how many were taken; by default the truth, and `first` for a receipt of version 1
   */
  fileOf(status: number, said: Messages, messages: Messages, taken?: number | null | 'first'): Promise<Uint8Array>;
}

/** Boots. */
export async function receiptBoot(): Promise<ReceiptBoot> {
  const server = await startPretendServer();
  const signing = mock.method(ReceiptSigner.prototype, 'sign');
  const receipts: CheckedReceipt[] = [];
  const channel = await connect(server.target, {
    references: server.references,
    onReceipt: (receipt) => receipts.push(receipt),
  });
  const same = (bytes: Buffer): Buffer => bytes;
  const client = new Client(server.target, credentials.createInsecure(), { channelOverride: channel });
  await new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest(`${ECHO}Unary`, same, same, Buffer.from('hello'), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  channel.close();
  server.stop();
  const signer = signing.mock.calls[0]?.this;
  signing.mock.restore();
  const [receipt] = receipts;
  assert(signer instanceof ReceiptSigner && receipt !== undefined);
  const salt = Buffer.from(receipt.body.salt, 'hex');
  return {
    references: server.references,
    fileOf: async (status, said, messages, taken = said.request.length) => {
      const { boot, decision, method, policy, record, sequence, time } = receipt.body;
      const { text = '' } = said;
      const fields = {
        ...{ boot, decision, method, policy, record, sequence, time, status, salt: receipt.body.salt },
        request: digestText('sha256', commitment('request', salt, said.request)),
        response: digestText('sha256', commitment('response', salt, said.response)),
      };
      const told = status === 0 ? null : digestText('sha256', commitment('status', salt, [Buffer.from(text)]));
      const body = taken === 'first' ? { ...fields, version: 1 } : { ...fields, version: 2, taken, text: told };
      const bytes = await resultOf(signer.sign(() => body as ReceiptBody));
      return receiptFile({ ...receipt, bytes }, messages);
    },
  };
}
