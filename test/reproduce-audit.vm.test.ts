/** `enclaim audit` from a git revision: in a clean folder, by the revision's own build, whatever that build would rather do. */

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { appendFile, chmod, cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { defaultCache, projectRoot } from '../image/src/inputs/fetch.ts';
import { buildCheckout, copyQuickCheckout } from './reproduce/checkout.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-audits-'));
after(() => rm(scratch, { recursive: true, force: true }));
const at = (name: string): string => join(scratch, name);
const checkout = at('checkout');
const manifest = at('claimed/manifest.json');
/** The revision of the operator's repository that is audited. */
const operator = `${at('operator')}#HEAD`;

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command with a folder of its own for what is temporary, and says what it left there. */
async function enclaim(...args: readonly string[]): Promise<Ended & { readonly left: readonly string[] }> {
  const temporary = await mkdtemp(at('tmp-'));
  for (const folder of [scratch, temporary]) await chmod(folder, 0o755); // the build runs as another user
  const env = { ...process.env, TMPDIR: temporary, ENCLAIM_CACHE: defaultCache() };
  const main = join(projectRoot, 'cli/src/main.ts');
  const ended = await new Promise<Ended>((resolve) => {
    const child = execFile(process.execPath, [main, ...args], { cwd: scratch, env }, (_, stdout, stderr) =>
      resolve({ status: child.exitCode, stdout, stderr }),
    );
  });
  return { ...ended, left: (await readdir(temporary)).filter((name) => name.startsWith('enclaim-')) }; // npm leaves a cache
}

function git(...args: readonly string[]): string {
  return gitOf(checkout, ...args);
}

