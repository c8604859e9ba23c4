/** An operator's own app in an audit: what could not be made again is refused before anything is installed or built. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { cached, packageOf } from '../../test/reproduce/pretend-sources.ts';
import { checkApp, installApp, takeApp, tryApp } from '../src/audit/audited-app.ts';
import { treeDigest } from '../src/audit/sources.ts';
import { buildBundle, findApp } from '../src/build/bundle.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-own-app-'));
after(() => rm(scratch, { recursive: true, force: true }));
process.env.npm_config_cache = join(scratch, 'npm');
process.env.npm_config_fetch_retries = '0';
process.env.npm_config_registry = 'http://127.0.0.1:1/';

const ECHO = join(import.meta.dirname, 'apps/echo');
const tarball = packageOf([
  { name: 'package/package.json', data: '{"name":"twice","version":"26.10.0","main":"index.js"}' },
  { name: 'package/index.js', data: 'exports.twice = (text) => text + text;\n' },
]);
const twice = await cached(tarball, process.env.npm_config_cache, 'twice');
const USES_TWICE = `import { twice } from 'twice';
export const handlers = { 'echo.v1.Echo/Say': async ({ text }: { text: string }) => ({ text: twice(text) }) };\n`;

type Files = Readonly<Record<string, string | object>>;
const dependencies = { twice: '26.10.0' };
const lockWith = (entries: object): object => ({
  name: 'payroll',
  lockfileVersion: 3,
  packages: { '': { name: 'payroll', dependencies }, ...entries },
});
const OWN = {
  'package.json': { name: 'payroll', dependencies },
  'package-lock.json': lockWith({ 'node_modules/twice': twice }),
  'handlers/index.ts': USES_TWICE,
};

let apps = 0;
/** An operator's repository: the smallest app, with a package of its own unless the files say otherwise. */
async function operators(files: Files = {}): Promise<string> {
  const folder = join(scratch, `operator${apps++}`);
  await cp(ECHO, folder, { recursive: true });
  for (const [path, content] of Object.entries({ ...OWN, ...files })) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return folder;
}

/** As an audit goes about it, up to where the sources' own build begins. */
async function audited(name: string) {
  const clean = await mkdtemp(join(scratch, 'clean-'));
  await mkdir(join(clean, 'source'));
  const app = await takeApp(name, join(clean, 'source'), join(clean, 'app'), undefined);
  await installApp(app, undefined);
  await tryApp(app);
  return app;
}

const bytesOf = async (folder: string): Promise<string> => (await buildBundle(await findApp(folder))).digest;

