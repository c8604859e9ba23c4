/** The release log as a folder: what it publishes, and that it neither forks, goes back nor loses anything. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { toHex } from '@enclaim/attestation/bytes';
import { digestText, sha384 } from '@enclaim/attestation/digest';
import { leafHash, merkleRoot } from '@enclaim/attestation/merkle';
import { parseRelease, type Release } from '@enclaim/attestation/release';
import { noteKey, TileTree, tilePath, verifyLogProof } from '@enclaim/attestation/tlog';
import { ImageError, type ImageErrorCode } from '../src/errors.ts';
import {
  appendReleases,
  createReleaseLog,
  type LogSigner,
  proveContinues,
  proveRelease,
  type ReleaseDocument,
  readReleaseLog,
} from '../src/release/release-folder.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-release-'));
after(() => rm(scratch, { recursive: true, force: true }));

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const raw = Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
const KEY = noteKey('example.com/releases', 'ed25519', raw);

let logs = 0;
interface Log {
  readonly folder: string;
  readonly signer: LogSigner;
}

/** A log of `size` policies. */
async function logOf(size: number): Promise<Log> {
  const folder = join(scratch, `log${logs++}`);
  const signer = { key: KEY, sign: (text: Uint8Array) => sign(null, text, privateKey), signedFile: `${folder}.signed` };
  await createReleaseLog(folder, signer);
  if (size > 0) await appendReleases(folder, policies(0, size), signer);
  return { folder, signer };
}

/** Policies `from` to `to`, exclusive. */
function policies(from: number, to: number): ReleaseDocument[] {
  return Array.from({ length: to - from }, (_, i) => ({
    release: policy(from + i),
    document: documentOf(from + i),
  }));
}

function policy(number: number): Release {
  return { enclaim: 'release/1', kind: 'policy', policy: digestText('sha384', sha384(documentOf(number))) };
}

function documentOf(number: number): Uint8Array {
  return Buffer.from(`policy ${number}`);
}

const failed = (code: ImageErrorCode, said: RegExp) => (error: unknown) =>
  error instanceof ImageError && error.code === code && said.test(error.message);

const filesOf = async (folder: string): Promise<string[]> =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort();

test('a log is published as tiles, entries, documents and a signed checkpoint, and nothing else', async () => {
  const { folder } = await logOf(3);
  const documents = [0, 1, 2].map((i) => `document/${(policy(i) as { policy: string }).policy.replace(':', '-')}`);
  assert.deepEqual(
    await filesOf(folder),
    ['checkpoint', ...documents, 'tile/0/000.p/3', 'tile/entries/000.p/3'].sort(),
  );
  assert.match(await readFile(join(folder, 'checkpoint'), 'utf8'), /^example\.com\/releases\n3\n/);
});

test('across the border of a tile: every entry proves itself, from the tiles alone', async () => {
  const { folder, signer } = await logOf(255);
  for (const size of [256, 257, 260]) {
    const log = await appendReleases(folder, policies(0, size), signer);
    assert.equal(log.checkpoint.size, size, 'what is there is not added again');
    const tree = new TileTree(size, (tile) => readFile(join(folder, tilePath(tile))));
    assert.equal(toHex(await tree.root()), toHex(log.checkpoint.root));
    for (const index of [0, 254, size - 1]) {
      const entry = log.entries[index] as Uint8Array;
      const { checkpoint } = await verifyLogProof(proveRelease(log, policy(index)), entry, [KEY]);
      assert.equal(checkpoint.size, size);
    }
    for (const old of [0, 1, 255, size]) {
      const root = merkleRoot(log.entries.slice(0, old).map(leafHash));
      await proveContinues(log, { size: old, root: `sha256:${toHex(root)}` });
    }
  }
});

test('nothing new: nothing is signed', async () => {
  const { folder, signer } = await logOf(2);
  const mute = { ...signer, sign: () => assert.fail('signed') };
  assert.equal((await appendReleases(folder, policies(0, 2), mute)).checkpoint.size, 2);
});

test('what is not in the log has no proof; another log and another key are refused', async () => {
  const { folder } = await logOf(2);
  const log = await readReleaseLog(folder, [KEY]);
  assert.throws(() => proveRelease(log, policy(7)), failed('log-invalid', /not in the log/));
  await assert.rejects(
    readReleaseLog(folder, [noteKey('example.com/other', 'ed25519', raw)]),
    /none of the 1 given keys/,
  );
  const seen = { size: 2, root: `sha256:${'ee'.repeat(32)}` } as const;
  await assert.rejects(proveContinues(log, seen), /another view of the log/);
  await assert.rejects(proveContinues(log, { ...seen, size: 3 }), /went back from 3 to 2/);
});

const DOCUMENT_1 = `document/sha384-${toHex(sha384(documentOf(1)))}`;
/** Changes to a log of three that its reader must notice. */
const DAMAGE: readonly [string, (folder: string) => Promise<void>, RegExp][] = [
  ['an entry', (folder) => flip(join(folder, 'tile/entries/000.p/3'), 40), /entries are not those of the signed tree/],
  ['a tile', (folder) => flip(join(folder, 'tile/0/000.p/3'), 40), /tile\/0\/000\.p\/3 is not of the signed tree/],
  ['a cut bundle', (folder) => writeFile(join(folder, 'tile/entries/000.p/3'), ''), /has 0 entries, expected 3/],
  ['the size', (folder) => replace(join(folder, 'checkpoint'), '\n3\n', '\n2\n'), /does not verify/],
  ['a signature', (folder) => replace(join(folder, 'checkpoint'), /— .*\n/, ''), /signature/],
  ['a document', (folder) => flip(join(folder, DOCUMENT_1), 3), /document of policy sha384:\w+ is another/],
  ['a document that is gone', (folder) => rm(join(folder, 'document'), { recursive: true }), /document of policy/],
  ['a checkpoint that is gone', (folder) => rm(join(folder, 'checkpoint')), /cannot read checkpoint/],
];

