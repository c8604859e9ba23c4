/** Attacks of the host by the disk of the log: it fails, lies, and is put back. */

import type { Device } from '../../runtime/src/log/device.ts';
import * as whole from '../../runtime/src/log/record-log.ts';
import { openLab } from '../support/lab.ts';
import { type Attack, lasts, settling } from './attack.ts';
import { onSource, passes } from './source-attack.ts';
import { type Edit, weakened } from './weakened.ts';

const CALLS = 'runtime/src/call/calls.ts';

const LOG = { path: 'runtime/src/log/record-log.ts' as const, whole };

const ENTRY: whole.Entry = {
  v: 2,
  id: '0'.repeat(32),
  time: '2026-11-20T00:00:00.000Z',
  timeStrength: 'host',
  layer: 'runtime',
  system: 'test',
  policyDigest: `sha384:${'0'.repeat(96)}`,
  claims: [],
  decision: 'allow',
  reason: 'ok',
  method: null,
  label: [],
  sink: null,
  figures: { number: 1 },
  basis: 'enforced',
};
const SIZE = 1 << 20;

/** A disk in memory, and how it fails. */
class FakeDisk {
  readonly bytes: Buffer = Buffer.alloc(SIZE);
  /** Bytes that the next writes take, or an error in place of each; then all. */
  readonly takes: (number | Error)[] = [];

  get device(): Device {
    const disk = {
      read: async (into: Uint8Array, offset: number, length: number, at: number) => {
        const bytesRead = this.bytes.copy(into, offset, at, Math.min(at + length, SIZE));
        return { bytesRead, buffer: into };
      },
      write: async (from: Uint8Array, offset: number, length: number, at: number) => {
        const takes = this.takes.shift() ?? length;
        if (takes instanceof Error) throw takes;
        const bytesWritten = Math.min(takes, length);
        this.bytes.set(from.subarray(offset, offset + bytesWritten), at);
        return { bytesWritten, buffer: from };
      },
      close: async () => {},
    };
    return disk as unknown as Device;
  }
}

type Log = typeof whole;

/** A disk with so many records on it, whose figure is their number. */
async function written({ RecordLog }: Log, count: number): Promise<FakeDisk> {
  const disk = new FakeDisk();
  const log = await RecordLog.open(disk.device, SIZE);
  for (let number = 1; number <= count; number++) await log.append({ ...ENTRY, figures: { number } });
  return disk;
}

const sizeOf = async ({ RecordLog }: Log, disk: FakeDisk): Promise<number> =>
  (await RecordLog.open(disk.device, SIZE)).head.size;

const CHAIN: Edit = ['if (record.prev !==', 'if (record.prev === null && record.prev !=='];
const EIO = (): Error => Object.assign(new Error('EIO: i/o error, write'), { code: 'EIO' });

