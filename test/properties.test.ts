/** A process of tests that fails names the seed of its properties, by which they draw the same again. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const SUPPORT = JSON.stringify(join(import.meta.dirname, 'support/properties.ts'));
/** Fails as a test does whose properties hold, and whose counts are wrong. */
const PROGRAM = `
  import { fc } from ${SUPPORT};
  const drawn = [];
  fc.assert(fc.property(fc.integer(), (number) => void drawn.push(number)));
  console.log(drawn.join());
  process.exitCode = Number(process.argv[1]);`;

function run(status: 0 | 1, seed?: string): { readonly drawn: string; readonly said: string } {
  const { ENCLAIM_TEST_SEED: _, ...others } = process.env;
  const env = seed === undefined ? others : { ...others, ENCLAIM_TEST_SEED: seed };
  const words = ['--input-type=module', '--eval', PROGRAM, String(status)];
  const { stdout, stderr } = spawnSync(process.execPath, words, { env, encoding: 'utf8' });
  return { drawn: stdout, said: stderr };
}

test('a failed process names its seed, which draws the same again', () => {
  const { drawn, said } = run(1);
  const [, seed] = /ENCLAIM_TEST_SEED=(-?\d+)$/m.exec(said) ?? assert.fail(said);
  assert.equal(run(1, seed).drawn, drawn);
  assert.notEqual(run(1).drawn, drawn);
});

test('one that passed says nothing', () => {
  assert.equal(run(0).said, '');
});

test('what is no seed is refused', () => {
  assert.match(run(0, 'x').said, /ENCLAIM_TEST_SEED is a whole number of 32 bits, not x/);
});
