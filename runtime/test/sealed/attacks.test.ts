/**
 * A host that puts another disk, an older one, a cut or a changed one under a boot is refused by
 * name, or the boot has exactly what was acknowledged.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  type BlockSection,
  blockLength,
  ENTRY_PREFIX_BYTES,
  SECTOR_BYTES,
  STATE_SECTION,
  sealBlock,
  sectionsLength,
  sectors,
  writeBlockHead,
} from '@enclaim/attestation/log-disk';
import { FakeKeeper } from '../../../test/fakes/keeper.ts';
import { count } from '../../../test/support/long.ts';
import { RefusalError } from '../../src/errors.ts';
import { Seal } from '../../src/storage/sealed/seals.ts';
import { entry, FakeDisk, seededDraw } from '../log/support.ts';
import { MIB, put, Rig } from './support.ts';

const state = (reason: RegExp) => (error: unknown) =>
  error instanceof RefusalError && error.code === 'state' && reason.test(error.message);

/** The offset on the disk of a slot. */
function slotAt(disk: FakeDisk, slot: number): number {
  const { base, length } = disk.layout.slots;
  return base + slot * length;
}

async function stored(rig: Rig, key: string): Promise<string | undefined> {
  return await rig.cases.get(key)?.value;
}

test('the disk of yesterday is refused by name, and so is the second boot of a copied one', async () => {
  const rig = await Rig.boot();
  await rig.call([put('a', 'old')]);
  const yesterday = rig.disk.copy();
  const copied = rig.disk.copy();
  const next = await rig.again({ disk: rig.disk.copy() });
  await next.call([put('a', 'new')]);
  for (const disk of [yesterday, copied])
    await assert.rejects(rig.again({ disk }), state(/has stored state of epoch 1, and the keeper is at epoch 2/));
  assert.equal(await stored(await next.again(), 'a'), '"new"');
});

test('a host that puts the keeper back with the disk is not seen, which is said of emulated TPMs', async () => {
  const rig = await Rig.boot();
  await rig.call([put('a', 'old')]);
  const [disk, keeper] = [rig.disk.copy(), rig.keeper.clone()];
  const next = await rig.again();
  await next.call([put('a', 'new')]);
  assert.equal(await stored(await rig.again({ disk, keeper }), 'a'), '"old"');
});

test('a disk of another system, keeper or machine is refused', async () => {
  const rig = await Rig.boot();
  await rig.call([put('a', 1)]);
  await assert.rejects(rig.again({ system: 'other' }), state(/not the ones that were sealed/));
  await assert.rejects(rig.again({ keeper: new FakeKeeper() }), state(/epoch 1, and the keeper is at epoch 0/));
  await assert.rejects(rig.again({ keeper: new FakeKeeper({ epoch: 1 }) }), { code: 'keeper' });
  await assert.rejects(
    rig.again({ disk: new FakeDisk(2 * MIB) }),
    state(/no stored state, and the keeper is at epoch 1/),
  );
});

test('a disk that is too small for slots is refused', async () => {
  await assert.rejects(Rig.boot({ disk: new FakeDisk(256 * 1024) }), state(/without room/));
});

test('a log that is cut below the slot is refused; one that is cut behind it ends earlier', async () => {
  const rig = await Rig.boot();
  await rig.call([put('a', 1)]);
  const early = rig.disk.copy();
  await rig.store.advance();
  const middle = rig.disk.copy();
  await rig.call([put('a', 2)]);
  const { base } = rig.disk.layout.slots;
  // The slots of now, and the log of before.
  const cut = early.copy();
  cut.bytes.set(rig.disk.bytes.subarray(base), base);
  const longer = await Rig.boot();
  for (let i = 0; i < 3; i++) await longer.log.append(entry('other'));
  const other = longer.disk.copy();
  other.bytes.set(rig.disk.bytes.subarray(base), base);
  await assert.rejects(rig.again({ disk: other }), state(/the log/));
  // As long as the epoch's first block is there, the tail is the log's.
  assert.equal(await stored(await rig.again({ disk: middle, keeper: rig.keeper.clone() }), 'a'), '1');
  await rig.log.append(entry('more'));
  const keeper = rig.keeper.clone();
  const now = await rig.again({ keeper });
  await now.call([put('a', 3)]);
  await now.store.advance();
  const { base: at } = now.disk.layout.slots;
  cut.bytes.set(now.disk.bytes.subarray(at), at);
  await assert.rejects(
    now.again({ disk: cut }),
    state(/a log of 1 records, and stored state that was written with 4|the log/),
  );
});

