/** The format of a log's disk is fixed: layout, superblock and block have the bytes that the documents say. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex, utf8 } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import {
  blockLength,
  encodeKeptQuote,
  encodeQuoteSection,
  encodeSuperblock,
  logLayout,
  MIN_LOG_BYTES,
  parseBlock,
  parseKeptQuote,
  QUOTE_SECTION,
  quotedBoot,
  quoteIn,
  type Superblock,
  sealBlock,
  sectors,
  writeBlockHead,
} from '@enclaim/attestation/log-disk';
import { fc } from '../../test/support/properties.ts';
import { sha256 } from '../src/digest.ts';
import { parseSuperblock } from '../src/log/superblock.ts';
import { leafHash } from '../src/merkle.ts';

const MIB = 1024 * 1024;

test('what stands where follows from the size', () => {
  const { levels, places, journal, quotes, slots, maxBlock } = logLayout(1024 * MIB);
  assert.deepEqual(
    levels.map(({ tiles }) => tiles),
    [10_922, 44, 2, 2, 2, 2, 2],
  );
  assert.equal(levels[0]?.base, 8192);
  assert.equal(levels[1]?.base, 8192 + 10_922 * 8192);
  assert.equal(places, 8192 + (10_922 + 44 + 10) * 8192);
  assert.equal(journal.base, places + Math.ceil((10_922 * 8) / 512) * 512);
  const slot = (1024 * MIB - MIN_LOG_BYTES) / 8;
  assert.deepEqual(slots, { base: 1024 * MIB - 2 * slot, length: slot });
  assert.deepEqual(quotes, { base: slots.base - MIB, length: MIB / 2 });
  assert.equal(journal.length, quotes.base - journal.base);
  assert.equal(maxBlock, MIB);
  const least = logLayout(MIN_LOG_BYTES);
  assert.equal(least.journal.length % 512, 0);
  assert.deepEqual(least.quotes, { base: MIN_LOG_BYTES - 16_384, length: 8192 });
  assert.deepEqual(least.slots, { base: MIN_LOG_BYTES, length: 0 });
  assert.equal(least.maxBlock, Math.floor(least.journal.length / 4 / 512) * 512);
  for (const bytes of [MIN_LOG_BYTES - 1, 2 ** 46 + 1, Number.NaN, 1.5, -1])
    assert.throws(() => logLayout(bytes), DecodeError);
});

const superblock: Superblock = {
  sequence: 5,
  capacity: MIB,
  minimum: 3,
  start: 512,
  size: 9,
  position: 1024,
  block: new Uint8Array(32).fill(1),
  writer: new Uint8Array(16).fill(2),
};

test('a superblock has its fields where the documents say, and is read back', () => {
  const bytes = encodeSuperblock(superblock);
  const u64 = (value: number): string => value.toString(16).padStart(16, '0');
  const head = [
    toHex(utf8('ENCLLOG\0')),
    '0000000300000000',
    ...[5, MIB, 3, 512, 9, 1024].map(u64),
    '01'.repeat(32),
    '02'.repeat(16),
    '00'.repeat(368),
  ].join('');
  assert.equal(toHex(bytes.subarray(0, 480)), head);
  assert.deepEqual(bytes.subarray(480), sha256(bytes.subarray(0, 480)));
  assert.deepEqual(parseSuperblock(bytes), superblock);
});

test('no changed byte of a superblock is read', () => {
  const bytes = encodeSuperblock(superblock);
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.throws(() => parseSuperblock(changed), DecodeError, `byte ${at}`);
  }
});

/** A block of two entries, and a section if it is asked for. */
function blockOf(section?: { readonly type: number; readonly data: Uint8Array }): Uint8Array {
  const entries = [utf8('one'), utf8('other')];
  const bytes = entries.reduce((sum, { length }) => sum + 2 + length, 0);
  const length = blockLength(2, bytes, section === undefined ? 0 : 6 + section.data.length);
  const out = Buffer.alloc(sectors(length), 0xff);
  const head = { length, count: 2, position: 1024, first: 0, size: 2, prior: new Uint8Array(32), sequence: 5 };
  let at = writeBlockHead(out, head, [new Uint8Array(32).fill(7)]);
  for (const entry of entries) {
    at = out.writeUInt16BE(entry.length, at);
    at += Buffer.from(entry).copy(out, at);
  }
  if (section !== undefined) {
    at = out.writeUInt16BE(section.type, at);
    at = out.writeUInt32BE(section.data.length, at);
    out.set(section.data, at);
  }
  sealBlock(out, length);
  return out;
}

