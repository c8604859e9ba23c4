/** CBOR and COSE: what is read, what is not, and that both ends agree. */

import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { importKey } from '#crypto';
import { FakeIdentity } from '../../test/fakes/certificates.ts';
import { fc } from '../../test/support/properties.ts';
import { refused, undecodable } from '../../test/support/refused.ts';
import { type CborValue, decodeCbor, encodeCbor, encodeSign1, parseSign1, verifySign1 } from '../src/cbor/index.ts';
import { DecodeError, type DecodeErrorCode } from '../src/errors.ts';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

describe('decodeCbor', () => {
  // RFC 8949, appendix A, as far as its values are of our kinds.
  const good: [string, CborValue][] = [
    ['00', 0],
    ['17', 23],
    ['1818', 24],
    ['1903e8', 1000],
    ['1a000f4240', 1_000_000],
    ['1b000000e8d4a51000', 1_000_000_000_000],
    ['1bffffffffffffffff', 18_446_744_073_709_551_615n],
    ['20', -1],
    ['3903e7', -1000],
    ['3bffffffffffffffff', -18_446_744_073_709_551_616n],
    ['f4', false],
    ['f5', true],
    ['f6', null],
    ['4401020304', hex('01020304')],
    ['62c3bc', 'ü'],
    ['80', []],
    ['8301820203820405', [1, [2, 3], [4, 5]]],
    ['a0', new Map()],
    [
      'a201020304',
      new Map([
        [1, 2],
        [3, 4],
      ]),
    ],
    ['c11a514b67b0', { tag: 1, value: 1_363_896_240 }],
    ['d82076687474703a2f2f7777772e6578616d706c652e636f6d', { tag: 32, value: 'http://www.example.com' }],
  ];
  for (const [text, value] of good) {
    test(`reads and writes ${text}`, () => {
      assert.deepEqual(decodeCbor(hex(text)), value);
      assert.deepEqual(encodeCbor(value), hex(text));
    });
  }

  const bad: [string, string, DecodeErrorCode][] = [
    ['a longer form', '1817', 'canonical'],
    ['a much longer form', '1b0000000000000001', 'canonical'],
    ['an indefinite array', '9fff', 'canonical'],
    ['an indefinite text', '7f6161ff', 'canonical'],
    ['a reserved length', '1c', 'canonical'],
    ['a half float', 'f93c00', 'version'],
    ['undefined', 'f7', 'version'],
    ['a break alone', 'ff', 'version'],
    ['a key twice', 'a201020103', 'syntax'],
    ['a key that is a list', 'a18001', 'version'],
    ['text that is not UTF-8', '61ff', 'syntax'],
    ['bytes cut short', '4401', 'truncated'],
    ['an array longer than the input', '9affffffff', 'truncated'],
    ['a map of 2^64 entries', 'bbffffffffffffffff', 'truncated'],
    ['something after it', '0000', 'trailing'],
    ['nothing', '', 'truncated'],
    ['depth', `${'81'.repeat(40)}00`, 'range'],
    ['a bottomless pit', '81'.repeat(100_000), 'range'],
  ];
  for (const [what, text, code] of bad) test(`refuses ${what}`, () => undecodable(code, () => decodeCbor(hex(text))));

  test('reads indefinite lists and maps only where it is told to', () => {
    assert.deepEqual(decodeCbor(hex('9f01bf0203ffff'), { indefinite: true }), [1, new Map([[2, 3]])]);
    undecodable('truncated', () => decodeCbor(hex('9f01'), { indefinite: true }));
    undecodable('canonical', () => decodeCbor(hex('5f4101ff'), { indefinite: true }));
    undecodable('syntax', () => decodeCbor(hex('bf01020103ff'), { indefinite: true }));
  });

  const key = fc.oneof(fc.integer(), fc.string());
  const value = fc.letrec<{ any: CborValue }>((tie) => ({
    any: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.integer(),
      fc.bigInt(-(1n << 64n), (1n << 64n) - 1n).map((n) => (Number.isSafeInteger(Number(n)) ? Number(n) : n)),
      fc.string({ unit: 'grapheme' }),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array(),
      fc.array(tie('any'), { maxLength: 4 }),
      fc.array(fc.tuple(key, tie('any')), { maxLength: 4 }).map((entries) => new Map(entries)),
      fc.record({ tag: fc.nat(), value: tie('any') }),
    ),
  })).any;

  test('gives back what was written, with keys in order', () => {
    fc.assert(
      fc.property(value, (original) => {
        const bytes = encodeCbor(original);
        const decoded = decodeCbor(bytes);
        assert.deepEqual(encodeCbor(decoded), bytes);
      }),
      { numRuns: 2000 },
    );
  });

  test('is total', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, indefinite) => {
        for (const parse of [(): unknown => decodeCbor(bytes, { indefinite }), (): unknown => parseSign1(bytes)]) {
          try {
            parse();
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error));
          }
        }
      }),
      { numRuns: 10_000 },
    );
  });
});

describe('COSE_Sign1', async () => {
  const identity = new FakeIdentity('signer', 'ecdsa-sha384');
  const key = await importKey(identity.spki);
  const signer = async (message: Uint8Array): Promise<Uint8Array> =>
    sign('sha384', message, { key: identity.privateKey, dsaEncoding: 'ieee-p1363' });
  const good = await encodeSign1(-35, hex('01'), signer);

  test('verifies what was signed, tagged or not', async () => {
    await verifySign1(parseSign1(good), -35, key);
    await verifySign1(parseSign1(good.subarray(1)), -35, key);
  });

  test('refuses every changed byte', async () => {
    for (let at = 0; at < good.length; at++) {
      const changed = Uint8Array.from(good);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await assert.rejects(async () => verifySign1(parseSign1(changed), -35, key), `byte ${at}`);
    }
  });

  test('takes the algorithm from the caller alone', async () => {
    await refused('signature', () => verifySign1(parseSign1(good), -7, key));
    const claimed = await encodeSign1(-7, hex('01'), signer);
    await refused('signature', () => verifySign1(parseSign1(claimed), -35, key));
  });

  test('does not read critical headers, nor detached payloads', async () => {
    const critical = await encodeSign1(-35, hex('01'), signer, new Map([[2, [99]]]));
    undecodable('version', () => parseSign1(critical));
    undecodable('syntax', () => parseSign1(encodeCbor([hex(''), new Map(), null, hex('00')])));
  });
});
