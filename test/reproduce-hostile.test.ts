/** Sources whose build would rather own the auditor than be audited: what it pins, says and leaves behind gets it nowhere. */

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { projectRoot, rebuild } from '../image/src/index.ts';
import { cached, lockOf, type PretendSources, packageOf, writeSources } from './reproduce/pretend-sources.ts';
import { eventually } from './support/eventually.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-hostile-'));
after(() => rm(scratch, { recursive: true, force: true }));
await chmod(scratch, 0o755); // the build runs as another user
const at = (name: string): string => join(scratch, name);
process.env.npm_config_cache = at('npm');
const source = at('source');

describe('programs of the sources', () => {
  test('one that is called as the sandbox’s own tools are: it is not run in their place', async () => {
    const shadow = `touch ${at('owned')}; exit 1`;
    await writeSources(source, at('npm'), { programs: { unshare: shadow, setpriv: shadow, env: shadow } });
    await assert.rejects(rebuild({ source }), { code: 'build-failed' });
    assert.ok(!(await readdir(scratch)).includes('owned'), 'it ran outside of the sandbox');
  });

  test('one that writes to the auditor’s terminal: it has none', async () => {
    await writeSources(source, at('npm'), { node: 'echo same manifest.json > /dev/tty; exit 1' });
    const { stdout } = await promisify(execFile)('script', ['-qec', auditCommand().join(' '), '/dev/null']);
    assert.match(stdout, /ended: build-failed/);
    assert.doesNotMatch(stdout, /^same/m);
  });

  test('one that writes lines as an audit does, and moves the cursor: they are shown as its own', async () => {
    await writeSources(source, at('npm'), { node: `printf 'a\\033[2Jb\\nsame manifest.json\\n' >&2; exit 1` });
    const message = await rebuild({ source }).catch((error: Error) => error.message);
    assert.match(`${message}`, /a.\[2Jb\n {2}same manifest\.json/);
    assert.ok(!`${message}`.includes('\u001b'));
  });

  test('one that goes on when the auditor is gone: it ends with them', async () => {
    await writeSources(source, at('npm'), { node: `sleep 987654 & echo $$ > "$HOME/begun"; exec sleep 987654` });
    const [command = '', ...args] = auditCommand();
    const auditor = spawn(command, args, { env: { ...process.env, TMPDIR: at('') }, stdio: 'ignore' });
    const gone = once(auditor, 'exit');
    await eventually('it', async () => (await sleepers()) === 2);
    auditor.kill('SIGKILL');
    await gone;
    await eventually('it', async () => (await sleepers()) === 0);
  });

  test('one that leaves another behind, with its output open: it ends with the build', async () => {
    await writeSources(source, at('npm'), { node: `sleep 987654 & exit 1` });
    await assert.rejects(rebuild({ source }), { code: 'build-failed' });
    await eventually('it', async () => (await sleepers()) === 0);
  });
});

describe('packages of the sources', () => {
  const small = packageOf([{ name: 'package/package.json', data: '{"name":"x","version":"26.10.0"}' }]);
  const entry = async (): Promise<{ [field: string]: unknown }> => ({ ...(await cached(small, at('npm'), 'x')) });
  const withEntry = async (changes: object, path = 'node_modules/x'): Promise<PretendSources> => ({
    files: { 'package-lock.json': lockOf({ x: '26.10.0' }, { [path]: { ...(await entry()), ...changes } }) },
  });
  /** A repository of which npm would run a program: `prepare` by the npm that it starts there, or what .npmrc names. */
  const repository = at('repository');
  let commit = '';
  before(async () => {
    const program = `#!/bin/sh\ntouch ${at('owned')}\nexit 1\n`;
    await mkdir(repository);
    await writeFile(join(repository, 'program'), program, { mode: 0o755 });
    await writeFile(join(repository, '.npmrc'), 'git=./program\n');
    const dependencies = { y: 'git+https://localhost:1/y.git' };
    const scripts = { prepare: 'true' };
    await writeFile(
      join(repository, 'package.json'),
      JSON.stringify({ name: 'g', version: '1.0.0', scripts, dependencies }),
    );
    const as = ['-C', repository, '-c', 'user.name=t', '-c', 'user.email=t@t.example', '-c', 'commit.gpgsign=false'];
    for (const words of [
      ['init', '-q'],
      ['add', '-A'],
      ['commit', '-qm', 'g'],
    ])
      execFileSync('git', [...as, ...words], { stdio: 'ignore' });
    commit = execFileSync('git', [...as, 'rev-parse', 'HEAD'], { encoding: 'utf8' }).trim();
  });

  const REFUSED: readonly [string, () => Promise<PretendSources>][] = [
    [
      'a lock that npm prefers to the one that is checked',
      async () => ({ files: { 'npm-shrinkwrap.json': lockOf({}, {}) } }),
    ],
    ['one in a workspace', async () => ({ files: { 'image/npm-shrinkwrap.json': '{}' } })],
    ['a lock of another tool, which npm reads', async () => ({ files: { 'yarn.lock': '' } })],
    ['a lock inside of a package', async () => withEntry({ hasShrinkwrap: true })],
    ...[
      'https://github.com/u/r.git#0123456789012345678901234567890123456789',
      'https://github.com/u/r.tgz',
      'https://www.github.com/u/r.tgz',
      'https://gitlab.com/u/r.tgz',
      'https://bitbucket.org/u/-/r.tgz',
      'https://gist.github.com/u/01234567.tgz',
      'https://git.sr.ht/~u/r.tgz',
      'https://packages.example/x.tgz#..',
      'https://packages.example/x.tgz?x=.tgz',
      'https://u@packages.example/x.tgz',
      'https://packages.example/x.git',
      'http://packages.example/x.tgz',
      'git+https://packages.example/x.tgz',
      'u/r',
      'image/x.tgz',
      'file:image',
    ].map(
      (resolved) =>
        [`a package from ${resolved}`, async () => withEntry({ resolved })] as [string, () => Promise<PretendSources>],
    ),
    ['a package from somewhere, without a hash', async () => withEntry({ integrity: undefined })],
    ['a version that is a place', async () => withEntry({ version: 'github:u/r', resolved: undefined })],
    ['a name that is a place', async () => withEntry({ name: 'x@github:u/r', resolved: undefined })],
    ['a folder that npm reads as a place', async () => withEntry({}, 'node_modules/x@b@c.d')],
    ['a package in a folder of the sources', async () => withEntry({}, 'image/x')],
    [
      'a link to no folder of the sources',
      async () => withEntry({ resolved: 'https://packages.example/x.tgz', link: true }),
    ],
  ];
  for (const [name, make] of REFUSED) {
    test(`${name}: refused before anything is fetched`, async () => {
      await writeSources(source, at('npm'), await make());
      const steps: string[] = [];
      await assert.rejects(rebuild({ source, onStep: (step) => steps.push(step) }), { code: 'source-invalid' });
      assert.ok(!steps.includes('inputs'));
    });
  }

  const FROM_GIT: readonly [string, (spec: string) => Promise<PretendSources>][] = [
    [
      'a lock that npm prefers',
      async (spec) => ({
        files: {
          'package.json': JSON.stringify({ name: 'e', dependencies: { g: spec } }),
          'npm-shrinkwrap.json': lockOf(
            { g: spec },
            { 'node_modules/g': { version: '1.0.0', resolved: `${spec}#${commit}` } },
          ),
        },
      }),
    ],
    [
      'a dependency that the lock does not have',
      async (spec) => ({
        files: { 'package.json': JSON.stringify({ name: 'e', dependencies: { x: '26.10.0', g: spec } }) },
      }),
    ],
    ['a dependency of a package', async (spec) => withEntry({ dependencies: { g: spec } })],
  ];
  for (const [name, make] of FROM_GIT) {
    test(`${name}, from a repository: no program of it is run`, async () => {
      await writeSources(source, at('npm'), await make(`git+file://${repository}`));
      await assert.rejects(rebuild({ source }), ({ code }) => ['source-invalid', 'fetch-failed'].includes(code));
      assert.ok(!(await readdir(scratch)).includes('owned'));
    });
  }

  test('configuration of npm among the sources: it is left out', async () => {
    const owned = `git=${join(repository, 'program')}\nregistry=https://localhost:1/\nscript-shell=${join(repository, 'program')}\n`;
    const files = { '.npmrc': owned, 'scripts/bootstrap/.npmrc': owned, 'image/.npmrc': owned };
    await writeSources(source, at('npm'), { files, node: 'ls -A . scripts/bootstrap image >&2; exit 1' });
    const message = await rebuild({ source }).catch((error: Error) => error.message);
    assert.match(`${message}`, /package-lock\.json/);
    assert.doesNotMatch(`${message}`, /\.npmrc/);
  });
});

/** A process of its own that rebuilds the sources and says how it ended. */
function auditCommand(): string[] {
  const file = at('audit.mjs');
  writeFileSync(
    file,
    `import { rebuild } from ${JSON.stringify(join(projectRoot, 'image/src/index.ts'))};
    await rebuild({ source: ${JSON.stringify(source)} }).catch(({ code }) => console.log('ended: ' + code));`,
  );
  return [process.execPath, file];
}

/** How many of the processes are there that the sources started. */
async function sleepers(): Promise<number> {
  const lines = await Promise.all(
    (await readdir('/proc'))
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')),
  );
  return lines.filter((line) => line.split('\0').join(' ') === 'sleep 987654 ').length;
}
