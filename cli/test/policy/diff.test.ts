/** `enclaim diff` compares two policies of files, revisions and digests, and can block. */

import assert from 'node:assert/strict';
import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CLINIC, clinic, enclaim, folder, git } from './run-command.ts';

test('a first policy is compared with nothing, and one that was moved is compared with where it was', async () => {
  const made = folder();
  git(made, 'init', '-q');
  git(made, 'commit', '-q', '--allow-empty', '-m', 'nothing');
  cpSync(CLINIC, join(made, 'clinic'), { recursive: true });
  const inside = join(made, 'clinic');
  const first = await enclaim(inside, 'diff', 'HEAD', '--fail-on', 'weaker');
  assert.equal(first.status, 0, first.err);
  assert.match(first.out, /^HEAD has no policy before it: nothing was compared$/m);
  assert.equal(JSON.parse((await enclaim(inside, 'diff', 'HEAD', '--json')).out).verdict, 'first');
  assert.equal((await enclaim(inside, 'diff', 'nowhere', '--fail-on', 'weaker')).status, 2);
  assert.equal((await enclaim(inside, 'diff', 'HEAD:policy.yaml', '--fail-on', 'weaker')).status, 2);
  git(made, 'add', '.');
  git(made, 'commit', '-qm', 'first');
  renameSync(join(inside, 'policy.yaml'), join(inside, 'policy.yml'));
  const renamed = await enclaim(inside, 'diff', 'HEAD', '--file', 'policy.yml', '--fail-on', 'weaker');
  assert.deepEqual(
    [renamed.status, /compare with HEAD:clinic\/policy\.yaml/.test(renamed.err)],
    [2, true],
    renamed.err,
  );
  renameSync(inside, join(made, 'moved'));
  const moved = await enclaim(join(made, 'moved'), 'diff', 'HEAD', '--file', 'policy.yml', '--fail-on', 'weaker');
  assert.deepEqual([moved.status, /if this one takes its place/.test(moved.err)], [2, true], moved.err);
});

test('diff reads files, revisions and digests, and can block', async () => {
  const made = clinic();
  git(made, 'init', '-q');
  git(made, 'add', '.');
  git(made, 'commit', '-qm', 'first');
  const digest = (await enclaim(made, 'policy', 'digest')).out.trim();
  assert.match(digest, /^sha384:[0-9a-f]{96}$/);
  const file = join(made, 'policy.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace('retention: P30D', 'retention: P60D'));
  for (const old of ['HEAD', 'HEAD:policy.yaml', digest]) {
    const { status, out } = await enclaim(made, 'diff', old);
    assert.equal(status, 0);
    assert.match(out, /^weaker {7}cases is kept for at most P60D, before P30D\nthe new policy is weaker$/m);
  }
  assert.equal((await enclaim(made, 'diff', 'HEAD', '--fail-on', 'weaker')).status, 1);
  assert.equal((await enclaim(made, 'diff', 'policy.yaml', 'HEAD', '--fail-on', 'weaker')).status, 0);
  const { verdict, changes } = JSON.parse((await enclaim(made, 'diff', 'HEAD', '--json')).out) as {
    verdict: string;
    changes: object[];
  };
  assert.deepEqual([verdict, changes.length], ['weaker', 1]);
});

test('diff refuses what it cannot find', async () => {
  const made = clinic();
  git(made, 'init', '-q');
  for (const old of ['HEAD', 'nonsense', `sha384:${'0'.repeat(96)}`, '--help=x', '-x:policy.yaml']) {
    assert.ok([1, 2].includes((await enclaim(made, 'diff', '--', old)).status ?? 0), old);
  }
});
