/** A segment's records state what it holds of each control, and no row of a control can be left out, added or changed unseen. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestText } from '@enclaim/attestation/digest';
import { DecodeError } from '@enclaim/attestation/errors';
import { leafHash, merkleRoot } from '@enclaim/attestation/merkle';
import { type EvidenceRecord, MAX_ENTRY_BYTES, recordEntry } from '@enclaim/attestation/record';
import {
  controlFaults,
  readSegment,
  type Segment,
  SegmentTally,
  segmentFaults,
  segmentParts,
} from '@enclaim/attestation/segment';
import { type Policy, parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { controlsOf } from '@enclaim/policy-schema/admission';
import { fc } from '../../test/support/properties.ts';

/** A policy with claims of one kind, each with its controls. */
function policyOf(claims: Readonly<Record<string, readonly string[]>>): Policy {
  return parsePolicy(
    JSON.stringify({
      enclaim: 1,
      system: { name: 'lab', owner: { name: 'Lab', contact: 'lab@lab.example' }, version: 1 },
      claims: Object.entries(claims).map(([id, controls]) => ({
        ...{ id, kind: 'no-undisclosed-recipients', statement: 'Nobody else.', controls },
      })),
    }),
  );
}

const policy = policyOf({
  closed: ['soc2/cc6.1', 'soc2/cc6.7'],
  shared: ['soc2/cc6.1', 'gdpr/art.28'],
  bare: [],
});
const DECISIONS = ['allow', 'deny', 'error', 'info'] as const;
const drawn = fc.record({
  claims: fc.subarray(['bare', 'closed', 'shared']),
  decision: fc.constantFrom(...DECISIONS),
  id: fc.nat().map((n) => n.toString(16).padStart(32, '0')),
});

function recordOf(said: Partial<EvidenceRecord>, of: Policy = policy): EvidenceRecord {
  return {
    v: 2,
    id: '0'.repeat(32),
    time: '2026-11-20T12:00:00.000Z',
    timeStrength: 'host',
    layer: 'runtime',
    system: 'lab',
    policyDigest: policyDigest(of),
    claims: [],
    decision: 'allow',
    reason: 'ok',
    method: null,
    label: [],
    sink: null,
    figures: {},
    basis: 'enforced',
    ...said,
  };
}

/** The records that close a segment of these, which begins at leaf `first`. */
function closed(records: readonly EvidenceRecord[], first = 7, of: Policy = policy): EvidenceRecord[] {
  const tally = new SegmentTally(of);
  for (const record of records) tally.add(record, leafHash(recordEntry(record)));
  return segmentParts(first, first + records.length, tally.controls).map((segment) =>
    recordOf({ layer: 'evidence', reason: 'segment count', segment, decision: 'info' }, of),
  );
}

const of = (entries: readonly EvidenceRecord[], control: string): EvidenceRecord[] =>
  entries.filter(({ claims }) => controlsOf(policy, claims).includes(control));

test('a segment states each control by the plain tree of its leaves, and holds', () => {
  fc.assert(
    fc.property(fc.array(drawn, { minLength: 1, maxLength: 40 }), (some) => {
      const records = some.map((said) => recordOf(said));
      const segment = readSegment(closed(records));
      assert.deepEqual(segmentFaults(segment, records.map(recordEntry), policy), []);
      for (const control of ['soc2/cc6.1', 'soc2/cc6.7', 'gdpr/art.28']) {
        const rows = of(records, control);
        const stated = segment.controls.get(control);
        const root = digestText('sha256', merkleRoot(rows.map((row) => leafHash(recordEntry(row)))));
        assert.equal(stated?.root, rows.length === 0 ? undefined : root);
        for (const decision of DECISIONS)
          assert.equal(stated?.[decision] ?? 0, rows.filter((row) => row.decision === decision).length);
        assert.deepEqual(controlFaults(segment, control, rows.map(recordEntry), policy), []);
      }
    }),
  );
});

