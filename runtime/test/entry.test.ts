/** A record holds each part that its writer states, and the usual for every part that it does not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EntryOptions, endRecord, entryOf, forkRecord, type Said } from '../src/log/entry.ts';

const options = {
  admission: { digest: `sha384:${'ab'.repeat(48)}`, policy: { system: { name: 'lab' } } },
  clock: { text: () => '2026-01-01T00:00:00.000Z' },
} as unknown as EntryOptions;

/** All that can be stated, each unlike the usual. */
const STATED: Required<Said> = {
  id: 'cd'.repeat(16),
  time: '2025-12-31T00:00:00.000Z',
  layer: 'admission',
  claims: ['a'],
  decision: 'deny',
  reason: 'because',
  sink: 'log',
  figures: { one: 1 },
  basis: 'observed',
  deleted: `sha256:${'ef'.repeat(32)}`,
  segment: { first: 0, end: 1, part: 0, parts: 1, controls: {} },
};

test('each part that is stated, alone', () => {
  const usual = entryOf(options, {});
  for (const [part, value] of Object.entries(STATED)) {
    const { id, ...entry } = entryOf(options, { [part]: value });
    const { id: _, ...rest } = { ...usual, [part]: value };
    assert.deepEqual(entry, rest, part);
    if (part === 'id') assert.equal(id, value);
    assert.notDeepEqual(usual[part as keyof Said], value);
  }
});

test('all of them, with a method and a label', () => {
  const whose = { method: 'a.B/C', label: ['public'] } as const;
  assert.deepEqual(entryOf(options, STATED, whose), {
    ...{ v: 2, timeStrength: 'host', system: 'lab', policyDigest: options.admission.digest },
    ...STATED,
    ...whose,
  });
});

test('the layer of records of evidence', () => {
  assert.equal(forkRecord(options, 3).layer, 'evidence');
  assert.equal(endRecord(options, 0).layer, 'runtime');
});
