/** No text of a console reaches a terminal's control, and its lines are bounded. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../../test/support/properties.ts';
import { cleanLine, LineQueue, LineSplitter } from '../../src/machine/console.ts';

const CLEANED: readonly (readonly [string, string])[] = [
  ['plain\ttext  ', 'plain\ttext'],
  ['\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: starting', 'BdsDxe: starting'],
  ['\x1b]0;title\x07ok', '0;titleok'], // an OSC loses what makes it one
  ['a\x9b31mb', 'a31mb'],
  ['x\x00\x08\x7fy', 'xy'],
];

test('removes what a terminal would obey', () => {
  for (const [raw, clean] of CLEANED) assert.equal(cleanLine(raw), clean);
});

test('no control character survives, and no line is longer than 1000', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 3000 }), (raw) => {
      const line = cleanLine(raw);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
      assert.doesNotMatch(line, /[\x00-\x08\x0a-\x1f\x7f-\x9f]/);
      assert.ok(line.length <= 1000);
    }),
  );
});

test('lines do not depend on how the text was cut', () => {
  const text = fc.array(fc.constantFrom('a', 'bc', ' ', '\r', '\n', '\x1b[0m'), { maxLength: 40 });
  fc.assert(
    fc.property(text, (pieces) => {
      const cut = new LineSplitter();
      const whole = new LineSplitter();
      const lines = [...pieces.flatMap((piece) => cut.push(piece)), ...cut.end()];
      assert.deepEqual(lines, [...whole.push(pieces.join('')), ...whole.end()]);
    }),
  );
});

test('a line that never ends is given out in parts', () => {
  const splitter = new LineSplitter();
  const given = Array.from({ length: 100 }, () => splitter.push('x'.repeat(1000))).flat();
  assert.equal(given.length, 24);
  assert.ok(splitter.end().join('').length <= 1000);
});

test('a slow reader is told how much it lost, and gets the newest lines', async () => {
  const queue = new LineQueue();
  for (let line = 0; line < 1500; line++) queue.push(`${line}`);
  queue.end();
  const read = await Array.fromAsync(queue);
  assert.deepEqual([read[0], read[1], read.at(-1), read.length], ['(500 lines lost)', '500', '1499', 1001]);
});

test('a waiting reader wakes', async () => {
  const queue = new LineQueue();
  const read = Array.fromAsync(queue);
  await Promise.resolve();
  queue.push('one');
  queue.end();
  assert.deepEqual(await read, ['one']);
});