test('a block has its fields where the documents say, and is read back', () => {
  const bytes = blockOf();
  const u64 = (value: number): string => value.toString(16).padStart(16, '0');
  const said = [
    toHex(utf8('ENCLBLK\0')),
    (80 + 32 + 5 + 7 + 32).toString(16).padStart(8, '0'),
    '00000002',
    ...[1024, 0, 2].map(u64),
    '00'.repeat(32),
    u64(5),
    '07'.repeat(32),
    `0003${toHex(utf8('one'))}0005${toHex(utf8('other'))}`,
  ].join('');
  assert.equal(toHex(bytes.subarray(0, 124)), said);
  assert.deepEqual(Uint8Array.from(bytes.subarray(124, 156)), Uint8Array.from(sha256(bytes.subarray(0, 124))));
  assert(bytes.subarray(156).every((byte) => byte === 0));
  const { entries, frontier, first, size, sequence } = parseBlock(bytes, 1024);
  assert.deepEqual([first, size, sequence, frontier.length], [0, 2, 5, 1]);
  assert.deepEqual(entries.map(leafHash), [utf8('one'), utf8('other')].map(leafHash));
});

test('no changed byte of a block is read, nor one at another position', () => {
  const bytes = blockOf();
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.throws(() => parseBlock(changed, 1024), DecodeError, `byte ${at}`);
  }
  assert.throws(() => parseBlock(bytes, 512), DecodeError);
});

test('a section is read with its type, and one of type 0 is none', () => {
  const data = utf8('sealed');
  const [section] = parseBlock(blockOf({ type: 7, data }), 1024).sections;
  assert.equal(section?.type, 7);
  assert.deepEqual(Uint8Array.from(section?.data ?? []), Uint8Array.from(data));
  assert.throws(() => parseBlock(blockOf({ type: 0, data }), 1024), DecodeError);
});

test('a kept quote has its fields where the documents say, and no changed byte of it is read', () => {
  const bytes = encodeKeptQuote({ before: 1024, quote: utf8('quote') });
  const said = `${toHex(utf8('ENCLQUO\0'))}0000000500000000${(1024).toString(16).padStart(16, '0')}${toHex(utf8('quote'))}`;
  assert.equal(toHex(bytes.subarray(0, 29)), said);
  assert.deepEqual(bytes.subarray(29), sha256(bytes.subarray(0, 29)));
  assert.deepEqual(parseKeptQuote(Uint8Array.from([...bytes, 0, 9])).quote, utf8('quote'));
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.throws(() => parseKeptQuote(changed), DecodeError, `byte ${at}`);
  }
  for (let length = 0; length < bytes.length; length++)
    assert.throws(() => parseKeptQuote(bytes.subarray(0, length)), DecodeError, `${length} bytes`);
});

test('the section of a quote of an earlier boot has its fields where the documents say', () => {
  const data = encodeQuoteSection({ before: 1024, quote: utf8('quote') });
  assert.equal(toHex(data), `${(1024).toString(16).padStart(16, '0')}${toHex(utf8('quote'))}`);
  const found = quoteIn(parseBlock(blockOf({ type: QUOTE_SECTION, data }), 1024));
  assert.deepEqual([found?.before, found && Buffer.from(found.quote).toString()], [1024, 'quote']);
  assert.equal(quoteIn(parseBlock(blockOf({ type: QUOTE_SECTION, data: data.subarray(0, 7) }), 1024)), undefined);
  assert.equal(quoteIn(parseBlock(blockOf({ type: 7, data }), 1024)), undefined);
});

test('what a kept quote says of its boot is read totally', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      assert.throws(() => quotedBoot(bytes), DecodeError);
    }),
  );
});
