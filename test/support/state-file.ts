/** Files of exported state as an attacker writes them: nothing of them is checked here. */

import { readFile } from 'node:fs/promises';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { concat, u32be, utf8 } from '@enclaim/attestation/bytes';
import { encodeCanonical } from '@enclaim/attestation/canonical';
import { sha256 } from '@enclaim/attestation/digest';
import type { StateHeader } from '../../cli/src/state/file.ts';

/** The parts of a file. */
export interface StateParts {
  readonly header: StateHeader;
  /** Blocks by number, as they are on the disk. */
  readonly blocks: readonly (readonly [number: number, bytes: Uint8Array])[];
  /** In place of the true one. */
  readonly hash?: Uint8Array;
  /** How a block is packed, in place of the usual. */
  readonly pack?: (bytes: Uint8Array) => Uint8Array;
}

/** The parts of a file that is good. */
export async function framed(path: string): Promise<StateParts> {
  const bytes = await readFile(path);
  const end = 16 + bytes.readUInt32BE(12);
  const header = JSON.parse(bytes.subarray(16, end).toString()) as StateHeader;
  const blocks: [number, Uint8Array][] = [];
  for (let at = end; bytes.readUInt32BE(at) !== 0xffffffff; ) {
    const length = bytes.readUInt32BE(at + 4);
    blocks.push([bytes.readUInt32BE(at), inflateRawSync(bytes.subarray(at + 8, at + 8 + length))]);
    at += 8 + length;
  }
  return { header, blocks };
}

/** A file of parts. */
export function packed({ header, blocks, hash, pack = deflateRawSync }: StateParts): Uint8Array {
  const head = encodeCanonical(header);
  const frames = blocks.map(([number, bytes]) => {
    const data = pack(bytes);
    return concat(u32be(number), u32be(data.length), data);
  });
  const all = concat(utf8('ENCLSTX\0'), u32be(1), u32be(head.length), head, ...frames, u32be(0xffffffff));
  return concat(all, hash ?? sha256(all));
}
