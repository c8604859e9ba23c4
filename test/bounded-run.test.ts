/** A run ends with its counts whatever hangs in it, and fails what left a program running, by name. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { root } from '../scripts/imports.ts';
import { LONG_FILES, longestFirst } from '../scripts/long-files.ts';
import { allProcesses, FILE_MARK, RUN_MARK } from '../scripts/marked-processes.ts';
import { type Ended, ended } from './support/ended.ts';
import { HANGS_MS } from './support/eventually.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-bounded-'));
after(() => rm(scratch, { recursive: true }));

/** A test that starts a program, which sleeps for seconds that no other one sleeps. */
const starts = (seconds: number, options: string, then: string): string => `
  import { spawn } from 'node:child_process';
  import { test } from 'node:test';
  test('starts', () => {
    const child = spawn('sleep', ['${seconds}'], ${options});
    ${then}
  });`;
const only = (body: string): string => `import { test } from 'node:test'; test('only', ${body});`;

/** Says how many tests of this kind its process has run. */
const COUNTS = "() => { globalThis.files = (globalThis.files ?? 0) + 1; console.log('files', globalThis.files); }";

const FILES = {
  'fine.test.mjs': only('() => {}'),
  // As a browser whose opening fails: no test holds it, and it holds the process and its outputs.
  'opening.test.mjs': starts(1_000_301, "{ stdio: 'inherit' }", "throw new Error('fails to open');"),
  'leaving.test.mjs': starts(1_000_302, "{ stdio: 'ignore', detached: true }", 'child.unref();'),
  // Before its first test, so that the limit of a test does not end it.
  'holding.test.mjs': `import { spawn } from 'node:child_process';
    spawn('sleep', ['1000303'], { stdio: 'inherit' });
    await new Promise(() => {});`,
  'sleeping.test.mjs': starts(1_000_304, "{ stdio: 'ignore' }", 'return new Promise(() => {});'),
  'counting.test.mjs': only(COUNTS),
  'again.test.mjs': only(COUNTS),
  'failing.test.mjs': only("() => { throw new Error('fails'); }"),
  'waiting.test.mjs': only('() => new Promise(() => setInterval(() => {}, 1000))'),
  'spinning.test.mjs': only("() => { process.on('SIGTERM', () => {}); for (;;); }"),
};
for (const [name, text] of Object.entries(FILES)) await writeFile(join(scratch, name), text);

