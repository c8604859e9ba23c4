/**
 * Unpacking a package stays in its folder, and a package that is cut, corrupt or a loop is
 * refused.
 */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { fc } from '../../test/support/properties.ts';
import { ImageError, type ImageErrorCode } from '../src/errors.ts';
import { fileAt, readTar } from '../src/formats/tar.ts';
import { readAr, readDeb, unpackDeb } from '../src/inputs/deb.ts';
import { ar, deb, type TarMember, tar } from './archives.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-deb-'));
after(() => rm(scratch, { recursive: true, force: true }));

const refused = (code: ImageErrorCode) => (error: unknown) => error instanceof ImageError && error.code === code;

const HONEST: readonly TarMember[] = [
  { name: './', type: '5', mode: 0o755 },
  { name: './usr/', type: '5', mode: 0o755 },
  { name: './usr/lib/', type: '5', mode: 0o755 },
  { name: './usr/lib/a.so.1.2', data: 'library', mode: 0o6755 },
  { name: './usr/lib/a.so.1', type: '2', link: 'a.so.1.2' },
  { name: './usr/lib/b.so', type: '2', link: '/usr/lib/a.so.1' },
  { name: './usr/lib/c.so', type: '1', link: './usr/lib/a.so.1.2' },
];

test('files are found through links, relative, absolute and hard', async () => {
  const files = await readDeb(deb(HONEST));
  for (const name of ['a.so.1.2', 'a.so.1', 'b.so', 'c.so']) {
    assert.equal(Buffer.from(fileAt(files, `usr/lib/${name}`).data).toString(), 'library', name);
  }
  assert.equal(files.get('usr/lib/a.so.1.2')?.mode, 0o755, 'set-id bits are dropped');
  assert.throws(() => fileAt(files, 'usr/lib'), refused('file-missing'));
  assert.throws(() => fileAt(files, 'usr/lib/none'), refused('file-missing'));
});

test('unpacking stays in its folder, with links made relative', async () => {
  const folder = join(scratch, 'honest');
  await unpackDeb(deb(HONEST), folder);
  assert.equal(await readlink(join(folder, 'usr/lib/b.so')), 'a.so.1');
  assert.equal(await readFile(join(folder, 'usr/lib/c.so'), 'utf8'), 'library');
});

const HOSTILE: readonly { name: string; code: ImageErrorCode; members: readonly TarMember[] }[] = [
  { name: 'a path that climbs', code: 'hostile-path', members: [{ name: '../evil', data: 'x' }] },
  { name: 'a path that climbs inside', code: 'hostile-path', members: [{ name: './usr/../../evil', data: 'x' }] },
  { name: 'an absolute path', code: 'hostile-path', members: [{ name: '/etc/passwd', data: 'x' }] },
  { name: 'an empty segment', code: 'hostile-path', members: [{ name: './usr//evil', data: 'x' }] },
  { name: 'a link that climbs', code: 'hostile-path', members: [{ name: './a', type: '2', link: '../../etc' }] },
  { name: 'a hard link that climbs', code: 'hostile-path', members: [{ name: './a', type: '1', link: '../etc/x' }] },
  {
    name: 'a file below a link',
    code: 'hostile-path',
    members: [
      { name: './usr', type: '2', link: '/tmp' },
      { name: './usr/evil', data: 'x' },
    ],
  },
  {
    name: 'a file below a link that comes later',
    code: 'hostile-path',
    members: [
      { name: './usr/lib/evil', data: 'x' },
      { name: './usr', type: '2', link: 'tmp' },
    ],
  },
  {
    name: 'a file twice',
    code: 'hostile-path',
    members: [
      { name: './a', data: 'x' },
      { name: 'a', data: 'y' },
    ],
  },
  { name: 'a device', code: 'hostile-path', members: [{ name: './dev/null', type: '3' }] },
];

for (const { name, code, members } of HOSTILE) {
  test(`refused, and nothing unpacked: ${name}`, async () => {
    const folder = join(scratch, 'hostile');
    await assert.rejects(unpackDeb(deb(members), folder), refused(code));
    await assert.rejects(readFile(join(folder, 'evil')));
  });
}

test('a loop of links ends', async () => {
  const files = await readTar(
    'x.tar',
    tar([
      { name: 'a', type: '2', link: 'b' },
      { name: 'b', type: '2', link: 'a' },
    ]),
  );
  assert.throws(() => fileAt(files, 'a'), refused('hostile-path'));
});

test('every truncation of a package is refused', async () => {
  const whole = deb(HONEST);
  const control = readAr(whole)
    .slice(0, 2)
    .reduce((sum, { data }) => sum + data.length + 60, 8);
  for (let length = 0; length < whole.length - 1024; length += 37) {
    // Not the end-of-archive blocks, which tar readers do without, but anything before them.
    await assert.rejects(
      readDeb(whole.subarray(0, length)),
      refused('archive-invalid'),
      `${length} of ${whole.length} (${control})`,
    );
  }
});

test('compressed archives that are cut, corrupt or of an unknown kind are refused', async () => {
  const plain = tar(HONEST);
  for (const [name, packed] of [
    ['x.tar.gz', gzipSync(plain)],
    ['x.tar.zst', zstdCompressSync(plain)],
  ] as const) {
    assert.equal((await readTar(name, packed)).size, HONEST.length - 1);
    await assert.rejects(readTar(name, packed.subarray(0, packed.length - 9)), refused('archive-invalid'), name);
    await assert.rejects(readTar(name, packed.with(40, (packed[40] ?? 0) ^ 0xff)), refused('archive-invalid'), name);
  }
  await assert.rejects(readTar('x.tar.xz', Buffer.from('not xz at all')), refused('archive-invalid'));
  await assert.rejects(readTar('x.tar.lzma', plain), refused('archive-invalid'));
});

test('members in another order or number are not a package', async () => {
  const data = { name: 'data.tar', data: tar([]) };
  const version = { name: 'debian-binary', data: Buffer.from('2.0\n') };
  const control = { name: 'control.tar', data: tar([]) };
  for (const members of [
    [version, data, control],
    [version, control],
    [control, version, data],
    [version, control, data, data],
  ]) {
    await assert.rejects(readDeb(ar(members)), refused('archive-invalid'));
  }
});

test('readers of hostile bytes end in a value or an ImageError', async () => {
  const whole = deb(HONEST);
  const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(edits, async (changes) => {
      const bytes = whole.slice();
      for (const [at, value] of changes) bytes[at] = value;
      await readDeb(bytes).catch((error) => assert.ok(error instanceof ImageError, String(error)));
    }),
    { numRuns: 500 },
  );
});
