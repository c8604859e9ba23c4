/** A disk that is not there, too small, full, or that fails to read or write is refused at boot in words that name it. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Device, openDevice } from '../../src/log/device.ts';
import { FakeDisk } from '../log/support.ts';
import { MIB, put, Rig } from './support.ts';

const failure = (code: string): Error => Object.assign(new Error(`${code}: the disk`), { code });
const refused = (code: string, words: RegExp) => ({ name: 'RefusalError', code, message: words });

test('a disk that is not there, or no file that can be written, is no device', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-failing-'));
  t.after(() => rm(folder, { recursive: true }));
  await assert.rejects(openDevice(join(folder, 'none')), refused('log', /opened for reading and writing: ENOENT$/));
  await assert.rejects(openDevice(folder), refused('log', /opened for reading and writing: EISDIR$/));
});

test('a disk that cannot be read at any of a boot’s reads is refused, and opens once it can be', async () => {
  const rig = await Rig.boot();
  for (let i = 0; i < 5; i++) await rig.call([put(`k${i}`, 'x'.repeat(3000))]);
  await rig.store.advance();
  await rig.call([put('last', 1)]);
  let refusals = 0;
  for (let at = 0; ; at++) {
    const { disk, device } = failingReads(rig.disk.copy(), at);
    const booted = await Rig.boot({ disk, device, keeper: rig.keeper.clone(), clock: rig.clock }).catch(
      (error) => error,
    );
    if (booted instanceof Rig) break;
    assert.deepEqual([booted.name, booted.code], ['RefusalError', 'log'], String(booted.stack));
    assert.match(booted.message, /(^|: )the state disk cannot be read: EIO$/);
    refusals++;
  }
  assert.ok(refusals > 4, `${refusals}`);
  assert.equal(await (await rig.again()).cases.get('last')?.value, '1');
});

test('a disk that cannot be written at any of a boot’s writes is refused, whatever part was taken', async () => {
  const rig = await Rig.boot();
  await rig.call([put('a', 'kept')]);
  for (const error of ['EIO', 'ENOSPC', 'EROFS'].map(failure)) {
    let [refusals, after] = [0, 0];
    for (; ; after++) {
      const disk = rig.disk.copy();
      const whole = Array<number>(after).fill(Number.MAX_SAFE_INTEGER);
      disk.takes.push(...whole, 100, error);
      const keeper = rig.keeper.clone();
      const booted = await Rig.boot({ disk, keeper, clock: rig.clock }).catch((reason) => reason);
      if (booted instanceof Rig) break;
      const words = new RegExp(`(^|: )the state disk cannot be written: ${(error as NodeJS.ErrnoException).code}$`);
      assert.match(booted.message, words);
      assert.deepEqual([booted.name, booted.code], ['RefusalError', 'log']);
      const next = await Rig.boot({ disk, keeper: keeper.clone(), clock: rig.clock });
      assert.equal(await next.cases.get('a')?.value, '"kept"');
      refusals++;
    }
    assert.ok(refusals > 1, `${refusals}`);
  }
});

test('a disk without room for what is stored is refused, and a full one refuses calls and boots', async () => {
  await assert.rejects(Rig.boot({ disk: new FakeDisk(256 * 1024) }), refused('state', /without room for stored state/));
  await assert.rejects(Rig.boot({ disk: new FakeDisk(4096) }), refused('log', /./));
  const rig = await Rig.boot({ disk: new FakeDisk(MIB), collections: { cases: 1e12 } });
  const full = async () => {
    for (let i = 0; ; i++) await rig.call([put(`k${i}`, 'y'.repeat(3000))]);
  };
  await assert.rejects(full(), refused('log', /^the log is full: /));
  const next = await rig.again();
  assert.equal((await next.cases.get('k0')?.value)?.length, 3002);
});

/** A disk whose read after so many fails. */
function failingReads(disk: FakeDisk, after: number): { readonly disk: FakeDisk; readonly device: Device } {
  const { device } = disk;
  let left = after;
  const read = ((into: Uint8Array, offset: number, length: number, at: number) =>
    left-- === 0 ? Promise.reject(failure('EIO')) : device.read(into, offset, length, at)) as Device['read'];
  return { disk, device: { ...device, read } };
}
