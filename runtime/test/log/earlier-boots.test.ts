/**
 * A record of an earlier boot is proved under that boot's own quote, also after a crash, and what
 * the host puts in the place of a quote neither stops a boot nor proves anything.
 */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  endOf,
  type JournalEnd,
  LogDisk,
  MIN_LOG_BYTES,
  maxQuoteBytes,
  openLog,
  type QuotedBoot,
  SECTOR_BYTES,
} from '@enclaim/attestation/log-disk';
import type { LogProof } from '@enclaim/attestation/log-service';
import { encodeRecordProof, verifyRecordProof } from '@enclaim/attestation/record-proof';
import { bootOn, namedOn } from '../../../test/support/boots-on-disk.ts';
import { machine } from '../../../test/support/proven-boot.ts';
import { type EarlierBoots, fitsLog, type Looked } from '../../src/log/earlier-boots.ts';
import { findQuote } from '../../src/log/kept-quotes.ts';
import type { RecordLog } from '../../src/log/record-log.ts';
import { entry, FakeDisk, seededDraw } from './support.ts';

const check = async (proof: LogProof, log: RecordLog, index: number) =>
  verifyRecordProof(encodeRecordProof(proof), await namedOn(log, index), machine.references.anchors, {
    now: Date.now(),
  });

/** Looks until there is an answer. */
async function looked(look: () => Promise<Looked>): Promise<LogProof | undefined> {
  for (;;) {
    const found = await look();
    if (found !== 'more') return found;
  }
}

const proofOf = ({ earlier }: { earlier: EarlierBoots }, index: number) => looked(() => earlier.proofOf(index));

/** Bytes of the quotes' places. */
function places(disk: FakeDisk): Buffer {
  const { base, length } = disk.layout.quotes;
  return disk.bytes.subarray(base, base + 2 * length);
}

describe('a boot', () => {
  test('proves records of every earlier boot under the quotes of those', async () => {
    const disk = new FakeDisk();
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) {
      const boot = await bootOn(disk);
      ids.push(boot.statement.bootId);
      await boot.write(3);
      await boot.write(2);
    }
    const { log } = await bootOn(disk);
    assert.equal(log.began.size, 24);
    assert.deepEqual(log.quoted, { size: 24, unfit: 0 });
    // Also from the oldest, so that the chain is followed at once.
    for (const index of [0, 23, 5, 6, 11, 12, 17, 18]) {
      const proof = (await proofOf(log, index)) ?? assert.fail(`record ${index}`);
      const { authenticated, checkpoint } = await check(proof, log, index);
      assert.equal(authenticated.statement.bootId, ids[Math.floor(index / 6)]);
      assert.equal(checkpoint.size, 6 * Math.floor(index / 6) + 6);
    }
    for (const [size, covered] of [
      [24, 24],
      [23, 18],
      [18, 18],
      [17, 12],
      [6, 6],
    ] as const) {
      const quote = await looked(() => log.earlier.quoteWithin(size));
      assert.match(quote?.checkpoint ?? '', new RegExp(`^[^\n]+\n${covered}\n`));
    }
    assert.equal(await looked(() => log.earlier.quoteWithin(5)), undefined);
  });

  test('proves what was under a quote before a crash, and nothing behind that', async () => {
    const disk = new FakeDisk();
    const first = await bootOn(disk);
    await first.write(4);
    await first.writeUnquoted(3);
    const { log } = await bootOn(disk);
    assert.deepEqual(log.quoted, { size: 5, unfit: 0 });
    await check((await proofOf(log, 4)) ?? assert.fail(), log, 4);
    for (const index of [5, 7]) assert.equal(await proofOf(log, index), undefined);
  });

  test('that never had a quote leaves those of the boots before it where they are', async () => {
    const disk = new FakeDisk();
    await (await bootOn(disk)).write(4);
    for (let i = 0; i < 5; i++) await bootOn(disk);
    const { log } = await bootOn(disk);
    assert.equal(log.began.size, 10);
    await check((await proofOf(log, 2)) ?? assert.fail(), log, 2);
    assert.equal(await proofOf(log, 7), undefined);
    assert.ok((await carriedIn(disk)) < 4, 'it is not carried into the journal by each of six boots');
  });

  test('with one place damaged goes by the other', async () => {
    const disk = new FakeDisk();
    const first = await bootOn(disk);
    await first.write(4);
    await first.write(2);
    const { length } = disk.layout.quotes;
    for (const place of [0, 1]) {
      const copy = disk.copy();
      places(copy).fill(0xff, place * length, place * length + SECTOR_BYTES);
      const { log } = await bootOn(copy);
      assert.equal(log.quoted.size, place === 0 ? 7 : 5);
      await check((await proofOf(log, 2)) ?? assert.fail(), log, 2);
    }
  });

  test('keeps no quote that is too large, and says so', async () => {
    const { log } = await bootOn(new FakeDisk());
    assert.equal(await log.keepQuote(new Uint8Array(log.quoteRoom + 1)), false);
    assert.equal(await log.keepQuote(new Uint8Array(log.quoteRoom)), true);
  });

  test('carries no quote where the room is for the records of boots', async () => {
    const disk = new FakeDisk(256 * 1024);
    const first = await bootOn(disk);
    await first.write(1);
    while (first.log.room !== 'none') await first.log.append(entry('x'.repeat(2000)));
    const second = await bootOn(disk);
    assert.ok((await proofOf(second.log, 0)) !== undefined, 'from its place');
    assert.equal(await carriedIn(disk), 0);
  });
});

