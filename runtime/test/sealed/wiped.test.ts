/** Rows of the index, which have the keys of values, are overwritten wherever the writing or reading of an index fails. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { StateDisk } from '../../src/log/state-disk.ts';
import { IndexTable } from '../../src/storage/sealed/index-table.ts';
import { ROW_PREFIX_BYTES } from '../../src/storage/sealed/row-bytes.ts';
import { type EpochSeals, epochSeals } from '../../src/storage/sealed/seals.ts';
import { readIndex, type SlotHead } from '../../src/storage/sealed/slot.ts';
import { FakeDisk } from '../log/support.ts';
import { MIB, put, Rig } from './support.ts';

/** Buffers of a kind that are made from now on. */
function madeBy(t: TestContext, kind: 'allocUnsafe' | 'concat'): Buffer[] {
  const made: Buffer[] = [];
  const make = Buffer[kind] as (...words: unknown[]) => Buffer;
  t.mock.method(Buffer, kind, (...words: unknown[]) => {
    const buffer = make.apply(Buffer, words);
    made.push(buffer);
    return buffer;
  });
  return made;
}

const isWiped = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** Key of a row in plain, by which its bytes are known again. */
const MARK = 'a-key-that-stands-in-rows';
const hasMark = (buffer: Buffer): boolean => buffer.includes(MARK);

/** A store with a row. */
async function stored(): Promise<Rig> {
  const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB), collections: { cases: Number.POSITIVE_INFINITY } });
  await rig.call([put(MARK, 1)]);
  return rig;
}

test('rows that wait for a chunk when work before the last step fails', async (t) => {
  const rig = await stored();
  const made = madeBy(t, 'allocUnsafe');
  rig.log.between = async () => {
    throw new Error('a log that fails');
  };
  await assert.rejects(rig.store.advance(), /log that fails/);
  assert.equal(made.some(hasMark), false);
});

test('rows that changed while the index was written, when the last step does not come', async (t) => {
  const rig = await stored();
  const made = madeBy(t, 'concat');
  rig.log.between = async () => {
    await rig.call([put(MARK, 2)]);
    made.length = 0;
    throw new Error('a log that fails');
  };
  await assert.rejects(rig.store.advance(), /log that fails/);
  assert.equal(made.some(hasMark), false);
  assert.ok(made.some((buffer) => buffer.length > MARK.length && isWiped(buffer)));
});

test('rows that changed while the index was written, when the disk fails', async (t) => {
  const rig = await Rig.boot({ disk: new FakeDisk(64 * MIB), collections: { cases: Number.POSITIVE_INFINITY } });
  const made = madeBy(t, 'concat');
  const between = rig.log.between.bind(rig.log);
  rig.log.between = async (task) => {
    rig.log.between = between;
    // More than one chunk of them, so that the first is written while others are left.
    for (let call = 0; call < 6; call++)
      await rig.call(Array.from({ length: 400 }, (_, i) => put(`${MARK} ${call} ${i}`.padEnd(250, 'x'), 2)));
    rig.log.state.writeSlot = async () => {
      throw new Error('a disk that fails');
    };
    made.length = 0;
    return between(task);
  };
  await assert.rejects(rig.store.advance(), /disk that fails/);
  assert.ok(made.length > 0);
  assert.equal(made.some(hasMark), false);
});

test('rows of a chunk that is no index', async () => {
  const plain = Buffer.alloc(ROW_PREFIX_BYTES + 99, 1);
  const disk = { slotBytes: MIB, readSlot: async (_: number, __: number, length: number) => Buffer.alloc(length) };
  const seals = { index: { open: () => plain } } as unknown as EpochSeals;
  const head = { slot: 0, chunks: 1 } as SlotHead;
  await assert.rejects(readIndex(disk as unknown as StateDisk, head, { last: 0 }, seals, new IndexTable(MIB)), {
    code: 'state',
  });
  assert.ok(isWiped(plain));
});

test('bytes that were sealed, where a host has changed one of them', (t) => {
  const { index } = epochSeals(randomBytes(32), 'test');
  const sealed = index.seal(0, new Uint8Array(), Buffer.from(MARK.repeat(99)));
  sealed[0] = (sealed[0] ?? 0) ^ 1;
  const filled: Uint8Array[] = [];
  const fill = Buffer.prototype.fill;
  t.mock.method(Buffer.prototype, 'fill', function filledWith(this: Buffer, ...words: [number]) {
    if (hasMark(this)) filled.push(this);
    return fill.apply(this, words);
  });
  assert.throws(() => index.open(0, new Uint8Array(), sealed), { code: 'state' });
  assert.equal(filled.length, 1);
  assert.ok(filled.every(isWiped));
});