function gitOf(folder: string, ...args: readonly string[]): string {
  const as = ['-c', 'user.name=t', '-c', 'user.email=t@t.example', '-c', 'commit.gpgsign=false'];
  return execFileSync('git', ['-C', folder, ...as, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

/** A commit on top of the honest one; gives its name. */
async function commit(change: () => Promise<void>): Promise<string> {
  git('checkout', '--quiet', '--detach', 'honest');
  await change();
  git('add', '--all');
  git('commit', '--quiet', '--message', 'change');
  return git('rev-parse', 'HEAD').trim();
}

async function edit(file: string, change: (text: string) => string): Promise<void> {
  const text = await readFile(join(checkout, file), 'utf8');
  assert.notEqual(change(text), text);
  await writeFile(join(checkout, file), change(text));
}

/** An operator's repository beside this one: handlers with a package of their own, under a lock of their own. */
async function operatorsRepository(folder: string): Promise<void> {
  await cp(join(projectRoot, 'image/test/apps/echo'), folder, { recursive: true });
  const name = 'canonicalize';
  const { packages } = JSON.parse(await readFile(join(projectRoot, 'package-lock.json'), 'utf8'));
  const entry = packages[`node_modules/${name}`];
  const own = { name: 'operator', dependencies: { [name]: entry.version } };
  const lock = { name: 'operator', lockfileVersion: 3, packages: { '': own, [`node_modules/${name}`]: entry } };
  const files = {
    'package.json': JSON.stringify(own),
    'package-lock.json': JSON.stringify(lock),
    '.gitignore': 'node_modules/\n*.enclaim\n',
    'handlers/index.ts': `import canonicalize from '${name}';
export const handlers = { 'echo.v1.Echo/Say': async (request: object) => ({ text: canonicalize(request) }) };\n`,
  };
  for (const [path, text] of Object.entries(files)) await writeFile(join(folder, path), text);
  await cp(join(projectRoot, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true });
}

/** The bundle of the operator's repository as it lies there. */
async function bundled(out: string): Promise<void> {
  const made = await enclaim('bundle', 'operator', '--out', out);
  assert.equal(made.status, 0, made.stderr);
}

before(async () => {
  await copyQuickCheckout(checkout);
  git('init', '--quiet');
  git('add', '--all');
  git('commit', '--quiet', '--message', 'honest');
  git('tag', 'honest');
  await buildCheckout(checkout, at('claimed'), { reuse: false });
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  await writeFile(at('auditor.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  await writeFile(at('auditor.pub'), publicKey.export({ format: 'pem', type: 'spki' }));
  await operatorsRepository(at('operator'));
  await bundled('honest.enclaim');
  gitOf(at('operator'), 'init', '--quiet');
  gitOf(at('operator'), 'add', '--all');
  gitOf(at('operator'), 'commit', '--quiet', '--message', 'app');
  await appendFile(at('operator/handlers/index.ts'), 'export const more = 1;\n');
  await bundled('other.enclaim');
});

const signing = ['--key', 'auditor.pem', '--verifier', 'https://auditor.example/enclaim/v1'];

test('a revision, and the operator’s own of an app, give the claimed image and bundle: status 0, and a signed statement says so', async () => {
  const revision = git('rev-parse', 'honest').trim();
  const { status, stdout, stderr, left } = await enclaim(
    ...['audit', `${checkout}#honest`, '--app', operator, '--against', manifest, '--against', 'honest.enclaim'],
    ...['--statement', 'result.json', ...signing],
  );
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^same {5}/);
  assert.ok(stderr.includes(`at ${revision}`), stderr);
  assert.deepEqual(left, []);
  const isolated = /without a network/.test(stderr) ? ['--property', 'ENCLAIM_BUILT_OFFLINE'] : [];
  const verified = await enclaim(
    ...['statement', 'verify', 'result.json', '--key', 'auditor.pub', '--subject', manifest, ...isolated],
    ...['--property', 'ENCLAIM_IMAGE_REPRODUCED', '--property', 'ENCLAIM_SOURCE_IS_A_REVISION'],
    ...['--property', 'ENCLAIM_BUNDLE_REPRODUCED'],
  );
  assert.equal(verified.status, 0, verified.stderr);

  const WRONG: readonly [readonly string[], RegExp][] = [
    [['--verifier', 'https://other.example/'], /is of https:\/\/auditor/],
    [['--property', 'ENCLAIM_MACHINE_RUNS_SOURCE'], /does not say/],
    [['--subject', 'auditor.pub'], /does not speak of/],
    [['--newer-than', '2999-01-01T00:00:00Z'], /older than/],
    [['--key', `ed25519:${'A'.repeat(43)}`], /EvidenceError|DecodeError|signature|key/],
  ];
  for (const [args, said] of WRONG) {
    const refused = await enclaim('statement', 'verify', 'result.json', '--key', 'auditor.pub', ...args);
    assert.equal(refused.status, 1, args.join(' '));
    assert.match(refused.stderr, said);
  }
});

test('a revision with one changed line, and another bundle: status 3, that line’s file, and a statement that says neither', async () => {
  const revision = await commit(() => edit('guest/src/main.ts', (text) => `${text}\nconsole.log('changed');\n`));
  const { status, stdout, stderr, left } = await enclaim(
    ...['audit', `${checkout}#${revision}`, '--app', operator, '--against', manifest, '--json'],
    ...['--against', 'honest.enclaim', '--against', 'other.enclaim', '--statement', 'differs.json', ...signing],
  );
  assert.equal(status, 3, stderr);
  const { ok, source, app, claims } = JSON.parse(stdout);
  assert.deepEqual([ok, source.commit], [false, revision]);
  // The bundle that its operator made is made again, and no other is.
  assert.deepEqual(
    claims.map(({ ok }: { ok: boolean }) => ok),
    [false, true, false],
  );
  const found = claims[0].differences as { component: string; because: string[] }[];
  assert.deepEqual(
    found.filter(({ because }) => because.length === 0).map(({ component }) => component),
    ['source guest/src/main.ts'],
  );
  assert.ok(claims[2].differences.some(({ component }: { component: string }) => component === 'handlers'));
  assert.equal(app.commit, gitOf(at('operator'), 'rev-parse', 'HEAD').trim());
  assert.deepEqual(left, []);
  for (const property of ['ENCLAIM_IMAGE_REPRODUCED', 'ENCLAIM_BUNDLE_REPRODUCED']) {
    const words = ['statement', 'verify', 'differs.json', '--key', 'auditor.pub', '--property', property];
    const verified = await enclaim(...words);
    assert.equal(verified.status, 1);
    assert.ok(verified.stderr.includes(`does not say ${property}`), verified.stderr);
  }
  const { payload } = JSON.parse(await readFile(at('differs.json'), 'utf8'));
  const { predicate } = JSON.parse(Buffer.from(payload, 'base64').toString());
  assert.deepEqual(predicate.enclaim_app.digest, { sha256: app.digest.slice('sha256:'.length), gitCommit: app.commit });
});

describe('a build that would rather do something else', () => {
  let server: Server;
  let reached = 0;
  before(async () => {
    server = createServer((socket) => {
      reached++;
      socket.destroy();
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  });
  after(() => server.close());

  /** The build does this first. */
  const first = (statement: string): Promise<string> =>
    commit(() => appendFile(join(checkout, 'image/src/build/build.ts'), `\n${statement}\n`));

  test('reach a network, write where it should not, or see the auditor’s environment: it cannot', async (t) => {
    const { port } = server.address() as { port: number };
    const revision = await first(`
      import { connect } from 'node:net';
      import { writeFileSync } from 'node:fs';
      const found = ['AUDITOR_SECRET', 'HOME'].map((name) => process.env[name]).join();
      for (const file of [${JSON.stringify(at('mark'))}, ${JSON.stringify(join(projectRoot, 'mark.tmp'))}, '../../mark', 'image/lock.json']) {
        try { writeFileSync(file, 'marked'); console.error('wrote ' + file); } catch {}
      }
      await new Promise((done) => connect(${port}, '127.0.0.1').on('error', done).on('close', done));
      console.error('environment ' + found);
      process.exit(7);`);
    process.env.AUDITOR_SECRET = 'secret';
    const { status, stderr, left } = await enclaim('audit', `${checkout}#${revision}`, '--against', manifest);
    delete process.env.AUDITOR_SECRET;
    assert.equal(status, 1);
    assert.match(stderr, /build-failed/);
    assert.match(stderr, /environment ,\//);
    assert.deepEqual(left, []);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) assert.doesNotMatch(stderr, /wrote/);
    else t.diagnostic('not root: the build runs as this user, and could write');
    const offline = execFileSync('sh', [
      '-c',
      'unshare --user --map-current-user --net true || unshare --net true; echo $?',
    ]);
    if (String(offline).trim() === '0') assert.equal(reached, 0, 'the network was reached');
    else t.diagnostic('this machine does not let a process be without a network');
  });

  test('(control) without the audit around it, the same statement reaches the network', async () => {
    const { port } = server.address() as { port: number };
    const program = `import { connect } from 'node:net'; connect(${port}, '127.0.0.1').on('error', () => {});`;
    await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]);
    assert.equal(reached, 1);
  });

  test('say of its image what its bytes do not: refused', async () => {
    const revision = await commit(() =>
      edit('image/src/describe/manifest.ts', (text) =>
        text.replace('stringify(manifest,', 'stringify({ ...manifest, contents: manifest.contents.slice(1) },'),
      ),
    );
    const { status, stderr } = await enclaim('audit', `${checkout}#${revision}`, '--against', manifest);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /manifest-invalid: the rebuilt manifest does not describe the rebuilt image/);
  });
});

describe('sources that are refused before anything of them runs', () => {
  /** A commit in which the lock has these entries, too. */
  const lockWith = (entries: Readonly<Record<string, object>>): Promise<string> =>
    commit(() =>
      edit('package-lock.json', (text) => {
        const lock = JSON.parse(text);
        return JSON.stringify({ ...lock, packages: { ...lock.packages, ...entries } });
      }),
    );
  const REFUSED: readonly [string, () => Promise<string>, RegExp][] = [
    ['a revision that is not there', async () => `${checkout}#nothing`, /no revision nothing/],
    ['a repository that is not there', async () => `${at('none')}#main`, /git clone/],
    ['an option for git in place of a revision', async () => `${checkout}#-v`, /neither a folder nor a revision/],
    ['a transport that runs a program', async () => `ext::touch${at('ext')}#main`, /git clone/],
    [
      'a folder with a link, through which installing would write elsewhere',
      async () => {
        await cp(join(checkout, 'image'), at('linked/image'), { recursive: true });
        await symlink(projectRoot, at('linked/scripts'));
        return at('linked');
      },
      /scripts is neither file nor folder/,
    ],
    [
      'a package that would be installed outside',
      async () => `${checkout}#${await lockWith({ '../outside': {} })}`,
      /source-invalid: package-lock\.json/,
    ],
    [
      'a package from a folder outside',
      async () => `${checkout}#${await lockWith({ 'node_modules/x': { resolved: '../x', link: true } })}`,
      /source-invalid: package-lock\.json/,
    ],
    [
      'a workspace outside',
      async () =>
        `${checkout}#${await commit(() => edit('package.json', (text) => text.replace('"bench"', '"../bench"')))}`,
      /source-invalid: package\.json/,
    ],
  ];
  for (const [name, make, said] of REFUSED) {
    test(name, async () => {
      const { status, stderr, left } = await enclaim('audit', await make(), '--against', manifest);
      assert.equal(status, 1, stderr);
      assert.match(stderr, said);
      assert.deepEqual(left, []);
      assert.ok(!(await readdir(scratch)).includes('ext'));
    });
  }

  test('a package without a hash: refused before the build', async () => {
    const { packages } = JSON.parse(await readFile(join(projectRoot, 'package-lock.json'), 'utf8'));
    const { integrity: _, ...rest } = packages['node_modules/canonicalize'];
    const revision = await lockWith({ 'node_modules/canonicalize': rest });
    const { status, stderr } = await enclaim('audit', `${checkout}#${revision}`, '--against', manifest);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /node_modules\/canonicalize is installed without a hash|npm ci/);
    assert.doesNotMatch(stderr, /building the image/);
  });
});
