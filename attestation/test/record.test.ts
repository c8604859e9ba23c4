/** Records: what is written can be read, and what could not be read is not written. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCanonical } from '@enclaim/attestation/canonical';
import { digestText } from '@enclaim/attestation/digest';
import { DecodeError } from '@enclaim/attestation/errors';
import {
  decodeRecord,
  type EvidenceRecord,
  encodeRecord,
  recordDigest,
  recordHash,
  recordText,
} from '@enclaim/attestation/record';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';

const RECORDS = count(20_000, 20_000, 2000);

const sample: EvidenceRecord = {
  v: 1,
  id: '0123456789abcdef'.repeat(2),
  time: '2026-11-20T12:00:00.000Z',
  timeStrength: 'host',
  layer: 'runtime',
  system: 'lab',
  policyDigest: `sha384:${'0a'.repeat(48)}`,
  claim: null,
  controls: ['soc2/cc6.1'],
  decision: 'allow',
  reason: 'ok',
  method: 'lab.v1.Lab/Sum',
  label: ['operational'],
  sink: null,
  figures: { call: 1, response: 1 },
  basis: 'enforced',
  prev: `sha256:${'00'.repeat(32)}`,
};

/** Texts around every limit that a field of a record has, and some that are no Unicode. */
const text = fc.oneof(
  fc.constantFrom('', 'x', 'runtime', 'signed', 'measured', 'deny', '\ud800', 'e\u0301'),
  fc.constantFrom(255, 256, 257, 511, 512, 513, 2047, 2048, 2049).map((length) => 'x'.repeat(length)),
  fc.constantFrom(31, 32, 33).map((length) => 'a'.repeat(length)),
  fc.constantFrom('0A'.repeat(16), `${'0a'.repeat(16)}\n`, `sha256:${'0A'.repeat(32)}`, `sha256:${'0a'.repeat(32)}`),
  fc.constantFrom('2026-02-29T00:00:00.000Z', '2028-02-29T23:59:59.999Z', '2026-11-20T12:00:00Z', ' 2026-11-20'),
  fc.constantFrom(`sha384:${'0a'.repeat(48)}`, `sha384:${'0a'.repeat(47)}`, `sha384:${'0a'.repeat(48)}\n`),
);
const texts = fc.oneof(
  fc.array(text, { maxLength: 4 }),
  fc.constantFrom(256, 257, 1024, 1025).map((length) => Array<string>(length).fill('x')),
);
const number = fc.oneof(
  fc.constantFrom(0, -0, 1, 2, -1, 0.5, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 1e300, Number.NaN, Number.POSITIVE_INFINITY),
);
const KINDS: Readonly<Record<keyof EvidenceRecord, fc.Arbitrary<unknown>>> = {
  v: number,
  id: text,
  time: text,
  timeStrength: text,
  layer: text,
  system: text,
  policyDigest: text,
  claim: fc.option(text),
  controls: texts,
  decision: text,
  reason: text,
  method: fc.option(text),
  label: texts,
  sink: fc.option(text),
  figures: fc.dictionary(fc.oneof(text, fc.constantFrom('9', '10', '1', 'b', 'a', '__proto__')), number, {
    maxKeys: 4,
  }),
  basis: text,
  prev: text,
};
const changed = fc
  .subarray(Object.keys(KINDS) as (keyof EvidenceRecord)[], { minLength: 1, maxLength: 2 })
  .chain((names) => fc.record(Object.fromEntries(names.map((name) => [name, KINDS[name]]))))
  .map((fields) => ({ ...sample, ...fields }) as EvidenceRecord);

function isRead(record: EvidenceRecord): boolean {
  try {
    decodeRecord(encodeCanonical(record));
    return true;
  } catch {
    return false;
  }
}

test('a record is written if and only if it could be read back', () => {
  const counts = { written: 0, refused: 0 };
  fc.assert(
    fc.property(changed, (record) => {
      if (isRead(record)) {
        const bytes = encodeRecord(record);
        assert.deepEqual(bytes, encodeCanonical(record));
        assert.equal(recordDigest(recordText(record)), digestText('sha256', recordHash(bytes)));
        assert.deepEqual(decodeRecord(bytes), JSON.parse(JSON.stringify(record)));
        counts.written++;
      } else {
        assert.throws(() => encodeRecord(record), DecodeError);
        counts.refused++;
      }
    }),
    { numRuns: RECORDS },
  );
  assert(Math.min(counts.written, counts.refused) > 0.05 * RECORDS, JSON.stringify(counts));
});