function git(folder: string, ...args: readonly string[]): string {
  const as = ['-c', 'user.name=t', '-c', 'user.email=t@t.example', '-c', 'commit.gpgsign=false'];
  return execFileSync('git', ['-C', folder, ...as, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

test('a folder and a revision with a package of their own give the bytes that bundle gives where the operator works', async () => {
  const folder = await operators();
  git(folder, 'init', '--quiet');
  git(folder, 'add', '--all');
  git(folder, 'commit', '--quiet', '--message', 'app');
  const commit = git(folder, 'rev-parse', 'HEAD').trim();
  // What working there leaves behind is no part of it.
  await mkdir(join(folder, 'state'));
  for (const made of ['app.enclaim', 'a.enclaim-receipt', 'state/disk']) await writeFile(join(folder, made), made);
  const lying = await audited(folder);
  const revision = await audited(`${folder}#HEAD`);
  await installApp({ folder, source: null, packages: true }, undefined);
  const own = await bytesOf(folder);
  assert.equal(await bytesOf(lying.folder), own);
  assert.equal(await bytesOf(revision.folder), own);
  assert.deepEqual([lying.source?.commit, revision.source?.commit], [null, commit]);
  assert.equal(lying.source?.digest, revision.source?.digest);
});

test('a folder of a repository is the app, and its digest is of that folder alone', async () => {
  const repository = join(scratch, 'repository');
  await cp(await operators(), join(repository, 'services/payroll'), { recursive: true });
  await writeFile(join(repository, 'README'), 'of the repository');
  git(repository, 'init', '--quiet');
  git(repository, 'add', '--all');
  git(repository, 'commit', '--quiet', '--message', 'app');
  const { folder, source } = await audited(`${repository}#HEAD:services/payroll`);
  assert.ok(!(await readdir(folder)).includes('README'));
  assert.equal(source?.digest, (await audited(join(repository, 'services/payroll'))).source?.digest);
  for (const outside of ['../x', '/etc', 'services/none', 'README'])
    await assert.rejects(audited(`${repository}#HEAD:${outside}`), { code: 'source-invalid', message: /no folder/ });
});

test('the digest of files is what sha256sum says of what it says of them', async () => {
  const folder = await operators();
  const script = 'find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum';
  const said = execFileSync('sh', ['-c', script], { cwd: folder, encoding: 'utf8' });
  assert.equal(await treeDigest(folder), `sha256:${said.slice(0, 64)}`);
});

test('(control) an app without packages needs no lock', async () => {
  const folder = join(scratch, 'plain');
  await cp(ECHO, folder, { recursive: true });
  assert.equal((await audited(folder)).packages, false);
});

const resolved = (from: string): object => lockWith({ 'node_modules/twice': { ...twice, resolved: from } });
const { integrity: _, ...loose } = twice as { integrity: string };
const REFUSED: readonly [string, Files, RegExp][] = [
  ['a dependency that no lock names', { 'package-lock.json': lockWith({}) }, /lacks twice/],
  [
    'a package without integrity',
    { 'package-lock.json': lockWith({ 'node_modules/twice': loose }) },
    /node_modules\/twice has no integrity/,
  ],
  [
    'a package with an install script',
    { 'package-lock.json': lockWith({ 'node_modules/twice': { ...twice, hasInstallScript: true } }) },
    /node_modules\/twice has an install script/,
  ],
  [
    'a package of a git repository',
    { 'package-lock.json': resolved('git+ssh://git@h/u/r.git#0') },
    /not from a regist/,
  ],
  ['a package of a file', { 'package-lock.json': resolved('file:../twice.tgz') }, /is not from a registry/],
  ['a package of an address without TLS', { 'package-lock.json': resolved('http://h/twice.tgz') }, /not from a regist/],
  [
    'a package of a host of repositories',
    { 'package-lock.json': resolved('https://github.com/u/r.tgz') },
    /package-lock\.json: packages\.node_modules\/twice/,
  ],
  [
    'a package that is a folder',
    { 'package-lock.json': lockWith({ 'node_modules/twice': { resolved: '../twice', link: true } }) },
    /node_modules\/twice is a folder/,
  ],
  [
    'a dependency by a place, of which the lock has a version',
    { 'package.json': { name: 'payroll', dependencies: { twice: 'git+https://h/twice.git' } } },
    /package\.json: dependencies\.twice: a place/,
  ],
  ['workspaces', { 'package.json': { name: 'payroll', dependencies, workspaces: ['w'] } }, /no workspaces/],
  [
    'a lock of an older form',
    { 'package-lock.json': { lockfileVersion: 1, dependencies: {} } },
    /lockfileVersion|lacks/,
  ],
  ['a lock that is none', { 'package-lock.json': '{' }, /package-lock\.json is no JSON/],
  ['a lock that npm prefers', { 'npm-shrinkwrap.json': '{}' }, /npm-shrinkwrap\.json could stand in for the lock/],
];
for (const [name, files, message] of REFUSED)
  test(`${name}: refused before anything is fetched`, async () => {
    await assert.rejects(audited(await operators(files)), { code: 'source-invalid', message });
  });

test('dependencies without a lock, and a lock without dependencies: refused', async () => {
  const folder = await operators();
  await rm(join(folder, 'package-lock.json'));
  await assert.rejects(checkApp(folder), {
    code: 'source-invalid',
    message: /depends on twice and has no package-lock/,
  });
  const other = await operators();
  await rm(join(other, 'package.json'));
  await assert.rejects(checkApp(other), { code: 'source-invalid', message: /without a package\.json/ });
});

test('links out of the folder are refused, as they lie there and in a revision', async () => {
  const folder = await operators();
  await rm(join(folder, 'handlers/index.ts'));
  await symlink(join(ECHO, 'handlers/index.ts'), join(folder, 'handlers/index.ts'));
  await assert.rejects(audited(folder), { code: 'source-invalid', message: /index\.ts is neither file nor folder/ });
  git(folder, 'init', '--quiet');
  git(folder, 'add', '--all');
  git(folder, 'commit', '--quiet', '--message', 'link');
  await assert.rejects(audited(`${folder}#HEAD`), { code: 'source-invalid', message: /index\.ts is a link/ });
});

test('what handlers import from beyond the folder is refused before minutes of building, and by bundle', async () => {
  await writeFile(join(scratch, 'beyond.ts'), 'export const twice = (text: string): string => text;');
  const folder = await operators({ 'handlers/index.ts': USES_TWICE.replace("'twice'", "'../../beyond.ts'") });
  await assert.rejects(bytesOf(folder), { code: 'import-forbidden', message: /beyond\.ts, which lies outside/ });
  await mkdir(join(scratch, 'node_modules'), { recursive: true });
  await writeFile(join(scratch, 'node_modules/hoisted.js'), 'exports.twice = String;');
  const hoisted = await operators({ 'handlers/index.ts': USES_TWICE.replace("'twice'", "'hoisted.js'") });
  await assert.rejects(bytesOf(hoisted), { code: 'import-forbidden', message: /hoisted\.js, which lies outside/ });
  await assert.rejects(audited(hoisted), { code: /import-forbidden|compile-failed/ });
  const lacking = await operators({ 'handlers/index.ts': USES_TWICE.replace("'twice'", "'nowhere-at-all'") });
  await assert.rejects(audited(lacking), { code: 'compile-failed', message: /nowhere-at-all/ });
});

test('a folder that is no app, or too large for one: refused', async () => {
  await assert.rejects(audited(join(scratch, 'npm')), { code: 'file-missing' });
  await assert.rejects(audited(join(scratch, 'none')), { code: 'source-invalid', message: /there is no folder/ });
  await assert.rejects(audited('none'), { code: 'source-invalid', message: /\.\/FOLDER or REPOSITORY#REVISION/ });
  const many = await operators();
  execFileSync('sh', ['-c', 'seq -f file%g 0 10000 | xargs touch'], { cwd: many });
  await assert.rejects(audited(many), { code: 'source-invalid', message: /more than 10000 files/ });
  git(many, 'init', '--quiet');
  git(many, 'add', '--all');
  git(many, 'commit', '--quiet', '--message', 'many');
  await assert.rejects(audited(`${many}#HEAD`), { code: 'source-invalid', message: /more than 10000 files/ });
  const large = await operators();
  await writeFile(join(large, 'large'), '');
  await truncate(join(large, 'large'), 2 ** 28 + 1);
  await assert.rejects(audited(large), { code: 'source-invalid', message: /or 268435456 bytes/ });
});

test('packages for development alone are not installed, and none of their scripts matters', async () => {
  const folder = await operators({
    'package.json': { name: 'payroll', dependencies, devDependencies: { tool: '26.10.0' } },
    'package-lock.json': {
      ...lockWith({}),
      packages: {
        '': { name: 'payroll', dependencies, devDependencies: { tool: '26.10.0' } },
        'node_modules/twice': twice,
        'node_modules/tool': { ...twice, dev: true, hasInstallScript: true },
      },
    },
  });
  const { folder: clean } = await audited(folder);
  assert.deepEqual(
    (await readdir(join(clean, 'node_modules'))).filter((name) => !name.startsWith('.')),
    ['twice'],
  );
  assert.match(await readFile(join(clean, 'node_modules/twice/index.js'), 'utf8'), /twice/);
});
