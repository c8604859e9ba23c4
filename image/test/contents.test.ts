/** Every file of the image and every word of its command line has its reason in the documents. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { COMMAND_LINE, COMMAND_LINE_WORDS, FOLDERS, MADE_FILES, MODULES, TAKEN_FILES } from '../src/contents.ts';
import { projectRoot } from '../src/inputs/fetch.ts';
import { ENTRIES } from '../src/programs/entries.ts';

test('docs/operate/image.md gives each file and each word of the command line its reason, and no others', () => {
  const rows = [
    ...TAKEN_FILES.map(({ path, reason }) => [`/${path}`, reason]),
    ...MODULES.map(({ name, reason }) => [`/lib/modules/${name}.ko`, reason]),
    ...ENTRIES.map(({ path, reason }) => [`/${path}`, reason]),
    ...Object.values(MADE_FILES).map(({ path, reason }) => [`/${path}`, reason]),
    ...FOLDERS.map(({ path, reason }) => [`/${path}`, `mount point: ${reason}`]),
    ...COMMAND_LINE_WORDS.map(({ word, reason }) => [word, reason]),
  ].map(([name, reason]) => `| \`${name}\` | ${reason} |`);
  const text = readFileSync(join(projectRoot, 'docs/operate/image.md'), 'utf8');
  const sections = text.split(/^#+ /m).filter((part) => /^(Files, and why|Command line)/.test(part));
  const documented = sections.flatMap((part) => part.split('\n').filter((line) => line.startsWith('| `')));
  assert.deepEqual(documented.sort(), rows.sort());
});

test('the command line has no word twice, no policy, and nothing that opens the machine', () => {
  const words = COMMAND_LINE.split(' ');
  assert.equal(new Set(words).size, words.length);
  for (const open of [
    'enclaim.',
    'init=',
    'rdinit=',
    'single',
    'debug',
    'earlyprintk',
    'kgdb',
    'nokaslr',
    'mitigations=off',
    'lockdown=none',
  ]) {
    assert.ok(
      !words.some((word) => word === open || ((open.endsWith('=') || open.endsWith('.')) && word.startsWith(open))),
      open,
    );
  }
});
