/** Every name of a published package's root entry point shows how it is used, and a name that shows nothing is found. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { declaredBy } from '../scripts/examples.ts';
import { root } from '../scripts/imports.ts';

/** Sources by path. */
function reading(sources: Readonly<Record<string, string>>): (path: string) => string {
  return (path) => sources[path] ?? assert.fail(`${path} is not there`);
}

test('a name without an example is found, also behind a second entry', () => {
  const read = reading({
    'a/src/index.ts': "export { one, type Two, three } from './a.ts';\nexport { four } from './b/index.ts';\n",
    'a/src/a.ts':
      '/**\n * One.\n *\n * @example\n * ```ts\n * one();\n * ```\n */\nexport function one(): void {}\n/** Three. */\nexport const three = 3;\n',
    'a/src/b/index.ts': "export { four, five } from './four.ts';\n",
    'a/src/b/four.ts': '/** Four. */\nexport class four {}\n',
  });
  assert.deepEqual(declaredBy('a/src/index.ts', read), [
    { name: 'one', file: 'a/src/a.ts', examples: ['one();\n'] },
    { name: 'three', file: 'a/src/a.ts', examples: [] },
    { name: 'four', file: 'a/src/b/four.ts', examples: [] },
  ]);
});

test('the examples that the type check compiles are those of the sources', () => {
  execFileSync(process.execPath, [join(root, 'scripts/examples.ts')]);
  const { include } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'));
  assert.ok(include.includes('.cache/examples/*.ts'));
  const compiled = globSync('.cache/examples/*.ts', { cwd: root }).length;
  const names = ['policy-schema', 'attestation', 'client'].flatMap((room) => declaredBy(`${room}/src/index.ts`));
  assert.ok(compiled >= 60 && names.length >= 30, `${compiled} examples of ${names.length} names`);
});

test('the root of a package has about a dozen functions and classes, and the client’s 16', () => {
  for (const [room, most] of [
    ['policy-schema', 14],
    ['attestation', 14],
    ['client', 16],
  ] as const) {
    const names = declaredBy(`${room}/src/index.ts`).map(({ name }) => name);
    assert.ok(names.length > 0 && names.length <= most, `${room}: ${names}`);
  }
});
