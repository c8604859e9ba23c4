/**
 * A witness that nobody here wrote (transparency-dev/witness, at the version of go-witness/go.mod; Ed25519 and ML-DSA-44): it
 * cosigns the log of a machine through our courier, and is asked what our own witness is asked. `scripts/test-engines`.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { connect } from '@enclaim/client';
import { LogReader } from '@enclaim/client/log';
import { askWitness, type CourierCheckpoint, gatherCosignatures } from '@enclaim/client/witness';
import {
  formatAddCheckpoint,
  formatCheckpoint,
  formatNoteKey,
  type NoteKey,
  parseCheckpoint,
  parseNoteKey,
  parseWitnessLines,
  verifyNote,
} from '../../attestation/src/tlog/index.ts';
import { type AttestedRuntime, bootAttested } from '../support/attested-runtime.ts';
import { needs } from '../support/machine-needs.ts';
import { buildClinic } from '../support/witnessed-clinic.ts';
import { openWitness, TestLog } from '../support/witnessed-log.ts';

const run = promisify(execFile);
const UNWITNESSED = 12;

/** A question to two witnesses that were asked the same before. */
interface Question {
  readonly ask: string;
  readonly body: string;
  /** Of ours: status, and the size of a 409. */
  readonly ours: string;
  /** Of theirs, if it is another, and what C2SP tlog-witness says of it. */
  readonly theirs?: readonly [answer: string, source: string];
}

const log = new TestLog();
const fork = { old: 5, proof: log.proof(5, 8, 'fork'), note: log.note(8, 'fork') };
const emptyRoot = formatCheckpoint({ origin: log.origin, size: 0, root: new Uint8Array(32), extensions: [] });
const extended = `${log.note(5).split('\n\n')[0]}\nmore\n`;
const withHashes = (count: number, length: number): string =>
  formatAddCheckpoint({
    old: 5,
    proof: Array.from({ length: count }, () => new Uint8Array(length)),
    note: log.note(8),
  });
const otherKey = new TestLog();
const otherLog = new TestLog('example.com/other');

const UNSEEN =
  'old size "MUST" be the last cosigned one, or zero if there is none, else 409; theirs takes any first checkpoint';
const UNPROVED = 'the proof "MUST be empty if the old size is zero", else 422; theirs does not look at the first one';
const UNSIGNED = 'no signature of a trusted key: 403; theirs has an error for it that nothing throws';
const NO_NOTE = 'the checkpoint is no note: theirs fails as for any unknown error';
const FORM =
  'the old size is a decimal "with no leading zeroes", and the line ends after it; theirs scans for a number';
const HASHES = 'at most 63 lines, each of one hash: ours judges the form before the proof, theirs the proof alone';

/** Asked first of a witness that knows nothing. */
const FIRST: readonly Question[] = [
  { ask: 'another origin', body: otherLog.request(0, 5), ours: '404' },
  { ask: 'another key', body: otherKey.request(0, 5), ours: '403', theirs: ['500', UNSIGNED] },
  { ask: 'no note', body: `old 0\n\n${log.origin}\nnone`, ours: '400', theirs: ['500', NO_NOTE] },
  { ask: 'an empty tree with another root', body: `old 0\n\n${log.signed(emptyRoot)}`, ours: '422' },
  { ask: 'an old size of what it never saw', body: log.request(3, 5), ours: '409 0', theirs: ['200', UNSEEN] },
  { ask: 'an old size above the size', body: `old 9\n\n${log.note(8)}`, ours: '400', theirs: ['200', UNSEEN] },
  {
    ask: 'a proof from nothing',
    body: formatAddCheckpoint({ ...fork, old: 0 }),
    ours: '422',
    theirs: ['200', UNPROVED],
  },
];

/** Asked one after another. */
const DIALOGUE: readonly Question[] = [
  { ask: 'the first checkpoint', body: log.request(0, 5), ours: '200' },
  { ask: 'the same, from 0', body: log.request(0, 5), ours: '409 5' },
  { ask: 'the same again', body: log.request(5, 5), ours: '200' },
  { ask: 'the same with an extension line', body: `old 5\n\n${log.signed(extended)}`, ours: '200' },
  { ask: 'another root of that size', body: log.request(5, 5, 'fork'), ours: '422' },
  { ask: 'a smaller old size', body: log.request(3, 8), ours: '409 5' },
  { ask: 'a larger old size', body: log.request(7, 8), ours: '409 5' },
  { ask: 'a smaller tree', body: log.request(3, 3), ours: '409 5' },
  { ask: 'an old size above the size', body: `old 9\n\n${log.note(8)}`, ours: '400' },
  { ask: 'a negative old size', body: `old -5\n\n${log.note(5)}`, ours: '400' },
  { ask: 'a zero before it', body: `old 05\n\n${log.note(5)}`, ours: '400', theirs: ['200', FORM] },
  { ask: 'two of them', body: `old 5 6\n\n${log.note(5)}`, ours: '400', theirs: ['200', FORM] },
  { ask: 'a fork with its own proof', body: formatAddCheckpoint(fork), ours: '422' },
  { ask: 'no proof', body: `old 5\n\n${log.note(8)}`, ours: '422' },
  { ask: 'the same size with a proof', body: formatAddCheckpoint({ ...fork, note: log.note(5) }), ours: '422' },
  { ask: '64 hashes', body: withHashes(64, 32), ours: '400', theirs: ['422', HASHES] },
  { ask: '63 hashes', body: withHashes(63, 32), ours: '422' },
  { ask: 'a short hash', body: withHashes(1, 31), ours: '400', theirs: ['422', HASHES] },
  { ask: 'the next checkpoint', body: log.request(5, 8), ours: '200' },
  { ask: 'and the next', body: log.request(8, 300), ours: '200' },
];

