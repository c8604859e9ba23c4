/** Moving a source rewrites what leads to it or from it, and no other link. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rewritten } from '../scripts/move.ts';

const TRACKED = new Set([
  'README.md',
  'TESTS.md',
  'pages/start/TESTS.md',
  'pages/start/page.md',
  'pages/start/other.md',
  'runtime/src/a.ts',
  'runtime/src/b.ts',
]);

function moved(path: string, text: string, ...moves: readonly (readonly [from: string, to: string])[]): string {
  return rewritten(path, text, new Map(moves), TRACKED);
}

test('links to and from a moved page lead where they led', () => {
  const to = ['pages/start/page.md', 'pages/page.md'] as const;
  assert.equal(moved('README.md', '[a](pages/start/page.md#b)', to), '[a](pages/page.md#b)');
  assert.equal(moved('pages/start/other.md', '[a](page.md)', to), '[a](../page.md)');
  assert.equal(
    moved('pages/start/page.md', '[a](other.md) [b](../../README.md)', to),
    '[a](start/other.md) [b](../README.md)',
  );
});

test('imports and paths below the root follow a moved source', () => {
  const to = ['runtime/src/a.ts', 'runtime/src/call/a.ts'] as const;
  assert.equal(
    moved('runtime/src/b.ts', "import './a.ts'; // runtime/src/a.ts", to),
    "import './call/a.ts'; // runtime/src/call/a.ts",
  );
  assert.equal(moved('runtime/src/a.ts', "import './b.ts';", to), "import '../b.ts';");
  assert.equal(moved('README.md', '`runtime/src/a.ts`', to), '`runtime/src/call/a.ts`');
});

test('a link that neither leads to nor comes from what moves stays as it is written', () => {
  const to = ['TESTS.md', 'pages/tests.md'] as const;
  // The page beside it has the name that another has at the root.
  for (const link of ['[a](TESTS.md)', '[a](./TESTS.md)', '[a](../start/other.md)', '[a](./other.md)'])
    assert.equal(moved('pages/start/page.md', link, to), link);
  assert.equal(moved('pages/start/page.md', '[a](../../TESTS.md) `TESTS.md`', to), '[a](../tests.md) `pages/tests.md`');
  assert.equal(moved('runtime/src/b.ts', "import './x/../a.ts';", to), "import './x/../a.ts';");
});
