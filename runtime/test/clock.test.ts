/** Time never goes back within a boot, whatever becomes of the machine's clock. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mock, test } from 'node:test';
import { anchorTime, BootClock } from '../src/clock.ts';
import { openDevice } from '../src/log/device.ts';
import { type Entry, RecordLog } from '../src/log/record-log.ts';

const YEAR = 365 * 86_400_000;

test('is the time of the anchor, going on', () => {
  const before = Date.now();
  const clock = new BootClock(anchorTime());
  const read = clock.now();
  assert.ok(read >= before - 1 && read <= Date.now() + 1, `${read} at ${before}`);
  // Read once: time goes on between two readings.
  const text = clock.text();
  assert.equal(new Date(text).toISOString(), text);
});

test('a clock that was read before tells the same time in another process', () => {
  const { wall, monotonic } = anchorTime();
  const elder = new BootClock({ wall: wall - YEAR, monotonic: monotonic - 5000 });
  assert.ok(Math.abs(elder.now() - (wall - YEAR + 5000)) < 1000);
});

for (const [name, jump] of [
  ['back', -YEAR],
  ['forward', YEAR],
] as const) {
  test(`goes on where the machine's clock jumps ${name}`, () => {
    const clock = new BootClock(anchorTime());
    const before = clock.now();
    const honest = Date.now();
    mock.timers.enable({ apis: ['Date'], now: honest + jump });
    try {
      assert.ok(Math.abs(Date.now() - honest - jump) < 1000, 'the jump happened');
      const after = clock.now();
      assert.ok(after >= before && after < before + 60_000, `${after} after ${before}`);
    } finally {
      mock.timers.reset();
    }
  });
}

test('is moved forward, never back, by what is known to have passed', () => {
  const clock = new BootClock(anchorTime());
  const start = clock.now();
  clock.notBefore(start - YEAR);
  assert.ok(clock.now() - start < 60_000 && clock.now() >= start);
  clock.notBefore(start + YEAR);
  assert.ok(clock.now() >= start + YEAR);
  clock.notBefore(start);
  assert.ok(clock.now() >= start + YEAR);
});

test('the newest record of a log is an instant that has passed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-clock-'));
  try {
    const path = join(folder, 'log');
    await writeFile(path, '');
    const time = '2099-01-01T00:00:00.000Z';
    const entry: Entry = {
      ...{ v: 2, id: '0'.repeat(32), time, timeStrength: 'host', layer: 'runtime', system: 'test' },
      ...{ policyDigest: `sha384:${'0'.repeat(96)}`, claims: [], decision: 'allow', reason: 'ok' },
      ...{ method: null, label: [], sink: null, figures: {}, basis: 'enforced' },
    };
    for (const expected of [null, time]) {
      const device = await openDevice(path);
      const log = await RecordLog.open(device, 1 << 20);
      assert.equal(log.newest, expected);
      if (expected === null) await log.append(entry);
      await device.close();
    }
    const clock = new BootClock(anchorTime());
    clock.notBefore(Date.parse(time));
    assert.match(clock.text(), /^2099-01-01T00:00:/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
