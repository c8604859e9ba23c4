/** `enclaim witness`: a release log cosigned by a served witness is accepted under a demand for it, and a fork is not cosigned. */

import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, mock, test } from 'node:test';
import { Program } from '../../test/support/program.ts';
import { exitStatusOf } from '../src/exit-status.ts';
import { makeProgram } from '../src/program.ts';

const root = join(import.meta.dirname, '../..');
const main = join(root, 'cli/src/main.ts');
let folder: string;
const at = (name: string): string => join(folder, name);

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command within this process: one test starts many, and a process each takes seconds on a busy machine. */
async function enclaim(...words: string[]): Promise<Ended> {
  const out = mock.method(console, 'log', () => {});
  const err = mock.method(console, 'error', () => {});
  const textOf = ({ mock: { calls } }: typeof out): string =>
    calls.map(({ arguments: [line] }) => `${line}\n`).join('');
  try {
    await (await makeProgram()).parseAsync(words, { from: 'user' });
    return { code: 0, stdout: textOf(out), stderr: textOf(err) };
  } catch (error) {
    return { code: exitStatusOf(error), stdout: textOf(out), stderr: `${textOf(err)}${(error as Error).message}` };
  } finally {
    out.mock.restore();
    err.mock.restore();
  }
}

/** `enclaim witness serve`, and where it listens. */
async function serve(...args: string[]): Promise<{ program: Program; address: string }> {
  const program = new Program([process.execPath, main, 'witness', 'serve', ...args]);
  const [address] = await program.line(/^http:.*/);
  return { program, address };
}

let logKey: string;
let served: Awaited<ReturnType<typeof serve>>;
const lines: string[] = [];
const signing = (): string[] => ['--log', at('releases'), '--key', at('log.pem')];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-cli-witness-'));
  await enclaim('key', 'new', at('log.pem'));
  logKey = (await enclaim('release', 'init', ...signing(), '--origin', 'example.com/releases')).stdout.trim();
  const clinic = await readFile(join(root, 'examples/clinic/policy.yaml'), 'utf8');
  for (const name of ['a', 'b', 'evil'])
    await writeFile(at(`${name}.yaml`), clinic.replace('a visit.', `a visit, ${name}.`));
  const made = await enclaim('witness', 'init', at('witness'), '--name', 'example.com/witness');
  lines.push(...made.stdout.trim().split('\n'));
  served = await serve(at('witness'), '--log', logKey);
  const quorum = ['group both all example.com/witness/cosignature example.com/witness/ml-dsa-44', 'quorum both'];
  await writeFile(at('policy'), [...lines.map((line) => `${line} ${served.address}`), ...quorum, ''].join('\n'));
});
after(async () => {
  await served.program.stop('SIGKILL');
  await rm(folder, { recursive: true });
});

test('a release log is cosigned, grows, is verified under a demand for the witness, and cannot fork', async () => {
  assert.equal((await enclaim('release', 'add', at('a.yaml'), ...signing())).code, 0);
  await cp(at('releases'), at('fork'), { recursive: true });
  for (const end of ['', '.origin', '.signed']) await cp(at(`log.pem${end}`), at(`fork.pem${end}`));
  const ask = (log: string, ...more: string[]): Promise<Ended> =>
    enclaim('witness', 'ask', at(log), '--log-key', logKey, '--policy', at('policy'), ...more);
  const [first, again] = [await ask('releases'), await ask('releases')];
  assert.deepEqual([first.code, again.code], [0, 0], first.stderr);
  assert.equal((await enclaim('release', 'add', at('b.yaml'), ...signing())).code, 0);
  const told = await ask('releases', '--json');
  assert.deepEqual([told.code, JSON.parse(told.stdout)], [0, { reached: true, quorum: 'both', failures: [] }]);
  const vkey = lines[0]?.split(' ')[2] ?? '';
  const check = await enclaim('release', 'check', at('releases'), '--log-key', logKey, '--witness', vkey);
  assert.equal(check.code, 0, check.stderr);
  assert.equal(
    (await enclaim('release', 'add', at('evil.yaml'), '--log', at('fork'), '--key', at('fork.pem'))).code,
    0,
  );
  const fork = await ask('fork');
  assert.equal(fork.code, 1);
  assert.match(fork.stderr, /witness: fork: .*cosigned a tree that this checkpoint does not continue/);
  const asJson = await ask('fork', '--json', '--out', at('fork-note'));
  const { reached, failures } = JSON.parse(asJson.stdout);
  assert.deepEqual([asJson.code, reached, failures[0].code], [1, false, 'fork']);
  assert.equal((await ask('fork', '--json', '--out', '-')).code, 2);
  assert.notEqual((await enclaim('release', 'check', at('fork'), '--log-key', logKey, '--witness', vkey)).code, 0);
});

test('one witness serves from a folder, its keys are its own, and what cannot work is said', async () => {
  const second = await enclaim('witness', 'serve', at('witness'), '--log', logKey);
  assert.deepEqual([second.code, /held by another process/.test(second.stderr)], [2, true], second.stderr);
  for (const file of ['ed25519.pem', 'ml-dsa-44.pem'])
    assert.equal((await stat(at(`witness/${file}`))).mode & 0o777, 0o600);
  const refused: readonly (readonly [RegExp, ...string[]])[] = [
    [/is there already/, 'witness', 'init', at('witness'), '--name', 'example.com/other'],
    [/no spaces/, 'witness', 'init', at('new'), '--name', 'a b'],
    [/enclaim witness init makes one/, 'witness', 'serve', at('nowhere'), '--log', logKey],
    [/no log to witness/, 'witness', 'serve', at('witness')],
    [/key of a witness/, 'witness', 'serve', at('witness'), '--log', lines[0]?.split(' ')[2] ?? ''],
    [/own key/, 'witness', 'serve', at('witness'), '--log', lines[1]?.split(' ')[2] ?? ''],
    [/expected HOST:PORT/, 'witness', 'serve', at('witness'), '--log', logKey, '--listen', 'nowhere'],
  ];
  for (const [why, ...words] of refused) {
    const { code, stderr } = await enclaim(...words);
    assert.equal(code, 2, stderr);
    assert.match(stderr, why);
  }
});
