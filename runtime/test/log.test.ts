/** The record log: durable before acknowledged, one chain, and what a crash or a host leaves behind. */

import assert from 'node:assert/strict';
import { constants, statSync } from 'node:fs';
import { type FileHandle, mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Reader, toHex } from '@enclaim/attestation/bytes';
import { decodeRecord, recordHash } from '@enclaim/attestation/record';
import { RefusalError } from '../src/errors.ts';
import { openDevice } from '../src/log/device.ts';
import { type Entry, RecordLog } from '../src/log/record-log.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-log-'));
});
after(() => rm(folder, { recursive: true }));

const CAPACITY = 1024 * 1024;
const entry = (reason: string): Entry => ({
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
});

let files = 0;
/** A log file with the given records appended one by one. */
async function logOf(...reasons: readonly string[]): Promise<{ path: string; hashes: string[] }> {
  const path = join(folder, `log-${files++}`);
  await writeFile(path, '');
  const hashes = await withLog(path, async (log) => {
    const made: string[] = [];
    for (const reason of reasons) made.push(await log.append(entry(reason)));
    return made;
  });
  return { path, hashes };
}

async function withLog<T>(path: string, use: (log: RecordLog) => Promise<T>, capacity = CAPACITY): Promise<T> {
  const device = await openDevice(path);
  try {
    return await use(await RecordLog.open(device, capacity));
  } finally {
    await device.close();
  }
}

const headOf = (path: string) => withLog(path, async (log) => log.head);

/** Offsets of the frames in a log's bytes. */
function framesIn(bytes: Uint8Array): { at: number; record: Uint8Array }[] {
  const frames = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = new Reader(bytes.subarray(at)).u32be();
    if (length === 0) break;
    frames.push({ at, record: bytes.subarray(at + 4, at + 4 + length) });
    at += 4 + length;
  }
  return frames;
}

test('records form one chain, and a restart continues it', async () => {
  const { path, hashes } = await logOf('a', 'b', 'c');
  const again = await withLog(path, (log) => log.append(entry('d')));
  const frames = framesIn(await readFile(path));
  assert.deepEqual(
    frames.map(({ record }) => `sha256:${toHex(recordHash(record))}`),
    [...hashes, again],
  );
  frames.forEach(({ record }, i) => {
    const before = frames[i - 1];
    const expected = before === undefined ? '0'.repeat(64) : toHex(recordHash(before.record));
    const read = decodeRecord(record);
    assert(read.v === 1);
    assert.equal(read.prev, `sha256:${expected}`);
  });
  assert.equal((await headOf(path)).size, 4);
});

test('many appends at once keep their order', async () => {
  const { path } = await logOf();
  await withLog(path, (log) => Promise.all(Array.from({ length: 200 }, (_, i) => log.append(entry(`${i}`)))));
  const reasons = framesIn(await readFile(path)).map(({ record }) => decodeRecord(record).reason);
  assert.deepEqual(
    reasons,
    Array.from({ length: 200 }, (_, i) => `${i}`),
  );
});

test('a log cut anywhere within its last record goes on after the one before', async () => {
  const { path } = await logOf('a', 'b');
  const bytes = await readFile(path);
  const last = framesIn(bytes)[1];
  assert(last !== undefined);
  for (let length = last.at; length < last.at + 4 + last.record.length; length += 37) {
    await writeFile(path, bytes.subarray(0, length));
    assert.equal((await headOf(path)).size, 1, `cut at ${length}`);
    await withLog(path, (log) => log.append(entry('new')));
    assert.equal((await headOf(path)).size, 2);
  }
});

test('no changed byte of a record is followed', async () => {
  const { path } = await logOf('a', 'b', 'c');
  const bytes = await readFile(path);
  const second = framesIn(bytes)[1];
  assert(second !== undefined);
  for (let at = second.at; at < second.at + 4 + second.record.length; at += 11) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 1;
    await writeFile(path, changed);
    // A record that was changed where the chain does not look itself is still found by the next one's link.
    assert((await headOf(path)).size < 3, `byte ${at}`);
  }
});

test('older bytes behind the end are not read as more of the log', async () => {
  const { path } = await logOf('a', 'b', 'c', 'd');
  const old = await readFile(path);
  const { path: fresh } = await logOf('x');
  const started = await readFile(fresh);
  await writeFile(path, Buffer.concat([started, old.subarray(started.length)]));
  assert.equal((await headOf(path)).size, 1);
});

