/** Every record that a killed process had acknowledged is in the log after it, at its index. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { toHex } from '@enclaim/attestation/bytes';
import { recordHash } from '@enclaim/attestation/record';
import { count } from '../../../test/support/long.ts';
import { openDevice } from '../../src/log/device.ts';
import { RecordLog } from '../../src/log/record-log.ts';
import { seededDraw } from './support.ts';

const CAPACITY = 256 * 1024 * 1024;
const PROGRAM = join(import.meta.dirname, 'appending.ts');

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-killed-'));
});
after(() => rm(folder, { recursive: true }));

/** Lets a process append, kills it after some records, and returns what it said, line by line. */
async function life(path: string, writers: number, lines: number, more: number): Promise<string[]> {
  const child = spawn(process.execPath, ['--no-warnings', PROGRAM, path, `${CAPACITY}`, `${writers}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said: string[] = [];
  const ended = once(child, 'exit');
  for await (const line of createInterface(child.stdout)) {
    said.push(line);
    if (said.length === lines) void sleep(more).then(() => child.kill('SIGKILL'));
  }
  assert.deepEqual(await ended, [null, 'SIGKILL']);
  return said;
}

test('a process that is killed under load loses no record that it acknowledged', async () => {
  const draw = seededDraw('kill');
  const path = join(folder, 'log');
  await writeFile(path, '');
  let checked = 0;
  for (let run = 0; run < count(6, 300, 2); run++) {
    const [began = '', ...acknowledged] = await life(path, [1, 4, 64][run % 3] ?? 1, 2 + draw(200), draw(12));
    const device = await openDevice(path);
    const log = await RecordLog.open(device, CAPACITY);
    const [, size = '', root = ''] = began.split(' ');
    assert.equal(toHex(await log.rootAt(Number(size))), root, 'the log goes on from where this life began');
    const from = Number(size);
    const entries = log.began.size === from ? [] : await log.entries(from, log.began.size - from);
    const hashes = entries.map((each) => `sha256:${toHex(recordHash(each))}`);
    for (const line of acknowledged) {
      const [index = '', hash = ''] = line.split(' ');
      if (hash.length < 71) continue; // cut by the kill
      assert.equal(hashes[Number(index) - from], hash, `record ${index} of life ${run}`);
      checked++;
    }
    await device.close();
  }
  assert(checked > 0);
});
