/** Attacks of the host by the disk of the log: it fails, lies, and is put back. */

import { fromJson, toBinary } from '@bufbuild/protobuf';
import { blockLength, LogDisk, sealBlock, sectors, writeBlockHead } from '@enclaim/attestation/log-disk';
import type { Device } from '../../runtime/src/log/device.ts';
import * as whole from '../../runtime/src/log/record-log.ts';
import { entry, FakeDisk, numbers } from '../../runtime/test/log/support.ts';
import { HANGS_MS } from '../support/eventually.ts';
import { openLab } from '../support/lab.ts';
import { type Attack, comes, lasts, settling } from './attack.ts';
import { onSource, passes } from './source-attack.ts';
import { weakened } from './weakened.ts';

const CALLS = 'runtime/src/call/calls.ts';

const LOG = { path: 'runtime/src/log/record-log.ts' as const, whole };
const ENTRY = entry('ok');

type Log = typeof whole;

const openOn = ({ RecordLog }: Log, disk: FakeDisk): Promise<whole.RecordLog> =>
  RecordLog.open(disk.device, disk.bytes.length);

/** A disk with so many records on it, each in a block of its own, whose reason is their number. */
async function written(log: Log, count: number, from = 0): Promise<FakeDisk> {
  const disk = new FakeDisk();
  const opened = await openOn(log, disk);
  for (const reason of numbers(count, from)) await opened.append(entry(reason));
  return disk;
}

/** Bytes of all blocks of a disk, in order. */
async function blocksOf(disk: FakeDisk): Promise<Buffer[]> {
  const { reader, layout } = disk;
  const journal = reader.journal(4096);
  const blocks: Buffer[] = [];
  for (let at = 0; ; ) {
    const block = await journal.block(at).catch(() => undefined);
    if (block === undefined) return blocks;
    const length = sectors(block.length);
    blocks.push(disk.bytes.subarray(layout.journal.base + at, layout.journal.base + at + length));
    at += length;
  }
}

const sizeOf = async (log: Log, disk: FakeDisk): Promise<number> => (await openOn(log, disk)).began.size;

/** Whether the records of a disk, or one of them, can be read with this reason. */
async function tells(log: Log, disk: FakeDisk, index: number, reason: string): Promise<boolean> {
  const [read] = await (await openOn(log, disk)).entries(index, 1);
  return read !== undefined && Buffer.from(read).includes(`"reason":"${reason}"`);
}

const LOOKS: Readonly<Record<string, string>> = {
  'a value': "{ flag: (await ctx.store.cases.get('new')) !== null }",
  'that a value is gone': "{ flag: (await ctx.store.cases.get('old')) === null }",
  'which keys there are': '{ words: await ctx.store.cases.list() }',
};
/** Attacks of streams that tell what a disk has not taken yet. */
const streamed = Object.entries(LOOKS).map(([name, look]): Attack => {
  const layer = 'streams tell what is durable';
  return {
    ...{ group: 'host', name: `learn ${name} from a stream before a disk holds it`, layer },
    attempt: () => tellsUnwritten(look, []),
    control: () => tellsUnwritten(look, [layer]),
  };
});

const ANY_ORDER: readonly string[] = ['position of a block', 'blocks name the one before', 'tree of the last blocks'];
const EIO = (): Error => Object.assign(new Error('EIO: i/o error, write'), { code: 'EIO' });

