/** Commands in a repository judge what would be committed, and name files from its top. */

import assert from 'node:assert/strict';
import { cpSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Command } from 'commander';
import { register as check } from '../../src/policy/check.ts';
import { register as diff } from '../../src/policy/diff.ts';
import { register as init } from '../../src/policy/init.ts';
import { register as policy } from '../../src/policy/policy.ts';
import { register as runTests } from '../../src/policy/test.ts';
import { CLINIC, clinic, enclaim, folder, git, MISSPELT } from './run-command.ts';

/** Two apps of one repository, as they are staged. */
function repository(...edits: readonly (readonly [file: string, from: string, to: string])[]): string {
  const made = folder();
  for (const name of ['one', 'two'])
    cpSync(name === 'one' ? clinic(...edits) : clinic(), join(made, 'apps', name), { recursive: true });
  git(made, 'init', '-q');
  git(made, 'add', '.');
  return made;
}

test('check --staged judges what would be committed, and nothing else', async () => {
  const made = clinic();
  git(made, 'init', '-q');
  git(made, 'add', '.');
  git(made, 'commit', '-qm', 'first');
  const file = join(made, 'policy.yaml');
  const good = readFileSync(file, 'utf8');
  const bad = good.replace('stores: [cases]', 'stores: [caes]');

  writeFileSync(file, bad);
  assert.equal((await enclaim(made, 'check')).status, 1, 'the folder is bad');
  const unstaged = await enclaim(made, 'check', '--staged');
  assert.equal(unstaged.status, 0, 'nothing is staged');
  assert.match(unstaged.out, /^nothing of the policy or its \.proto files is staged: nothing was compared$/m);
  git(made, 'add', 'policy.yaml');
  writeFileSync(file, good);
  assert.equal((await enclaim(made, 'check')).status, 0, 'the folder is good');
  const { status, out } = await enclaim(made, 'check', '--staged');
  assert.equal(status, 1, 'what is staged is bad');
  assert.match(out, /^policy\.yaml:24:16: error/m);
  const below = await enclaim(join(made, 'proto'), 'check', '--staged', '..');
  assert.equal(below.status, 1);
  assert.match(below.out, /^\.\.\/policy\.yaml:24:16: error/m);
});

test('check and test --staged at the top of a repository are of every app of which something is staged', async () => {
  const bad = repository(MISSPELT);
  const checked = await enclaim(bad, 'check', '--staged');
  assert.equal(checked.status, 1);
  assert.match(checked.out, /^apps\/one\/policy\.yaml:24:16: error: no collection "caes"/m);
  assert.match(checked.out, /^ok: apps\/two\/policy\.yaml holds together/m);
  const { ok, apps } = JSON.parse((await enclaim(bad, 'check', '--staged', '--json')).out);
  assert.deepEqual([ok, apps.map((app: { ok: boolean }) => app.ok)], [false, [false, true]]);
  const good = repository();
  assert.equal((await enclaim(good, 'check', '--staged')).status, 0);
  const tested = await enclaim(good, 'test', '--staged');
  assert.equal(tested.status, 0);
  for (const name of ['one', 'two'])
    assert.match(tested.out, new RegExp(`as expected of apps/${name}/policy\\.yaml$`, 'm'));
  git(good, 'commit', '-qm', 'apps');
  assert.match((await enclaim(good, 'test', '--staged')).out, /no case was run/);
  assert.match((await enclaim(good, 'check', '--staged')).out, /nothing was compared/);
});

test('test --staged runs what would be committed, and not what lies in the folder', async () => {
  const made = clinic();
  git(made, 'init', '-q');
  git(made, 'add', '.');
  git(made, 'commit', '-qm', 'first');
  const file = join(made, 'policy.test.yaml');
  const honest = readFileSync(file, 'utf8');
  writeFileSync(file, honest.replace('expect: allow', 'expect: deny'));
  git(made, 'add', '.');
  writeFileSync(file, honest);
  assert.equal((await enclaim(made, 'test')).status, 0);
  assert.equal((await enclaim(made, 'test', '--staged')).status, 1);
});

test('SARIF names files from the top of the repository, wherever the command runs', async () => {
  const made = repository(MISSPELT);
  for (const [cwd, words] of [
    [made, ['apps/one']],
    [join(made, 'apps/one'), []],
    [join(made, 'apps/two'), ['../one']],
  ] as const) {
    const { runs } = JSON.parse((await enclaim(cwd, 'check', '--sarif', ...words)).out);
    const uris = runs[0].results.flatMap(({ locations }: { locations: { physicalLocation: object }[] }) =>
      locations.map(
        ({ physicalLocation }) => (physicalLocation as { artifactLocation: { uri: string } }).artifactLocation.uri,
      ),
    );
    assert.ok(uris.includes('apps/one/policy.yaml'), uris.join());
    assert.ok(
      uris.every((uri: string) => uri.startsWith('apps/one/')),
      uris.join(),
    );
  }
});

test('check --staged refuses what the index has no content of', async () => {
  for (const [what, make] of [
    [
      'a link',
      (made: string) => {
        renameSync(join(made, 'proto'), join(made, 'elsewhere'));
        symlinkSync('elsewhere', join(made, 'proto'));
      },
    ],
    [
      'a submodule',
      (made: string) => {
        git(join(made, 'proto'), 'init', '-q');
        git(join(made, 'proto'), 'add', '.');
        git(join(made, 'proto'), 'commit', '-qm', 'protos');
      },
    ],
  ] as const) {
    const made = clinic();
    make(made);
    git(made, 'init', '-q');
    git(made, '-c', 'advice.addEmbeddedRepo=false', 'add', '.');
    const { status, err } = await enclaim(made, 'check', '--staged');
    assert.deepEqual([status, /proto is a link or a submodule/.test(err)], [2, true], `${what}: ${err}`);
  }
});

test('the hooks and the workflow call commands that there are', async () => {
  const root = join(CLINIC, '../..');
  const program = new Command();
  for (const register of [init, check, diff, runTests, policy]) register(program);
  const texts = ['.pre-commit-hooks.yaml', 'examples/clinic/ci.yaml'].map((file) =>
    readFileSync(join(root, file), 'utf8'),
  );
  const calls = texts.join('\n').matchAll(/(?:entry:|run:) enclaim (\w+)((?: --[a-z-]+)*)/g);
  let seen = 0;
  for (const [, name = '', flags = ''] of calls) {
    const command = program.commands.find((each) => each.name() === name);
    assert.ok(command, name);
    for (const flag of flags.split(' ').filter(Boolean))
      assert.ok(
        command.options.some(({ long }) => long === flag),
        `${name} ${flag}`,
      );
    seen++;
  }
  assert.equal(seen, 5);
});
