/** Stripping a program drops only what is never loaded, and hostile bytes are refused. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import { ImageError } from '../src/errors.ts';
import { elfSection, neededLibraries, stripElf } from '../src/formats/elf.ts';

const scratch = mkdtempSync(join(tmpdir(), 'enclaim-elf-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

test('a stripped Node is smaller, is a prefix but for three fields, and runs', () => {
  const node = readFileSync(process.execPath);
  const stripped = stripElf(node);
  assert.ok(stripped.length < node.length - 30e6);
  const differing = [...stripped.subarray(0, 4096).keys()].filter((at) => stripped[at] !== node[at]);
  assert.ok(differing.every((at) => (at >= 0x28 && at < 0x30) || (at >= 0x3c && at < 0x40)));
  assert.ok(Buffer.from(stripped.subarray(4096)).equals(node.subarray(4096, stripped.length)));
  assert.deepEqual(neededLibraries(stripped), neededLibraries(node));
  assert.ok(neededLibraries(node).includes('libc.so.6'));
  const file = join(scratch, 'node');
  writeFileSync(file, stripped, { mode: 0o755 });
  assert.equal(execFileSync(file, ['-p', '[1, 2].map((n) => n * 21).join()'], { encoding: 'utf8' }).trim(), '21,42');
  assert.deepEqual(stripElf(stripped), stripped);
});

/** One loaded segment of 256 bytes, then a section that is not loaded, then the names of sections, then their table. */
function tinyElf(flags = 0n, note = 'debug'): Uint8Array {
  const names = Buffer.from('\0.note\0.shstrtab\0', 'latin1');
  const [noteAt, namesAt] = [256, 256 + note.length];
  const tableAt = namesAt + names.length;
  const out = new Uint8Array(tableAt + 3 * 64);
  const view = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setBigUint64(0x20, 64n, true);
  view.setBigUint64(0x28, BigInt(tableAt), true);
  view.setUint16(0x38, 1, true);
  view.setUint16(0x3c, 3, true);
  view.setUint16(0x3e, 2, true);
  view.setUint32(64, 1, true);
  view.setBigUint64(64 + 32, 256n, true);
  out.set(Buffer.from(note, 'latin1'), noteAt);
  out.set(names, namesAt);
  for (const [index, row] of [
    { name: 1, flags, offset: noteAt, size: note.length },
    { name: 7, flags: 0n, offset: namesAt, size: names.length },
  ].entries()) {
    const at = tableAt + (index + 1) * 64;
    view.setUint32(at, row.name, true);
    view.setUint32(at + 4, 1, true);
    view.setBigUint64(at + 8, row.flags, true);
    view.setBigUint64(at + 24, BigInt(row.offset), true);
    view.setBigUint64(at + 32, BigInt(row.size), true);
  }
  return out;
}

test('sections are found by name; what is loaded is never cut off', () => {
  assert.equal(Buffer.from(elfSection(tinyElf(), '.note')).toString(), 'debug');
  assert.equal(stripElf(tinyElf()).length, 256);
  assert.throws(() => stripElf(tinyElf(2n)), ImageError);
  assert.throws(() => elfSection(tinyElf(), '.none'), ImageError);
});

test('hostile bytes end in a value or an ImageError', () => {
  const base = tinyElf();
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 4 }),
      fc.nat(base.length),
      (edits, cut) => {
        const bytes = base.slice();
        for (const [at, value] of edits) bytes[at] = value;
        for (const attack of [bytes, bytes.subarray(0, cut)]) {
          for (const read of [stripElf, neededLibraries, (it: Uint8Array) => elfSection(it, '.note')]) {
            try {
              read(attack);
            } catch (error) {
              assert.ok(error instanceof ImageError, String(error));
            }
          }
        }
      },
    ),
    { numRuns: 3000 },
  );
});
