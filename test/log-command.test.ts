/** A copied log is laid out as C2SP has it, goes on from where it was, and nothing unverified is written into it. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { leafHash } from '@enclaim/attestation/merkle';
import { type EvidenceRecord, recordEntry } from '@enclaim/attestation/record';
import { encodeEntries, parseTilePath, tileBytes, tilesOf } from '@enclaim/attestation/tlog';
import { copiedEntries } from '@enclaim/client/log';
import { NOTES } from '../cli/src/manual/notes.ts';
import { mismatch } from '../cli/src/manual/shape.ts';
import { type LogServer, readerName, startLogServer } from './support/log-server.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, '../cli/src/main.ts');
const pair = generateKeyPairSync('ed25519');
let folder: string;
let key: string;
let server: LogServer;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-log-'));
  key = join(folder, 'reader.pem');
  await writeFile(key, pair.privateKey.export({ format: 'pem', type: 'pkcs8' }));
  server = await startLogServer({ entries: 0, readers: [readerName(pair.publicKey)] });
  grow(700);
  await writeFile(join(folder, 'references.json'), JSON.stringify(server.references));
});
after(async () => {
  server.stop();
  await rm(folder, { recursive: true });
});

/** Adds records to the log. */
function grow(count: number): void {
  for (let i = 0; i < count; i++) server.log.data.push(recordEntry(recordOf(server.log.data.length)));
  server.log.sign();
}

function recordOf(index: number): EvidenceRecord {
  return {
    v: 2,
    id: index.toString(16).padStart(32, '0'),
    time: '2026-11-30T12:00:00.000Z',
    timeStrength: 'host',
    layer: 'runtime',
    system: 'lab',
    policyDigest: `sha384:${'00'.repeat(48)}`,
    claims: [],
    decision: 'allow',
    reason: 'allowed',
    method: 'lab.v1.Lab/Sum',
    label: [],
    sink: 'caller',
    figures: {},
    basis: 'enforced',
  };
}

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function enclaim(...args: readonly string[]): Promise<Ended> {
  const [command = '', ...rest] = args;
  const all = [
    main,
    'log',
    command,
    server.target,
    '--references',
    join(folder, 'references.json'),
    '--quiet',
    ...rest,
  ];
  return run(process.execPath, all).then(
    (done) => ({ code: 0, ...done }),
    (error: Ended) => error,
  );
}

/** Paths of the files below a folder. */
async function filesBelow(path: string): Promise<string[]> {
  const found = await readdir(path, { recursive: true, withFileTypes: true });
  return found
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name).slice(path.length + 1))
    .sort();
}

test('log checkpoint prints the note, and the same as JSON', async () => {
  const { stdout, code } = await enclaim('checkpoint');
  assert.deepEqual([code, stdout], [0, server.log.newest?.note]);
  const json = JSON.parse((await enclaim('checkpoint', '--json')).stdout) as { size: number };
  assert.equal(mismatch(NOTES['log checkpoint']?.json ?? '', json), null);
  assert.equal(json.size, 700);
});

test('log tiles makes a folder of C2SP, brings it up to date, and writes nothing twice', async () => {
  const to = join(folder, 'copy');
  const copy = ['tiles', '--to', to, '--entries', '--reader', key, '--json'] as const;
  const first = JSON.parse((await enclaim(...copy)).stdout) as { written: number };
  assert.equal(mismatch(NOTES['log tiles']?.json ?? '', first), null);
  await isWhole(to);
  const bundle = join(to, 'tile/entries/000');
  const { mtimeMs } = await stat(bundle);
  assert.equal((JSON.parse((await enclaim(...copy)).stdout) as { written: number }).written, 0);
  grow(100);
  const more = JSON.parse((await enclaim(...copy)).stdout) as { written: number };
  assert.equal(more.written, 5, 'a full and a new part of hashes, of entries, and a hash above');
  await isWhole(to);
  assert.equal((await stat(bundle)).mtimeMs, mtimeMs);
});

