/** Attacks of the host: it owns the clock, the disks and what is said at launch, and each of them may lie, fail or change. */

import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { utf8 } from '@enclaim/attestation/bytes';
import { digestOfCanonical } from '@enclaim/policy-schema';
import * as wholeApp from '../../guest/src/app.ts';
import * as wholeLine from '../../guest/src/linux/command-line.ts';
import * as wholeDisk from '../../guest/src/linux/disk.ts';
import * as wholeTime from '../../guest/src/time.ts';
import * as wholeClock from '../../runtime/src/clock.ts';
import type { Device } from '../../runtime/src/device.ts';
import * as wholeLog from '../../runtime/src/log.ts';
import * as wholeStore from '../../runtime/src/store.ts';
import { openLab } from '../support/lab.ts';
import type { Attack } from './attack.ts';
import { type Edit, weakened } from './weakened.ts';

const SOURCES = {
  log: ['runtime/src/log.ts', wholeLog],
  clock: ['runtime/src/clock.ts', wholeClock],
  store: ['runtime/src/store.ts', wholeStore],
  time: ['guest/src/time.ts', wholeTime],
  app: ['guest/src/app.ts', wholeApp],
  line: ['guest/src/linux/command-line.ts', wholeLine],
  disk: ['guest/src/linux/disk.ts', wholeDisk],
} as const;
type Source = keyof typeof SOURCES;
type Module<S extends Source> = (typeof SOURCES)[S][1];

/** An attack on one source: it is tried on the whole one and on the one without a layer. */
function onSource<S extends Source>(
  source: S,
  name: string,
  layer: string,
  edits: readonly Edit[],
  succeeds: (module: Module<S>) => Promise<boolean>,
): Attack {
  const [path, whole] = SOURCES[source];
  return {
    group: 'host',
    name,
    layer,
    attempt: () => succeeds(whole),
    control: async () => succeeds(await import(weakened(path, ...edits))),
  };
}

/** Whether an action is refused: not refused is what the attacker wants. */
async function passes(action: () => unknown): Promise<boolean> {
  try {
    await action();
    return true;
  } catch {
    return false;
  }
}

/** Runs an action while the host's clock says something else. */
async function atTime<T>(said: () => number, action: () => T | Promise<T>): Promise<T> {
  const { now } = Date;
  Date.now = said;
  try {
    return await action();
  } finally {
    Date.now = now;
  }
}

const HOUR = 3_600_000;

const clockAttacks: readonly Attack[] = [
  ...(['an hour back', 'an hour ahead'] as const).map((name, at) =>
    onSource(
      'clock',
      `set the clock ${name} during a boot`,
      'one reading of the clock',
      [['Math.floor(monotonic() + this.#offset)', 'Date.now()']],
      async ({ BootClock, anchorTime }) => {
        const clock = new BootClock(anchorTime());
        const before = clock.now();
        const after = await atTime(
          () => before + (at === 0 ? -HOUR : HOUR),
          () => clock.now(),
        );
        return Math.abs(after - before) > 1000;
      },
    ),
  ),
  onSource(
    'clock',
    'begin a boot before the last record of the one before',
    'no time before the newest record',
    [['this.#offset += Math.max(0, wall - this.now());', '']],
    async ({ BootClock, anchorTime }) => {
      const last = Date.now();
      const clock = await atTime(
        () => last - 24 * HOUR,
        () => new BootClock(anchorTime()),
      );
      clock.notBefore(last);
      return clock.now() < last;
    },
  ),
  onSource(
    'time',
    'begin a boot in 1970',
    'no time before the kernel was built',
    [['if (now.wall < floor)', 'if (false)']],
    async ({ readTime }) =>
      passes(() => readTime('#1 SMP Debian 6.12.95-1 (2026-07-01)', { wall: 1000, monotonic: 0 })),
  ),
  ...(
    ['keep a value beyond its retention, by a clock set back', 'lose a value early, by a clock set ahead'] as const
  ).map((name, at) =>
    onSource(
      'store',
      name,
      'retention by the kernel’s count',
      [['performance.now()', 'Date.now()']],
      async ({ VolatileCollection }) => {
        const collection = new VolatileCollection('cases', 200);
        collection.put('k', 'v', []);
        if (at === 0) await sleep(300);
        const jump = at === 0 ? -HOUR : HOUR;
        const now = Date.now();
        const found = await atTime(
          () => now + jump,
          () => collection.get('k'),
        );
        return (found !== undefined) === (at === 0);
      },
    ),
  ),
];

