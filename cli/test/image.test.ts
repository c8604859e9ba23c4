/**
 * `bundle`, `run`, `image` and `audit` refuse what the guest would before anything is started or
 * written.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { launchCommandLine, predictPcrs } from '@enclaim/attestation/measure';
import { compileProtos, formatManifest, projectRoot } from '@enclaim/image';
import { canonicalPolicy, parsePolicy } from '@enclaim/policy-schema';
import { SAMPLE } from '../../image/test/manifest.ts';
import { jsonOf } from './json-of.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-cli-image-'));
after(() => rm(scratch, { recursive: true, force: true }));
await mkdir(join(scratch, 'image'));
await writeFile(join(scratch, 'image/manifest.json'), formatManifest(SAMPLE));

function enclaim(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const main = join(projectRoot, 'cli/src/main.ts');
  return spawnSync(process.execPath, [main, ...args], { cwd: scratch, encoding: 'utf8' });
}

test('bundle writes an app, says what it exposes, and measure predicts its launch', async () => {
  const app = enclaim('bundle', join(projectRoot, 'image/test/apps/echo'), '-o', 'app.enclaim');
  assert.equal(app.status, 0, app.stderr);
  assert.match(app.stderr, /^exposed +echo\.v1\.Echo\/Say$/m);
  const [, policy, bundle] = /^policy (sha384:\w+)\nbundle (sha384:\w+)\n$/.exec(app.stdout) ?? [];
  const { tpm } = SAMPLE.references;
  const launch = { policy: policy as `sha384:${string}`, bundle: bundle as `sha384:${string}` };
  for (const [options, boot, commandLine] of [
    [[], 'kernel', launchCommandLine(tpm, launch.policy)],
    [['--boot', 'disk', '--embedded'], 'disk', null],
    [['--command-line', 'quiet debug'], 'kernel', 'quiet debug'],
  ] as const) {
    const { stdout } = enclaim('image', 'measure', 'image', '--bundle', 'app.enclaim', ...options);
    const expected = [...predictPcrs(tpm, { ...launch, boot, commandLine })].map(([i, value]) => [
      i,
      `sha256:${value.toHex()}`,
    ]);
    assert.deepEqual(JSON.parse(stdout), {
      image: tpm,
      boot,
      commandLine,
      ...launch,
      registers: Object.fromEntries(expected),
    });
  }
});

test('bundle and run refuse what the guest would, all at once, and before QEMU is looked for', async () => {
  const clinic = join(projectRoot, 'examples/clinic');
  const full = enclaim('bundle', clinic, '--policy', join(clinic, 'policy.full.yaml'), '-o', 'full.enclaim');
  assert.equal(full.status, 1, full.stderr);
  for (const message of [
    /policy\.full\.yaml:\d+:\d+: this runtime does not hold claim authorised of kind authorised-access$/m,
    /policy\.full\.yaml:\d+:\d+: this runtime does not hold claim region of kind residency$/m,
  ])
    assert.match(full.stderr, message);
  assert.ok(!(await readdir(scratch)).includes('full.enclaim'));
  const policy = parsePolicy(await readFile(join(clinic, 'policy.full.yaml')));
  const bytes = encodeBundle({
    policy: canonicalPolicy(policy),
    descriptors: await compileProtos(join(clinic, 'proto')),
    handlers: new Uint8Array(),
  });
  await writeFile(join(scratch, 'other.enclaim'), bytes);
  const run = enclaim('run', 'other.enclaim', '--image', 'image');
  assert.equal(run.status, 1);
  assert.match(
    run.stderr,
    /^enclaim: RefusalError claim: .*claim authorised of kind .*; .*claim region of kind residency/,
  );
});

const HANDLERS: readonly [string, string, RegExp | null][] = [
  ['as they are', "export const handlers = { 'echo.v1.Echo/Say': async (request) => request };", null],
  [
    'that are inherited',
    "class A { async 'echo.v1.Echo/Say'(request) { return request; } }\nexport const handlers = new A();",
    null,
  ],
  [
    'of no method',
    'export const handlers = {};',
    /^enclaim: HandlersError unusable: no handler for echo\.v1\.Echo\/Say, which/,
  ],
  ['that are no function', "export const handlers = { 'echo.v1.Echo/Say': 1 };", /no handler for echo\.v1\.Echo\/Say/],
  ['that are not exported', 'const handlers = {};', /export no object `handlers`/],
  ['that are the default', 'export default {};', /export no object `handlers`/],
  ['that throw', "throw new Error('no such table');\nexport const handlers = {};", /do not load: Error: no such table/],
  ['that ask for what a worker lacks', 'process.exit(0);\nexport const handlers = {};', /process is not defined/],
  [
    'that do not end',
    'export const handlers = {};\nlet all = [];\nfor (;;) all.push(new Array(1e6).fill(all));',
    /ended with|do not load/,
  ],
  [
    'of a method that is nowhere',
    "const say = async (request) => request;\nexport const handlers = { 'echo.v1.Echo/Say': say, 'echo.v1.Echo/Sai': say };",
    /a handler for echo\.v1\.Echo\/Sai: no \.proto has such a method; did you mean "echo\.v1\.Echo\/Say"\?/,
  ],
];

for (const [name, code, message] of HANDLERS) {
  test(`bundle loads handlers once: those ${name}`, async () => {
    const app = join(scratch, 'handlers-app');
    await cp(join(projectRoot, 'image/test/apps/echo'), app, { recursive: true });
    await writeFile(join(app, 'handlers/index.ts'), code);
    const { status, stderr } = enclaim('bundle', app, '-o', 'handlers.enclaim');
    const written = await readdir(scratch).then((files) => files.includes('handlers.enclaim'));
    await rm(join(scratch, 'handlers.enclaim'), { force: true });
    assert.deepEqual([status, written], message === null ? [0, true] : [1, false], stderr);
    if (message !== null) assert.match(stderr, message);
  });
}

test('an audit of an app that it could not bundle is refused before anything is installed', async () => {
  const [sources, own] = [join(scratch, 'sources'), join(scratch, 'payroll')];
  await mkdir(sources, { recursive: true });
  await cp(join(projectRoot, 'image/test/apps/echo'), own, { recursive: true });
  await writeFile(join(own, 'package.json'), JSON.stringify({ dependencies: { 'decimal.js': '10.0.0' } }));
  await cp(own, join(sources, 'app'), { recursive: true });
  for (const [app, message] of [
    ['../elsewhere', /there is no folder \.\.\/elsewhere/],
    ['nowhere', /there is no folder nowhere in the sources; .* is \.\/FOLDER or REPOSITORY#REVISION/],
    ['app', /depends on decimal\.js and has no package-lock\.json/],
    ['./payroll', /depends on decimal\.js and has no package-lock\.json/],
    [own, /depends on decimal\.js and has no package-lock\.json/],
    [`${own}#main`, /git clone/],
    [`${own}#--upload-pack=x`, /--upload-pack=x is no revision/],
  ] as const) {
    const { status, stderr } = enclaim('audit', 'sources', '--against', 'image/manifest.json', '--app', app);
    assert.equal(status, 1, stderr);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /installing/);
  }
  await rm(own, { recursive: true });
});

test('ls prints every part with its reason', () => {
  const lines = enclaim('image', 'ls', 'image').stdout.trimEnd().split('\n');
  assert.equal(lines.length, SAMPLE.sections.length + SAMPLE.contents.length);
  assert.ok(lines.some((line) => /^0644 +3 +\/lib\/libc\.so\.6 +C library$/.test(line)));
  const { contents } = jsonOf('image ls', enclaim('image', 'ls', 'image', '--json').stdout);
  assert.deepEqual(contents, SAMPLE.contents);
});

const BAD: readonly [string, readonly string[], RegExp][] = [
  ['an image folder that is not there', ['image', 'ls', 'none'], /file-missing/],
  ['a bundle that is not there', ['image', 'measure', 'image', '--bundle', 'none'], /usage/],
  ['a bundle that is none', ['image', 'measure', 'image', '--bundle', 'image/manifest.json'], /magic/],
  ['a UKI that is none', ['image', 'measure', '--uki', 'image/manifest.json'], /magic/],
  ['two command lines', ['image', 'measure', 'image', '--embedded', '--command-line', 'x'], /cannot be used/],
  ['an app folder that is not there', ['bundle', 'none', '-o', 'none.enclaim'], /file-missing/],
  ['an output in no folder', ['bundle', join(projectRoot, 'image/test/apps/echo'), '-o', 'no/a'], /no\/a: .*ENOENT/],
  ['a mirror that is no URL', ['image', 'lock', '--update', '--mirror', 'nonsense'], /fetch-failed/],
  ['evidence without references', ['audit', '.', '--evidence', 'x'], /usage/],
  ['nothing to audit against', ['audit', '.'], /usage/],
  ['neither file nor machine', ['audit', '.', '--against', 'none'], /neither a file nor HOST:PORT/],
  ['a machine without references', ['audit', '.', '--against', '127.0.0.1:1'], /needs --references/],
  ['a bundle without its app', ['audit', '.', '--against', 'app.enclaim'], /needs --app/],
  ['a manifest that is none', ['audit', '.', '--against', 'image'], /usage|manifest-invalid/],
  ['a statement without a key', ['audit', '.', '--against', 'app.enclaim', '--statement', 'x'], /go together/],
  ['a source that is nothing', ['audit', 'x#--upload-pack=x', '--against', 'image/manifest.json'], /source-invalid/],
];

for (const [name, args, message] of BAD) {
  test(`${name}: a message, an exit status, nothing written`, async () => {
    const before = await readdir(scratch);
    const { status, stderr } = enclaim(...args);
    assert.ok(status === 1 || status === 2 || status === 4, stderr);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /^ +at /m);
    assert.deepEqual(await readdir(scratch), before);
  });
}

test('lock lists what is locked', async () => {
  const { inputs } = JSON.parse(await readFile(join(projectRoot, 'image/lock.json'), 'utf8'));
  const expected = inputs.map(({ name, version }: { name: string; version: string }) => `${name} ${version}\n`);
  assert.equal(enclaim('image', 'lock').stdout, expected.join(''));
});