/** Attacks by what stands on the disk. */
const contents: readonly Attack[] = [
  onSource(
    LOG,
    'change a record on the disk',
    'hash of a block, and its tree',
    async (module) => {
      const disk = await written(module, 5);
      disk.bytes.write('"reason":"7"', disk.bytes.indexOf('"reason":"3"'));
      return (await sizeOf(module, disk)) === 5;
    },
    ['hash of a block', 'blocks name the one before', 'tree of the last blocks'],
  ),
  onSource(
    LOG,
    'leave a record out',
    'blocks have a position, and name the one before',
    async (module) => {
      const disk = await written(module, 5);
      const [, second, third] = await blocksOf(disk);
      if (second === undefined || third === undefined) return false;
      second.set(third);
      return (await sizeOf(module, disk)) > 1;
    },
    ANY_ORDER,
  ),
  onSource(
    LOG,
    'repeat a record at the end',
    'blocks have a position, and name the one before',
    async (module) => {
      const disk = await written(module, 5);
      const [first, ...more] = await blocksOf(disk);
      const last = more.at(-1);
      if (first === undefined || last === undefined) return false;
      disk.bytes.set(first, last.byteOffset - disk.bytes.byteOffset + last.length);
      return (await sizeOf(module, disk)) !== 5;
    },
    ANY_ORDER,
  ),
  onSource(
    LOG,
    'put the end of an older disk behind a newer one',
    'blocks name the one before',
    async (module) => {
      const [newer, older] = [await written(module, 3), await written(module, 6, 1)];
      for (const block of (await blocksOf(older)).slice(3))
        newer.bytes.set(block, block.byteOffset - older.bytes.byteOffset);
      return (await sizeOf(module, newer)) === 6;
    },
    ['blocks name the one before', 'tree of the last blocks'],
  ),
  onSource(
    LOG,
    'change a record that the boot does not follow',
    'hash of a block, and records are held against the tree',
    async (module) => {
      const disk = await written(module, 400);
      disk.bytes.write('"reason":"7"', disk.bytes.indexOf('"reason":"3"'));
      return tells(module, disk, 3, '7');
    },
    ['hash of a block', 'records are held against the tree'],
  ),
  onSource(
    LOG,
    'change such a record, and hash its block anew',
    'records are held against the tree',
    async (module) => {
      const disk = await written(module, 400);
      const block = (await blocksOf(disk))[3];
      if (block === undefined) return false;
      block.write('"reason":"7"', block.indexOf('"reason":"3"'));
      sealBlock(block, block.readUInt32BE(8));
      return tells(module, disk, 3, '7');
    },
  ),
  onSource(LOG, 'change a hash in a tile', 'tiles are held against the tree', async (module) => {
    const disk = await written(module, 400);
    const { base } = disk.layout.levels[0] ?? { base: 0 };
    disk.bytes[base] = (disk.bytes[base] ?? 0) ^ 1;
    return passes(async () => (await openOn(module, disk)).tile({ level: 0, index: 0, width: 256 }));
  }),
  onSource(LOG, 'write into a superblock that records are no longer held', 'hash of a superblock', async (module) => {
    const disk = await written(module, 400);
    for (const at of [0, 4096]) disk.bytes.writeBigUInt64BE(2n, at + 32);
    return (await openOn(module, disk)).minimum === 2;
  }),
  onSource(
    LOG,
    'give a disk of the first format, so that its records are overwritten',
    'the first format is refused',
    async (module) => {
      const disk = new FakeDisk();
      disk.bytes.write('\0\0\0\x14{"basis":"enforced"}');
      return passes(() => openOn(module, disk));
    },
  ),
];

/** Attacks by what the disk makes of reads. */
const lengths: readonly Attack[] = [
  onSource(LOG, 'announce a block of 64 MiB', 'length of a block', async (module) => {
    const capacity = 2 ** 30;
    const { layout } = new LogDisk(async () => new Uint8Array(), capacity);
    const asked: number[] = [];
    const read = async (into: Uint8Array, _offset: number, length: number, at: number) => {
      asked.push(length);
      if (at === layout.journal.base) into.set(announcing(2 ** 26, 0));
      return { bytesRead: length, buffer: into };
    };
    await module.RecordLog.open({ read } as unknown as Device, capacity);
    return asked.some((length) => length >= 2 ** 26);
  }),
  onSource(
    LOG,
    'announce a block in each sector, so that all of the disk is hashed a hundred times',
    'blocks that do not check are counted',
    async (module) => {
      const disk = new FakeDisk();
      const { base, length } = disk.layout.journal;
      for (let at = 0; at < length; at += 512) disk.bytes.set(announcing(2 ** 16, at), base + at);
      disk.bytes.write('ENCLLOG\0'); // a superblock that does not check: the log is searched
      return passes(() => openOn(module, disk)); // it went through all of them
    },
  ),
];