test('records of a copy are read from any index on, and one that was changed or is not there is refused', async () => {
  const [whole, to] = [join(folder, 'copy'), join(folder, 'changed')];
  for (const first of [0, 255, 256, 799, 800]) {
    const entries = await Array.fromAsync(copiedEntries(whole, first));
    assert.deepEqual(
      entries.map(({ index, data }) => [index, Buffer.from(data)]),
      server.log.data.slice(first).map((data, i) => [first + i, Buffer.from(data)]),
    );
  }
  await cp(whole, to, { recursive: true });
  const bundle = join(to, 'tile/entries/001');
  const bytes = await readFile(bundle);
  const last = bytes.length - 5;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
  await writeFile(bundle, bytes);
  const read = (first: number) => Array.fromAsync(copiedEntries(to, first));
  await assert.rejects(read(300), { name: 'LogError', code: 'tile' });
  assert.equal((await read(600)).length, 200);
  await rm(bundle);
  await assert.rejects(read(300), { name: 'LogError', code: 'tile' });
  await assert.rejects(Array.fromAsync(copiedEntries(folder, 0)), { name: 'LogError', code: 'checkpoint' });
});

/** Holds a folder against the log: every file, and no other. */
async function isWhole(to: string): Promise<void> {
  const { data } = server.log;
  const leaves = data.map(leafHash);
  const files = await filesBelow(to);
  const hashes = tilesOf(data.length).length;
  assert.ok(files.includes('checkpoint'));
  assert.equal(await readFile(join(to, 'checkpoint'), 'utf8'), server.log.newest?.note);
  const narrower = files.filter((file) => file.includes('.p/')).length;
  assert.ok(files.includes('receipt.cose'));
  assert.ok(files.length >= 2 + hashes + Math.ceil(data.length / 256), `${files.length} files, ${narrower} in part`);
  for (const file of files) {
    if (file === 'checkpoint' || file === 'receipt.cose') continue;
    const tile = parseTilePath(file);
    const first = tile.index * 256;
    const expected =
      tile.level === 'entries' ? encodeEntries(data.slice(first, first + tile.width)) : tileBytes(leaves, tile);
    assert.deepEqual(await readFile(join(to, file)), Buffer.from(expected), file);
  }
}

test('a log that does not continue the copy is refused, and the copy stays as it is', async () => {
  const to = join(folder, 'copy');
  const before = await filesBelow(to);
  const [kept] = server.log.data.splice(10, 1, recordEntry(recordOf(99_999)));
  grow(10);
  const { code, stderr } = await enclaim('tiles', '--to', to);
  assert.deepEqual([code, /LogError fork/.test(stderr)], [1, true], stderr);
  assert.deepEqual(await filesBelow(to), before);
  server.log.data.splice(10, 1, kept ?? assert.fail());
  server.log.sign(600);
  const shorter = await enclaim('checkpoint', '--seen', to);
  assert.deepEqual([shorter.code, /LogError shrunk/.test(shorter.stderr)], [1, true], shorter.stderr);
  server.log.sign();
});

test('log entries prints records to a reader, and is answered with a refusal without a good key', async () => {
  const { code, stdout } = await enclaim('entries', '--reader', key, '--from', '300', '--count', '2');
  assert.equal(code, 0);
  assert.deepEqual(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [recordOf(300), recordOf(301)],
  );
  const [line = ''] = (await enclaim('entries', '--reader', key, '--from', '3', '--count', '1', '--json')).stdout.split(
    '\n',
  );
  assert.equal(mismatch(NOTES['log entries']?.json ?? '', JSON.parse(line)), null);
  const stranger = join(folder, 'stranger.pem');
  await writeFile(stranger, generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const refused = await enclaim('entries', '--reader', stranger);
  assert.deepEqual([refused.code, refused.stdout], [5, ''], refused.stderr);
  assert.equal((await enclaim('tiles', '--to', join(folder, 'x'), '--entries')).code, 2);
  assert.equal((await enclaim('entries', '--reader', key, '--from', '-1')).code, 2);
});

test('log watch prints the newest checkpoint', async () => {
  const { code, stdout } = await enclaim('watch', '--count', '1', '--json');
  assert.equal(code, 0);
  assert.equal((JSON.parse(stdout) as { size: number }).size, server.log.data.length);
});
