/** Expanded tiles: a tile's hashes and every node above them, below its root. */

import { nodeHash } from '../merkle.ts';
import { HASH_BYTES, TILE_HASHES } from './layout.ts';

/** Heights of nodes in a tile, its hashes counted. Its root is a hash of the level above. */
export const TILE_HEIGHT = 8;
/** Place of the first node of each height: 256 hashes, 128 nodes above them, down to 2. */
const FIRST_NODE: readonly number[] = [0, 256, 384, 448, 480, 496, 504, 508];
/** Bytes of an expanded tile. */
const EXPANDED_BYTES = 510 * HASH_BYTES;

/** A tile's nodes by height in it, 0 to 7, and by index. Nodes that are not there yet are zeros. */
export class ExpandedTile {
  readonly #bytes = new Uint8Array(EXPANDED_BYTES);

  /** The tile of these hashes, of which there are at most 256. */
  static of(hashes: Uint8Array): ExpandedTile {
    const tile = new ExpandedTile();
    tile.#bytes.set(hashes);
    let width = hashes.length / HASH_BYTES;
    for (let height = 1; height < TILE_HEIGHT; height++) {
      width = Math.floor(width / 2);
      for (let i = 0; i < width; i++)
        tile.set(height, i, nodeHash(tile.node(height - 1, 2 * i), tile.node(height - 1, 2 * i + 1)));
    }
    return tile;
  }

  node(height: number, index: number): Uint8Array {
    const at = ((FIRST_NODE[height] ?? 0) + index) * HASH_BYTES;
    return this.#bytes.subarray(at, at + HASH_BYTES);
  }

  set(height: number, index: number, hash: Uint8Array): void {
    this.#bytes.set(hash, ((FIRST_NODE[height] ?? 0) + index) * HASH_BYTES);
  }

  /** The root of a full tile. */
  root(): Uint8Array {
    return nodeHash(this.node(TILE_HEIGHT - 1, 0), this.node(TILE_HEIGHT - 1, 1));
  }

  /** The first `width` hashes, as a view. */
  hashes(width: number = TILE_HASHES): Uint8Array {
    return this.#bytes.subarray(0, width * HASH_BYTES);
  }
}
