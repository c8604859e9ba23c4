/**
 * Quote batches: one hardware signature for all clients that asked while the last signature was
 * made, and for the log's checkpoint.
 */

import { randomBytes, randomInt } from 'node:crypto';
import { type BatchPath, encodePaddingLeaf, PADDING_BYTES } from '@enclaim/attestation/batch';
import { leafHash, MerkleTree } from '@enclaim/attestation/merkle';
import { Batcher } from '../batcher.ts';
import { RefusalError } from '../errors.ts';
import type { HardwareEvidence } from './platform.ts';

/** A leaf's place under a signed root. */
export interface SignedLeaf {
  readonly leaf: BatchPath;
  readonly hardware: HardwareEvidence;
}

/**
 * Sizes that batches have. The rest of a batch is filled with padding, and its leaves stand in
 * random order.
 *
 * **Leak**: a client sees index and size of its leaf. Without this, they would tell it how many
 * clients ask, and how many of them came before it.
 */
const BATCH_SIZES = [64, 512, 4096] as const;

/** Leaves that may wait for the next signature. */
const MAX_WAITING_LEAVES = 4096;
/** Leaves of clients among them: the log's checkpoint always has its place. */
const MAX_WAITING_NONCES: number = MAX_WAITING_LEAVES - 1;

/** Signs leaf data in batches. */
export class QuoteBatcher {
  readonly #batcher: Batcher<() => Uint8Array, SignedLeaf>;

  /** @param sign one hardware signature over a root; at most one runs at a time */
  constructor(sign: (root: Uint8Array) => Promise<HardwareEvidence>) {
    this.#batcher = new Batcher(async (leaves) => {
      const { data, places } = filled(leaves.map((leaf) => leaf()));
      const tree = new MerkleTree(data.map(leafHash));
      const hardware = await sign(tree.root);
      const size = data.length;
      const leafAt = (index: number): BatchPath => ({
        data: data[index] as Uint8Array,
        index,
        size,
        path: tree.path(index),
      });
      return places.map((index) => ({ leaf: leafAt(index), hardware }));
    }, MAX_WAITING_LEAVES);
  }

  /**
   * Signs a client's leaf.
   *
   * @throws RefusalError `budget` if too many leaves wait; any error of the signature
   */
  async add(data: Uint8Array): Promise<SignedLeaf> {
    if (this.#batcher.waiting >= MAX_WAITING_NONCES) {
      throw new RefusalError('budget', `${MAX_WAITING_NONCES} others are already waiting for a quote`);
    }
    return this.#batcher.add(() => data);
  }

  /**
   * Signs a leaf that is made when its batch begins, so that it states what holds by then. Only the
   * log uses this, for one leaf at a time.
   *
   * @throws any error of the signature
   */
  addLatest(make: () => Uint8Array): Promise<SignedLeaf> {
    return this.#batcher.add(make);
  }
}

/** Leaves at random places of a batch of a fixed size, with padding between them. */
function filled(leaves: readonly Uint8Array[]): { readonly data: Uint8Array[]; readonly places: number[] } {
  const size = BATCH_SIZES.find((one) => one >= leaves.length) ?? MAX_WAITING_LEAVES;
  const random = randomBytes(size * PADDING_BYTES);
  const data = Array.from({ length: size }, (_, at) =>
    encodePaddingLeaf(random.subarray(at * PADDING_BYTES, (at + 1) * PADDING_BYTES)),
  );
  const order = data.map((_, at) => at);
  const places = leaves.map((leaf, at) => {
    const other = randomInt(at, size);
    const place = order[other] as number;
    order[other] = order[at] as number;
    data[place] = leaf;
    return place;
  });
  return { data, places };
}
