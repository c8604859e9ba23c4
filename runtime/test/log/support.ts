/** Logs for tests: on a disk in memory that can fail, and on files. */

import { setTimeout as sleep } from 'node:timers/promises';
import { LogDisk, type LogLayout } from '@enclaim/attestation/log-disk';
import { seed } from '../../../test/support/properties.ts';
import type { Device } from '../../src/log/device.ts';
import { type Entry, RecordLog } from '../../src/log/record-log.ts';

/** Bytes of the disks of most tests. */
export const CAPACITY: number = 1024 * 1024;

/** A record that says its reason. */
export function entry(reason: string): Entry {
  return {
    v: 2,
    id: '0'.repeat(32),
    time: '2026-11-20T00:00:00.000Z',
    timeStrength: 'host',
    layer: 'runtime',
    system: 'test',
    policyDigest: `sha384:${'0'.repeat(96)}`,
    claims: [],
    decision: 'allow',
    reason,
    method: null,
    label: [],
    sink: null,
    figures: {},
    basis: 'enforced',
  };
}

/** A disk in memory, and how it fails. */
export class FakeDisk {
  readonly bytes: Buffer;
  /** Bytes that the next writes take, or an error in place of each; then all. */
  readonly takes: (number | Error)[] = [];
  /** Every write that was taken, if asked for. */
  readonly writes: { readonly at: number; readonly data: Buffer }[] = [];
  keepsWrites = false;

  constructor(capacity: number = CAPACITY) {
    this.bytes = Buffer.alloc(capacity);
  }

  get device(): Device {
    const disk = {
      read: async (into: Uint8Array, offset: number, length: number, at: number) => {
        const end = Math.min(at + length, this.bytes.length);
        return { bytesRead: end <= at ? 0 : this.bytes.copy(into, offset, at, end), buffer: into };
      },
      write: async (from: Uint8Array, offset: number, length: number, at: number) => {
        const takes = this.takes.shift() ?? length;
        if (takes instanceof Error) throw takes;
        if (takes === 0) await sleep(1); // for a log that tries again for ever
        const bytesWritten = Math.max(0, Math.min(takes, length, this.bytes.length - at));
        this.bytes.set(from.subarray(offset, offset + bytesWritten), at);
        if (this.keepsWrites) this.writes.push({ at, data: Buffer.from(from.subarray(offset, offset + bytesWritten)) });
        return { bytesWritten, buffer: from };
      },
      close: async () => {},
    };
    return disk as unknown as Device;
  }

  /** Another disk with these bytes. */
  copy(): FakeDisk {
    const other = new FakeDisk(this.bytes.length);
    other.bytes.set(this.bytes);
    return other;
  }

  open(): Promise<RecordLog> {
    return RecordLog.open(this.device, this.bytes.length);
  }

  get layout(): LogLayout {
    return this.reader.layout;
  }

  /** The disk as its readers have it. */
  get reader(): LogDisk {
    return new LogDisk(async (at, length) => this.bytes.subarray(at, at + length), this.bytes.length);
  }
}

/** A disk with a log of these records, each written before the next. */
export async function diskOf(reasons: readonly string[], disk: FakeDisk = new FakeDisk()): Promise<FakeDisk> {
  const log = await disk.open();
  for (const reason of reasons) await log.append(entry(reason));
  return disk;
}

/** Chooses a whole number below another. */
export type Draw = (below: number) => number;

/** A choice that the seed of the process and a name decide (mulberry32). */
export function seededDraw(name: string): Draw {
  let state = [...name].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), seed);
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** The first so many natural numbers, as texts. */
export function numbers(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, i) => `${from + i}`);
}