/** Every attack by the disk of the log. */
export const diskAttacks: readonly Attack[] = [
  onSource(LOG, 'change a record on the disk', 'chain of records', [CHAIN], async (module) => {
    const disk = await written(module, 5);
    const at = disk.bytes.indexOf('"number":3');
    disk.bytes.write('"number":7', at);
    return (await sizeOf(module, disk)) === 5;
  }),
  onSource(LOG, 'leave a record out', 'chain of records', [CHAIN], async (module) => {
    const disk = await written(module, 5);
    const [, second, third] = framesOf(disk);
    if (second === undefined || third === undefined) return false;
    disk.bytes.copyWithin(second.at, third.at);
    return (await sizeOf(module, disk)) === 4;
  }),
  onSource(LOG, 'repeat a record at the end', 'chain of records', [CHAIN], async (module) => {
    const disk = await written(module, 5);
    const frames = framesOf(disk);
    const [first, last] = [frames[0], frames.at(-1)];
    if (first === undefined || last === undefined) return false;
    disk.bytes.copyWithin(last.at + last.length, first.at, first.at + first.length);
    return (await sizeOf(module, disk)) === 6;
  }),
  onSource(LOG, 'put the end of an older disk behind a newer one', 'chain of records', [CHAIN], async (module) => {
    const [newer, older] = [await written(module, 3), await written(module, 6)];
    older.bytes.copy(newer.bytes, 0, 0, 0);
    const [tail] = framesOf(newer).slice(-1);
    const behind = framesOf(older).slice(4);
    let at = (tail?.at ?? 0) + (tail?.length ?? 0);
    for (const each of behind) at += older.bytes.copy(newer.bytes, at, each.at, each.at + each.length);
    return (await sizeOf(module, newer)) === 5;
  }),
  onSource(
    LOG,
    'announce a record of four gigabytes',
    'length of a record',
    [['length > MAX_RECORD_BYTES || ', '']],
    async (module) => {
      let asked = 0;
      const endless = {
        read: async (into: Uint8Array, _offset: number, length: number) => {
          asked += length;
          if (asked > 32 * SIZE) throw EIO();
          into.fill(0xff, 0, length);
          return { bytesRead: length, buffer: into };
        },
      };
      return !(await passes(() => module.RecordLog.open(endless as unknown as Device, 2 ** 40)));
    },
  ),
  onSource(
    LOG,
    'take a part of each write',
    'writes are finished',
    [['for (let done = 0; done < data.length; ) {', 'for (let done = 0; done === 0; ) {']],
    async (module) => {
      const disk = new FakeDisk();
      disk.takes.push(...Array.from({ length: 40 }, () => 50));
      const log = await module.RecordLog.open(disk.device, SIZE);
      await log.append(ENTRY);
      return (await sizeOf(module, disk)) !== 1; // it was acknowledged, and is not there
    },
  ),
  onSource(
    LOG,
    'take nothing of a write, for ever',
    'a disk that takes nothing has failed',
    [
      [
        "if (bytesWritten === 0) throw new RangeError('the device takes no more');",
        'if (bytesWritten === 0) await new Promise((r) => setTimeout(r, 1));',
      ],
    ],
    async (module) => {
      const disk = new FakeDisk();
      disk.takes.push(...Array.from({ length: 1000 }, () => 0));
      const log = await module.RecordLog.open(disk.device, SIZE);
      const waits = await lasts(settling(log.append(ENTRY)), 400);
      disk.takes.length = 0;
      return waits;
    },
  ),
  onSource(
    LOG,
    'fail one write, and then be well again',
    'a failed log stays failed',
    [['this.#broken = cause;', '']],
    async (module) => {
      const disk = new FakeDisk();
      disk.takes.push(EIO());
      const log = await module.RecordLog.open(disk.device, SIZE);
      await log.append(ENTRY).catch(() => {});
      return passes(() => log.append(ENTRY));
    },
  ),
  onSource(
    LOG,
    'a disk that is full',
    'capacity of the log',
    [['if (end + PREFIX > this.#capacity - kept) {', 'if (end < 0) {']],
    async (module) => {
      const disk = new FakeDisk();
      const log = await module.RecordLog.open(disk.device, 2000);
      for (let count = 0; count < 10; count++) if (!(await passes(() => log.append(ENTRY)))) return false;
      return true;
    },
  ),
  {
    group: 'host',
    name: 'get an answer whose record no disk holds',
    layer: 'no log, no response',
    attempt: () => unrecorded([]),
    control: () => unrecorded([['release(durable, ', 'release(durable.catch(() => {}), ']]),
  },
];

/** Whether a call is answered although its record could not be written. */
async function unrecorded(edits: readonly Edit[]): Promise<boolean> {
  const { Calls } = await import(weakened(CALLS, { [CALLS]: edits }));
  const log = { place: () => ({ hash: whole.ZERO_HASH, durable: Promise.reject(EIO()) }) };
  const lab = await openLab({ handlers: { Sum: 'return { key: request.key }' }, Calls, log });
  try {
    return (await lab.call('Sum', { key: 'k' })).status === 0;
  } finally {
    lab.close();
  }
}

/** Where the frames of a log are on its disk. */
function framesOf({ bytes }: FakeDisk): { readonly at: number; readonly length: number }[] {
  const frames = [];
  for (let at = 0; bytes.readUInt32BE(at) !== 0; ) {
    const length = 4 + bytes.readUInt32BE(at);
    frames.push({ at, length });
    at += length;
  }
  return frames;
}
