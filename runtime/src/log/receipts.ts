/** Receipts: one signature for all responses of a tick. */

import { sha256 } from '@enclaim/attestation/digest';
import { MerkleTree } from '@enclaim/attestation/merkle';
import {
  bodyOfLeaf,
  encodeReceipt,
  type ReceiptBody,
  receiptBodyText,
  receiptLeafHead,
  receiptsMessage,
} from '@enclaim/attestation/receipt';
import { type Batched, Batcher } from '../batcher.ts';

/** Receipts that may wait: more than calls can be under way. */
const MAX_WAITING_RECEIPTS = 65_536;

/** Signs receipt bodies under the receipt key, all of one tick under one Merkle root. */
export class ReceiptSigner {
  readonly #batcher: Batcher<() => ReceiptBody, Uint8Array>;

  /** @param sign Ed25519 signature, 64 bytes, of a message */
  constructor(sign: (message: Uint8Array) => Uint8Array) {
    this.#batcher = new Batcher((bodies) => {
      const leaves = bodies.map((body) => leafOf(body()));
      const tree = new MerkleTree(leaves.map(sha256));
      const signature = sign(receiptsMessage(tree.root));
      const size = leaves.length;
      return leaves.map((leaf, index) =>
        encodeReceipt({ body: bodyOfLeaf(leaf), index, size, path: tree.path(index), signature }),
      );
    }, MAX_WAITING_RECEIPTS);
  }

  /**
   * Gives a body its place among the receipts of this tick. Results are wire bytes of receipts.
   *
   * @param body is called once, behind what was placed before it; it does not throw, because no
   *   other receipt of its tick would be made
   * @throws RefusalError `budget` if too many wait
   */
  sign(body: () => ReceiptBody): Batched<Uint8Array> {
    return this.#batcher.place(body);
  }
}

/**
 * The leaf of a body.
 *
 * **Cost**: its text is written to where it is hashed, and joined to nothing before.
 */
function leafOf(body: ReceiptBody): Buffer {
  const text = receiptBodyText(body);
  const head = receiptLeafHead(body);
  const leaf = Buffer.allocUnsafe(head.length + Buffer.byteLength(text));
  leaf.set(head);
  leaf.write(text, head.length);
  return leaf;
}
