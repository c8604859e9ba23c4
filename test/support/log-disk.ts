/** Records of a log, as its disk has them. */

import { open } from 'node:fs/promises';
import { openLog } from '@enclaim/attestation/log-disk';
import { decodeEntry, type EvidenceRecord } from '@enclaim/attestation/record';

/** All records on a disk or on a file that stands for one. @param capacity of a file that is shorter than its disk */
export async function recordsOnDisk(path: string, capacity?: number): Promise<EvidenceRecord[]> {
  await using disk = await open(path, 'r');
  const read = async (at: number, length: number): Promise<Uint8Array> => {
    const { bytesRead, buffer } = await disk.read(new Uint8Array(length), 0, length, at);
    return buffer.subarray(0, bytesRead);
  };
  const log = await openLog(read, capacity ?? (await disk.stat()).size);
  return (await Array.fromAsync(log.entries())).map(decodeEntry);
}
