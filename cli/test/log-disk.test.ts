/** `enclaim log disk` says what a log's disk holds, and names what was done to it. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { toHex } from '@enclaim/attestation/bytes';
import { formatCheckpoint } from '@enclaim/attestation/tlog';
import { projectRoot } from '@enclaim/image';
import { diskOf, numbers } from '../../runtime/test/log/support.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-cli-log-disk-'));
after(() => rm(scratch, { recursive: true }));

function logDisk(...args: readonly string[]) {
  const script = [join(projectRoot, 'cli/src/main.ts'), 'log', 'disk', ...args];
  return spawnSync(process.execPath, script, { cwd: scratch, encoding: 'utf8' });
}

const disk = await diskOf(numbers(40));
const { durable } = await disk.open();
await writeFile(join(scratch, 'disk'), disk.bytes);
const spoilt = disk.copy();
spoilt.bytes.write('"reason":"9"', spoilt.bytes.indexOf('"reason":"8"'));
await writeFile(join(scratch, 'spoilt'), spoilt.bytes);
await writeFile(join(scratch, 'short'), (await diskOf(numbers(30))).bytes);
const note = `${formatCheckpoint({ origin: 'o', size: 40, root: durable.root, extensions: [] })}\n— o AAAAAAA=\n`;
await writeFile(join(scratch, 'checkpoint'), note);

test('a disk without a fault is told, with what was seen', () => {
  const { stdout, status, stderr } = logDisk('disk', '--seen', '.');
  const bootless = 'records 0 to 39 (40) are of no boot that is on the disk';
  const lines = [`40 records, root ${toHex(durable.root)}`, bootless, 'no fault', ''];
  assert.deepEqual([stdout, status, stderr], [lines.join('\n'), 0, '']);
});

test('a record that was changed is a fault', () => {
  const { stdout, status } = logDisk('spoilt', '--json');
  const { size, faults } = JSON.parse(stdout);
  assert.equal(status, 1);
  assert.equal(size, 8);
  assert.ok(faults.length > 0);
});

test('a log that ends before what was seen is a fault', () => {
  const { stdout, status } = logDisk('short', '--seen', '.');
  assert.match(stdout, /FAULT head: the log ends at 30, and a tree of 40 records is known/);
  assert.equal(status, 1);
});

test('records are printed, one a line', () => {
  const { stdout } = logDisk('disk', '--entries');
  const lines = stdout.trim().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).reason),
    numbers(40),
  );
});

test('what is no disk of a log is refused', async () => {
  await writeFile(join(scratch, 'nothing'), 'x');
  const { status, stderr } = logDisk('nothing');
  assert.equal(status, 1);
  assert.match(stderr, /a log on a disk of 1 bytes/);
});
