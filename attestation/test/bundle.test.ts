/**
 * A bundle comes back as it went in, and bytes that are changed or hostile are refused or have
 * another digest.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import {
  BUNDLE_BLOCK,
  BUNDLE_HEADER,
  type Bundle,
  bundleDigest,
  bundleLength,
  encodeBundle,
  MAX_BUNDLE,
  parseBundle,
  policyFrame,
} from '../src/bundle.ts';
import { equalBytes } from '../src/bytes.ts';
import { DecodeError, type DecodeErrorCode } from '../src/errors.ts';

const part = fc.uint8Array({ maxLength: 6000 });
const bundle: fc.Arbitrary<Bundle> = fc.record({ policy: part, descriptors: part, handlers: part });
const sample = encodeBundle({
  policy: new Uint8Array(100).fill(1),
  descriptors: new Uint8Array(200).fill(2),
  handlers: new Uint8Array(300).fill(3),
});

const plain = (it: Bundle): string[] => Object.values(it).map((bytes) => bytes.toHex());

test('a bundle is whole blocks and comes back as it went in', () => {
  fc.assert(
    fc.property(bundle, (it) => {
      const bytes = encodeBundle(it);
      assert.equal(bytes.length % BUNDLE_BLOCK, 0);
      assert.equal(bundleLength(bytes.subarray(0, BUNDLE_HEADER)), bytes.length);
      const { policy, descriptors, handlers } = parseBundle(bytes);
      assert.deepEqual(plain({ policy, descriptors, handlers }), plain(it));
      assert.ok(equalBytes(policyFrame(bytes), it.policy));
      assert.deepEqual(encodeBundle(parseBundle(bytes)), bytes);
    }),
  );
});

test('a parser of hostile bytes ends in a value or a DecodeError', () => {
  const attack = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.tuple(fc.nat(BUNDLE_HEADER - 1), fc.nat(255)).map(([at, value]) => sample.with(at, value)),
  );
  fc.assert(
    fc.property(attack, (bytes) => {
      for (const parse of [parseBundle, policyFrame, bundleLength]) {
        try {
          parse(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError);
        }
      }
    }),
  );
});

test('every changed byte of header or padding is refused, or is another bundle with another digest', () => {
  const lengths = (at: number) => at >= 16 && at < BUNDLE_HEADER && at % 16 >= 8;
  for (const at of [...Array(BUNDLE_HEADER).keys(), BUNDLE_HEADER + 600, sample.length - 1]) {
    const changed = sample.with(at, (sample[at] ?? 0) ^ 1);
    assert.notEqual(bundleDigest(changed), bundleDigest(sample));
    try {
      // Only a length can be another and still fit: the sections then are others too.
      assert.deepEqual(encodeBundle(parseBundle(changed)), changed);
      assert.ok(lengths(at), `byte ${at} does not count`);
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
    }
  }
});

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset);
const NEGATIVE: readonly { name: string; code: DecodeErrorCode; of: () => Uint8Array }[] = [
  { name: 'empty', code: 'truncated', of: () => new Uint8Array() },
  { name: 'truncated by a block', code: 'truncated', of: () => sample.subarray(0, 400) },
  { name: 'a block too long', code: 'trailing', of: () => Uint8Array.of(...sample, ...new Uint8Array(BUNDLE_BLOCK)) },
  { name: 'another magic', code: 'magic', of: () => sample.with(0, 0x65) },
  { name: 'another version', code: 'version', of: () => sample.with(11, 2) },
  { name: 'four sections', code: 'range', of: () => sample.with(15, 4) },
  { name: 'sections out of order', code: 'range', of: () => sample.with(19, 2) },
  { name: 'a reserved byte', code: 'reserved', of: () => sample.with(23, 1) },
  { name: 'data in the padding', code: 'reserved', of: () => sample.with(sample.length - 1, 1) },
  {
    name: 'a section of 2^63 bytes',
    code: 'range',
    of: () => {
      const bytes = sample.slice();
      view(bytes).setBigUint64(24, 1n << 63n);
      return bytes;
    },
  },
  {
    name: 'sections that are too large together',
    code: 'range',
    of: () => {
      const bytes = sample.slice();
      view(bytes).setBigUint64(24, BigInt(MAX_BUNDLE / 2));
      view(bytes).setBigUint64(40, BigInt(MAX_BUNDLE / 2));
      return bytes;
    },
  },
];

for (const { name, code, of } of NEGATIVE) {
  test(`refused: ${name}`, () => {
    assert.throws(
      () => parseBundle(of()),
      (error) => error instanceof DecodeError && error.code === code,
    );
  });
}

test('encoding has the same limit as reading', () => {
  const handlers = new Uint8Array(MAX_BUNDLE - BUNDLE_HEADER);
  assert.equal(encodeBundle({ policy: new Uint8Array(), descriptors: new Uint8Array(), handlers }).length, MAX_BUNDLE);
  assert.throws(() => encodeBundle({ policy: new Uint8Array(1), descriptors: new Uint8Array(), handlers }), RangeError);
});
