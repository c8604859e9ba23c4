/** A state disk leaves a folder as one file and comes back as it was, and no other bytes, moment or place are taken for that. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFile,
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { toHex } from '@enclaim/attestation/bytes';
import { sha256 } from '@enclaim/attestation/digest';
import { formatCheckpoint } from '@enclaim/attestation/tlog';
import { holdState, noteLaunch, refuseLockedDisk } from '@enclaim/image/machine';
import { RefusalError } from '@enclaim/runtime';
import { EXIT } from '../cli/src/exit-status.ts';
import { importState } from '../cli/src/state/import.ts';
import { jsonOf } from '../cli/test/json-of.ts';
import { FakeDisk } from '../runtime/test/log/support.ts';
import { put, Rig } from '../runtime/test/sealed/support.ts';
import { FakeKeeper } from './fakes/keeper.ts';
import { enclaim } from './support/command.ts';
import { framed, packed, type StateParts } from './support/state-file.ts';

const LAUNCH = { image: `sha256:${'1'.repeat(64)}`, commandLine: 'quiet enclaim.policy=sha384:aa' } as const;

let root: string;
/** Of a machine that has run once and stores a note. */
let folder: string;
let file: string;
const keeper = new FakeKeeper();
let root40: Uint8Array;
before(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'enclaim-state-file-')));
  folder = join(root, 'state');
  file = join(root, 'exported');
  await mkdir(folder);
  const rig = await Rig.boot({ keeper });
  for (let i = 0; i < 40; i++) await rig.call([put(`key-${i}`, `value ${i}`)]);
  await rig.store.close();
  await writeFile(join(folder, 'state.img'), rig.disk.bytes);
  root40 = rig.log.durable.root;
  await noteLaunch(folder, LAUNCH);
  const { code, stderr } = await enclaim('state', 'export', folder, '--to', file);
  assert.equal(code, EXIT.ok, stderr);
});
after(() => rm(root, { recursive: true }));

const disk = (at = folder): Promise<Buffer> => readFile(join(at, 'state.img'));
/** A folder that does not exist yet. */
const fresh = (): string => join(root, `to-${Math.random()}`);

async function rigOn(bytes: Buffer, kept: FakeKeeper): Promise<Rig> {
  const found = new FakeDisk(bytes.length);
  found.bytes.set(bytes);
  return await Rig.boot({ disk: found, keeper: kept });
}

test('a state that left a folder as a file comes back as it was, for this user alone', async () => {
  const to = fresh();
  const { code, stdout, stderr } = await enclaim('state', 'import', file, '--to', to);
  assert.equal(code, EXIT.ok, stderr);
  assert.match(stdout, /40 records, root sha256:/);
  assert.match(stderr, /opens while its TPM is at epoch 1: a boot since has destroyed its key for good/);
  assert.ok((await disk(to)).equals(await disk()));
  assert.deepEqual((await readdir(to)).sort(), ['sealed-to.json', 'state.img']);
  for (const path of [file, join(to, 'state.img')]) assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.ok((await stat(file)).size < (await disk()).length / 4);
});

test('what is exported is said as JSON, and by the file itself', async () => {
  const to = join(root, 'json');
  const exported = jsonOf('state export', (await enclaim('state', 'export', folder, '--to', to, '--json')).stdout);
  const shown = jsonOf('state show', (await enclaim('state', 'show', to, '--json')).stdout);
  const imported = jsonOf('state import', (await enclaim('state', 'import', to, '--to', fresh(), '--json')).stdout);
  assert.deepEqual(exported, shown);
  assert.deepEqual(imported, shown);
  assert.deepEqual((shown as { launch: object }).launch, LAUNCH);
});

test('an imported state opens while the keeper is at its epoch, and no more once a boot has begun another', async () => {
  const to = fresh();
  await enclaim('state', 'import', file, '--to', to);
  const bytes = await disk(to);
  const kept = keeper.clone();
  const rig = await rigOn(bytes, kept);
  assert.equal(rig.store.opened.places, 40);
  await rig.store.close();
  await assert.rejects(
    rigOn(bytes, kept),
    (error) => error instanceof RefusalError && /epoch 1, and the keeper is at epoch 2/.test(error.message),
  );
});

test('nothing that is there is written over', async () => {
  const bytes = await readFile(file);
  const again = await enclaim('state', 'export', folder, '--to', file);
  assert.deepEqual([again.code, /is there already/.test(again.stderr)], [EXIT.usage, true]);
  assert.ok((await readFile(file)).equals(bytes));
  const onto = await enclaim('state', 'import', file, '--to', folder);
  assert.deepEqual([onto.code, /is there already/.test(onto.stderr)], [EXIT.usage, true]);
  const noted = fresh();
  await mkdir(noted);
  await noteLaunch(noted, { ...LAUNCH, commandLine: 'quiet' });
  const other = await enclaim('state', 'import', file, '--to', noted);
  assert.deepEqual([other.code, /another launch/.test(other.stderr)], [EXIT.usage, true]);
  assert.deepEqual(await readdir(noted), ['sealed-to.json']);
});

