/**
 * A call of a real boot is proved up to its hardware, and the proof outlives the boot: offline, in a shell and in a
 * browser. So does what it stored, until its retention has passed: sealed to the machine, and on no disk of yesterday.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { buildBundle, findApp, projectRoot, writeImage } from '@enclaim/image';
import { EXIT } from '../../cli/src/exit-status.ts';
import { AuditorsPage } from '../support/auditors-page.ts';
import { type Ended, ended } from '../support/ended.ts';
import { HANGS_MS } from '../support/eventually.ts';
import { needs } from '../support/machine-needs.ts';
import { shippedImage } from '../support/shipped-image.ts';

const METHOD = 'kept.v1.Notes/Get';
const NOTE = { key: 'the-key-of-a-note', text: 'the text of a note that no disk may show' };
/** Milliseconds that the app keeps short notes. */
const SHORT_MS = 20_000;

let scratch: string;
let machine: ChildProcess | undefined;
/** Words of `enclaim verify` for each receipt, as `call` prints them. */
const later: string[][] = [];

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'enclaim-proof-'));
  await chmod(scratch, 0o755);
  const app = await buildBundle(await findApp(join(projectRoot, 'test/sealed-app')));
  await writeFile(join(scratch, 'app.enclaim'), app.bytes);
  await writeImage(await shippedImage(), join(scratch, 'image'));
});
after(async () => {
  await stop();
  await rm(scratch, { recursive: true, force: true });
});

