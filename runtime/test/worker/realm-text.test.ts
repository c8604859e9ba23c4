/** The text of a realm refers to nothing but the language: a name of a module around it would be an error inside a worker. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { realmText } from '../../src/worker/realm/inside.ts';

const TSC = join(import.meta.dirname, '../../../node_modules/typescript/bin/tsc');
const scratch = await mkdtemp(join(tmpdir(), 'enclaim-realm-'));
after(() => rm(scratch, { recursive: true }));

/** Names of a program that neither it nor the language declares. */
async function freeNames(program: string): Promise<string[]> {
  const file = join(scratch, 'realm.js');
  await writeFile(file, program);
  const words = ['--ignoreConfig', '--noEmit', '--allowJs', '--checkJs', '--target', 'esnext', '--lib', 'esnext'];
  const { stdout } = spawnSync(process.execPath, [TSC, ...words, '--types', '', file], { encoding: 'utf8' });
  // "Cannot find name", with and without a suggestion; also where a library or types of Node would have it.
  return [...stdout.matchAll(/error TS(?:2304|2552|258\d|259\d): Cannot find name '(\w+)'/g)].map(
    ([, name = '']) => name,
  );
}

test('the text of the VM, and that of the author', async () => {
  for (const text of [realmText(), realmText(true)]) assert.deepEqual(await freeNames(`'use strict';\n${text};`), []);
});

test('a name of a module around it is found, and one of Node', async () => {
  const text = realmText().replace('let operations = 0;', 'let operations = elsewhere + process.pid;');
  assert.deepEqual((await freeNames(text)).sort(), ['elsewhere', 'process']);
});
