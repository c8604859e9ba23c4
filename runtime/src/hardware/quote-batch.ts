/**
 * Quote batches: one hardware signature for all clients that asked while the last signature was
 * made.
 */

import type { BatchPath } from '@enclaim/attestation/batch';
import { leafHash, MerkleTree } from '@enclaim/attestation/merkle';
import { Batcher } from '../batcher.ts';
import type { HardwareEvidence } from './platform.ts';

/** A leaf's place under a signed root. */
export interface SignedLeaf {
  readonly leaf: BatchPath;
  readonly hardware: HardwareEvidence;
}

/** Leaves that may wait for the next signature. */
const MAX_WAITING_LEAVES = 4096;

/** Signs leaf data in batches. */
export class QuoteBatcher extends Batcher<Uint8Array, SignedLeaf> {
  /** @param sign one hardware signature over a root; at most one runs at a time */
  constructor(sign: (root: Uint8Array) => Promise<HardwareEvidence>) {
    super(async (leaves) => {
      const tree = new MerkleTree(leaves.map(leafHash));
      const hardware = await sign(tree.root);
      const size = leaves.length;
      return leaves.map((data, index) => ({ leaf: { data, index, size, path: tree.path(index) }, hardware }));
    }, MAX_WAITING_LEAVES);
  }
}