function start(words: readonly string[], program: readonly string[] = []): ChildProcess {
  const [first = '', ...rest] = [...program, process.execPath, join(projectRoot, 'cli/src/main.ts'), ...words];
  return spawn(first, rest, { cwd: scratch, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function ok(words: readonly string[], program: readonly string[] = []): Promise<Ended> {
  const result = await ended(start(words, program));
  assert.equal(result.code, EXIT.ok, `enclaim ${words.join(' ')}\n${result.stdout}${result.stderr}`);
  return result;
}

async function stop(): Promise<void> {
  if (machine === undefined || machine.exitCode !== null) return;
  machine.kill('SIGINT');
  await once(machine, 'close');
}

/** Boots the machine on its state, and writes references that accept its TPM. @returns its address */
async function boot(): Promise<string> {
  const running = start(['run', 'app.enclaim', '--image', 'image', '--state', 'state']);
  machine = running;
  const lines: string[] = [];
  const served = Promise.withResolvers<{ target: string; authority: string[] }>();
  let target: string | undefined;
  let authority: string[] | undefined;
  for (const stream of [running.stdout, running.stderr])
    createInterface({ input: stream ?? assert.fail() }).on('line', (line) => {
      lines.push(line);
      authority ??= /^for enclaim references: (.*)$/.exec(line)?.[1]?.split(' ');
      if (/^127\.0\.0\.1:\d+$/.test(line)) target = line;
      if (target !== undefined && authority !== undefined) served.resolve({ target, authority });
    });
  running.once('close', () => served.reject(new Error(`the machine ended:\n${lines.join('\n')}`)));
  const hangs = globalThis.setTimeout(() => served.reject(new Error(`hangs:\n${lines.join('\n')}`)), 3 * HANGS_MS);
  const found = await served.promise.finally(() => clearTimeout(hangs));
  const of = ['--manifest', 'image/manifest.json', '--bundle', 'app.enclaim'];
  await ok(['references', ...of, ...found.authority, '-o', 'references.json']);
  return found.target;
}

/** Kills the machine's QEMU, as a crash of its host would. */
async function crash(): Promise<void> {
  const running = machine ?? assert.fail('no machine runs');
  const { pid } = running;
  const closed = once(running, 'close');
  for (const child of (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' '))
    if ((await readFile(`/proc/${child}/comm`, 'utf8')).startsWith('qemu')) process.kill(Number(child), 'SIGKILL');
  await closed;
}

/** Calls, waits for the proof, and keeps it. @returns index and log of the record */
async function prove(target: string, file: string): Promise<{ index: number; origin: string }> {
  const words = ['--references', 'references.json', '--quiet', '--prove', '--save-receipt', file];
  const { stderr } = await ok(['call', target, METHOD, '-d', '{}', ...words]);
  const [, verify = assert.fail(stderr)] = /^receipt: later {2}enclaim (.*)$/m.exec(stderr) ?? [];
  later.push(verify.split(' '));
  const [, index, origin = ''] = /^ {2}leaf {9}record (\d+) of (\S+), written by this boot$/m.exec(stderr) ?? [];
  return { index: Number(index ?? assert.fail(stderr)), origin };
}

/** Calls a method, and gives its answer. */
async function called(target: string, method: string, request: object): Promise<Record<string, string>> {
  const words = ['-d', JSON.stringify(request), '--references', 'references.json', '--quiet'];
  return JSON.parse((await ok(['call', target, `kept.v1.Notes/${method}`, ...words])).stdout);
}

/** When the note was put, at the earliest and at the latest. */
let put: { readonly from: number; readonly to: number };

/** Runs without any network, not even to this machine itself. */
const OFFLINE = ['unshare', '--user', '--map-root-user', '--net'];

test('a call is proved, and so is one of the next boot, whose log goes on where a crash ended the last one', async () => {
  const target = await boot();
  const words = ['--references', 'references.json', '--quiet', '--save-receipt', 'unproved.enclaim-receipt'];
  await ok(['call', target, METHOD, '-d', '{}', ...words]);
  const first = await prove(target, 'first.enclaim-receipt');
  const from = Date.now();
  await called(target, 'Put', NOTE);
  put = { from, to: Date.now() };
  const there = await called(target, 'Get', { key: NOTE.key });
  assert.equal(there.long, NOTE.text);
  if (Date.now() < put.from + SHORT_MS) assert.equal(there.short, NOTE.text);
  await crash();
  await copyFile(join(scratch, 'state/state.img'), join(scratch, 'yesterday.img'));
  const next = await boot();
  const kept = await called(next, 'Get', { key: NOTE.key });
  assert.equal(kept.long, NOTE.text, 'what a call had stored before the crash');
  await setTimeout(Math.max(0, put.to + SHORT_MS + 1000 - Date.now()));
  assert.deepEqual(await called(next, 'Get', { key: NOTE.key }), { long: NOTE.text }, 'past its retention');
  const second = await prove(next, 'second.enclaim-receipt');
  const of = ['--receipt', 'unproved.enclaim-receipt', '-o', 'late.enclaim-receipt', '--quiet'];
  await ok(['log', 'proof', next, '--references', 'references.json', ...of]);
  const { stdout } = await ok(['log', 'boots', next, '--references', 'references.json', '--quiet']);
  assert.equal(stdout.match(/^boot /gm)?.length, 2, stdout);
  await stop();
  assert.notEqual(second.origin, first.origin, 'each boot has a log key and a name of its own');
  assert.ok(second.index > first.index, `${second.index} after ${first.index}`);
});

test('a call that nobody had proved before the crash is proved by the boot after it, offline', async () => {
  const [[verify = '', , ...rest] = []] = later;
  const { stderr } = await ok([verify, 'late.enclaim-receipt', ...rest], OFFLINE);
  assert.match(stderr, /^verdict: ok/m);
  const [, origin] = /^ {2}leaf {9}record \d+ of (\S+), written by this boot$/m.exec(stderr) ?? [];
  const before = await ok([verify, 'first.enclaim-receipt', ...rest], OFFLINE);
  assert.match(before.stderr, new RegExp(`of ${origin ?? assert.fail(stderr)}, written by this boot`));
});

test('both proofs verify with all machines off and no network, now and as of their own time', async () => {
  assert.equal(later.length, 2);
  for (const words of later) {
    const { stderr } = await ok(words, OFFLINE);
    assert.match(stderr, /^verdict: ok/m);
    assert.match(stderr, /^proof: from the receipt to the hardware$/m);
    assert.match((await ok([...words, '--as-of', 'receipt'], OFFLINE)).stderr, /^as of: .*strength host/m);
  }
  const [[verify = '', , ...rest] = []] = later;
  const swapped = JSON.parse(await readFile(join(scratch, 'first.enclaim-receipt'), 'utf8'));
  const { proof } = JSON.parse(await readFile(join(scratch, 'second.enclaim-receipt'), 'utf8'));
  await writeFile(join(scratch, 'mixed.enclaim-receipt'), JSON.stringify({ ...swapped, proof }));
  const { code, stderr } = await ended(start([verify, 'mixed.enclaim-receipt', ...rest]));
  assert.equal(code, EXIT.refused, stderr);
  assert.match(stderr, /EvidenceError binding: proof of record/);
});

test('a browser shows the same way from disk', needs('browser'), async () => {
  const [words = []] = later;
  const ak = words[words.indexOf('--ak') + 1] ?? assert.fail('the words that verify name the key');
  const references = JSON.parse(await readFile(join(scratch, 'references.json'), 'utf8'));
  references.anchors.attestationKeys = [ak];
  await using auditor = await AuditorsPage.open();
  const shown = await auditor.show(await readFile(join(scratch, 'first.enclaim-receipt')), JSON.stringify(references));
  assert.equal(shown.head, 'Verdict: ok', shown.text);
  assert.match(shown.text, /Proof: the record is under a quote of the hardware/);
  assert.match(shown.text, /hashes above the leaf, signed by the log key/);
});

test('no disk shows the note or its key, and each shows what is no secret', async () => {
  for (const name of ['yesterday.img', 'state/state.img']) {
    const disk = await readFile(join(scratch, name));
    assert.ok(disk.includes(METHOD), `${name} has the records`);
    for (const secret of [NOTE.text, NOTE.key, NOTE.text.slice(4, 20)]) assert.ok(!disk.includes(secret), name);
  }
});

test('the disk of yesterday is refused by its name, and the one of today is served after it', async () => {
  await rename(join(scratch, 'state/state.img'), join(scratch, 'today.img'));
  await copyFile(join(scratch, 'yesterday.img'), join(scratch, 'state/state.img'));
  await assert.rejects(boot(), /state: .*epoch/);
  await rename(join(scratch, 'today.img'), join(scratch, 'state/state.img'));
  assert.deepEqual(await called(await boot(), 'Get', { key: NOTE.key }), { long: NOTE.text });
  await stop();
});
