/** Packed rows are what a sorted list of rows would be, and memory keeps nothing of those that went. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count } from '../../../test/support/long.ts';
import { PackedRows } from '../../src/storage/sealed/packed-rows.ts';
import { DUE_BYTES, MAX_ROW_BYTES, NEVER, ROW_PREFIX_BYTES, type RowAt } from '../../src/storage/sealed/row-bytes.ts';
import { type Draw, seededDraw } from '../log/support.ts';

interface Row {
  readonly name: string;
  readonly due: number;
  readonly mark: string;
}

function encoded({ name, due, mark }: Row): Buffer {
  const out = Buffer.alloc(ROW_PREFIX_BYTES + name.length + DUE_BYTES + mark.length);
  out.writeUInt16BE(name.length);
  out.writeUInt8(DUE_BYTES + mark.length, 2);
  out.write(name, ROW_PREFIX_BYTES, 'latin1');
  out.writeUIntBE(due, ROW_PREFIX_BYTES + name.length, DUE_BYTES);
  out.write(mark, ROW_PREFIX_BYTES + name.length + DUE_BYTES, 'latin1');
  return out;
}

const textOf = ({ bytes, name, end }: RowAt): string => bytes.toString('latin1', name - ROW_PREFIX_BYTES, end);

function textsOf(rows: PackedRows, from = ''): string[] {
  const texts: string[] = [];
  rows.each(Buffer.from(from, 'latin1'), (row) => texts.push(textOf(row)) > 0);
  return texts;
}

/** The same rows, by the views that an index is written from. */
function copied(rows: PackedRows): Buffer {
  const all: Buffer[] = [];
  for (let page = rows.behind(new Uint8Array()); page !== undefined; page = rows.behind(page.last))
    all.push(Buffer.from(page.rows));
  return Buffer.concat(all);
}

function rowOf(draw: Draw, keys: number, i: number): Row {
  const name = draw(3) === 0 ? `s${String(i).padStart(6, '0')}` : `${'k'.repeat(draw(5))}${draw(keys)}`;
  const due = [NEVER, 1 + draw(1000), 2 ** 33 + draw(1000)][draw(3)] ?? NEVER;
  return { name, due, mark: String.fromCharCode(draw(256)).repeat(draw(200)) };
}

function check(rows: PackedRows, model: ReadonlyMap<string, Row>, draw: Draw): void {
  const sorted = [...model.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
  const texts = (of: readonly Row[]): string[] => of.map((row) => encoded(row).toString('latin1'));
  assert.deepEqual(textsOf(rows), texts(sorted));
  const from = `k${draw(1000)}`;
  assert.deepEqual(textsOf(rows, from), texts(sorted.filter(({ name }) => name >= from)));
  const probe = rows.get(Buffer.from(from, 'latin1'));
  assert.equal(probe && textOf(probe), model.has(from) ? texts([model.get(from) as Row])[0] : undefined);
  const now = draw(2) > 0 ? draw(1000) : 2 ** 33 + draw(1000);
  assert.ok(rows.least <= Math.min(NEVER, ...sorted.map(({ due }) => due)));
  const due: string[] = [];
  rows.due(now, new Uint8Array(), (row) => due.push(textOf(row)) > 0);
  assert.deepEqual(due, texts(sorted.filter((row) => row.due <= now)));
  assert.ok(rows.least > now || due.length > 0);
}

test('rows that are set, removed, loaded and looked up are those of a sorted list', () => {
  const draw = seededDraw('packed rows');
  for (let program = 0; program < count(30, 400, 8); program++) {
    let rows = new PackedRows();
    const model = new Map<string, Row>();
    const keys = [10, 100, 2000][program % 3] ?? 10;
    const removed = [1, 4, 9][draw(3)] ?? 1;
    for (let i = 0; i < 1500; i++) {
      const row = rowOf(draw, keys, i);
      if (draw(10) < removed) {
        const names = [...model.keys()];
        const name = draw(2) > 0 ? row.name : (names[draw(names.length + 1)] ?? row.name);
        rows.remove(Buffer.from(name, 'latin1'));
        model.delete(name);
      } else {
        rows.set(encoded(row));
        model.set(row.name, row);
      }
      if (i % 250 > 0) continue;
      check(rows, model, draw);
      const again = new PackedRows();
      again.load(copied(rows));
      check(again, model, draw);
      if (draw(2) > 0) rows = again;
    }
  }
});

test('rows in any order load as they are, and what is no row is refused', () => {
  const rows = new PackedRows();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => encoded({ name, due: NEVER, mark: 'x' })) as [Buffer, Buffer, Buffer];
  rows.load(Buffer.concat([b, a, c, a]));
  assert.deepEqual(
    textsOf(rows),
    [a, b, c].map((row) => row.toString('latin1')),
  );
  const large = encoded({ name: 'z'.repeat(MAX_ROW_BYTES), due: NEVER, mark: '' });
  assert.throws(() => rows.set(large), RangeError);
  const short = Buffer.from(a);
  short[2] = DUE_BYTES - 1;
  for (const bytes of [large, a.subarray(0, -1), a.subarray(0, 2), Buffer.concat([c, a.subarray(0, 4)]), short])
    assert.throws(() => new PackedRows().load(bytes), { code: 'state' });
});

test('memory keeps nothing of rows that were removed, replaced or moved to another page', () => {
  const rows = new PackedRows();
  const draw = seededDraw('wiped rows');
  const names = Array.from({ length: 2000 }, (_, i) => `n${(i * 7919) % 2000}`);
  for (const name of names) rows.set(encoded({ name, due: NEVER, mark: `secret ${'s'.repeat(draw(60))}` }));
  const memories = new Set<Buffer>();
  rows.each(new Uint8Array(), ({ bytes }) => memories.add(bytes).size > 0);
  const left = (): number =>
    [...memories].reduce((sum, bytes) => sum + bytes.toString('latin1').split('secret ').length - 1, 0);
  assert.equal(left(), 2000);
  for (const [i, name] of names.entries()) {
    if (i % 2 === 0) rows.remove(Buffer.from(name));
    else if (i % 4 === 1) rows.set(encoded({ name, due: NEVER, mark: 'plain' }));
  }
  assert.equal(left(), 500);
  rows.wipe();
  assert.equal(left(), 0);
  assert.deepEqual(textsOf(rows), []);
  rows.set(encoded({ name: 'a', due: 1, mark: '' }));
  assert.equal(rows.least, 1);
});