test('slots that were swapped, or hold the other epoch, are refused', async () => {
  const rig = await Rig.boot();
  await rig.call([put('a', 1)]);
  await rig.store.advance();
  const { length } = rig.disk.layout.slots;
  const [zero, one] = [slotAt(rig.disk, 0), slotAt(rig.disk, 1)];
  const swapped = rig.disk.copy();
  swapped.bytes.set(rig.disk.bytes.subarray(zero, zero + length), one);
  swapped.bytes.set(rig.disk.bytes.subarray(one, one + length), zero);
  await assert.rejects(rig.again({ disk: swapped }), state(/in the slot of another epoch/));
  const foreign = rig.disk.copy();
  const other = await Rig.boot();
  await other.store.advance();
  foreign.bytes.set(other.disk.bytes.subarray(zero, zero + length), zero);
  await assert.rejects(rig.again({ disk: foreign }), { code: 'keeper' });
});

test('no changed byte of a slot or frame opens as anything but what was there', async () => {
  const draw = seededDraw('changed bytes');
  const rig = await Rig.boot();
  await rig.call([put('a', 'one'), put('b', 'x'.repeat(200))]);
  await rig.store.advance();
  await rig.call([put('c', 'three')]);
  const slot = slotAt(rig.disk, 0);
  const first = rig.disk.layout.journal.base;
  const written = rig.disk.bytes.findLastIndex((byte, at) => byte !== 0 && at < rig.disk.layout.quotes.base);
  let refused = 0;
  for (let run = 0; run < count(150, 5000, 30); run++) {
    const disk = rig.disk.copy();
    const at = draw(2) > 0 ? slot + (draw(2) > 0 ? draw(400) : 4096 + draw(900)) : first + draw(written - first);
    disk.bytes[at] = (disk.bytes[at] ?? 0) ^ (1 << draw(8));
    try {
      const next = await rig.again({ disk, keeper: rig.keeper.clone() });
      for (const [key, value] of [
        ['a', '"one"'],
        ['b', `"${'x'.repeat(200)}"`],
        ['c', '"three"'],
      ] as const) {
        const found = next.cases.get(key);
        // A tail that was cut is the log's.
        if (found === undefined) assert.equal(key, 'c');
        else {
          const read = await Promise.resolve(found.value).catch((error: unknown) => error);
          if (read instanceof RefusalError) refused++;
          else assert.equal(read, value);
        }
      }
    } catch (error) {
      assert(error instanceof RefusalError, `${at}: ${error}`);
      refused++;
    }
  }
  assert(refused > 10);
});

test('any bytes in place of slots are refused, or no state', async () => {
  const draw = seededDraw('any bytes');
  const rig = await Rig.boot();
  await rig.call([put('a', 1)]);
  for (let run = 0; run < count(60, 2000, 20); run++) {
    const disk = rig.disk.copy();
    const at = slotAt(disk, 1) + (draw(3) === 0 ? 4096 : draw(64));
    for (let i = 0; i < 1 + draw(64); i++) disk.bytes[at + i] = draw(256);
    const outcome = await rig.again({ disk, keeper: rig.keeper.clone() }).catch((error: unknown) => error);
    if (outcome instanceof Rig) assert.equal(await stored(outcome, 'a'), '1');
    else assert(outcome instanceof RefusalError, `${outcome}`);
  }
});

test('a value that the host changed ends its reader, and no other value comes in its place', async () => {
  const rig = await Rig.boot();
  await rig.call([put('a', 'one')]);
  await rig.call([put('b', 'two')]);
  const { base } = rig.disk.layout.journal;
  const before = Buffer.from(rig.disk.bytes);
  const end = rig.disk.layout.quotes.base;
  const [first, second] = await blocksOf(rig);
  // The block of the one in place of the other.
  before.copy(rig.disk.bytes, base + (first ?? 0), base + (second ?? 0), end);
  const found = rig.cases.get('a');
  await assert.rejects(Promise.resolve(found?.value), { code: 'state', final: true });
  rig.disk.bytes.set(before);
  assert.equal(await stored(rig, 'a'), '"one"');
});

/** Positions of the blocks that have frames. */
async function blocksOf(rig: Rig): Promise<number[]> {
  const positions: number[] = [];
  await rig.log.state.follow({ position: 0, prior: new Uint8Array(32), size: 0 }, (_, block) => positions.push(block));
  return positions;
}