/** Runs files, each and all within milliseconds; a file may clean up for a second. */
async function bounded(
  { hangs = HANGS_MS, atMost = HANGS_MS, atOnce = 2 },
  ...files: (keyof typeof FILES)[]
): Promise<Ended> {
  const { NODE_TEST_CONTEXT: _, [RUN_MARK]: __, [FILE_MARK]: ___, ...env } = process.env;
  const words = [join(root, 'test/support/bounded.ts'), scratch, ...[hangs, atMost, atOnce].map(String), ...files];
  const child = spawn(process.execPath, words, {
    cwd: scratch,
    env: { ...env, ENCLAIM_TEST_LINGERS_MS: '1000' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return await ended(child);
}

test('the long files are there, and start before all others', () => {
  for (const file of LONG_FILES) assert.ok(existsSync(join(root, file)), file);
  const [first = '', second = ''] = LONG_FILES;
  assert.deepEqual(longestFirst(['test/a.test.ts', second, 'test/b.test.ts', first]), [
    ...[first, second],
    ...['test/a.test.ts', 'test/b.test.ts'],
  ]);
});

/** The last number that the runner said of `what`. */
function counted(stdout: string, what: string): number {
  return Number(new RegExp(`^ℹ ${what} (\\d+)$`, 'm').exec(stdout)?.[1] ?? assert.fail(stdout));
}

/** Sleeping programs of these files; none may outlive a run. */
const sleeping = (): string[] => allProcesses().flatMap(({ words }) => (/^sleep 100030\d$/.test(words) ? [words] : []));

test('(control) a file whose tests pass and that leaves nothing passes', async () => {
  const { code, stdout } = await bounded({}, 'fine.test.mjs');
  assert.deepEqual([code, counted(stdout, 'pass'), counted(stdout, 'fail')], [0, 1, 0], stdout);
});

test('in one process, files run one after another, all are counted, and the run ends with them', async () => {
  const files = ['counting.test.mjs', 'again.test.mjs'] as const;
  const shared = await bounded({ atOnce: 0 }, ...files);
  assert.deepEqual([shared.code, counted(shared.stdout, 'pass')], [0, 2], shared.stdout);
  assert.match(shared.stdout, /^files 2$/m);
  const apart = await bounded({}, ...files);
  assert.deepEqual([apart.code, counted(apart.stdout, 'pass')], [0, 2], apart.stdout);
  assert.doesNotMatch(apart.stdout, /^files 2$/m);
});

test('in one process, what fails fails the run, by name', async () => {
  const { code, stdout } = await bounded({ atOnce: 0 }, 'failing.test.mjs', 'fine.test.mjs');
  assert.deepEqual([code, counted(stdout, 'pass'), counted(stdout, 'fail')], [1, 1, 1], stdout);
  assert.match(stdout, /failing\.test\.mjs/);
});

test('a file that keeps a program after its last test ends nevertheless, fails by name, and the program is gone', async () => {
  const { code, stdout } = await bounded({}, 'opening.test.mjs', 'fine.test.mjs');
  assert.deepEqual([code, counted(stdout, 'pass')], [1, 1], stdout);
  assert.match(stdout, /^opening\.test\.mjs does not end after its last test: .*ProcessWrap/m);
  assert.match(stdout, /^opening\.test\.mjs left a program running: sleep 1000301$/m);
  assert.deepEqual(sleeping(), []);
});

test('a file that forgets a program that holds nothing fails by name, too, although its tests pass', async () => {
  const { code, stdout } = await bounded({}, 'leaving.test.mjs');
  assert.deepEqual([code, counted(stdout, 'pass'), counted(stdout, 'fail')], [1, 1, 1], stdout);
  assert.match(stdout, /^leaving\.test\.mjs left a program running: sleep 1000302$/m);
  assert.deepEqual(sleeping(), []);
});

for (const file of ['waiting.test.mjs', 'spinning.test.mjs'] as const)
  test(`a run ends with counts although ${file} does not, and names it`, async () => {
    const { code, stdout } = await bounded({ atMost: 3000 }, file, 'fine.test.mjs');
    assert.equal(code, 1, stdout);
    assert.match(stdout, /the whole run may take/);
    assert.match(stdout, new RegExp(`^✖ ${file.replaceAll('.', '\\.')} `, 'm'));
    assert.ok(counted(stdout, 'cancelled') > 0, stdout);
    assert.deepEqual(
      allProcesses().filter(({ words }) => words.endsWith(file)),
      [],
    );
  });

test('of a test that is about to be ended, what its processes wait for is said', async () => {
  const { code, stdout } = await bounded({ hangs: 3000 }, 'sleeping.test.mjs', 'fine.test.mjs');
  assert.equal(code, 1, stdout);
  assert.match(stdout, /^ℹ hung for long:$/m);
  assert.match(stdout, /^ℹ {3}sleeping\.test\.mjs: starts$/m);
  assert.match(stdout, /^ℹ {5}\d+ of \d+: S \d\.\d s, 1 threads, in \S+ \(.*\): sleep 1000304$/m);
  assert.doesNotMatch(stdout.slice(stdout.indexOf('hung for long')), /fine\.test\.mjs/);
  const { stdout: quiet } = await bounded({}, 'fine.test.mjs');
  assert.doesNotMatch(quiet, /hung for long/);
});

test('a file that hangs takes along what it started, while the run goes on', async () => {
  const { code, stdout } = await bounded({ hangs: 3000 }, 'holding.test.mjs', 'fine.test.mjs');
  assert.equal(code, 1, stdout);
  assert.match(stdout, /^✖ holding\.test\.mjs /m);
  assert.match(stdout, /failed: holding\.test\.mjs took more than/);
  assert.deepEqual([counted(stdout, 'pass'), counted(stdout, 'fail')], [1, 1], stdout);
  assert.doesNotMatch(stdout, /left a program running/);
  assert.deepEqual(sleeping(), []);
});
