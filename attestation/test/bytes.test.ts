/** Bytes: bounds, and one text for one value. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import {
  equalBytes,
  fromBase64,
  fromBase64Url,
  fromHex,
  fromUtf8,
  Reader,
  toBase64,
  toBase64Url,
  toHex,
  utf8,
} from '../src/bytes.ts';
import { parseDigest } from '../src/digest.ts';
import { DecodeError } from '../src/errors.ts';

const refused = (code: string, at?: number) => (error: unknown) =>
  error instanceof DecodeError && error.code === code && (at === undefined || error.at === at);

test('a reader names the offset in the outermost input', () => {
  const reader = new Reader(Uint8Array.of(1, 2, 3, 4, 0, 9));
  assert.equal(reader.u8(), 1);
  const inner = reader.sub(3);
  assert.equal(inner.u16be(), 0x0203);
  assert.throws(() => inner.u16le(), refused('truncated', 3));
  assert.throws(() => reader.zeros(2, 'padding'), refused('reserved', 5));
  assert.throws(() => new Reader(Uint8Array.of(1)).end('nothing'), refused('trailing', 0));
  for (const length of [-1, 2, Number.MAX_SAFE_INTEGER, Number.NaN]) {
    if (!Number.isNaN(length)) assert.throws(() => new Reader(Uint8Array.of(1)).take(length), refused('truncated'));
  }
});

test('texts round-trip, and other spellings of the same bytes are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      assert(equalBytes(fromHex(toHex(bytes)), bytes));
      assert(equalBytes(fromBase64(toBase64(bytes)), bytes));
      assert(equalBytes(fromBase64Url(toBase64Url(bytes)), bytes));
    }),
  );
  for (const text of ['QQ', 'QR==', 'QQ==\n', 'Q Q=', '-_==', 'QQ==='])
    assert.throws(() => fromBase64(text), refused('syntax'), text);
  for (const text of ['QQ==', 'QR', 'Q', '+/', 'QQ\n'])
    assert.throws(() => fromBase64Url(text), refused('syntax'), text);
  for (const text of ['0', 'zz', '0x00', ' 00']) assert.throws(() => fromHex(text), refused('syntax'), text);
});

test('text that is not UTF-8 is refused, and a byte order mark is kept', () => {
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80]])
    assert.throws(() => fromUtf8(Uint8Array.from(bytes)), refused('syntax'));
  assert.equal(fromUtf8(utf8('\uFEFFa')), '\uFEFFa');
});

test('digests have one text', () => {
  const hex = 'ab'.repeat(32);
  assert.equal(parseDigest('sha256', `sha256:${hex}`).length, 32);
  for (const text of [
    hex,
    `sha384:${hex}`,
    `sha256:${hex.toUpperCase()}`,
    `sha256:${hex}00`,
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}\n`,
  ]) {
    assert.throws(() => parseDigest('sha256', text), refused('syntax'), text);
  }
});
