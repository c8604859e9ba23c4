/**
 * An archive comes back as it went in, and a path or byte that Linux would read otherwise is
 * refused.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import { ImageError } from '../src/errors.ts';
import { type CpioEntry, decodeCpio, encodeCpio } from '../src/formats/cpio.ts';

const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,6}$/);
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const entry: fc.Arbitrary<CpioEntry> = fc.oneof(
  fc.record({
    path,
    type: fc.constant('file' as const),
    mode: fc.constantFrom(0o644, 0o755),
    data: fc.uint8Array({ maxLength: 50 }),
  }),
  fc.record({ path, type: fc.constant('directory' as const), mode: fc.constantFrom(0o755, 0o1777) }),
  fc.record({ path, type: fc.constant('symlink' as const), target: name }),
);
/** No path is another's parent unless it is a folder. */
const entries = fc
  .uniqueArray(entry, { selector: (it) => it.path, maxLength: 12 })
  .map((all) =>
    all.filter(({ path: own }) => !all.some((other) => other.type !== 'directory' && own.startsWith(`${other.path}/`))),
  );

test('an archive comes back as it went in, parents before children', () => {
  fc.assert(
    fc.property(entries, (given) => {
      const bytes = encodeCpio(given);
      assert.equal(bytes.length % 4, 0);
      const read = decodeCpio(bytes);
      const texts = read.map(textOf);
      for (const one of given) assert.ok(texts.includes(textOf(one)), one.path);
      const order = read.map((one) => one.path);
      for (const one of order) {
        const parent = one.slice(0, Math.max(0, one.lastIndexOf('/')));
        assert.ok(parent === '' || (order.includes(parent) && order.indexOf(parent) < order.indexOf(one)));
      }
      assert.deepEqual(encodeCpio(read), bytes);
    }),
  );
});

test('the order in which entries are found does not matter', () => {
  fc.assert(
    fc.property(entries, fc.infiniteStream(fc.nat()), (given, numbers) => {
      const shuffled = given
        .map((one) => ({ one, key: numbers.next().value ?? 0 }))
        .sort((a, b) => a.key - b.key)
        .map(({ one }) => one);
      assert.deepEqual(encodeCpio(shuffled), encodeCpio(given));
    }),
  );
});

test('paths that leave, repeat, end the archive or lie below a file are refused', () => {
  const file = (at: string): CpioEntry => ({ path: at, type: 'file', mode: 0o644, data: new Uint8Array() });
  for (const at of ['../a', '/a', 'a//b', 'a/./b', '', 'a b', 'ä', 'TRAILER!!!', 'a\0b']) {
    assert.throws(() => encodeCpio([file(at)]), ImageError, at);
  }
  assert.throws(() => encodeCpio([file('a'), file('a')]), ImageError);
  assert.throws(() => encodeCpio([file('a'), file('a/b')]), ImageError);
});

test('hostile bytes end in a value or an ImageError; every truncation is refused', () => {
  const bytes = encodeCpio([
    { path: 'a', type: 'file', mode: 0o644, data: Buffer.from('hello') },
    { path: 'b/c', type: 'symlink', target: 'a' },
  ]);
  for (let length = 0; length < bytes.length - 124; length++) {
    assert.throws(() => decodeCpio(bytes.subarray(0, length)), ImageError, String(length));
  }
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
      try {
        decodeCpio(Uint8Array.from(bytes).with(at, value));
      } catch (error) {
        assert.ok(error instanceof ImageError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

/** An entry as text, so that entries can be compared whatever made their objects. */
function textOf(entry: CpioEntry): string {
  const rest = { file: 'data', symlink: 'target', directory: 'mode' }[entry.type] as keyof CpioEntry;
  const mode = entry.type === 'symlink' ? '' : entry.mode;
  return `${entry.path} ${entry.type} ${mode} ${Buffer.from(String(entry[rest]))}`;
}
