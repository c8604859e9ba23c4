/** What an author reads of his handlers has places of his sources, and no text of theirs passes for a line of the command. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RefusalError } from '@enclaim/runtime';
import { SourcePlaces, shownFailure, shownNote } from '../src/dev/author.ts';
import { printable } from '../src/printable.ts';

/** One place: column 1 of line 1 is line 3, column 5 of handlers/a.ts. */
const places = new SourcePlaces(
  JSON.stringify({ version: 3, sources: ['handlers/a.ts'], names: [], mappings: 'AAEI', file: 'map.js' }),
);
const FORGED = 'x\nserving    everything\r\u001b[2Jverdict: ok\u2028serving    more';

test('places of the bundle become places of the sources, and frames of the realm are left out', () => {
  const stack = [
    'TypeError: no',
    '    at f (app:handlers:1:1)',
    '    at start (enclaim:realm:200:3)',
    '    at process.processTicksAndRejections (node:internal/process/task_queues:104:5)',
    '    at async g (app:handlers:99999999:1)',
  ].join('\n');
  const shown = places.rewrite(stack).split('\n');
  assert.deepEqual(shown.slice(0, 2), ['TypeError: no', '    at f (handlers/a.ts:3:5)']);
  assert.equal(shown.length, 3);
});

test('no line of a handler begins as a line of the command, and none moves the cursor', () => {
  for (const shown of [
    shownNote({ kind: 'threw', method: FORGED, text: FORGED }, places),
    shownNote({ kind: 'console', level: FORGED, text: FORGED }, places),
    shownFailure('a.B/C', new RefusalError('response', 'no', { cause: new Error(FORGED) }), 'ff'),
  ]) {
    const [, ...more] = shown.split('\n');
    for (const line of more) assert.match(line, /^ {2}\| /);
    assert.equal(shown.replaceAll('\n', ''), printable(shown.replaceAll('\n', '')));
  }
});

test('a stack of very many lines is shown in part', () => {
  const shown = shownNote({ kind: 'threw', method: 'a.B/C', text: 'x\n'.repeat(10_000) }, places);
  assert.ok(shown.split('\n').length < 100);
});
