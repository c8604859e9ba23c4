/** A sweep passes over what waits to be durable, and the turn of a call that needs room forgets so many rows and no more. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Expiry, MAX_SWEPT_ROWS } from '../../src/storage/sealed/expiry.ts';
import { IndexTable } from '../../src/storage/sealed/index-table.ts';
import { rowName } from '../../src/storage/sealed/row.ts';
import type { SealedCollection } from '../../src/storage/sealed/sealed-collection.ts';
import { MIB } from './support.ts';

const NOW = 1000;

/** A table of ended places, and its sweep. @param waiting whether something waits for a key */
function ended(keys: readonly string[], waiting: (key: string) => boolean = () => false) {
  const table = new IndexTable(MIB);
  const place = { value: undefined, version: undefined, since: 0, label: [], valueEnd: NOW, placeEnd: NOW, owner: 'a' };
  for (const key of keys) table.set(rowName(0, key), place);
  const collection = {
    expire: (key: string) => {
      if (!waiting(key)) table.remove(rowName(0, key));
    },
    nextDue: () => Number.POSITIVE_INFINITY,
  };
  return { table, expiry: new Expiry(table, [collection as unknown as SealedCollection]) };
}

const numbered = (count: number, before: string): string[] =>
  Array.from({ length: count }, (_, i) => `${before}${String(i).padStart(6, '0')}`);

test('ended places behind many that wait are forgotten', async () => {
  for (const how of ['sweep', 'sweepInTurns'] as const) {
    const { table, expiry } = ended([...numbered(700, 'a'), ...numbered(9, 'z')], (key) => key.startsWith('a'));
    await expiry[how](NOW);
    assert.equal(table.rows, 700, how);
  }
});

test('the turn of a call forgets a part of what ended at once, and the next turns the rest', async () => {
  const count = 4 * MAX_SWEPT_ROWS + 7;
  const { table, expiry } = ended(numbered(count, 'a'));
  expiry.sweep(NOW);
  assert.ok(table.rows >= count - MAX_SWEPT_ROWS && table.rows < count, `${table.rows}`);
  await expiry.sweepInTurns(NOW);
  assert.equal(table.rows, 0);
});

test('calls that need room one after another look at other rows each time', () => {
  const waiting = 2 * MAX_SWEPT_ROWS;
  const { table, expiry } = ended([...numbered(waiting, 'a'), ...numbered(9, 'z')], (key) => key.startsWith('a'));
  for (let call = 0; call < 3; call++) expiry.sweep(NOW);
  assert.equal(table.rows, waiting);
});
