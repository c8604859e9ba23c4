/** A record's commitment to what its call deleted opens to these places alone, and to all of them; only epochs say that it is final. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex } from '../src/bytes.ts';
import { digestText } from '../src/digest.ts';
import { deletionRoot, demandSameLog, finalWordOf, type NamedPlace, shownEnd } from '../src/log/deletion.ts';
import { type EvidenceRecord, recordEntry, recordHash } from '../src/log/record.ts';
import type { ProvenRecord } from '../src/log/record-proof.ts';
import { leafHash, MerkleTree } from '../src/merkle.ts';
import type { CurrentReceiptBody } from '../src/receipt.ts';

const SALT = '00112233445566778899aabbccddeeff';
const PLACES: readonly NamedPlace[] = [
  { collection: 'cases', key: 'case-1' },
  { collection: 'cases', key: 'ü\ud800/2' },
  { collection: 'notes', key: 'case-1' },
];
const record: EvidenceRecord = {
  ...{ v: 2, id: '0a'.repeat(16), time: '2026-11-20T12:00:00.001Z', timeStrength: 'host', layer: 'runtime' },
  ...{ system: 's', policyDigest: `sha384:${'0a'.repeat(48)}`, claims: [], decision: 'allow', reason: 'ok' },
  ...{ method: 'a.B/C', label: [], sink: null, figures: {}, basis: 'enforced' },
};
const final = { epoch: 4, 'final.records': 8, 'final.until': 1_795_000_000_000 };

/** A receipt of an entry. Of its other fields nothing is asked. */
function bodyOf(entry: Uint8Array, more: Partial<CurrentReceiptBody> = {}): CurrentReceiptBody {
  const named = { index: 7, record: digestText('sha256', recordHash(entry)), status: 0, salt: SALT };
  return { version: 3, ...named, time: '2026-11-20T12:00:00.000Z', ...more } as CurrentReceiptBody;
}

const root = (places: readonly NamedPlace[]) => deletionRoot(fromHex(SALT), places);

test('a commitment opens to all places, in any order, and to no other list', () => {
  const entry = recordEntry({ ...record, deleted: root(PLACES) });
  const shown = shownEnd(bodyOf(entry), entry, { kind: 'deleted', places: PLACES.toReversed() });
  assert.deepEqual([shown.index, new Date(shown.end).toISOString()], [7, '2026-11-20T12:00:00.000Z']);
  assert.equal(shown.covers({ epoch: 1, records: 7, until: 2 ** 52 }), false);
  assert.equal(shown.covers({ epoch: 1, records: 8, until: 0 }), true);
  const others = [
    [],
    PLACES.slice(1),
    [...PLACES, { collection: 'a', key: 'b' }],
    PLACES.with(0, PLACES[2] as NamedPlace),
  ];
  for (const places of others)
    assert.throws(() => shownEnd(bodyOf(entry), entry, { kind: 'deleted', places }), { code: 'binding' });
});

test('nothing, one place and many have commitments of one form', () => {
  for (const places of [[], PLACES.slice(0, 1), PLACES]) assert.match(root(places), /^sha256:[0-9a-f]{64}$/);
  assert.equal(new Set([root([]), root(PLACES.slice(0, 1)), root(PLACES)]).size, 3);
});

test('another record, one without a commitment, a failed call and an older receipt show nothing', () => {
  const entry = recordEntry({ ...record, deleted: root(PLACES) });
  const ended = { kind: 'deleted', places: PLACES } as const;
  const plain = recordEntry(record);
  assert.throws(() => shownEnd(bodyOf(plain), entry, ended), { code: 'binding' });
  assert.throws(() => shownEnd(bodyOf(plain), plain, ended), { code: 'binding' });
  assert.throws(() => shownEnd(bodyOf(entry, { status: 9 }), entry, ended), { code: 'binding' });
  assert.throws(() => shownEnd(bodyOf(entry, { version: 2 } as never), entry, ended), { code: 'format' });
  const bytes = new Uint8Array(9);
  assert.throws(() => shownEnd(bodyOf(bytes), bytes, ended), { code: 'format' });
});

