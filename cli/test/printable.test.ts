/** Text of strangers cannot do anything on a terminal. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printable, printableJson } from '../src/printable.ts';

test('escapes, overrides and line ends are written out; words in any script stay', () => {
  assert.equal(printable('\u001b[2Kverdict: ok\r\n'), '\\u{1b}[2Kverdict: ok\\u{d}\\u{a}');
  assert.equal(printable('a\u202eb\u2028c\u009bd\u200b'), 'a\\u{202e}b\\u{2028}c\\u{9b}d\\u{200b}');
  assert.equal(printable('Ångström, Nguyễn, 東京 ✓'), 'Ångström, Nguyễn, 東京 ✓');
});

test('JSON stays JSON, and shows the same characters as escapes', () => {
  const value = { '\u007f\u0090': ['\u001b[2K\r\n', 'a\u202eb\u2028c\u009bd\u200b', '\u{e0041}', 'Nguyễn, 東京 ✓'] };
  const text = printableJson(value);
  assert.doesNotMatch(text, /[^\P{C}\n]/u);
  assert.deepEqual(JSON.parse(text), value);
  assert.match(text, /Nguyễn, 東京 ✓/);
  assert.equal(printableJson({ a: 1 }), '{\n  "a": 1\n}');
});