/** One peer in its process. */
interface GoWitness extends AsyncDisposable {
  readonly address: string;
}

describe("a witness of transparency-dev, and this project's", needs('go'), () => {
  const parts = new AsyncDisposableStack();
  let folder: string;
  let program: string;
  let keys: { readonly signing: string[]; readonly verifying: string[] };
  let machine: AttestedRuntime;

  const open = async (origin: string, vkey: string): Promise<GoWitness> => {
    const child = spawn(program, ['serve', origin, vkey, ...keys.signing], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [port] = await once(createInterface(child.stdout), 'line');
    return { address: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => ended(child) };
  };
  const asked = (address: string): { url: string; keys: NoteKey[] } => ({
    url: address,
    keys: keys.verifying.map(parseNoteKey),
  });
  const lines = (address = ''): string[] => [
    ...keys.verifying.map((vkey, at) => `witness key${at} ${vkey} ${address}`.trimEnd()),
    'group both all key0 key1',
    'quorum both',
  ];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-go-witness-'));
    parts.defer(() => rm(folder, { recursive: true }));
    program = join(folder, 'go-witness');
    const cwd = join(import.meta.dirname, 'go-witness');
    execFileSync('go', ['build', '-mod=readonly', '-o', program, '.'], { cwd, stdio: 'inherit' });
    keys = JSON.parse((await run(program, ['keys', 'example.com/go'])).stdout);
    const bundle = await buildClinic(folder, { witnesses: lines(), unwitnessed: UNWITNESSED });
    machine = parts.adopt(await bootAttested(bundle), (booted) => booted.stop());
  });
  after(() => parts.disposeAsync());

  test('the log of a machine goes on under its cosignatures; sizes remembered wrongly are corrected; verifyNote has three signatures', async () => {
    await using channel = await connect(machine.target, { references: machine.references });
    const reader = new LogReader(channel);
    const first = await reader.checkpoint();
    await using peer = await open(first.origin, first.key);
    const policy = parseWitnessLines(lines(peer.address));
    const proofs: number[] = [];
    const carry = async (remembered: number): Promise<number> => {
      const { size, note, key } = await reader.checkpoint();
      const consistency = (old: number): Promise<readonly Uint8Array[]> => {
        proofs.push(old);
        return reader.consistency(old);
      };
      const sizes = new Map([[peer.address, remembered]]);
      const given = await gatherCosignatures(policy, { note, consistency }, { sizes });
      assert.deepEqual([given.failures, given.reached], [[], true]);
      const all = [parseNoteKey(key), ...keys.verifying.map(parseNoteKey)];
      const { text, verified } = await verifyNote(given.note, all);
      assert.deepEqual([verified.length, parseCheckpoint(text).size], [3, size]);
      assert.equal((await reader.addCosignatures(given.note)).cosigned, size);
      return size;
    };
    const before = await carry(0);
    const after = await carry(before);
    assert.ok(after > before, 'the record of the quorum is in the next checkpoint');
    assert.equal(await carry(0), after, 'again, from a size that was forgotten');
    assert.equal(await carry(before), after, 'again, from one that is too small');
    assert.deepEqual(proofs, [before, after, before, after]);
  });

  test('our courier tells a fork from a log that went back and from one that it does not witness; what went on is cosigned', async () => {
    await using peer = await open(log.origin, formatNoteKey(log.key));
    const witness = asked(peer.address);
    const carried = (of: TestLog, size: number, branch = ''): CourierCheckpoint => ({
      note: of.note(size, branch),
      consistency: async (old) => of.proof(old, size, branch),
    });
    assert.equal((await askWitness(witness, carried(log, 8))).signatures.length, 2);
    // More than it has: its answer leads down.
    assert.equal((await askWitness(witness, carried(log, 20), { remembered: 12 })).signatures.length, 2);
    await assert.rejects(askWitness(witness, carried(log, 20, 'fork')), { name: 'WitnessError', code: 'fork' });
    await assert.rejects(askWitness(witness, carried(log, 30, 'fork')), { name: 'WitnessError', code: 'fork' });
    await assert.rejects(askWitness(witness, carried(log, 8)), { name: 'WitnessError', code: 'ahead' });
    // Its 500, where 403 is specified.
    await assert.rejects(askWitness(witness, carried(otherKey, 20)), { name: 'WitnessError', code: 'protocol' });
    await assert.rejects(askWitness(witness, carried(otherLog, 20)), { name: 'WitnessError', code: 'unknown' });
    assert.equal((await askWitness(witness, carried(log, 30))).signatures.length, 2);
  });

  const compare = async (name: string, questions: readonly Question[]): Promise<void> => {
    await using peer = await open(log.origin, formatNoteKey(log.key));
    await using own = await openWitness([log]);
    for (const { ask, body, ours, theirs: [theirs] = [ours] } of questions) {
      assert.equal(await answerOf(own.address, body), ours, `${name}: ours, ${ask}`);
      assert.equal(await answerOf(peer.address, body), theirs, `${name}: theirs, ${ask}`);
    }
  };
  for (const question of FIRST) test(`asked first: ${question.ask}`, () => compare('first', [question]));
  test('both answer a whole dialogue alike', () => compare('dialogue', DIALOGUE));
});

async function answerOf(address: string, body: string): Promise<string> {
  const response = await fetch(`${address}/add-checkpoint`, { method: 'POST', body });
  const text = await response.text();
  if (response.status !== 409) return String(response.status);
  assert.equal(response.headers.get('content-type'), 'text/x.tlog.size');
  return `409 ${text.trimEnd()}`;
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.stdin?.end();
  await exit;
}
