/** Records: what is written can be read, and what could not be read is not written. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { concat } from '@enclaim/attestation/bytes';
import { encodeCanonical } from '@enclaim/attestation/canonical';
import { digestText } from '@enclaim/attestation/digest';
import { DecodeError } from '@enclaim/attestation/errors';
import { labelBytes } from '@enclaim/attestation/labels';
import {
  type AnyRecord,
  decodeEntry,
  decodeRecord,
  type EvidenceRecord,
  encodeRecord,
  entryText,
  type FirstRecord,
  MAX_ENTRY_BYTES,
  recordDigest,
  recordEntry,
  recordHash,
  recordJsonSchema,
  recordText,
} from '@enclaim/attestation/record';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';

const RECORDS = count(20_000, 20_000, 2000);

const fields = {
  id: '0123456789abcdef'.repeat(2),
  time: '2026-11-20T12:00:00.000Z',
  timeStrength: 'host',
  layer: 'runtime',
  system: 'lab',
  policyDigest: `sha384:${'0a'.repeat(48)}`,
  decision: 'allow',
  reason: 'ok',
  method: 'lab.v1.Lab/Sum',
  label: ['operational'],
  sink: null,
  figures: { call: 1, response: 1 },
  basis: 'enforced',
} as const;
const sample: EvidenceRecord = { v: 2, ...fields, claims: ['access'] };
const first: FirstRecord = {
  v: 1,
  ...fields,
  claim: null,
  controls: ['soc2/cc6.1'],
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
const KINDS: Readonly<Record<keyof EvidenceRecord | keyof FirstRecord, fc.Arbitrary<unknown>>> = {
  // One of the two versions with the fields of the other is no record for the types, either.
  v: number.filter((v) => v !== 1 && v !== 2),
  id: text,
  time: text,
  timeStrength: text,
  layer: text,
  system: text,
  policyDigest: text,
  claim: fc.option(text),
  claims: texts,
  controls: texts,
  decision: text,
  deleted: text,
  segment: fc.record({
    ...{ first: number, end: number, part: fc.constantFrom(0, 1), parts: fc.constantFrom(1, 2) },
    controls: fc.dictionary(
      fc.constantFrom('soc2/cc6.1', 'gdpr/art.30', 'a/b', 'A/b', '__proto__'),
      fc.record({
        ...{ allow: fc.nat(), deny: fc.nat(), error: fc.nat(), info: fc.constantFrom(0, 1, -1) },
        root: fc.constantFrom(`sha256:${'0a'.repeat(32)}`, `sha256:${'0a'.repeat(32)}`, 'sha256:'),
      }),
      { maxKeys: 3 },
    ),
  }),
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
const changed = fc.constantFrom<AnyRecord>(sample, first).chain((record) =>
  fc
    .subarray([...Object.keys(record), ...(record.v === 2 ? ['segment', 'deleted'] : [])] as (keyof typeof KINDS)[], {
      minLength: 1,
      maxLength: 2,
    })
    .chain((names) => fc.record(Object.fromEntries(names.map((name) => [name, KINDS[name]]))))
    .map((changes) => ({ ...record, ...changes }) as AnyRecord),
);

function isRead(record: AnyRecord): boolean {
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

test('an entry is a label and a record, and nothing else is one', () => {
  const entry = recordEntry(sample);
  assert.deepEqual(entry, concat(labelBytes('record'), encodeRecord(sample)));
  assert.deepEqual(decodeEntry(entry), sample);
  assert.equal(recordDigest(entryText(sample)), digestText('sha256', recordHash(entry)));
  const others = [
    encodeRecord(sample),
    concat(labelBytes('receipt'), encodeRecord(sample)),
    concat(labelBytes('record'), encodeRecord(first)),
    concat(labelBytes('record'), encodeRecord(sample), Uint8Array.of(10)),
    entry.subarray(0, -1),
    labelBytes('record'),
    new Uint8Array(),
  ];
  for (const other of others) assert.throws(() => decodeEntry(other), DecodeError);
});

test('an entry has at most the bytes that a bundle of entries can hold', () => {
  const ofBytes = (bytes: number): EvidenceRecord => {
    const filled = { ...sample, label: Array<string>(250).fill('x'.repeat(256)) };
    const rest = bytes - recordEntry(filled).length;
    return { ...filled, reason: 'x'.repeat(filled.reason.length + rest) };
  };
  const largest = recordEntry(ofBytes(MAX_ENTRY_BYTES));
  assert.equal(largest.length, 65_535);
  assert.deepEqual(recordEntry(decodeEntry(largest)), largest);
  const over = ofBytes(MAX_ENTRY_BYTES + 1);
  assert.throws(() => recordEntry(over), DecodeError);
  assert.throws(() => decodeRecord(encodeCanonical(over)), DecodeError);
  assert.throws(() => decodeEntry(concat(labelBytes('record'), encodeCanonical(over))), DecodeError);
});

test('has the published schema', async () => {
  const path = join(import.meta.dirname, '../../docs/reference/record.schema.json');
  const published = JSON.parse(await readFile(path, 'utf8')) as object;
  assert.deepEqual(published, JSON.parse(JSON.stringify(recordJsonSchema())));
});
