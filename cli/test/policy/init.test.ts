/** `enclaim init` makes an app that checks, and overwrites nothing. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { enclaim, folder, git } from './run-command.ts';

test('init makes an app that checks and passes its tests', async () => {
  const made = join(folder(), 'My App');
  assert.equal((await enclaim('.', 'init', made)).status, 0);
  assert.match(readFileSync(join(made, 'policy.yaml'), 'utf8'), /name: my-app/);
  assert.deepEqual([(await enclaim(made, 'check')).status, (await enclaim(made, 'test')).status], [0, 0]);
});

test('init leaves nothing behind where it cannot write all, and says which file it was', async () => {
  const made = folder();
  const inside = join(made, 'apps/one');
  mkdirSync(inside, { recursive: true });
  writeFileSync(join(inside, 'handlers'), 'in the way');
  const { status, err } = await enclaim(made, 'init', 'apps/one');
  assert.equal(status, 2);
  assert.match(err, /apps\/one\/handlers cannot be written: .*EEXIST/);
  assert.deepEqual(readdirSync(inside), ['handlers']);
  rmSync(join(inside, 'handlers'));
  assert.equal((await enclaim(made, 'init', 'apps/one')).status, 0);
});

test('init keeps keys of the machine, bundles and receipts out of git, and changes no list that is there', async () => {
  const made = folder();
  assert.equal((await enclaim(made, 'init')).status, 0);
  git(made, 'init', '-q');
  mkdirSync(join(made, 'state'));
  for (const file of ['app.enclaim', 'a.enclaim-receipt', 'state/tpm']) writeFileSync(join(made, file), '');
  git(made, 'add', '-A');
  const staged = execFileSync('git', ['ls-files'], { cwd: made, encoding: 'utf8' });
  assert.match(staged, /^policy\.yaml$/m);
  assert.doesNotMatch(staged, /\.enclaim|state\//);
  const other = folder();
  writeFileSync(join(other, '.gitignore'), 'mine\n');
  assert.equal((await enclaim(other, 'init')).status, 0);
  assert.equal(readFileSync(join(other, '.gitignore'), 'utf8'), 'mine\n');
});

test('init overwrites nothing', async () => {
  const made = folder();
  writeFileSync(join(made, 'policy.test.yaml'), 'mine');
  const { status, err } = await enclaim(made, 'init');
  assert.equal(status, 2);
  assert.match(err, /policy\.test\.yaml is there already; nothing was written/);
  assert.ok(!existsSync(join(made, 'policy.yaml')));
});