test('a frame that is put in a second time, or left out, is refused', async () => {
  const rig = await Rig.boot();
  for (const key of ['a', 'b', 'c']) await rig.call([put(key, key)]);
  const found = await rig.again({ keeper: rig.keeper.clone() });
  assert.equal(found.store.opened.frames, 3);
  // Frames are in the hash of their block, so that the log ends before a changed one.
  const [, second = 0] = await blocksOf(rig);
  const disk = rig.disk.copy();
  disk.bytes.fill(0, disk.layout.journal.base + second, disk.layout.journal.base + second + 512);
  const cut = await rig.again({ disk, keeper: rig.keeper.clone() });
  assert.deepEqual(cut.cases.list({ prefix: '', after: '', limit: 9 }).keys, ['a']);
});

/** Writes the last block anew, as a host can that has the disk: with its records, and with other sections. */
async function rewritten(rig: Rig, position: number, change: (sections: BlockSection[]) => BlockSection[]) {
  const disk = rig.disk.copy();
  const block = await disk.reader.journal(SECTOR_BYTES).block(position);
  const sections = change([...block.sections]);
  const bytes = block.entries.reduce((sum, entry) => sum + ENTRY_PREFIX_BYTES + entry.length, 0);
  const length = blockLength(block.size, bytes, sectionsLength(sections));
  const out = Buffer.alloc(sectors(length));
  let at = writeBlockHead(out, { ...block, length }, block.frontier);
  for (const entry of block.entries) {
    at = out.writeUInt16BE(entry.length, at);
    out.set(entry, at);
    at += entry.length;
  }
  for (const { type, data } of sections) {
    at = out.writeUInt32BE(data.length, out.writeUInt16BE(type, at));
    out.set(data, at);
    at += data.length;
  }
  sealBlock(out, length);
  disk.bytes.fill(0, disk.layout.journal.base + position, disk.layout.quotes.base);
  disk.bytes.set(out, disk.layout.journal.base + position);
  return rig.again({ disk, keeper: rig.keeper.clone(), collections: TWO });
}

const TWO = { from: 1e9, to: 1e9 };

test('a block that the host wrote anew with its records and without its changes is refused', async () => {
  const rig = await Rig.boot({ collections: TWO });
  const [debit, credit] = [[put('a', 'debited')], [put('b', 'credited')]];
  rig.collection('from').check(debit);
  rig.collection('to').check(credit);
  const { durable } = rig.log.place(entry('transfer'));
  rig.collection('from').apply(debit);
  rig.collection('to').apply(credit);
  await durable;
  const [position = 0] = await blocksOf(rig);
  const same = await rewritten(rig, position, (sections) => sections);
  assert.equal(await same.collection('to').get('b')?.value, '"credited"');
  const isState = ({ type }: BlockSection): boolean => type === STATE_SECTION;
  const changes: Record<string, (sections: BlockSection[]) => BlockSection[]> = {
    'half of them': (sections) => sections.filter((each, i) => !isState(each) || i === sections.findIndex(isState)),
    'all of them': (sections) => sections.filter((each) => !isState(each)),
    'all of them, and the seal': () => [],
    'the seal alone': (sections) => sections.filter(isState),
  };
  for (const [what, change] of Object.entries(changes))
    await assert.rejects(rewritten(rig, position, change), { code: 'state' }, what);
});

test('a planted text is nowhere on the disk, neither as a value, nor as a key, label or owner', async () => {
  const rig = await Rig.boot({ disk: new FakeDisk(8 * MIB) });
  const markers = ['value-7f3a', 'key-7f3a', 'label-7f3a', 'owner-7f3a'];
  const [value = '', key = '', label = '', owner = ''] = markers;
  await rig.call([put(key, value, { label: [label], owner })]);
  await rig.log.append(entry('marker-7f3a'));
  await rig.store.advance();
  await rig.call([{ kind: 'delete', key, label: [] }]);
  const next = await rig.again();
  await next.call([put(`${key}2`, [value])]);
  for (const { disk } of [rig, next]) {
    for (const marker of markers) assert.equal(disk.bytes.indexOf(marker), -1, marker);
    // The search finds what is not sealed.
    assert.notEqual(disk.bytes.indexOf('marker-7f3a'), -1);
  }
});

test('a keeper that fails at any step loses nothing, and the next boot goes on', async () => {
  for (const step of ['epoch', 'seal', 'open', 'advance'] as const) {
    let [isDown, after] = [false, false];
    const keeper = new FakeKeeper({
      before: (each) => {
        if (isDown && each === step) throw new RefusalError('keeper', 'down');
      },
    });
    const rig = await Rig.boot({ keeper });
    await rig.call([put('a', 1)]);
    isDown = true;
    if (step === 'seal' || step === 'advance') {
      await assert.rejects(rig.store.advance(), { code: 'keeper' });
      await rig.call([put('b', 2)]);
      assert.equal(rig.store.epoch, 1);
    }
    await assert.rejects(rig.again(), { code: 'keeper' });
    isDown = false;
    after = true;
    const next = await rig.again();
    assert.equal(await stored(next, 'a'), '1');
    if (step === 'seal' || step === 'advance') assert.equal(await stored(next, 'b'), '2');
    assert(after);
  }
});