const ENTRY: wholeLog.Entry = {
  v: 1,
  id: '0'.repeat(32),
  time: '2026-11-20T00:00:00.000Z',
  timeStrength: 'host',
  layer: 'runtime',
  system: 'test',
  policyDigest: `sha384:${'0'.repeat(96)}`,
  claim: null,
  controls: [],
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

type Log = typeof wholeLog;

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

const logAttacks: readonly Attack[] = [
  onSource('log', 'change a record on the disk', 'chain of records', [CHAIN], async (module) => {
    const disk = await written(module, 5);
    const at = disk.bytes.indexOf('"number":3');
    disk.bytes.write('"number":7', at);
    return (await sizeOf(module, disk)) === 5;
  }),
  onSource('log', 'leave a record out', 'chain of records', [CHAIN], async (module) => {
    const disk = await written(module, 5);
    const [, second, third] = framesOf(disk);
    if (second === undefined || third === undefined) return false;
    disk.bytes.copyWithin(second.at, third.at);
    return (await sizeOf(module, disk)) === 4;
  }),
  onSource('log', 'repeat a record at the end', 'chain of records', [CHAIN], async (module) => {
    const disk = await written(module, 5);
    const frames = framesOf(disk);
    const [first, last] = [frames[0], frames.at(-1)];
    if (first === undefined || last === undefined) return false;
    disk.bytes.copyWithin(last.at + last.length, first.at, first.at + first.length);
    return (await sizeOf(module, disk)) === 6;
  }),
  onSource('log', 'put the end of an older disk behind a newer one', 'chain of records', [CHAIN], async (module) => {
    const [newer, older] = [await written(module, 3), await written(module, 6)];
    older.bytes.copy(newer.bytes, 0, 0, 0);
    const [tail] = framesOf(newer).slice(-1);
    const behind = framesOf(older).slice(4);
    let at = (tail?.at ?? 0) + (tail?.length ?? 0);
    for (const each of behind) at += older.bytes.copy(newer.bytes, at, each.at, each.at + each.length);
    return (await sizeOf(module, newer)) === 5;
  }),
  onSource(
    'log',
    'announce a record of four gigabytes',
    'length of a record',
    [['length > RECORD_LIMIT || ', '']],
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
    'log',
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
    'log',
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
      const waits = await Promise.race([passes(() => log.append(ENTRY)), sleep(400, 'waits')]);
      disk.takes.length = 0;
      return waits === 'waits';
    },
  ),
  onSource(
    'log',
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
    'log',
    'a disk that is full',
    'capacity of the log',
    [['if (end + PREFIX > this.#capacity) {', 'if (end < 0) {']],
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
    control: () => unrecorded([['receipts.sign(body), durable]', 'receipts.sign(body), durable.catch(() => {})]']]),
  },
];

/** Whether a call is answered although its record could not be written. */
async function unrecorded(edits: readonly Edit[]): Promise<boolean> {
  const { Calls } = await import(weakened('runtime/src/calls.ts', ...edits));
  const log = { place: () => ({ hash: new Uint8Array(32), durable: Promise.reject(EIO()) }) };
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

const POLICY = utf8('{}');
const BUNDLE = encodeBundle({
  policy: POLICY,
  descriptors: new Uint8Array(10),
  handlers: utf8('exports.handlers = {}'),
});

/** Whether a guest takes a disk with these bytes; `size` is what the host says of it. */
async function takes(
  { measureApp }: typeof wholeApp,
  bytes: Uint8Array,
  { size = bytes.length, launched = digestOfCanonical(POLICY) } = {},
): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-host-'));
  try {
    const path = join(folder, 'app');
    await writeFile(path, bytes);
    if (size > bytes.length) await truncate(path, Math.min(size, 2 ** 31));
    await measureApp({ path, size, readOnly: true }, launched, { measure: async () => {} });
    return true;
  } finally {
    await rm(folder, { recursive: true });
  }
}

function changed(change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(BUNDLE);
  change(bytes);
  return bytes;
}

/** Edits of the parser of bundles, which the guest's source imports. */
function parser(...edits: Edit[]): Edit[] {
  return [["'@enclaim/attestation/bundle'", `'${weakened('attestation/src/bundle.ts', ...edits)}'`]];
}

