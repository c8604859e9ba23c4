/** The image starts the kernel with exactly the words that the guest demands, each for the same reason. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMAND_LINE } from '../guest/src/linux/hardening.ts';
import { COMMAND_LINE_WORDS } from '../image/src/contents.ts';

test('the words of the image are the words that the guest demands', () => {
  assert.deepEqual(
    COMMAND_LINE_WORDS.map(({ word, reason }) => [word, reason]),
    COMMAND_LINE,
  );
});
