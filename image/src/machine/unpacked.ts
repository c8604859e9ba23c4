/** Hashes of what locked packages unpack to, by which an unpacked folder is believed. */
import { createHash } from 'node:crypto';
import type { LockedInput } from '../inputs/lock.ts';

/** Files by path: mode and SHA-256, or where a link leads. Folders count by what is in them. */
export type Tree = ReadonlyMap<string, string>;

/**
 * {@link digestOfTree} of what lists of packages unpack to, by {@link keyOf}. **Cost**: to unpack
 * them takes each process that starts a machine seconds of processor, to hash what was unpacked a
 * tenth of that. A list that is not here is unpacked.
 */
export const UNPACKED: Readonly<Record<string, string>> = {
  // bookworm
  '99b58074f10a301260af8649b380d5a35836688b245e0fdf31071dfdc425e89b':
    '307e0c7f666835a745793e4322edbeccd18e2c42482a6d1521a11751b163a613',
  // trixie
  '8a315c32c8b8451f750371d19eb7f02ce6101702738cde5bb1815615522801cf':
    '4643bd9384aa7b392638affad28f001b79fa62f35b03b0327cf896c27764676c',
};

/** SHA-256 of a list of packages, in hex. */
export function keyOf(inputs: readonly LockedInput[]): string {
  return sha256(JSON.stringify(inputs));
}

/** SHA-256 over what a tree holds, in the order of its paths, in hex. */
export function digestOfTree(tree: Tree): string {
  return sha256(JSON.stringify([...tree].sort(([one], [other]) => (one < other ? -1 : 1))));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
