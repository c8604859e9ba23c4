/** Receipts: one signature for all responses of a tick. */

import { create } from '@bufbuild/protobuf';
import { leafHash, MerkleTree } from '@enclaim/attestation/merkle';
import { ReceiptSchema } from '@enclaim/attestation/messages';
import { encodeReceipt, encodeReceiptBody, type ReceiptBody, receiptsMessage } from '@enclaim/attestation/receipt';

interface Waiting {
  readonly body: Uint8Array;
  readonly resolve: (receipt: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

/** Signs receipt bodies under the receipt key, all of one tick under one Merkle root. */
export class ReceiptSigner {
  readonly #sign: (message: Uint8Array) => Uint8Array;
  #waiting: Waiting[] = [];

  /** @param sign Ed25519 signature, 64 bytes, of a message */
  constructor(sign: (message: Uint8Array) => Uint8Array) {
    this.#sign = sign;
  }

  /** Wire bytes of the receipt for a body. */
  sign(body: ReceiptBody): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#flush());
      this.#waiting.push({ body: encodeReceiptBody(body), resolve, reject });
    });
  }

  #flush(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    try {
      const tree = new MerkleTree(batch.map(({ body }) => leafHash(body)));
      const signature = this.#sign(receiptsMessage(tree.root));
      batch.forEach(({ body, resolve }, index) => {
        const path = tree.path(index);
        resolve(encodeReceipt(create(ReceiptSchema, { body, index, size: batch.length, path, signature })));
      });
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