for (const [name, damage, said] of DAMAGE) {
  test(`a damaged log is refused: ${name}`, async () => {
    const { folder } = await logOf(3);
    await damage(folder);
    await assert.rejects(readReleaseLog(folder, [KEY]), said);
  });
}

async function flip(file: string, at: number): Promise<void> {
  const bytes = await readFile(file);
  await writeFile(file, bytes.with(at, (bytes[at] ?? 0) ^ 1));
}

async function replace(file: string, what: string | RegExp, by: string): Promise<void> {
  await writeFile(file, (await readFile(file, 'utf8')).replace(what, by));
}

test('a folder that was put back to an older state is refused before anything is signed: no split view', async () => {
  const { folder, signer } = await logOf(2);
  const old = join(scratch, 'old');
  await cp(folder, old, { recursive: true });
  await appendReleases(folder, policies(2, 3), signer);
  let signed = 0;
  const counting = {
    ...signer,
    sign: (text: Uint8Array) => {
      signed++;
      return signer.sign(text);
    },
  };
  await assert.rejects(
    appendReleases(old, policies(3, 4), counting),
    failed('log-invalid', /not the one that its key signed last/),
  );
  assert.equal(signed, 0);
  // The same without what the key remembers is the attack: two trees of three entries, both signed.
  await writeFile(`${old}.signed`, await readFile(join(old, 'checkpoint')));
  const forked = await appendReleases(old, policies(3, 4), { ...counting, signedFile: `${old}.signed` });
  const honest = await readReleaseLog(folder, [KEY]);
  assert.equal(forked.checkpoint.size, honest.checkpoint.size);
  await assert.rejects(
    proveContinues(forked, { size: 3, root: `sha256:${toHex(honest.checkpoint.root)}` }),
    /another view of the log/,
  );
});

test('a key that signed before begins no second log, and none signs without what it remembers', async () => {
  const { folder, signer } = await logOf(1);
  await assert.rejects(createReleaseLog(folder, signer), failed('log-invalid', /begun before/));
  await assert.rejects(createReleaseLog(join(scratch, 'second'), signer), failed('log-invalid', /begun before/));
  await rm(signer.signedFile);
  await assert.rejects(appendReleases(folder, policies(1, 2), signer), failed('log-invalid', /is missing/));
});

test('two writers: one is told that the other writes', async () => {
  const { folder, signer } = await logOf(0);
  const results = await Promise.allSettled([
    appendReleases(folder, policies(0, 1), signer),
    appendReleases(folder, policies(1, 2), signer),
  ]);
  assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const { reason } = results.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
  assert.ok(failed('log-busy', /remove/)(reason), String(reason));
  assert.equal((await readReleaseLog(folder, [KEY])).checkpoint.size, 1);
});

test('a crash between any two files leaves a log that verifies and goes on', async () => {
  const whole = await logOf(255);
  const before = new Set(await filesOf(whole.folder));
  const untouched = join(scratch, 'untouched');
  await cp(whole.folder, untouched, { recursive: true });
  const remembered = await readFile(whole.signer.signedFile);
  await appendReleases(whole.folder, policies(255, 258), whole.signer);
  const after = await readFile(whole.signer.signedFile);
  // In the order of writing: documents, bundles and tiles, what the key remembers, the checkpoint.
  const added = (await filesOf(whole.folder)).filter((file) => !before.has(file));
  assert.ok(added.length > 6);
  for (const [step, crashed] of [...added.keys(), added.length].entries()) {
    const folder = join(scratch, `crash${step}`);
    const signer = { ...whole.signer, signedFile: `${folder}.signed` };
    await cp(untouched, folder, { recursive: true });
    for (const file of added.slice(0, crashed)) await cp(join(whole.folder, file), join(folder, file));
    const all = crashed === added.length;
    await writeFile(signer.signedFile, all ? after : remembered);
    assert.equal((await readReleaseLog(folder, [KEY])).checkpoint.size, 255, 'readers see the log as it was');
    const next = await appendReleases(folder, policies(300, 301), signer);
    assert.equal(next.checkpoint.size, all ? 259 : 256, 'what was signed is kept; what was not never was');
    const last = next.entries.at(-1);
    assert.ok(last !== undefined && JSON.stringify(parseRelease(last)) === JSON.stringify(policy(300)));
  }
});

test('a folder that cannot be written: a typed error, and the log as it was', async (t) => {
  const { folder, signer } = await logOf(1);
  await mkdir(join(folder, 'tile/0/000.p/2/in-the-way'), { recursive: true });
  t.after(() => rm(join(folder, 'tile/0/000.p/2'), { recursive: true }));
  await assert.rejects(appendReleases(folder, policies(1, 2), signer), (error) => error instanceof ImageError);
  assert.equal((await readReleaseLog(folder, [KEY])).checkpoint.size, 1);
});