test('a record has its hash at once, and no other record can take its place', async () => {
  const { path } = await logOf();
  await withLog(path, async (log) => {
    const placed = ['a', 'b', 'c'].map((reason) => log.place(entry(reason)));
    assert.equal(statSync(path).size, 0); // at once: the write begins in the next turn
    await placed[2]?.durable;
    const frames = framesIn(await readFile(path));
    assert.deepEqual(
      frames.map(({ record }) => `sha256:${toHex(recordHash(record))}`),
      placed.map(({ hash }) => hash),
    );
  });
});

test('a device waits for the disk with every write', async () => {
  const { path } = await logOf();
  const device = (await openDevice(path)) as FileHandle;
  try {
    const flags = /flags:\s+([0-7]+)/.exec(await readFile(`/proc/self/fdinfo/${device.fd}`, 'utf8'))?.[1] ?? '0';
    assert.equal(Number.parseInt(flags, 8) & constants.O_DSYNC, constants.O_DSYNC);
  } finally {
    await device.close();
  }
});

test('a full log refuses, and keeps what it has', async () => {
  const { path } = await logOf('a');
  const { size } = await stat(path);
  await assert.rejects(
    withLog(path, (log) => log.append(entry('b')), size + 10),
    (error) => error instanceof RefusalError && error.code === 'log',
  );
  assert.equal((await headOf(path)).size, 1);
});

test('room is told before it is gone, and some is kept for the runtime itself, also after a restart', async () => {
  const { path } = await logOf();
  const capacity = 64 * 1024;
  const seen: string[] = [];
  await withLog(
    path,
    async (log) => {
      log.onRoom((room) => {
        seen.push(`${room} ${log.left}`);
        void log.append(entry('room'), 'runtime');
      });
      await assert.rejects(async () => {
        for (;;) await log.append(entry('call'));
      }, /the log is full/);
    },
    capacity,
  );
  const [scarce = '', none = ''] = seen;
  assert.equal(seen.length, 2);
  assert.match(scarce, /^scarce (7|8)\d{3}$/);
  assert.match(none, /^none (1|2)\d{3}$/);
  const reasons = framesIn(await readFile(path)).map(({ record }) => decodeRecord(record).reason);
  assert.equal((await headOf(path)).size, reasons.length, 'one chain to the end');
  assert.equal(reasons.filter((reason) => reason === 'room').length, 2);
  for (let boot = 0; boot < 3; boot++) {
    await withLog(
      path,
      async (log) => {
        assert.equal(log.room, 'none');
        await assert.rejects(log.append(entry('call')), /the log is full/);
        await log.append(entry('boot'), 'runtime');
      },
      capacity,
    );
  }
});

test('after a failed write nothing is acknowledged any more', async () => {
  const { path } = await logOf('a');
  const handle = await open(path, 'r'); // a disk that refuses writes
  try {
    const log = await RecordLog.open(handle, CAPACITY);
    for (let i = 0; i < 2; i++) {
      await assert.rejects(log.append(entry('b')), (error) => error instanceof RefusalError && error.code === 'log');
    }
  } finally {
    await handle.close();
  }
});

test('a record that could not be read back is refused by itself, and takes no other along', async () => {
  const { path } = await logOf('a');
  await withLog(path, async (log) => {
    const refused = (error: unknown) => error instanceof RefusalError && error.code === 'log';
    const unreadable: Partial<Entry>[] = [
      { method: 'm'.repeat(513) },
      { sink: 's'.repeat(257) },
      { figures: { ['f'.repeat(513)]: 1 } },
      { figures: { half: 0.5 } },
      { label: Array.from({ length: 1024 }, (_, i) => `${i}`.padStart(200, 'x')) },
    ];
    const [good, ...bad] = await Promise.allSettled([
      log.append(entry('b')),
      ...unreadable.map((change) => log.append({ ...entry('c'), ...change })),
    ]);
    assert.equal(good?.status, 'fulfilled');
    for (const each of bad) assert(each.status === 'rejected' && refused(each.reason));
  });
  assert.equal((await headOf(path)).size, 2);
});

test('bytes behind the end that are no record of the chain are told of, zeros are not', async () => {
  const { path } = await logOf('a', 'b');
  assert.equal(await withLog(path, async (log) => log.discarded), false);
  const bytes = await readFile(path);
  const second = framesIn(bytes)[1];
  assert(second !== undefined);
  bytes[second.at + 20] = (bytes[second.at + 20] ?? 0) ^ 1;
  await writeFile(path, bytes);
  assert.equal(await withLog(path, async (log) => log.discarded), true);
});