/** Attacks by what the disk makes of writes. */
const writes: readonly Attack[] = [
  onSource(LOG, 'take a part of each write', 'writes are finished', async (module) => {
    const disk = new FakeDisk();
    const log = await openOn(module, disk);
    await log.append(ENTRY);
    disk.takes.push(...Array.from({ length: 40 }, () => 50));
    await log.append(ENTRY);
    return (await sizeOf(module, disk)) !== 2; // it was acknowledged, and is not there
  }),
  onSource(LOG, 'take nothing of a write, for ever', 'a disk that takes nothing has failed', async (module) => {
    const disk = new FakeDisk();
    disk.takes.push(...Array.from({ length: 1000 }, () => 0));
    const log = await openOn(module, disk);
    const waits = await lasts(settling(log.append(ENTRY)), 400);
    disk.takes.length = 0;
    return waits;
  }),
  onSource(LOG, 'fail one write, and then be well again', 'a failed log stays failed', async (module) => {
    const disk = new FakeDisk();
    disk.takes.push(EIO());
    const log = await openOn(module, disk);
    await log.append(ENTRY).catch(() => {});
    return passes(() => log.append(ENTRY));
  }),
  onSource(LOG, 'a disk that is full', 'capacity of the log', async (module) => {
    const disk = new FakeDisk(256 * 1024);
    const log = await openOn(module, disk);
    for (let count = 0; count < 400; count++) if (!(await passes(() => log.append(ENTRY)))) return false;
    return true;
  }),
  onSource(LOG, 'let two runtimes write to one disk', 'a superblock of another writer is seen', async (module) => {
    const disk = await written(module, 1);
    const [one, other] = [await openOn(module, disk), await openOn(module, disk)];
    for (const log of [one, other]) await log.append(ENTRY);
    for (let count = 0; count < 300; count++) if (!(await passes(() => one.append(ENTRY)))) return false;
    return true;
  }),
];

/** Every attack by the disk of the log. */
export const diskAttacks: readonly Attack[] = [
  ...contents,
  ...lengths,
  ...writes,
  {
    group: 'host',
    name: 'get an answer whose record no disk holds',
    layer: 'no log, no response',
    attempt: () => unrecorded([]),
    control: () => unrecorded(['no log, no response']),
  },
  ...streamed,
];

/** Milliseconds that a message has to leave that nothing keeps back. */
const WINDOW_MS = 300;

/**
 * Whether a stream tells what another call has changed while the record of that change is on no
 * disk.
 *
 * @param look the message that a handler makes of the collection
 */
async function tellsUnwritten(look: string, off: readonly string[]): Promise<boolean> {
  const { Calls } = await import(weakened(CALLS, { off }));
  let isStuck = false;
  const durable = (): Promise<void> => (isStuck ? new Promise(() => {}) : Promise.resolve());
  const handlers = {
    Put: `const [act, key] = request.key.split(' ');
      await (act === 'put' ? ctx.store.cases.put(key, {}) : ctx.store.cases.delete(key));
      return {}`,
    Chat: `for await (const _ of request) yield ${look}`,
  };
  const policy = { returns: ['personal', 'operational'] };
  const lab = await openLab({ handlers, policy, Calls, durable });
  const chat = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Chat');
  const [asked, over] = [Promise.withResolvers<void>(), new AbortController()];
  try {
    if (chat === undefined) throw new TypeError('no Chat');
    await lab.call('Put', { key: 'put old' });
    let [taken, left] = [0, 0];
    void lab.calls.answer(chat, {
      next: async () => {
        const at = taken++;
        if (at > 1) await (at === 2 ? asked.promise : new Promise(() => {}));
        return toBinary(chat.descriptor.input, fromJson(chat.descriptor.input, { key: 'k' }));
      },
      send: async () => void left++,
      signal: over.signal,
    });
    // The second reads after the first was sent, so that its label is all that the call comes to have.
    if (await lasts(() => left === 2, HANGS_MS)) throw new Error('the stream says nothing');
    isStuck = true;
    for (const key of ['put new', 'delete old']) void lab.call('Put', { key });
    const isPlaced = (): boolean => lab.records.filter(({ method }) => method === 'lab.v1.Lab/Put').length === 3;
    if (await lasts(isPlaced, HANGS_MS)) throw new Error('nothing is changed');
    asked.resolve();
    return await comes(() => left === 3, WINDOW_MS);
  } finally {
    over.abort(new Error('the caller has gone'));
    lab.close();
  }
}

/** The head of a block of so many bytes at a position, and nothing behind it. */
function announcing(length: number, position: number): Uint8Array {
  const head = new Uint8Array(Math.min(512, blockLength(0, 0) + 512));
  writeBlockHead(head, { length, count: 0, position, first: 0, size: 0, prior: new Uint8Array(32), sequence: 0 }, []);
  return head;
}

/** Whether a call is answered although its record could not be written. */
async function unrecorded(off: readonly string[]): Promise<boolean> {
  const { Calls } = await import(weakened(CALLS, { off }));
  const durable = Promise.reject(EIO());
  durable.catch(() => {}); // where it is not waited for, nothing says so
  const log = { place: () => ({ index: 0, hash: whole.ZERO_HASH, durable }), pending: undefined };
  const lab = await openLab({ handlers: { Sum: 'return { key: request.key }' }, Calls, log });
  try {
    return (await lab.call('Sum', { key: 'k' })).status === 0;
  } finally {
    lab.close();
  }
}
