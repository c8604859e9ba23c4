/** Dependencies that sources name by a place: npm would ask it while it still makes up its mind what to install. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { cached, packageOf } from '../../test/reproduce/pretend-sources.ts';
import { checkLock, installLocked } from '../src/audit/locked-packages.ts';
import { projectRoot } from '../src/inputs/fetch.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-locked-'));
after(() => rm(scratch, { recursive: true, force: true }));
const project = join(scratch, 'project');
process.env.npm_config_cache = join(scratch, 'npm');
process.env.npm_config_fetch_retries = '0';

const asked: string[] = [];
const server = createServer(({ url = '' }, response) => {
  asked.push(url);
  response.writeHead(404).end();
}).listen(0, '127.0.0.1');
await once(server, 'listening');
after(() => server.close());
const place = `http://127.0.0.1:${(server.address() as AddressInfo).port}/latest/meta-data?any`;
process.env.npm_config_registry = new URL('/registry', place).href;
beforeEach(() => asked.splice(0));

const tarball = packageOf([{ name: 'package/package.json', data: '{"name":"x","version":"26.10.0"}' }]);
const x = await cached(tarball, process.env.npm_config_cache, 'x');

/** What a project has more than one package; a lock that names a folder links to it. */
interface More {
  readonly project?: object;
  readonly lockRoot?: object;
  readonly lockEntry?: object;
  readonly packages?: object;
  readonly folder?: object;
}

async function install(more: More): Promise<void> {
  const own = { name: 'e', dependencies: { x: '26.10.0' } };
  const packages = {
    '': { ...own, ...more.lockRoot },
    'node_modules/x': { ...x, ...more.lockEntry },
    ...more.packages,
  };
  const files = {
    'package.json': { ...own, ...more.project },
    'package-lock.json': { name: 'e', lockfileVersion: 3, packages },
    ...(more.folder === undefined ? {} : { 'w/package.json': { name: 'w', version: '1.0.0', ...more.folder } }),
  };
  await rm(project, { recursive: true, force: true });
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(project, path)), { recursive: true });
    await writeFile(join(project, path), JSON.stringify(content));
  }
  await checkLock(project);
  await installLocked(project);
}

const LINKED = { w: { name: 'w', version: '1.0.0' }, 'node_modules/w': { link: true, resolved: 'w' } };
const WORKSPACE = { project: { workspaces: ['w'] }, lockRoot: { workspaces: ['w'] }, packages: LINKED };
const needsFolder = { dependencies: { x: '26.10.0', w: '1.0.0' } };

const KINDS = ['dependencies', 'optionalDependencies', 'peerDependencies', 'devDependencies'];
const BY_PLACE: readonly [string, (spec: string) => More][] = [
  ...KINDS.flatMap((kind): [string, (spec: string) => More][] => [
    [`${kind} of the project`, (y) => ({ project: { [kind]: { x: '26.10.0', y } } })],
    [`${kind} of the project in the lock`, (y) => ({ lockRoot: { [kind]: { x: '26.10.0', y } } })],
    [`${kind} of a package in the lock`, (y) => ({ lockEntry: { [kind]: { y } } })],
    [`${kind} of a workspace`, (y) => ({ ...WORKSPACE, folder: { [kind]: { y } } })],
    [
      `${kind} of a folder that is no workspace`,
      (y) => ({ project: needsFolder, lockRoot: needsFolder, packages: LINKED, folder: { [kind]: { y } } }),
    ],
  ]),
  ['an override', (x) => ({ project: { overrides: { x } } })],
  [
    'an override of what a package needs',
    (y) => ({ project: { overrides: { 'x@26': { y } } }, lockEntry: { dependencies: { y: '1.0.0' } } }),
  ],
  ['an override by its name', (spec) => ({ project: { overrides: { [`y@${spec}`]: '1.0.0' } } })],
];
for (const [name, make] of BY_PLACE) {
  test(`${name}, by an address: refused before anybody is asked`, async () => {
    await assert.rejects(install(make(place)), { code: 'source-invalid' });
    assert.deepEqual(asked, []);
  });
}

const PLACES = [
  'https://packages.example/y.tgz',
  'HTTPS://packages.example/y',
  ' https://packages.example/y',
  'git+ssh://git@packages.example/y',
  'git@packages.example:u/y',
  'github:u/y',
  'u/y',
  'u/y#semver:1',
  'file:y',
  './y',
  '../y',
  '.y',
  '/y',
  '~/y',
  'y.tgz',
  '1.0.0.tar.gz',
  'y.TAR',
  'npm:https://packages.example/y',
  'npm:y@https://packages.example/y',
  'npm:y@npm:z@1',
  'npm:u/y',
  'npm:y',
  'workspace:*',
  '$x',
  '1.0.0\nhttps://packages.example/y',
];
for (const spec of PLACES) {
  test(`a dependency by ${JSON.stringify(spec)}: refused`, async () => {
    await assert.rejects(install({ lockEntry: { optionalDependencies: { y: spec } } }), { code: 'source-invalid' });
    assert.deepEqual(asked, []);
  });
}

test('workspaces of a workspace: refused', async () => {
  await assert.rejects(install({ ...WORKSPACE, folder: { workspaces: ['z'] } }), { code: 'source-invalid' });
});

const VERSIONS = ['26.10.0', '*', '', 'x', '^26.1', '~26', '>= 26.0.0 < 27', '25 - 26', '^3 || ^26', 'npm:x@^26.0.0'];
for (const spec of VERSIONS) {
  test(`(control) a dependency by ${JSON.stringify(spec)}: installed`, async () => {
    const dependencies = { x: spec };
    await install({ project: { dependencies }, lockRoot: { dependencies } });
    assert.deepEqual(asked, []);
  });
}

test('(control) overrides by versions: installed', async () => {
  await install({ project: { overrides: { x: '$x', 'y@1': { '.': '1.0.0', '@s/z': 'npm:z@2' } } } });
  await install({ ...WORKSPACE, folder: { dependencies: { x: '26.10.0' } } });
  assert.deepEqual(asked, []);
});

test('(control) the packages of this project', async () => {
  await checkLock(projectRoot);
  await checkLock(join(projectRoot, 'scripts/bootstrap'));
});