test('what was stored has ended by its retention, and without one never', () => {
  const entry = recordEntry(record);
  const ended = { kind: 'past retention', collection: 'cases', retention: 5000 } as const;
  const shown = shownEnd(bodyOf(entry), entry, ended);
  assert.equal(shown.end, Date.parse('2026-11-20T12:00:05.000Z'));
  assert.equal(shown.covers({ epoch: 1, records: 99, until: shown.end - 1 }), false);
  assert.equal(shown.covers({ epoch: 1, records: 0, until: shown.end }), true);
  const never = { ...ended, retention: Number.POSITIVE_INFINITY };
  assert.throws(() => shownEnd(bodyOf(entry), entry, never), { code: 'binding' });
});

test('the word that something is final comes from an epoch or a boot alone', () => {
  const word = { epoch: 4, records: 8, until: 1_795_000_000_000 };
  const epoch = { ...record, method: null, reason: 'epoch', figures: final };
  assert.deepEqual(finalWordOf(epoch), word);
  assert.deepEqual(finalWordOf({ ...epoch, layer: 'admission', reason: 'boot' }), word);
  assert.deepEqual(finalWordOf({ ...epoch, layer: 'admission', reason: 'boot, log nearly full' }), word);
  const others: Partial<EvidenceRecord>[] = [
    { method: 'a.B/C' },
    { reason: 'handler:epoch' },
    { layer: 'admission' },
    { reason: 'boots', layer: 'admission' },
    { figures: { epoch: 4 } },
  ];
  for (const other of others) assert.equal(finalWordOf({ ...epoch, ...other }), null);
});

test('what is final is so in the log that has the record, of its system, behind its TPM', async () => {
  const leaves = Array.from({ length: 8 }, (_, i) => leafHash(Uint8Array.of(i)));
  const tree = new MerkleTree(leaves);
  const shown = { index: 5, record: digestText('sha256', leaves[5] ?? assert.fail()), system: 's' };
  const ek = digestText('sha256', leaves[0] ?? assert.fail());
  const ak = digestText('sha256', leaves[1] ?? assert.fail());
  const device = { ek, ak, ekCertificate: null };
  const proofOf = (checkpoint: object, stated: object = { ek, ak: null }, keeper = 'tpm'): ProvenRecord =>
    ({
      checkpoint: { origin: 's/boot', size: 8, root: tree.root, extensions: [], ...checkpoint },
      authenticated: { statement: { version: 3, storage: { keeper }, device: stated } },
    }) as unknown as ProvenRecord;
  const path = async (index: number) => tree.path(index);
  const refused = async (code: string, ...args: Parameters<typeof demandSameLog>) =>
    await assert.rejects(demandSameLog(...args), { name: 'EvidenceError', code });
  await demandSameLog(shown, proofOf({}), device, path);
  await demandSameLog(shown, proofOf({}, { ek: null, ak }), { ...device, ek: null }, path);
  await demandSameLog(shown, proofOf({}, { ek: null, ak: null }, 'peer'), device, path);
  await refused('binding', shown, proofOf({ origin: 'other/boot' }), device, path);
  await refused('binding', shown, proofOf({ origin: 's/s/boot' }), device, path);
  await refused('binding', shown, proofOf({}, { ek: ak, ak }), device, path);
  await refused('binding', shown, proofOf({}, { ek: null, ak }), device, path);
  await refused('log', shown, proofOf({ size: 5 }), device, path);
  await refused('log', { ...shown, index: 4 }, proofOf({}), device, path);
  await refused('log', shown, proofOf({ root: leaves[0] }), device, path);
  await refused('log', shown, proofOf({}), device, async () => tree.path(5).slice(1));
});
