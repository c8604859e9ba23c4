/** `enclaim log deletion` shows by a receipt and the disk that a note is gone for good, and shows nothing of another one. */

import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { toHex } from '@enclaim/attestation/bytes';
import { openLog } from '@enclaim/attestation/log-disk';
import { leafHash, MerkleTree, merkleRoot } from '@enclaim/attestation/merkle';
import { encodeEntries, entryBundle, formatCheckpoint, tileBytes, tilePath, tilesOf } from '@enclaim/attestation/tlog';
import { connect } from '@enclaim/client';
import { copiedInclusion } from '@enclaim/client/log';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import { diskOf } from '../cli/src/log-disk.ts';
import { jsonOf } from '../cli/test/json-of.ts';
import { type Swtpm, startSwtpm } from './fakes/swtpm.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { enclaim } from './support/command.ts';

const APP = join(import.meta.dirname, 'sealed-app');
const KEY = 'the-key-of-a-note';
const DISK_BYTES = 16 * 1024 * 1024;

let folder: string;
let swtpm: Swtpm;
let bundle: BuiltBundle;
let ak: string;
const at = (name: string): string => join(folder, name);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-deletion-'));
  swtpm = await startSwtpm({ certified: true });
  bundle = await appThatRemoves();
});
after(async () => {
  await swtpm?.stop();
  await rm(folder, { recursive: true });
});

/** The app that keeps notes, with a method that deletes one, and short notes of two seconds. */
async function appThatRemoves(): Promise<BuiltBundle> {
  const changed = async (name: string, ...changes: readonly (readonly [string, string])[]): Promise<string> => {
    let text = await readFile(join(APP, name), 'utf8');
    for (const [from, to] of changes) {
      assert.ok(text.includes(from), `${name}: ${from}`);
      text = text.replace(from, to);
    }
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(at(name), text);
    return at(name);
  };
  const rule = 'purpose: notes\n      callers: [anyone]\n      accepts: [operational]';
  const policyFile = await changed(
    'policy.yaml',
    ['    Get:\n', `    Remove:\n      ${rule}\n      stores: [long, short]\n      returns: [operational]\n    Get:\n`],
    ['retention: PT20S', 'retention: PT2S'],
  );
  const option = 'option (enclaim.handling) = { purpose: "notes" stores: ["long", "short"] };';
  await changed('proto/kept/v1/notes.proto', [
    '  rpc Get',
    `  rpc Remove(Key) returns (Done) { ${option} }\n\n  rpc Get`,
  ]);
  const handlersEntry = await changed(
    'handlers/index.ts',
    ['  put(key', '  delete(key: string): Promise<null>;\n  put(key'],
    [
      "  'kept.v1.Notes/Get'",
      "  'kept.v1.Notes/Remove': async ({ key = '' }, { store }) => {\n    await store.long.delete(key);\n    await store.short.delete(key);\n    return { key };\n  },\n\n  'kept.v1.Notes/Get'",
    ],
  );
  return await buildBundle({ policyFile, protoDir: at('proto'), handlersEntry });
}

/** Boots the machine on its TPM, does something with it, and ends it. */
async function booted(act: (machine: AttestedRuntime) => Promise<void>): Promise<void> {
  await swtpm.powerCycle();
  const machine = await bootAttested(bundle, { swtpm, logFile: at('disk') });
  await writeFile(at('references.json'), JSON.stringify(machine.references));
  try {
    await act(machine);
  } finally {
    await machine.stop();
  }
  await truncate(at('disk'), DISK_BYTES);
}

async function called({ target }: AttestedRuntime, method: string, data: object): Promise<void> {
  const saved = ['--save-receipt', at(`${method}.enclaim-receipt`), '--references', at('references.json')];
  const { code, stderr } = await enclaim(
    'call',
    target,
    `kept.v1.Notes/${method}`,
    '-d',
    JSON.stringify(data),
    ...saved,
  );
  assert.equal(code, 0, stderr);
}

interface Shown {
  readonly code: number;
  readonly said: ReturnType<typeof jsonOf>;
  readonly stderr: string;
}

/** What the command says as JSON of a receipt, and with which status it ends. */
async function shown(method: string, ...words: readonly string[]): Promise<Shown> {
  return await shownIn(['--disk', at('disk')], method, ...words);
}

async function shownIn(where: readonly string[], method: string, ...words: readonly string[]): Promise<Shown> {
  const from = ['--references', at('references.json'), '--ak', ak, ...where, '--json'];
  const { code, stdout, stderr } = await enclaim('log', 'deletion', at(`${method}.enclaim-receipt`), ...from, ...words);
  return { code, stderr, said: stdout === '' ? undefined : jsonOf('log deletion', stdout) };
}

const GONE = ['--place', `long/${KEY}`, '--place', `short/${KEY}`] as const;

test('a deletion is not final in its epoch, and is with the next boot; what ended is final with it too', async () => {
  await booted(async (machine) => {
    await using channel = await connect(machine.target, { references: machine.references });
    ak = channel.attestation.statement.device.ak ?? assert.fail();
    await called(machine, 'Put', { key: KEY, text: 'words' });
    await called(machine, 'Remove', { key: KEY });
  });
  const before = await shown('Remove', ...GONE);
  assert.equal(before.code, 1, before.stderr);
  assert.equal(before.said.final, null);
  // What is short has ended by then.
  await new Promise((resolve) => setTimeout(resolve, 4000));
  await booted(async () => {});
  const deleted = await shown('Remove', ...GONE);
  assert.equal(deleted.code, 0, deleted.stderr);
  assert.deepEqual([deleted.said.kind, deleted.said.final.epoch, deleted.said.final.quoted], ['deleted', 2, null]);
  const ended = await shown('Put', '--stored', 'short');
  assert.equal(ended.code, 0, ended.stderr);
  assert.deepEqual([ended.said.kind, ended.said.final.epoch], ['past retention', 2]);
  const kept = await shown('Put', '--stored', 'long');
  assert.deepEqual([kept.code, kept.said.final], [1, null]);
});

