/**
 * The chain of boots of one log (docs/reference/formats.md, "Chain of boots"): from a tree that one
 * boot had under its quote to that of a later boot.
 */

import { equalBytes, fromHex } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import { merkleRoot, rootFromConsistency } from '../merkle.ts';
import type { Moment } from '../moment.ts';
import type { Anchors } from '../references/references.ts';
import type { CurrentBootStatement } from '../statement.ts';
import { type QuotedTree, verifyQuotedTree } from './record-proof.ts';

/** Boots that one chain may have. */
export const MAX_CHAINED_BOOTS = 256;

/** A later boot, as it travels. Nothing of it is authentic yet. */
export interface LaterBoot {
  /** `enclaim.v1.LogProof` of a checkpoint of this boot. */
  readonly quote: Uint8Array;
  /** Consistency proof from the tree of the boot before to the one that this boot found. */
  readonly found: readonly Uint8Array[];
  /** The same from the tree that this boot found to its checkpoint. */
  readonly grown: readonly Uint8Array[];
}

/** A later boot whose tree continues that of the boot before. */
export interface ChainedBoot extends QuotedTree {
  /** Records that the boot found. */
  readonly began: number;
  /**
   * Records between the checkpoint of the boot before and those that this boot found: no quote in
   * this chain covers them.
   */
  readonly uncovered: number;
}

/** A tree of a log. */
interface Tree {
  readonly size: number;
  readonly root: Uint8Array;
}

/**
 * Verifies that later boots went on from a tree, each from the one before.
 *
 * @param from the tree under the quote of the first boot
 * @param later boots, the oldest first
 * @throws EvidenceError `log` where a boot does not go on from the one before: it began with an
 * earlier disk, or with another tree; and those of `verifyQuotedTree`
 */
export async function verifyBootChain(
  from: Tree,
  later: readonly LaterBoot[],
  anchors: Anchors,
  moment: Pick<Moment, 'now'>,
): Promise<ChainedBoot[]> {
  if (later.length > MAX_CHAINED_BOOTS) throw new EvidenceError('format', `a chain of ${later.length} boots`);
  const chain: ChainedBoot[] = [];
  let before = from;
  for (const { quote, found, grown } of later) {
    const tree = await verifyQuotedTree(quote, anchors, moment);
    const { bootId, log } = tree.authenticated.statement as CurrentBootStatement;
    const began = { size: log.size, root: fromHex(log.root.slice('sha256:'.length)) };
    const [who, had] = [`boot ${bootId} began with ${began.size} records`, `${before.size} were under a quote before`];
    // layer: boots go on where those before were
    if (began.size < before.size) throw new EvidenceError('log', `${who}, and ${had}: its disk was an earlier one`);
    // layer: boots begin with the tree of those before
    if (!continues(before, began, found)) throw new EvidenceError('log', `${who} of another tree: ${had}`);
    // layer: boots continue what they found
    if (!continues(began, tree.checkpoint, grown))
      throw new EvidenceError('log', `the checkpoint of boot ${bootId} does not continue what the boot began with`);
    chain.push({ ...tree, began: began.size, uncovered: began.size - before.size });
    before = tree.checkpoint;
  }
  return chain;
}

/** Whether a tree begins with an older one. */
function continues(old: Tree, now: Tree, path: readonly Uint8Array[]): boolean {
  if (old.size === 0) return path.length === 0 && equalBytes(old.root, merkleRoot([]));
  if (old.size === now.size) return path.length === 0 && equalBytes(old.root, now.root);
  const root = rootFromConsistency(old.root, old.size, now.size, path);
  return root !== undefined && equalBytes(root, now.root);
}
