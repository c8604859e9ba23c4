/** The codecs are total, exact and reversible. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeAttestationKey, fakeQuote } from '../../../test/fakes/attestation-key.ts';
import { count } from '../../../test/support/long.ts';
import { fc } from '../../../test/support/properties.ts';
import { toHex } from '../../src/bytes.ts';
import { DecodeError } from '../../src/errors.ts';
import { attest } from '../../src/tpm/attest.ts';
import { pcrSelection } from '../../src/tpm/pcr.ts';
import { encodePublic, tpmPublic } from '../../src/tpm/public-area.ts';
import { tpmSignature } from '../../src/tpm/signature.ts';
import {
  type Codec,
  decodeWhole,
  fixed,
  flags,
  list,
  named,
  sized,
  suffixed,
  tpm2b,
  u8,
  u16,
  u32,
  u64,
  yesNo,
} from '../../src/tpm/wire.ts';

const key = fakeAttestationKey();
const quote = fakeQuote({ key });
const rsa = encodePublic({
  ...key.publicArea,
  type: 'rsa',
  symmetric: { algorithm: 'aes', keyBits: 128, mode: 'cfb' },
  scheme: { scheme: 'rsapss', hash: 'sha384' },
  keyBits: 2048,
  exponent: 0,
  modulus: new Uint8Array(256).fill(0x91),
});
const certify = attest.encode({
  type: 'certify',
  qualifiedSigner: new Uint8Array(34),
  extraData: new Uint8Array(4),
  clockInfo: { clock: 2n ** 63n, resetCount: 1, restartCount: 2, safe: false },
  firmwareVersion: 1n,
  name: new Uint8Array(34),
  qualifiedName: new Uint8Array(34),
});

/** Every structure that is read from outside, with examples to start mutations from. */
const STRUCTURES: readonly (readonly [name: string, codec: Codec<unknown>, examples: readonly Uint8Array[]])[] = [
  ['TPMT_PUBLIC', tpmPublic, [quote.akPublic, rsa]],
  ['TPMS_ATTEST', attest, [quote.attest, certify]],
  ['TPMT_SIGNATURE', tpmSignature, [quote.signature]],
  [
    'TPML_PCR_SELECTION',
    pcrSelection,
    [
      pcrSelection.encode([
        { bank: 'sha1', pcrs: [0, 23] },
        { bank: 'sha384', pcrs: [] },
      ]),
    ],
  ],
];

for (const [name, codec, examples] of STRUCTURES) {
  test(`${name}: any bytes are one value that encodes to them, or a DecodeError`, () => {
    const mutated = fc
      .tuple(
        fc.constantFrom(...examples),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
        fc.nat({ max: 400 }),
      )
      .map(([example, changes, length]) => {
        const bytes = example.slice(0, length);
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        return bytes;
      });
    let decoded = 0;
    fc.assert(
      fc.property(fc.oneof({ weight: 4, arbitrary: mutated }, fc.uint8Array({ maxLength: 400 })), (bytes) => {
        try {
          assert.equal(toHex(codec.encode(decodeWhole(codec, bytes, name))), toHex(bytes));
          decoded++;
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
          assert.ok(error.at >= 0 && error.at <= bytes.length, 'the offset is inside');
        }
      }),
      { numRuns: count(20_000, 20_000, 2000), examples: examples.map((example) => [example]) },
    );
    assert.ok(decoded >= examples.length);
  });
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

test('each way to be malformed has its code', () => {
  const flagSet = flags({ low: 0, high: 31 });
  for (const [codec, input, code] of [
    [u16, bytes(1), 'truncated'],
    [u16, bytes(1, 2, 3), 'trailing'],
    [yesNo, bytes(2), 'range'],
    [tpm2b(3), bytes(0, 4, 1, 2, 3, 4), 'range'],
    [tpm2b(3), bytes(0, 3, 1, 2), 'truncated'],
    [sized(u16), bytes(0, 3, 1, 2, 3), 'trailing'],
    [sized(u16), bytes(0, 1, 1), 'truncated'],
    [list(u8, 2), bytes(0, 0, 0, 3, 1, 2, 3), 'range'],
    [list(u8, 2), bytes(0xff, 0xff, 0xff, 0xff), 'range'],
    [named(u16, { one: 1 }), bytes(0, 2), 'range'],
    [flagSet, bytes(0, 0, 0, 2), 'reserved'],
    [suffixed(u8, 0, 16), bytes(5, 0, 17), 'range'],
    [attest, quote.attest.with(0, 0), 'magic'],
    [pcrSelection, bytes(0, 0, 0, 1, 0, 0x0b, 2, 0, 0), 'range'],
    [pcrSelection, bytes(0, 0, 0, 1, 0, 0x12, 3, 0, 0, 0), 'range'],
    [pcrSelection, bytes(0, 0, 0, 2, 0, 0x0b, 3, 1, 0, 0, 0, 0x0b, 3, 2, 0, 0), 'canonical'],
  ] as const) {
    assert.throws(
      () => decodeWhole<unknown>(codec, input, 'it'),
      (error) => error instanceof DecodeError && error.code === code,
      `${toHex(input)} as ${code}`,
    );
  }
});

test('what a type cannot hold is a defect of the caller', () => {
  for (const encode of [
    () => u8.encode(256),
    () => u16.encode(-1),
    () => u32.encode(1.5),
    () => u64.encode(-1n),
    () => u64.encode(2n ** 64n),
    () => fixed(2).encode(bytes(1)),
    () => tpm2b(1).encode(bytes(1, 2)),
    () => list(u8, 1).encode([1, 2]),
    () => pcrSelection.encode([{ bank: 'sha256', pcrs: [24] }]),
  ]) {
    assert.throws(encode, RangeError);
  }
});
