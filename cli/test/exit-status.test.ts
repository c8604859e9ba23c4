/** One table of exit statuses: what each error ends with, and that the documents have the same. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ChannelError } from '@enclaim/client';
import { ImageError, projectRoot } from '@enclaim/image';
import { EXIT, EXIT_MEANS, exitStatusOf } from '../src/exit-status.ts';
import { UsageError } from '../src/usage-error.ts';

const callError = (code: string): Error => Object.assign(new Error('it says no'), { name: 'CallError', code });
const noRoom = (): Error => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });

const ENDS: readonly (readonly [string, unknown, number])[] = [
  ['words that cannot work', new UsageError('--timeout x'), EXIT.usage],
  [
    'a disk without room, by every error that says so',
    new UsageError('x cannot be written', { cause: noRoom() }),
    EXIT.unavailable,
  ],
  ['a disk without room', noRoom(), EXIT.unavailable],
  ['no server there', new ChannelError('unreachable', 'no connection'), EXIT.unavailable],
  ['no evidence in time', new ChannelError('timeout', 'no evidence'), EXIT.unavailable],
  ['something else there', new ChannelError('protocol', 'the server does not speak it'), EXIT.refused],
  ['an answer without a receipt', new ChannelError('receipt', 'none'), EXIT.refused],
  ['a receipt that is not good', callError('DATA_LOSS'), EXIT.refused],
  ['a refusal of the policy', callError('PERMISSION_DENIED'), EXIT.answered],
  ['no such method', callError('UNIMPLEMENTED'), EXIT.answered],
  ['a call that took too long', callError('DEADLINE_EXCEEDED'), EXIT.unavailable],
  ['a mirror that lacks something', new ImageError('fetch-failed', 'not there'), EXIT.unavailable],
  ['an input that is nowhere', new ImageError('input-nowhere', 'a: cache: not there'), EXIT.unavailable],
  ['no mirror known', new ImageError('mirror-unknown', 'none'), EXIT.unavailable],
  ['another hash', new ImageError('hash-mismatch', 'other'), EXIT.refused],
  ['an interruption', new DOMException('aborted', 'AbortError'), EXIT.interrupted],
  ['what is no error', 'text', EXIT.refused],
];

for (const [name, error, status] of ENDS)
  test(`${name} ends with ${status}`, () => assert.equal(exitStatusOf(error), status));

test('the reference has the table', () => {
  const text = readFileSync(join(projectRoot, 'docs/reference/command-line.md'), 'utf8');
  const rows = [...text.matchAll(/^\| (\d+) \| (\w+) \|/gm)].map(([, status, name]) => [name, Number(status)]);
  assert.deepEqual(Object.fromEntries(rows), EXIT);
  const means = [...text.matchAll(/^\| \d+ \| (\w+) \| (.*) \|$/gm)].map(([, name, words]) => [name, words]);
  assert.deepEqual(Object.fromEntries(means), EXIT_MEANS);
});

test('output that did not arrive is no success; a reader that wants no more has what it wants', () => {
  const main = join(projectRoot, 'cli/src/main.ts');
  const digest = [process.execPath, main, 'policy', 'digest', join(projectRoot, 'examples/clinic/policy.yaml')];
  const full = openSync('/dev/full', 'w');
  const [node = '', ...words] = digest;
  const { status, stderr } = spawnSync(node, words, { stdio: ['ignore', full, 'pipe'], encoding: 'utf8' });
  closeSync(full);
  assert.equal(status, EXIT.unavailable, stderr);
  assert.match(stderr, /^enclaim: standard output cannot be written: ENOSPC/m);
  const piped = spawnSync('bash', ['-c', 'set -o pipefail; "$@" | true', 'bash', ...digest], {
    encoding: 'utf8',
  });
  assert.equal(piped.status, EXIT.ok, piped.stderr);
});
