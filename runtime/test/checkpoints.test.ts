/** No record waits longer for a quote than is promised, and nothing undurable is ever signed. */

import assert from 'node:assert/strict';
import { beforeEach, describe, mock, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { batchRoot, decodeCheckpointLeaf } from '@enclaim/attestation/batch';
import { fromBase64Url, utf8 } from '@enclaim/attestation/bytes';
import { leafHash, rootFromPath } from '@enclaim/attestation/merkle';
import { EvidenceSchema } from '@enclaim/attestation/messages';
import { noteKey, parseCheckpoint, verifyNote } from '@enclaim/attestation/tlog';
import { MemoryLog } from '../../test/support/memory-log.ts';
import { makeBootKeys } from '../src/boot/keys.ts';
import { RefusalError } from '../src/errors.ts';
import { Checkpoints, overdueAfter } from '../src/hardware/checkpoints.ts';
import type { HardwareEvidence } from '../src/hardware/platform.ts';
import { QuoteBatcher } from '../src/hardware/quote-batch.ts';

const ORIGIN = 'clinic/00';
const keys = makeBootKeys();
const trusted = noteKey(ORIGIN, 'ed25519', fromBase64Url(keys.log.slice('ed25519:'.length)));

/** Records that differ. */
class Records extends MemoryLog {
  constructor(began: number) {
    super(Array.from({ length: began }, (_, i) => leafHash(utf8(`record ${i}`))));
  }

  override place(): number {
    return super.place(leafHash(utf8(`record ${this.hashes.length}`)));
  }
}

/** A platform whose quotes are made when they are told. */
class Platform {
  readonly asked: PromiseWithResolvers<HardwareEvidence>[] = [];

  sign = (): Promise<HardwareEvidence> => {
    const one = Promise.withResolvers<HardwareEvidence>();
    this.asked.push(one);
    return one.promise;
  };

  /** Answers the quote that was asked for last. */
  answer(): void {
    this.asked.at(-1)?.resolve({ case: 'tpm', value: {} });
  }
}

function started({ within = 1000, began = 0 }: { within?: number; began?: number } = {}) {
  const log = new Records(began);
  const platform = new Platform();
  const told: boolean[] = [];
  const checkpoints = new Checkpoints({
    log,
    origin: ORIGIN,
    keys,
    quotes: new QuoteBatcher(platform.sign),
    within,
    evidenceOf: ({ leaf }) => create(EvidenceSchema, { leaf: { ...leaf, path: [...leaf.path] } }),
    onOverdue: (isOverdue) => told.push(isOverdue),
  });
  return { log, platform, told, checkpoints };
}

/** Lets everything that is ready run: batches begin at the next turn of the loop. */
const turn = async (): Promise<void> => {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
};

const ofLog = (error: unknown): boolean => error instanceof RefusalError && error.code === 'log';

describe('checkpoints', () => {
  beforeEach(() => {
    mock.timers.reset();
    mock.timers.enable({ apis: ['setTimeout'] });
  });

  test('a log that does not grow is not quoted, however long it was', async () => {
    const { platform } = started({ began: 5 });
    mock.timers.tick(1_000_000);
    await turn();
    assert.equal(platform.asked.length, 0);
  });

  test('a durable record is quoted in half of the promised time; records that come meanwhile, with it', async () => {
    const { log, platform, checkpoints } = started();
    log.place();
    mock.timers.tick(10_000);
    await turn();
    assert.equal(platform.asked.length, 0, 'not durable yet');
    log.flush();
    mock.timers.tick(499);
    await turn();
    assert.equal(platform.asked.length, 0);
    log.place();
    log.flush();
    mock.timers.tick(1);
    await turn();
    assert.equal(platform.asked.length, 1);
    platform.answer();
    await turn();
    assert.equal(checkpoints.quoted?.size, 2);
    mock.timers.tick(100_000);
    await turn();
    assert.equal(platform.asked.length, 1, 'and then no more');
  });

  test('what is signed is durable when the signature is made, and all of it', async () => {
    const { log, platform, checkpoints } = started();
    const first = log.place();
    log.flush();
    log.place();
    assert.equal(checkpoints.newest.size, 1, 'the second has a place only');
    const proof = checkpoints.proofOf(first);
    log.flush(); // before the batch begins
    log.place();
    await turn();
    platform.answer();
    const { checkpoint, evidence } = await proof;
    const { text } = await verifyNote(checkpoint, [trusted]);
    assert.equal(parseCheckpoint(text).size, 2);
    assert.equal(decodeCheckpointLeaf(evidence?.leaf?.data ?? assert.fail()), text);
  });

  test('a proof leads from the record to the root that the quote covers', async () => {
    const { log, platform, checkpoints } = started({ began: 3 });
    for (let i = 0; i < 6; i++) log.place();
    log.flush();
    const proof = checkpoints.proofOf(7);
    await turn();
    platform.answer();
    const { index, path, checkpoint, evidence } = await proof;
    const { size, root } = parseCheckpoint((await verifyNote(checkpoint, [trusted])).text);
    assert.deepEqual([index, size], [7n, 9]);
    assert.deepEqual(rootFromPath(log.hashes[7] ?? assert.fail(), 7, size, path), root);
    assert.equal(batchRoot(evidence?.leaf ?? assert.fail()).length, 32);
  });

  test('no proof is made of a record of an earlier boot, nor of one that is not durable', async () => {
    const { log, checkpoints } = started({ began: 3 });
    log.place();
    for (const index of [2, 3, 4, -1, 0.5, Number.NaN]) await assert.rejects(checkpoints.proofOf(index), RangeError);
  });

  test('who waits for a proof has a quote at once, and all who wait share one', async () => {
    const { log, platform, checkpoints } = started({ within: 0 });
    for (let i = 0; i < 100; i++) log.place();
    log.flush();
    mock.timers.tick(1_000_000);
    await turn();
    assert.equal(platform.asked.length, 0, 'on demand: none without a caller');
    const proofs = Array.from({ length: 100 }, (_, i) => checkpoints.proofOf(i));
    await turn();
    platform.answer();
    await Promise.all(proofs);
    assert.equal(platform.asked.length, 1);
    await checkpoints.proofOf(50);
    assert.equal(platform.asked.length, 1, 'and the one that is there serves later ones');
  });

  test('a record that becomes durable while a quote runs is under the next', async () => {
    const { log, platform, checkpoints } = started();
    log.place();
    log.flush();
    const first = checkpoints.proofOf(0);
    await turn();
    log.place();
    log.flush();
    const second = checkpoints.proofOf(1);
    platform.answer();
    assert.equal(parseCheckpoint((await verifyNote((await first).checkpoint, [trusted])).text).size, 1);
    await turn();
    assert.equal(platform.asked.length, 2);
    platform.answer();
    assert.equal(parseCheckpoint((await verifyNote((await second).checkpoint, [trusted])).text).size, 2);
  });

  test('a proof asked for while the quote of its record runs, is of that quote', async () => {
    const { log, platform, checkpoints } = started();
    log.place();
    log.flush();
    mock.timers.tick(500);
    await turn();
    const [asked] = platform.asked;
    const proof = checkpoints.proofOf(0);
    await turn();
    assert.equal(platform.asked.length, 1);
    asked?.resolve({ case: 'tpm', value: {} });
    assert.equal((await proof).index, 0n);
    await turn();
    assert.equal(platform.asked.length, 1, 'no other quote was needed');
  });

  test('the hardware has the next quote to make before proofs under the last one are made', async () => {
    const { log, platform, checkpoints } = started();
    log.place();
    log.flush();
    const first = checkpoints.proofOf(0).then(() => platform.asked.length);
    await turn();
    log.place();
    log.flush();
    const second = checkpoints.proofOf(1);
    platform.answer();
    assert.equal(await first, 2);
    platform.answer();
    await second;
  });

  test('a failing platform: who waits is refused, another quote is tried, and after the limit calls end', async () => {
    const { log, platform, checkpoints, told } = started();
    log.place();
    log.flush();
    const waiting = assert.rejects(checkpoints.proofOf(0), ofLog);
    await turn();
    platform.asked[0]?.reject(new Error('no TPM'));
    await waiting;
    await turn();
    mock.timers.tick(500);
    await turn();
    assert.equal(platform.asked.length, 2, 'tried again');
    mock.timers.tick(overdueAfter(1000) - 501);
    assert.deepEqual(told, []);
    mock.timers.tick(1);
    assert.deepEqual(told, [true]);
    platform.answer();
    await turn();
    assert.deepEqual(told, [true, false], 'and are answered again after a quote');
    mock.timers.tick(1_000_000);
    assert.deepEqual(told, [true, false]);
  });

  test('only so many may wait', async () => {
    const { log, platform, checkpoints } = started();
    log.place();
    log.flush();
    const waiting = Array.from({ length: 8192 }, () => checkpoints.proofOf(0));
    await assert.rejects(checkpoints.proofOf(0), (error) => error instanceof RefusalError && error.code === 'budget');
    await turn();
    platform.answer();
    await Promise.all(waiting);
  });

  test('the last record of a boot is quoted, unless the platform takes too long; then nobody waits on', async () => {
    const { log, platform, checkpoints } = started();
    log.place();
    log.flush();
    const closed = checkpoints.close();
    await turn();
    platform.answer();
    await closed;
    assert.equal(checkpoints.quoted?.size, 1);

    const slow = started();
    slow.log.place();
    slow.log.flush();
    const waiting = assert.rejects(slow.checkpoints.proofOf(0), ofLog);
    const ended = slow.checkpoints.close();
    await turn();
    mock.timers.tick(2_500);
    await ended;
    await waiting;
    await assert.rejects(slow.checkpoints.proofOf(0), ofLog);
  });
});
