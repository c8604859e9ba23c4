/** `-` is standard input where a command reads a file, and standard output where it writes one. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from '@enclaim/image';

const POLICY = join(projectRoot, 'examples/clinic/policy.yaml');
const run = (input: string | Uint8Array, ...words: string[]) =>
  spawnSync(process.execPath, [join(projectRoot, 'cli/src/main.ts'), ...words], {
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });

test('a policy from standard input has the digest of its file', () => {
  const expected = run('', 'policy', 'digest', POLICY).stdout;
  assert.match(expected, /^sha384:[0-9a-f]{96}\n$/);
  assert.equal(run(readFileSync(POLICY), 'policy', 'digest', '-').stdout, expected);
});

test('an empty standard input is no policy, and more than may be is refused', () => {
  assert.equal(run('', 'policy', 'digest', '-').status, 1);
  const { status, stderr } = run(Buffer.alloc(64 * 1024 * 1024 + 1, 0x20), 'policy', 'digest', '-');
  assert.equal(status, 2);
  assert.match(stderr, /more than 67108864 bytes/);
});

test('types go to standard output', () => {
  const { status, stdout } = run('', 'gen', join(projectRoot, 'examples/clinic'), '-o', '-');
  assert.deepEqual([status, stdout.includes('export interface')], [0, true]);
});
