/** Receipts: one signature for all responses of a tick. */

import { create } from '@bufbuild/protobuf';
import { leafHash, MerkleTree } from '@enclaim/attestation/merkle';
import { ReceiptSchema } from '@enclaim/attestation/messages';
import { encodeReceipt, encodeReceiptBody, type ReceiptBody, receiptsMessage } from '@enclaim/attestation/receipt';
import { Batcher } from '../batcher.ts';

/** Receipts that may wait: more than calls can be under way. */
const MAX_WAITING_RECEIPTS = 65_536;

/** Signs receipt bodies under the receipt key, all of one tick under one Merkle root. */
export class ReceiptSigner {
  readonly #batcher: Batcher<ReceiptBody, Uint8Array>;

  /** @param sign Ed25519 signature, 64 bytes, of a message */
  constructor(sign: (message: Uint8Array) => Uint8Array) {
    this.#batcher = new Batcher(async (receipts) => {
      const bodies = receipts.map(encodeReceiptBody);
      const tree = new MerkleTree(bodies.map(leafHash));
      const signature = sign(receiptsMessage(tree.root));
      const size = bodies.length;
      return bodies.map((body, index) =>
        encodeReceipt(create(ReceiptSchema, { body, index, size, path: tree.path(index), signature })),
      );
    }, MAX_WAITING_RECEIPTS);
  }

  /** Wire bytes of the receipt for a body. */
  sign(body: ReceiptBody): Promise<Uint8Array> {
    return this.#batcher.add(body);
  }
}