test('one row of a control left out, doubled, moved, changed or added is a fault', () => {
  const counts = { tried: 0 };
  fc.assert(
    fc.property(
      fc.array(drawn, { minLength: 2, maxLength: 20 }),
      fc.nat(),
      fc.constantFrom('drop', 'double', 'swap', 'decide', 'add'),
      (some, at, how) => {
        const records = some.map((said, n) => recordOf({ ...said, id: `${n}`.padStart(32, '0') }));
        const segment = readSegment(closed(records));
        const rows = of(records, 'soc2/cc6.1');
        const [here, other] = [rows[at % rows.length], rows[(at + 1) % rows.length]];
        if (here === undefined || other === undefined || (how === 'swap' && here === other)) return;
        const place = rows.indexOf(here);
        const changed = {
          drop: rows.toSpliced(place, 1),
          double: rows.toSpliced(place, 0, here),
          swap: rows.map((row) => (row === here ? other : row === other ? here : row)),
          decide: rows.with(place, { ...here, decision: here.decision === 'deny' ? 'allow' : 'deny' }),
          add: [...rows, recordOf({ claims: ['closed'], id: 'f'.repeat(32) })],
        }[how];
        assert.notDeepEqual(controlFaults(segment, 'soc2/cc6.1', changed.map(recordEntry), policy), []);
        counts.tried++;
      },
    ),
    { numRuns: 1000 },
  );
  assert(counts.tried > 500, `${counts.tried}`);
});

test('a control that no part names had no record, so that a row of it is a fault', () => {
  const records = [recordOf({ claims: ['closed'] })];
  const segment = readSegment(closed(records));
  assert.deepEqual(controlFaults(segment, 'gdpr/art.28', [], policy), []);
  assert.match(
    controlFaults(segment, 'gdpr/art.28', [recordEntry(recordOf({ claims: ['shared'] }))], policy).join(),
    /allow is 1, stated 0/,
  );
});

test('entries of another stretch, policy or shape are a fault, never an error', () => {
  const records = [recordOf({ claims: ['closed'] }), recordOf({ claims: [] })];
  const segment = readSegment(closed(records));
  const entries = records.map(recordEntry);
  const faults = (changed: readonly Uint8Array[], under: Policy = policy) => segmentFaults(segment, changed, under);
  const strange = { ...recordOf({}), policyDigest: `sha384:${'0'.repeat(96)}` as const };
  assert.match(faults(entries.slice(1)).join(), /1 entries, where the segment has 2/);
  assert.match(faults([entries[0] ?? assert.fail(), new Uint8Array(3)]).join(), /leaf 8: not an entry/);
  assert.match(faults([entries[0] ?? assert.fail(), recordEntry(strange)]).join(), /another policy/);
  assert.match(faults(entries, policyOf({ other: [] })).join(), /makes no claim "closed"/);
});

test('many controls are split over records that an entry holds, and are read only together', () => {
  const controls = Array.from({ length: 300 }, (_, i) => `${'f'.repeat(60)}/${'c'.repeat(50)}.${i}`);
  const large = policyOf({ all: controls });
  const records = closed([recordOf({ claims: ['all'] }, large)], 0, large);
  assert.deepEqual(
    records.map(({ segment }) => Object.keys(segment?.controls ?? {}).length),
    [128, 128, 44],
  );
  for (const record of records) assert.ok(recordEntry(record).length <= MAX_ENTRY_BYTES);
  const segment: Segment = readSegment(records);
  assert.equal(segment.controls.size, 300);
  const [a, b, c] = records as [EvidenceRecord, EvidenceRecord, EvidenceRecord];
  for (const wrong of [[], [a], [a, b], [b, a, c], [a, b, b], [a, b, c, c], [recordOf({})]])
    assert.throws(() => readSegment(wrong), DecodeError);
});

test('a segment of nothing that a claim is about names no control', () => {
  const [only, ...more] = closed([recordOf({})]);
  assert.deepEqual([only?.segment?.controls, only?.segment?.parts, more], [{}, 1, []]);
});
