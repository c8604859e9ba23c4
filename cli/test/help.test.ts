/** `enclaim help` says what the command's own help says, or a topic from the same table as the code; else it is refused. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { CALL_LIMITS } from '../src/call-limits.ts';
import { EXIT, EXIT_MEANS } from '../src/exit-status.ts';

const main = join(import.meta.dirname, '../src/main.ts');
const enclaim = (...words: readonly string[]) => spawnSync(process.execPath, [main, ...words], { encoding: 'utf8' });

test('help of a command is that of --help', () => {
  for (const words of [[], ['policy', 'explain']]) {
    const { status, stdout } = enclaim('help', ...words);
    assert.equal(status, EXIT.ok);
    assert.equal(stdout, enclaim(...words, '--help').stdout);
    assert.match(stdout, /^Usage: enclaim/);
  }
});

test('topics have every exit status with its meaning, and the limits of calls', () => {
  const { status, stdout } = enclaim('help', 'exit-statuses');
  assert.equal(status, EXIT.ok);
  for (const [name, code] of Object.entries(EXIT))
    assert.ok(
      stdout
        .split('\n')
        .some((line) => line.split(/ +/)[1] === `${code}` && line.endsWith(EXIT_MEANS[name as keyof typeof EXIT])),
      name,
    );
  assert.equal(enclaim('help', 'limits').stdout, `${CALL_LIMITS.trim()}\n`);
});

test('what is no command and no topic is refused with the topics', () => {
  for (const words of [['no-such'], ['policy', 'limits'], ['constructor']]) {
    const { status, stdout, stderr } = enclaim('help', ...words);
    assert.deepEqual([status, stdout], [EXIT.usage, '']);
    assert.match(stderr, /topics: exit-statuses, limits/);
  }
});