const configAttacks: readonly Attack[] = [
  onSource(
    'app',
    'another policy than the launch was measured with',
    'digest on the command line',
    [['launched !== null && policyDigest !== launched', 'false']],
    (module) => takes(module, BUNDLE, { launched: `sha384:${'0'.repeat(96)}` }),
  ),
  onSource(
    'app',
    'a bundle of a terabyte',
    'length of a bundle',
    parser(['if (length > BigInt(MAX_BUNDLE - total))', 'if (length < 0n)']),
    async (module) => {
      const huge = changed((bytes) => bytes.writeBigUInt64BE(2n ** 40n, 16 + 8));
      // With the limit off the guest tries to hold all of it: whatever comes of that is no refusal.
      return takes(module, huge, { size: 2 ** 41 }).catch((error) => error.name !== 'Refusal');
    },
  ),
  onSource(
    'app',
    'a bundle beyond the end of its disk',
    'size of the disk',
    [
      ['if (at + length > size) throw', 'if (false) throw'],
      ['if (bytesRead === 0) throw', 'if (bytesRead === 0) break; else if (false) throw'],
    ],
    (module) => takes(module, BUNDLE.subarray(0, 512), { size: 512, launched: null as never }),
  ),
  onSource(
    'app',
    'sections in another order',
    'order of sections',
    parser(['if (kind !== index + 1)', 'if (kind === 99)']),
    (module) =>
      takes(
        module,
        changed((bytes) => {
          bytes.writeUInt32BE(3, 16);
          bytes.writeUInt32BE(1, 48);
        }),
      ),
  ),
  onSource(
    'app',
    'a fourth section',
    'number of sections',
    parser(['if (count !== SECTIONS.length)', 'if (count === 99)']),
    (module) =>
      takes(
        module,
        changed((bytes) => bytes.writeUInt32BE(4, 12)),
      ),
  ),
  onSource(
    'app',
    'another version',
    'version of a bundle',
    parser(['if (version !== VERSION)', 'if (version === 99)']),
    (module) =>
      takes(
        module,
        changed((bytes) => bytes.writeUInt32BE(2, 8)),
      ),
  ),
  onSource(
    'app',
    'something in a field that means nothing',
    'reserved is zero',
    parser(['reader.zeros(4,', '((_: number, what: string) => what && reader.take(4))(4,']),
    (module) =>
      takes(
        module,
        changed((bytes) => bytes.writeUInt32BE(1, 20)),
      ),
  ),
  onSource(
    'app',
    'something behind the last section',
    'padding is zero',
    parser([
      "reader.zeros(bundleLength(bytes) - (bytes.length - reader.left), 'padding');",
      'reader.take(reader.left);',
    ]),
    (module) =>
      takes(
        module,
        changed((bytes) => bytes.writeUInt8(1, bytes.length - 1)),
      ),
  ),
  onSource(
    'disk',
    'two disks of one name',
    'one disk of a name',
    [['if (found.length > 1)', 'if (found.length < 0)']],
    async ({ findDisk }) => {
      const folder = await mkdtemp(join(tmpdir(), 'enclaim-sysfs-'));
      try {
        const { mkdir } = await import('node:fs/promises');
        for (const name of ['vda', 'vdb']) {
          await mkdir(join(folder, name));
          for (const [file, text] of Object.entries({ serial: 'app', size: '8', ro: '1', uevent: '' }))
            await writeFile(join(folder, name, file), `${text}\n`);
        }
        return passes(() => findDisk('app', folder));
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  ),
  ...(
    [
      [
        'a word of ours that does not exist',
        'unknown keys',
        'enclaim.debug=1',
        ['if (!Object.hasOwn(FIELDS, key))', 'if (false)'],
      ],
      ['the policy stated twice', 'each key once', twice(), ['if (values.has(key))', 'if (false)']],
      [
        'a quote that the kernel reads otherwise',
        'no quotes',
        `a="b enclaim.policy=sha384:${'0'.repeat(96)} c"`,
        ["|| text.includes('\"')", ''],
      ],
      [
        'a policy of another form',
        'form of a digest',
        `enclaim.policy=sha256:${'0'.repeat(64)}`,
        ['if (!/^sha384:[0-9a-f]{96}$/.test(value))', 'if (value === undefined)'],
      ],
      [
        'a command line without end',
        'length of the command line',
        `x=${'y'.repeat(5000)}`,
        ['if (text.length > MAX_LENGTH)', 'if (text.length < 0)'],
      ],
      ['a letter that is none', 'printable text', 'x=\u00ff', ['!/^[\\x20-\\x7e]*$/.test(text) || ', '']],
    ] as const
  ).map(([name, layer, text, edit]) =>
    onSource('line', name, layer, [edit], async ({ parseCommandLine }) => passes(() => parseCommandLine(text))),
  ),
];

function twice(): string {
  const digest = (digit: string): string => `enclaim.policy=sha384:${digit.repeat(96)}`;
  return `${digest('0')} ${digest('1')}`;
}

/** Every attack of the host that needs no VM. */
export const hostAttacks: readonly Attack[] = [...clockAttacks, ...logAttacks, ...configAttacks];