/** Sections in the journal. */
async function carriedIn(disk: FakeDisk): Promise<number> {
  const journal = disk.reader.journal(4096);
  let count = 0;
  for (let end: JournalEnd = { position: 0, prior: new Uint8Array(32), size: 0 }; ; ) {
    const block = await journal.next(end).catch(() => undefined);
    if (block === undefined) return count;
    count += block.sections.length;
    end = endOf(block);
  }
}

describe('what a host puts in the place of a quote', () => {
  /** A disk with one boot, and the boot that left it. */
  async function left(count: number): Promise<FakeDisk> {
    const disk = new FakeDisk(MIN_LOG_BYTES);
    const boot = await bootOn(disk);
    await boot.write(count);
    await boot.write(1);
    return disk;
  }

  test('is of another disk: it is not taken, and named', async () => {
    const [disk, other] = [await left(4), await left(4)];
    places(disk).set(places(other));
    const { log } = await bootOn(disk);
    assert.deepEqual(log.quoted, { size: 0, unfit: 2 });
    assert.equal(await proofOf(log, 2), undefined);
  });

  test('is of more records than the log has: it is not taken, and named', async () => {
    const disk = await left(4);
    const yesterday = disk.copy();
    await (await bootOn(disk)).write(4);
    places(yesterday).set(places(disk));
    const { log } = await bootOn(yesterday);
    // One place still has the first boot's quote.
    assert.deepEqual(log.quoted, { size: 6, unfit: 1 });
    await check((await proofOf(log, 2)) ?? assert.fail(), log, 2);
  });

  test('is an old one: the chain goes on from it, and what it does not cover is not proved', async () => {
    const disk = await left(4);
    const old = Buffer.from(places(disk));
    await (await bootOn(disk)).write(4);
    places(disk).set(old);
    const { log } = await bootOn(disk);
    assert.equal(log.quoted.size, 6);
    await check((await proofOf(log, 2)) ?? assert.fail(), log, 2);
    assert.equal(await proofOf(log, 8), undefined);
  });

  test('with any bit flipped neither stops the boot nor proves anything', async () => {
    const disk = await left(3);
    const draw = seededDraw('quotes');
    const { base, length } = disk.layout.quotes;
    const used = [0, 1].map((place) => disk.bytes.readUInt32BE(base + place * length + 8) + 24 + 32);
    const log = await disk.open();
    const fits = (boot: QuotedBoot) => fitsLog(boot, log, log.began.size);
    for (let i = 0; i < 1000; i++) {
      const copy = disk.copy();
      // Both places, so that no other quote stands in.
      for (const place of [0, 1]) {
        const at = base + place * length + draw(used[place] ?? 1);
        copy.bytes[at] = (copy.bytes[at] ?? 0) ^ (1 << draw(8));
      }
      assert.deepEqual((await findQuote(copy.reader, fits)).found, undefined);
      if (i < 10) assert.equal(await proofOf(await copy.open(), 1), undefined);
    }
  });

  test('is cut, or anything else: the boot goes on', async () => {
    const disk = await left(3);
    const draw = seededDraw('places');
    for (let i = 0; i < 30; i++) {
      const copy = disk.copy();
      const bytes = places(copy);
      const from = draw(bytes.length);
      if (i % 2 === 0) bytes.fill(0, from);
      else for (let at = from; at < bytes.length; at++) bytes[at] = draw(256);
      const log = await copy.open();
      const proof = await proofOf(log, 1);
      if (proof !== undefined) await check(proof, log, 1);
    }
  });
});

test('an auditor reads the quotes of a disk, and an entry beside a quote', async () => {
  const disk = new FakeDisk();
  await (await bootOn(disk)).write(3);
  await (await bootOn(disk)).write(3);
  const log = await openLog(async (at, length) => disk.bytes.subarray(at, at + length), disk.bytes.length);
  assert.equal((await Array.fromAsync(log.entries())).length, 8);
  assert.ok(maxQuoteBytes(new LogDisk(async () => new Uint8Array(), disk.bytes.length).layout) > 30_000);
});
