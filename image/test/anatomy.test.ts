/** An initrd is read as Linux would unpack it, file by file, or has no files. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { partsOfInitrd } from '../src/audit/parts.ts';
import { packInitrd } from '../src/build/initrd.ts';
import { type CpioEntry, encodeCpio } from '../src/formats/cpio.ts';

const file = (path: string, text: string): CpioEntry => ({ path, type: 'file', mode: 0o755, data: Buffer.from(text) });
const initrd = await packInitrd([file('usr/bin/node', 'node')], [file('init', 'ours')], null);
const idsOf = async (bytes: Uint8Array): Promise<string[]> => (await partsOfInitrd(bytes)).map(({ id }) => id);

test('an initrd of ours is read file by file', async () => {
  const ids = await idsOf(initrd);
  assert.deepEqual(
    ids.filter((id) => id.startsWith('file ')),
    ['file usr', 'file usr/bin', 'file usr/bin/node', 'file init'],
  );
  assert.ok(!ids.includes('form of the initrd'));
});

test('nothing of an initrd passes for read where Linux would find another archive behind the frames', async () => {
  const hidden = encodeCpio([file('init', 'not ours')]);
  const zeros = Buffer.alloc(4);
  for (const behind of [gzipSync(hidden), Buffer.concat([zeros, gzipSync(hidden)]), hidden, zeros]) {
    assert.deepEqual(await idsOf(Buffer.concat([initrd, behind])), ['form of the initrd', 'artefact initrd']);
  }
});

test('an initrd that is cut, empty or no initrd has no files', async () => {
  for (const bytes of [initrd.subarray(0, -1), initrd.subarray(0, 7), new Uint8Array(), gzipSync('x')]) {
    assert.deepEqual(await idsOf(bytes), ['form of the initrd', 'artefact initrd']);
  }
});