test('other places, fewer and more, another receipt and a missing record are refused', async () => {
  for (const words of [GONE.slice(0, 2), [...GONE, '--place', 'long/b'], ['--place', 'long/b', '--place', 'short/b']]) {
    const { code, stderr } = await shown('Remove', ...words);
    assert.equal(code, 1);
    assert.match(stderr, /binding/);
  }
  // It stored, and deleted nothing.
  assert.match((await shown('Put', ...GONE)).stderr, /binding/);
  assert.equal((await shown('Remove')).code, 2);
  assert.equal((await shown('Remove', '--place', 'long')).code, 2);
  assert.equal((await shown('Remove', '--stored', 'nowhere')).code, 2);
});

test('the disk has the record of the deletion, and the key nowhere', async () => {
  const disk = (await readFile(at('disk'))).toString('latin1');
  const record = /\{"basis":"enforced"[^\n]{0,600}?"deleted":"sha256:[0-9a-f]{64}"[^\n]{0,600}?Notes\/Remove/.exec(
    disk,
  );
  assert.ok(record, 'the record of the deletion');
  assert.ok(!disk.includes(KEY), 'the key');
});

/** Records of a disk, from the first on. */
async function recordsOf(disk: string): Promise<Uint8Array[]> {
  await using file = await open(disk, 'r');
  const { read, capacity } = await diskOf(disk, file);
  const log = await openLog(read, capacity);
  return await Array.fromAsync(log.entries(0));
}

/** Writes a copy of a log of these records, as a stranger can: nothing in it is signed. */
async function writeCopy(name: string, records: readonly Uint8Array[]): Promise<void> {
  const leaves = records.map((data) => leafHash(data));
  const write = async (path: string, content: Uint8Array | string): Promise<void> => {
    await mkdir(dirname(at(join(name, path))), { recursive: true });
    await writeFile(at(join(name, path)), content);
  };
  for (const tile of tilesOf(records.length)) await write(tilePath(tile), tileBytes(leaves, tile));
  await write(tilePath(entryBundle(0, records.length)), encodeEntries(records));
  const tree = { origin: 'made/up', size: records.length, root: merkleRoot(leaves), extensions: [] };
  const signature = Buffer.alloc(68, 1).toString('base64');
  await write('checkpoint', `${formatCheckpoint(tree)}\n\u2014 made/up ${signature}\n`);
}

/** Boots once more, and keeps the proof of that boot's first record. */
async function finalProof(): Promise<void> {
  await booted(async (machine) => {
    await called(machine, 'Get', { key: KEY });
    const { statement } = machine.runtime;
    const words = ['--references', at('references.json'), '--index', String(statement.log.size), '-o', at('final')];
    const { code, stderr } = await enclaim('log', 'proof', machine.target, ...words);
    assert.equal(code, 0, stderr);
  });
}

test('the proof of the final record is of a log that has the record of the call, or it is refused', async () => {
  await booted(async (machine) => {
    await called(machine, 'Put', { key: KEY, text: 'words' });
    await copyFile(at('disk'), at('cut'));
    await called(machine, 'Remove', { key: KEY });
  });
  const removed = await recordsOf(at('disk'));
  // The host takes the deletion back within its epoch, and goes on.
  await copyFile(at('cut'), at('disk'));
  await truncate(at('disk'), DISK_BYTES);
  await booted(async (machine) => {
    for (const key of ['x', 'y', 'z']) await called(machine, 'Put', { key, text: 'words' });
  });
  // What is short has ended by then.
  await new Promise((resolve) => setTimeout(resolve, 4000));
  await finalProof();
  const records = await recordsOf(at('disk'));
  const cut = removed.findLastIndex((data) => Buffer.from(data).includes('Notes/Remove'));
  assert.notDeepEqual(records[cut], removed[cut]);
  await writeCopy('true', records);
  await writeCopy('forged', records.with(cut, removed[cut] ?? assert.fail()));
  for (const where of [
    ['--disk', at('disk')],
    ['--copy', at('true')],
  ]) {
    const { code, said, stderr } = await shownIn(where, 'Put', '--stored', 'short', '--final', at('final'));
    assert.equal(code, 0, stderr);
    assert.equal(said.final.quoted, true);
  }
  for (const ended of [GONE, ['--stored', 'short']]) {
    const { code, said, stderr } = await shownIn(['--copy', at('forged')], 'Remove', ...ended, '--final', at('final'));
    assert.deepEqual([code, said], [1, undefined]);
    assert.match(stderr, /log: record \d+ is not in the tree under the quote/);
  }
  // Paths of a copy are those of the tree at each size, up to its own.
  const leaves = records.map((data) => leafHash(data));
  for (const size of [cut + 1, records.length]) {
    const path = await copiedInclusion(at('true'), cut, size);
    assert.deepEqual(path.map(toHex), new MerkleTree(leaves.slice(0, size)).path(cut).map(toHex));
  }
  await assert.rejects(copiedInclusion(at('true'), cut, records.length + 1), { code: 'checkpoint' });
  await assert.rejects(copiedInclusion(at('true'), cut, cut), RangeError);
});
