/**
 * A disk whose power is cut: as a device of the kernel's mapper would, it loses, tears and reorders what no write had
 * acknowledged. It stands where no such device can be made, in the runtime's own process.
 */

import { writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import type { Device } from '../../runtime/src/log/device.ts';

/** Bytes that a disk writes as a whole. */
const SECTOR = 512;

/** What happens at a write, which is counted from 1. */
export interface Fault {
  /** `kill`: the process ends while that write is under way; `cut`: the power; `error`: it and all later ones fail. */
  readonly kind: 'kill' | 'cut' | 'error';
  readonly write: number;
  readonly seed: number;
}

/** A write that is not acknowledged. */
export interface UnderWay {
  readonly at: number;
  readonly data: Uint8Array;
}

/** Chooses a whole number below another (mulberry32). */
export function drawn(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** Sectors of writes that were not acknowledged, as a cut of the power leaves them: any of them, in any order. */
export function torn(writes: readonly UnderWay[], draw: (below: number) => number): UnderWay[] {
  const pieces = writes.flatMap(({ at, data }) => {
    const share = draw(5);
    const sectors: UnderWay[] = [];
    for (let from = 0; from < data.length; from += SECTOR)
      if (draw(4) < share) sectors.push({ at: at + from, data: data.subarray(from, from + SECTOR) });
    return sectors;
  });
  for (let i = pieces.length - 1; i > 0; i--) {
    const j = draw(i + 1);
    const [one, other] = [pieces[i], pieces[j]];
    if (one && other) [pieces[i], pieces[j]] = [other, one];
  }
  return pieces;
}

/** Stands between a runtime and its disk. */
export class CutDisk implements Device {
  readonly fd: number;
  readonly #disk: Device;
  readonly #fault: Fault;
  readonly #draw: (below: number) => number;
  readonly #underWay = new Set<UnderWay>();
  #writes = 0;

  constructor(disk: Device, fault: Fault) {
    if (disk.fd === undefined) throw new TypeError('a disk that is no file');
    this.fd = disk.fd;
    this.#disk = disk;
    this.#fault = fault;
    this.#draw = drawn(fault.seed);
  }

  get read(): Device['read'] {
    return this.#disk.read.bind(this.#disk);
  }

  get write(): Device['write'] {
    return ((from: Uint8Array, offset: number, length: number, at: number) =>
      this.#write(from, offset, length, at)) as Device['write'];
  }

  close(): Promise<void> {
    return this.#disk.close();
  }

  async #write(
    from: Uint8Array,
    offset: number,
    length: number,
    at: number,
  ): Promise<{ bytesWritten: number; buffer: Uint8Array }> {
    const { kind, write } = this.#fault;
    const isDue = ++this.#writes >= write;
    const underWay = { at, data: Uint8Array.from(from.subarray(offset, offset + length)) };
    this.#underWay.add(underWay);
    for (let turns = this.#draw(3); turns > 0; turns--) await turn();
    if (isDue && kind === 'cut') this.#cut();
    if (isDue && kind === 'error') {
      for (const { at: where, data } of torn([underWay], this.#draw))
        await this.#disk.write(data, 0, data.length, where);
      throw Object.assign(new Error('EIO: i/o error, write'), { code: 'EIO' });
    }
    const writing = this.#disk.write(from, offset, length, at);
    if (isDue) process.kill(process.pid, 'SIGKILL');
    const { bytesWritten } = await writing;
    this.#underWay.delete(underWay);
    return { bytesWritten, buffer: from };
  }

  #cut(): void {
    for (const { at, data } of torn([...this.#underWay], this.#draw)) writeSync(this.fd, data, 0, data.length, at);
    process.kill(process.pid, 'SIGKILL');
  }
}

/** A copy of a disk's file with more on it. */
export async function writeAll(path: string, writes: readonly UnderWay[]): Promise<void> {
  const file: FileHandle = await open(path, 'r+');
  try {
    for (const { at, data } of writes) await file.write(data, 0, data.length, at);
  } finally {
    await file.close();
  }
}