test('a keeper whose answer is lost has gone on or not: both are found out', async () => {
  const keeper = new FakeKeeper();
  const rig = await Rig.boot({ keeper });
  await rig.call([put('a', 1)]);
  const { advance } = keeper;
  keeper.advance = async () => {
    await advance.call(keeper);
    throw new RefusalError('keeper', 'the answer is lost');
  };
  assert.equal(await rig.store.advance(), 2);
  await rig.call([put('b', 2)]);
  keeper.advance = advance;
  const next = await rig.again();
  assert.deepEqual(next.cases.list({ prefix: '', after: '', limit: 9 }).keys, ['a', 'b']);
  // Where nobody can say which, nothing more is acknowledged.
  next.keeper.advance = async () => {
    throw new RefusalError('keeper', 'down');
  };
  next.keeper.epoch = async () => {
    throw new RefusalError('keeper', 'down');
  };
  await assert.rejects(next.store.advance());
  assert.throws(() => next.cases.get('a'), { code: 'state' });
  assert.throws(() => next.cases.check([put('c', 3)]), { code: 'state' });
});

/** A keeper that remembers the keys that it has handed out. */
class WatchedKeeper extends FakeKeeper {
  readonly handed: Uint8Array[] = [];

  override async open(blob: Uint8Array): Promise<Uint8Array> {
    const key = await super.open(blob);
    this.handed.push(key);
    return key;
  }
}

test('a boot that is refused, wherever, leaves no key of the state in memory', async (t) => {
  let failing = '';
  const keeper = new WatchedKeeper({ before: (step) => assert.notEqual(step, failing) });
  const rig = await Rig.boot({ keeper });
  await rig.call([put('a', 1)]);
  const wiped = new Set<unknown>();
  t.mock.method(Seal.prototype, 'wipe', function (this: Seal) {
    wiped.add(this);
  });
  const made = new Set<unknown>();
  const open = Seal.prototype.open;
  t.mock.method(Seal.prototype, 'open', function (this: Seal, ...rest: Parameters<typeof open>) {
    made.add(this);
    return open.apply(this, rest);
  });
  const facts = rig.disk.copy();
  const index = rig.disk.copy();
  const slot = slotAt(rig.disk, 1);
  // The last byte of the sealed facts, and one of the index.
  const end = 28 + facts.bytes.readUInt16BE(slot + 24) + facts.bytes.readUInt16BE(slot + 26);
  for (const [disk, at] of [
    [facts, end - 1],
    [index, 4096 + 20],
  ] as const) {
    disk.bytes[slot + at] = (disk.bytes[slot + at] ?? 0) ^ 1;
    const head = disk.bytes.subarray(slot, slot + 4096 - 32);
    createHash('sha256')
      .update(head)
      .digest()
      .copy(disk.bytes, slot + 4096 - 32);
    await assert.rejects(rig.again({ disk }), state(/not the ones that were sealed/));
  }
  failing = 'seal';
  await assert.rejects(rig.again());
  assert.equal(keeper.handed.length, 3);
  for (const key of keeper.handed) assert.deepEqual(Buffer.from(key), Buffer.alloc(32));
  for (const seal of made) assert.ok(wiped.has(seal));
  // Those of an epoch that never came to use, too: frames, index, head and blocks.
  assert.ok(wiped.size >= 4 * (1 + 1 + 3), `${wiped.size} seals`);
});

test('no more of a slot is read than its index has, whatever length stands before a chunk', async () => {
  const rig = await Rig.boot();
  await rig.call([put('a', 1)]);
  await rig.store.advance();
  const disk = rig.disk.copy();
  const slot = slotAt(disk, 0) + 4096;
  // The first chunk has the rows of the index, the last one its names.
  const last = slot + 4 + disk.bytes.readUInt32BE(slot);
  const length = disk.bytes.readUInt32BE(last);
  for (const other of [length - 1, length + 1, 0, 100_000]) {
    disk.bytes.writeUInt32BE(other, last);
    await assert.rejects(rig.again({ disk: disk.copy() }), state(new RegExp(`a chunk of ${other} bytes`)));
  }
  disk.bytes.writeUInt32BE(length, last);
  assert.equal(await stored(await rig.again({ disk }), 'a'), '1');
});