test('a state that a machine runs on is neither exported nor written', async (t) => {
  const held = { name: 'MachineError', code: 'state-held' };
  const to = fresh();
  await mkdir(to);
  {
    await using _held = await holdState(folder);
    await using _to = await holdState(to);
    for (const named of [folder, join(folder, 'state.img')]) {
      const { code, stderr } = await enclaim('state', 'export', named, '--to', join(root, 'never'));
      assert.deepEqual([code, /state-held/.test(stderr)], [EXIT.refused, true], stderr);
    }
    await assert.rejects(importState(file, to, {}), held);
  }
  assert.ok(!(await readdir(root)).includes('never'));
  const locking = spawn('flock', [join(folder, 'state.img'), 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => locking.kill());
  if (!(await isLocking(locking))) return;
  const { code } = await enclaim('state', 'export', folder, '--to', join(root, 'never'));
  assert.equal(code, EXIT.refused);
});

test('a lock is one of the disk by device and number, and by its number alone where no list shows the device', async () => {
  const path = join(folder, 'state.img');
  const [locks, mounts, nowhere] = ['locks', 'mounts', 'nowhere'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  const { ino } = await stat(path);
  await using opened = await open(path);
  const id = /^mnt_id:\s+(\d+)$/m.exec(await readFile(`/proc/self/fdinfo/${opened.fd}`, 'utf8'))?.[1];
  // As QEMU locks a disk.
  const isHeld = async (device: string, mount: string | null, number = `${ino}`): Promise<boolean> => {
    await writeFile(locks, `1: OFDLCK ADVISORY  READ -1 ${device}:${number} 100 101\n`);
    if (mount !== null) await writeFile(mounts, `1${id} 1 8:1 / /a rw - ext4 x rw\n${id} 1 ${mount} x rw\n`);
    return await refuseLockedDisk(path, { locks, mounts: mount === null ? nowhere : mounts }).then(
      () => false,
      ({ code }: { code: string }) => code === 'state-held',
    );
  };
  const disk = '259:17 / / rw,relatime shared:1 - ext4';
  assert.deepEqual([await isHeld('103:11', disk), await isHeld('0103:0011', disk)], [true, true]);
  for (const other of ['08:01', '103:12', '03:11', '103:111']) assert.equal(await isHeld(other, disk), false, other);
  assert.equal(await isHeld('103:11', disk, `${ino}1`), false);
  // Of a union of folders, the locks can be those of the folder beneath.
  for (const mount of [null, '0:45 / / rw - overlay']) {
    assert.deepEqual([await isHeld('08:01', mount), await isHeld('08:01', mount, `${ino}1`)], [true, false]);
  }
});

test('an imported state, its note and the folders made for it are on the disk, with their names, before it is said so', async (t) => {
  const handle = await open(root);
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = prototype;
  const synced = new Map<string, readonly string[]>();
  t.mock.method(prototype, 'sync', async function seen(this: FileHandle) {
    const path = await readlink(`/proc/self/fd/${this.fd}`);
    synced.set(path, await readdir(path).catch(() => []));
    return sync.call(this);
  });
  const above = fresh();
  const to = join(above, 'deeper');
  await importState(file, to, {});
  assert.deepEqual(synced.get(to), ['sealed-to.json', 'state.img']);
  assert.deepEqual(synced.get(above), ['deeper']);
  assert.ok(synced.get(root)?.includes(basename(above)));
});

/** Whether util-linux could lock the file. */
async function isLocking(child: ChildProcess): Promise<boolean> {
  child.stdin?.write('locked');
  return await Promise.race([
    once(child.stdout ?? child, 'data').then(() => true),
    once(child, 'error').then(() => false),
  ]);
}

test('of a disk alone nothing says that it is the newest', async () => {
  const alone = join(root, 'alone.img');
  await copyFile(join(folder, 'state.img'), alone);
  const exported = join(root, 'snapshot');
  assert.equal((await enclaim('state', 'export', alone, '--to', exported)).code, EXIT.ok);
  const to = fresh();
  const { code, stderr } = await enclaim('state', 'import', exported, '--to', to);
  assert.deepEqual([code, /StateError newest/.test(stderr)], [EXIT.refused, true]);
});

test('a log that does not hold what was seen is not taken', async () => {
  const seen = async (size: number, hash: Uint8Array): Promise<string> => {
    const at = await mkdtemp(join(root, 'seen-'));
    const body = formatCheckpoint({ origin: 'o', size, root: hash, extensions: [] });
    await writeFile(join(at, 'checkpoint'), `${body}\n— o AAAAAAA=\n`);
    return at;
  };
  const [same, longer, other] = [await seen(40, root40), await seen(41, root40), await seen(40, sha256(root40))];
  assert.equal((await enclaim('state', 'import', file, '--to', fresh(), '--seen', same)).code, EXIT.ok);
  for (const wrong of [longer, other]) {
    const to = fresh();
    const { code, stderr } = await enclaim('state', 'import', file, '--to', to, '--seen', wrong);
    assert.deepEqual([code, /StateError log/.test(stderr)], [EXIT.refused, true], stderr);
    assert.deepEqual(await readdir(to), []);
  }
});

test('a disk whose log has a fault is not exported', async () => {
  const spoilt = await mkdtemp(join(root, 'spoilt-'));
  const bytes = await disk();
  // An older record: a boot would go on behind it.
  bytes.write('x', bytes.indexOf('"reason":"call"') + 10);
  await writeFile(join(spoilt, 'state.img'), bytes);
  const { code, stderr } = await enclaim('state', 'export', spoilt, '--to', join(root, 'never'));
  assert.deepEqual([code, /StateError log/.test(stderr)], [EXIT.refused, true], stderr);
  assert.ok(!(await readdir(root)).some((name) => name.startsWith('never')));
});

/** Imports bytes that are not those that were exported. @returns the error's name and code */
async function refusalOf(bytes: Uint8Array): Promise<string> {
  const [path, to] = [join(root, 'forged'), fresh()];
  await writeFile(path, bytes);
  const error = await importState(path, to, {}).then(
    () => assert.fail('was taken'),
    (cause: Error) => cause,
  );
  assert.deepEqual(await readdir(to).catch(() => []), []);
  return `${error.name} ${'code' in error ? error.code : error.message}`;
}

test('any other bytes are refused by name, and leave nothing behind', async () => {
  const bytes = await readFile(file);
  for (let i = 0; i < 60; i++) {
    const spoilt = Buffer.from(bytes);
    const at = i < 30 ? Math.floor((i / 30) * 600) : Math.floor(Math.random() * bytes.length);
    spoilt[at] = (spoilt[at] ?? 0) ^ (1 << Math.floor(Math.random() * 8));
    assert.match(await refusalOf(spoilt), /^(?:DecodeError|StateError) /, `byte ${at}`);
  }
  for (const length of [0, 1, 15, 16, 100, 700, bytes.length - 33, bytes.length - 1])
    assert.match(await refusalOf(bytes.subarray(0, length)), /^DecodeError (?:truncated|magic)/, `${length} bytes`);
  assert.equal(await refusalOf(Buffer.concat([bytes, Buffer.of(0)])), 'DecodeError trailing');
});

test('blocks are in order, of the disk, bounded, and none is zeros', async () => {
  const { header, blocks } = await framed(file);
  const [first] = blocks as [StateParts['blocks'][number]];
  const cases: readonly [Partial<StateParts>, RegExp][] = [
    [{ blocks: [...blocks, ...blocks] }, /^DecodeError range/],
    [{ header: { ...header, blocks: header.blocks * 2 }, blocks: [...blocks, ...blocks] }, /^DecodeError range/],
    [{ blocks: [[4000, first[1]]] }, /^DecodeError range/],
    [{ header: { ...header, blocks: 1 }, blocks: [[0, new Uint8Array(1024 * 1024)]] }, /^DecodeError canonical/],
    [
      { header: { ...header, blocks: 1 }, blocks: [[0, new Uint8Array(4 * 1024 * 1024).fill(1)]] },
      /^DecodeError syntax/,
    ],
    [{ header: { ...header, blocks: 1 }, blocks: [first] }, /^(?:StateError|DecodeError) /],
    [{ header: { ...header, log: { ...header.log, size: 39 } } }, /^StateError header/],
    [{ header: { ...header, epochs: [7, null] } }, /^StateError header/],
    [{ header: { ...header, capacity: 1 } }, /^DecodeError range/],
    [{ header: { ...header, blocks: 2 ** 40 } }, /ENOSPC/],
    [{ hash: new Uint8Array(32) }, /^DecodeError canonical/],
  ];
  for (const [i, [change, expected]] of cases.entries())
    assert.match(await refusalOf(packed({ header, blocks, ...change })), expected, `case ${i}`);
  assert.equal(toHex(packed({ header, blocks })), toHex(await readFile(file)));
});
