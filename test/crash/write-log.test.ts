/** What is read of QEMU's log of a disk are the writes that it made, each acknowledged by the flush after it. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { needs } from '../support/machine-needs.ts';
import { diskAt } from './recording.ts';
import { writesIn } from './write-log.ts';

const BYTES = 1024 * 1024;

test('ten writes of QEMU and a flush after each third', needs('qemu-img'), async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-writes-'));
  t.after(() => rm(folder, { recursive: true }));
  const [disk, log] = [join(folder, 'disk'), join(folder, 'log')];
  for (const file of [disk, log]) await writeFile(file, '');
  await truncate(disk, BYTES);
  const node = `driver=blklogwrites,log-super-update-interval=1,file.driver=file,file.filename=${disk},log.driver=file,log.filename=${log}`;
  const words = ['-c', '10', '-d', '2', '-w', '-s', '1024', '--flush-interval', '3', '--pattern', '65'];
  await promisify(execFile)('qemu-img', ['bench', ...words, '--image-opts', node]);
  const bytes = await readFile(log);
  const writes = writesIn(bytes);
  const places = writes.map(({ at }) => at).sort((a, b) => a - b);
  assert.deepEqual(places.slice(0, 9), [0, 1024, 2048, 3072, 4096, 5120, 6144, 7168, 8192]);
  assert.ok(writes.every(({ data }) => data.length === 1024 && data.every((byte) => byte === 65)));
  assert.equal(new Set(writes.slice(0, 9).map(({ ended }) => ended)).size, 3);
  assert.ok(writes.every(({ begun, ended }) => begun < ended));
  // Everything in it makes the disk; an entry that was cut off is none.
  const all = { at: Number.POSITIVE_INFINITY, bytes: BYTES };
  assert.deepEqual(
    diskAt(writes, all, () => 0),
    await readFile(disk),
  );
  assert.equal(writesIn(bytes.subarray(0, writes[2]?.begun)).length, 3);
  assert.equal(writesIn(bytes.subarray(0, (writes[2]?.begun ?? 0) - 1)).length, 2);
  assert.throws(() => writesIn(Buffer.alloc(BYTES)), RangeError);
});
