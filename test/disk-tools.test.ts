/** Disk images, read by the tools of others. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { sparseTar } from '../image/src/disk/archive.ts';
import { bootVolume } from '../image/src/disk/fat.ts';
import { makeDisk, writeDisk } from '../image/src/disk/index.ts';
import { sparseFile } from '../image/src/disk/sparse.ts';
import { fixedVhd } from '../image/src/disk/vhd.ts';
import { tinyPe } from '../image/test/tiny-pe.ts';
import { needs } from './support/machine-needs.ts';

const folder = await mkdtemp(join(tmpdir(), 'enclaim-tools-'));
after(() => rm(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

function run(program: string, ...args: readonly string[]): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: folder,
    env: { PATH, LC_ALL: 'C', TZ: 'UTC' },
    encoding: 'utf8',
  });
  return { status, text: `${stdout}${stderr}` };
}

const bundle = encodeBundle({ policy: Buffer.from('{}'), descriptors: new Uint8Array(), handlers: Buffer.from('x') });
const disk = makeDisk({ uki: tinyPe(), bundle, gibibytes: 1 });
await writeDisk(disk, 'qemu', at('disk.img'));

test('sgdisk finds no problem, and finds each one that is made', needs('sgdisk'), async () => {
  const complaint = /corrupt|invalid|mismatch|ERROR|Problem:/i;
  const sound = run('sgdisk', '--verify', 'disk.img').text;
  assert.match(sound, /^No problems found/m);
  assert.doesNotMatch(sound, complaint);
  await using file = await open(at('disk.img'), 'r+');
  const flip = async (offset: number): Promise<void> => {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, offset);
    await file.write(Uint8Array.of((buffer[0] ?? 0) ^ 1), 0, 1, offset);
  };
  for (const offset of [512 + 56, 1024, disk.size - 512 + 24, disk.size - 33 * 512]) {
    await flip(offset);
    assert.match(run('sgdisk', '--verify', 'disk.img').text, complaint, `byte ${offset}`);
    await flip(offset);
  }
});

test('sfdisk reads the same table', needs('sfdisk'), () => {
  const { partitiontable: found } = JSON.parse(run('sfdisk', '--json', 'disk.img').text);
  const { table } = disk;
  assert.deepEqual([found.label, found.id.toLowerCase(), found.firstlba, found.sectorsize], ['gpt', table.id, 34, 512]);
  const rows = found.partitions.map((row: Record<string, string | number>) => ({
    name: row.name,
    type: String(row.type).toLowerCase(),
    id: String(row.uuid).toLowerCase(),
    first: row.start,
    sectors: row.size,
  }));
  assert.deepEqual(
    rows,
    table.partitions.map(({ name, type, id, first, sectors }) => ({ name, type, id, first, sectors })),
  );
});

// As small as FAT32 may be, and as large as an image is.
for (const length of [1000, 44_000_001]) {
  test(`fsck.vfat and mtools read a volume with ${length} bytes`, needs('fsck.fat', 'mtools'), async () => {
    const loader = randomBytes(length);
    const { sectors, extents } = bootVolume(loader, { hidden: 0, serial: 0xcafe_f00d });
    await using file = await open(at('fat.img'), 'w');
    await file.truncate(sectors * 512);
    for (const extent of extents) await file.write(extent.bytes, 0, extent.bytes.length, extent.at);
    const { status, text } = run('fsck.vfat', '-n', '-v', 'fat.img');
    assert.equal(status, 0, text);
    assert.match(text, /32 bit entries/);
    assert.match(text, new RegExp(`3 files, ${3 + Math.ceil(length / 512)}/`));
    assert.doesNotMatch(text, /differ|wrong|invalid|correct|unused clusters\.\n.+Reclaimed/i);
    assert.equal(run('mcopy', '-n', '-i', 'fat.img', '::EFI/BOOT/BOOTX64.EFI', 'loader').text, '');
    assert.ok((await readFile(at('loader'))).equals(loader));
    assert.match(
      run('mdir', '-i', 'fat.img', '-/', '::').text,
      /Serial Number is CAFE-F00D[\s\S]+BOOTX64 +EFI +\d+ 1980-01-01/,
    );
  });
}

test('GNU tar unpacks what Compute Engine is given', async () => {
  await writeDisk(disk, 'gcp', at('disk.tar.gz'));
  assert.match(run('tar', 'tvzf', 'disk.tar.gz').text, /^-rw-r--r-- 0\/0 +1073741824 1970-01-01 00:00 disk\.raw\n$/);
  assert.deepEqual(run('tar', '-xzSf', 'disk.tar.gz'), { status: 0, text: '' });
  assert.deepEqual(run('cmp', 'disk.raw', 'disk.img'), { status: 0, text: '' });
});

test('GNU tar unpacks a disk above 8 GiB in many pieces', async () => {
  const extents = Array.from({ length: 60 }, (_, i) => ({ at: i * 2 ** 28, bytes: randomBytes(512 * (1 + (i % 3))) }));
  const large = sparseFile(16 * 2 ** 30, extents);
  await writeFile(at('large.tar'), Buffer.concat([...sparseTar(large)]));
  assert.deepEqual(run('tar', '-xSf', 'large.tar'), { status: 0, text: '' });
  await using file = await open(at('disk.raw'));
  assert.equal((await file.stat()).size, large.size);
  for (const { at: offset, bytes } of extents) {
    const { buffer } = await file.read(Buffer.alloc(bytes.length), 0, bytes.length, offset);
    assert.ok(buffer.equals(bytes));
  }
});

test('qemu-img finds the same disk in the VHD', needs('qemu-img'), async () => {
  await writeDisk(disk, 'azure', at('disk.vhd'));
  const info = (): string => run('qemu-img', 'info', '-f', 'vpc', 'disk.vhd').text;
  assert.match(info(), new RegExp(`virtual size: 1 GiB \\(${disk.size} bytes\\)`));
  assert.doesNotMatch(info(), /checksum/);
  const same = run('qemu-img', 'compare', '-f', 'raw', '-F', 'vpc', 'disk.img', 'disk.vhd');
  assert.deepEqual(same, { status: 0, text: 'Images are identical.\n' });
  await using file = await open(at('disk.vhd'), 'r+');
  await file.write(Uint8Array.of(1), 0, 1, disk.size + 24);
  assert.match(info(), /checksum/);
});

// For sizes that a geometry expresses exactly: for others qemu-img takes that of a larger disk.
test("the geometry is qemu-img's own", needs('qemu-img'), async () => {
  for (const mebibytes of [17, 155, 217, 252, 1008, 4032, 33_150, 102_000]) {
    const size = mebibytes * 2 ** 20;
    assert.equal(run('qemu-img', 'create', '-q', '-f', 'vpc', 'empty.vhd', `${size}`).status, 0);
    const theirs = (await readFile(at('empty.vhd'))).subarray(0, 512); // a dynamic VHD begins with the footer's copy
    const ours = fixedVhd(sparseFile(size, []), new Uint8Array()).extents.at(-1)?.bytes;
    assert.deepEqual(Buffer.from(ours?.subarray(56, 60) ?? []), theirs.subarray(56, 60), `${mebibytes} MiB`);
  }
});
