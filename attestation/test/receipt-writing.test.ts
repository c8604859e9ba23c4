/** Receipts and commitments as they are written: byte for byte what the general writers make of them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { u64be } from '@enclaim/attestation/bytes';
import { encodeCanonical } from '@enclaim/attestation/canonical';
import { type DigestText, digestText } from '@enclaim/attestation/digest';
import { ReceiptSchema } from '@enclaim/attestation/messages';
import {
  commitment,
  commitmentText,
  encodeReceipt,
  encodeReceiptBody,
  type ReceiptBody,
} from '@enclaim/attestation/receipt';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';

const RECEIPTS = count(50_000, 10_000, 1000);

const digits = (length: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => bytes.toHex());
const sha256Digest = digits(32).map((hex): DigestText<'sha256'> => `sha256:${hex}`);
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', '"', '\\', '\n', '\u007f', '\u2028', 'Ö', '😀', 'personal.health', '__proto__'),
);
const names = fc.array(text, { maxLength: 4 });
const whole = fc.oneof(fc.nat(), fc.constantFrom(0, 1, 127, 128, 16_383, 16_384, 2 ** 31, Number.MAX_SAFE_INTEGER));
const fields = {
  boot: sha256Digest,
  policy: digits(48).map((hex): DigestText<'sha384'> => `sha384:${hex}`),
  method: text,
  salt: digits(16),
  request: sha256Digest,
  response: sha256Digest,
  status: fc.nat({ max: 16 }),
  decision: fc.record({
    result: fc.constantFrom('allow' as const, 'deny' as const, 'error' as const),
    label: names,
    returned: names,
  }),
  sequence: whole,
  record: sha256Digest,
  time: fc.constantFrom('2026-11-20T12:00:00.000Z', '1970-01-01T00:00:00.000Z'),
};
const bodies: fc.Arbitrary<ReceiptBody> = fc.oneof(
  fc.record({ version: fc.constant(1 as const), ...fields }),
  fc.record({ version: fc.constant(2 as const), ...fields, taken: fc.option(whole), text: fc.option(sha256Digest) }),
  fc.record({
    ...{ version: fc.constant(3 as const), ...fields, taken: fc.option(whole), text: fc.option(sha256Digest) },
    ...{ index: whole, within: whole, nonce: fc.option(fc.oneof(digits(16), digits(32))) },
  }),
);

test('the body of a receipt is written in canonical form', () => {
  fc.assert(
    fc.property(bodies, (body) => {
      assert.deepEqual(encodeReceiptBody(body), encodeCanonical(body));
    }),
    { numRuns: RECEIPTS },
  );
});

test('a text that is no Unicode has no canonical form', () => {
  const [body] = fc.sample(bodies, 1);
  assert.ok(body !== undefined);
  const { decision } = body;
  for (const wrong of [{ method: '\ud800' }, { decision: { ...decision, label: ['\udc00'] } }])
    assert.throws(() => encodeReceiptBody({ ...body, ...wrong }), TypeError);
});

test('a receipt is written as protobuf writes it', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.constantFrom(0, 127, 128, 16_384, 60_000).map((length) => new Uint8Array(length)),
  );
  const number = fc.oneof(fc.nat({ max: 2 ** 32 - 1 }), fc.constantFrom(0, 127, 128, 16_384, 2 ** 32 - 1));
  const path = fc.array(fc.oneof(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.constant(new Uint8Array())), {
    maxLength: 17,
  });
  fc.assert(
    fc.property(fc.record({ body: bytes, index: number, size: number, path, signature: bytes }), (parts) => {
      assert.deepEqual(encodeReceipt(parts), toBinary(ReceiptSchema, create(ReceiptSchema, parts)));
    }),
    { numRuns: RECEIPTS },
  );
});

test('a commitment is the same as text', () => {
  const message = fc.oneof(
    fc.uint8Array(),
    fc.constantFrom(8192, 9000, 16_384, 16_385).map((length) => new Uint8Array(length)),
  );
  const salts = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const direction = fc.constantFrom('request' as const, 'response' as const, 'status' as const);
  fc.assert(
    fc.property(direction, salts, fc.array(message, { maxLength: 3 }), (to, salt, messages) => {
      assert.equal(commitmentText(to, salt, messages), digestText('sha256', commitment(to, salt, messages)));
    }),
    { numRuns: RECEIPTS / 10 },
  );
});

test('eight bytes of a length are those of the number', () => {
  for (const value of [0, 1, 255, 256, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 52 + 12_345, Number.MAX_SAFE_INTEGER])
    assert.deepEqual(u64be(value), u64be(BigInt(value)), `${value}`);
  for (const value of [0.5, Number.NaN, Number.POSITIVE_INFINITY]) assert.throws(() => u64be(value), RangeError);
  assert.deepEqual(u64be(-1), new Uint8Array(8).fill(0xff));
});
