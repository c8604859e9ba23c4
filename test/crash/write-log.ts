/**
 * What QEMU has written to a disk, entry by entry, in the format of dm-log-writes (QEMU's `blklogwrites`).
 * **Spec**: Linux, Documentation/admin-guide/device-mapper/log-writes.rst.
 */

import type { RecordedWrite } from './recording.ts';

const SECTOR = 512;
const MAGIC = 0x6a736677736872n;
const FLUSH = 1n;
const FUA = 2n;
const DISCARD = 4n;

/** The same arguments of QEMU with a log of all that is written to the state disk. For wrapped-tools.ts. */
export function loggedState(state: string, log: string): string {
  const node = {
    driver: 'blklogwrites',
    'node-name': 'state',
    'log-super-update-interval': 1,
    file: { driver: 'file', filename: state },
    log: { driver: 'file', filename: log },
  };
  return `case $argument in *'"node-name":"state"'*) argument='${JSON.stringify(node)}' ;; esac`;
}

/**
 * Writes of a log. Instants are offsets in it: a write has begun at its end there, and is acknowledged at the end of the next
 * flush.
 */
export function writesIn(log: Buffer): RecordedWrite[] {
  if (log.readBigUInt64LE(0) !== MAGIC || log.readUInt32LE(24) !== SECTOR) throw new RangeError('no log of writes');
  const writes: RecordedWrite[] = [];
  let waiting: RecordedWrite[] = [];
  for (let at = SECTOR; at + SECTOR <= log.length; ) {
    const [sector = 0n, sectors = 0n, flags = 0n] = [0, 8, 16].map((field) => log.readBigUInt64LE(at + field));
    // An entry of nothing: behind the end.
    if (sectors === 0n && flags === 0n) break;
    const length = (flags & DISCARD) === 0n ? Number(sectors) * SECTOR : 0;
    const end = at + SECTOR + length;
    if (end > log.length) break;
    if (length > 0) {
      const data = log.subarray(at + SECTOR, end);
      const ended = (flags & FUA) === 0n ? Number.POSITIVE_INFINITY : end;
      const write: RecordedWrite = { at: Number(sector) * SECTOR, data, begun: end, ended };
      writes.push(write);
      if (ended > end) waiting.push(write);
    }
    if ((flags & FLUSH) !== 0n) {
      for (const write of waiting) write.ended = end;
      waiting = [];
    }
    at = end;
  }
  return writes;
}
