/**
 * Boots of one log are a chain up to the newest: a disk of before, a fork and another boot in
 * between are named, and no single bit of the chain can be another.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LaterBoot, verifyBootChain } from '@enclaim/attestation/boot-chain';
import { EvidenceError } from '@enclaim/attestation/errors';
import { merkleRoot } from '@enclaim/attestation/merkle';
import { FakeDisk, seededDraw } from '../runtime/test/log/support.ts';
import { asLater, bootOn, type DiskBoot } from './support/boots-on-disk.ts';
import { machine } from './support/proven-boot.ts';

const EMPTY = { size: 0, root: merkleRoot([]) };

const verify = (later: readonly LaterBoot[], from: Parameters<typeof verifyBootChain>[0] = EMPTY) =>
  verifyBootChain(from, later, machine.references.anchors, { now: Date.now() });

const refused = (words: RegExp) => (error: unknown) => {
  assert(error instanceof EvidenceError, String(error));
  assert.match(`${error.code} ${error.message}`, words);
  return true;
};

async function booted(disk: FakeDisk, records: number, unquoted = 0): Promise<DiskBoot> {
  const boot = await bootOn(disk);
  await boot.write(records);
  await boot.writeUnquoted(unquoted);
  return boot;
}

test('each boot goes on from the one before, and what no quote covers is counted', async () => {
  const disk = new FakeDisk();
  const [one, two, three] = [await booted(disk, 3, 2), await booted(disk, 4), await booted(disk, 1)];
  // Boots ended when they were followed: what they sign is of the records that they had by then.
  const later = [
    await asLater(one, three.log, 0),
    await asLater(two, three.log, 6),
    await asLater(three, three.log, 11),
  ];
  const sizes = (await verify(later)).map(({ began, uncovered, checkpoint }) => [began, uncovered, checkpoint.size]);
  assert.deepEqual(sizes, [
    [0, 0, 6],
    [6, 0, 11],
    [11, 0, 13],
  ]);
  // Without the second, its records stand under no quote of the chain.
  const [{ uncovered } = assert.fail()] = await verify([await asLater(three, three.log, 6)], {
    size: 6,
    root: await three.log.rootAt(6),
  });
  assert.equal(uncovered, 5);
});

test('a boot that began with a disk of before is named', async () => {
  const disk = new FakeDisk();
  const one = await booted(disk, 3);
  const yesterday = disk.copy();
  const two = await booted(disk, 4);
  const back = await booted(yesterday, 9);
  const later = [await asLater(one, two.log, 0), await asLater(two, two.log, 4), await asLater(back, back.log, 4)];
  await assert.rejects(verify(later), refused(/log boot \w+ began with 4 records, and 9 were under.*an earlier one/));
});

test('a fork is named: a boot that found another tree, and one that did not go on from what it found', async () => {
  const [disk, other] = [new FakeDisk(), new FakeDisk()];
  const one = await booted(disk, 3);
  await booted(other, 3);
  const two = await booted(other, 2);
  const [first, second] = [await asLater(one, one.log, 0), await asLater(two, two.log, 4)];
  await assert.rejects(verify([first, second]), refused(/log boot \w+ began with 4 records of another tree/));
  const { log } = two;
  const between = { ...second, grown: (await log.consistency(3, log.size)).slice() };
  await assert.rejects(verify([between], { size: 4, root: await log.rootAt(4) }), refused(/does not continue/));
});

test('no bit of a chain can be another', async () => {
  const disk = new FakeDisk();
  const [one, two] = [await booted(disk, 5), await booted(disk, 6)];
  const later = [await asLater(one, two.log, 0), await asLater(two, two.log, 6)];
  await verify(later);
  const draw = seededDraw('chain');
  for (let i = 0; i < 1000; i++) {
    const flipped = later.map(({ quote, found, grown }) => ({
      quote: quote.slice(),
      found: found.map((hash) => hash.slice()),
      grown: grown.map((hash) => hash.slice()),
    }));
    const parts = flipped.flatMap(({ quote, found, grown }) => [quote, ...found, ...grown]);
    const part = parts[draw(parts.length)] ?? assert.fail();
    const at = draw(part.length);
    part[at] = (part[at] ?? 0) ^ (1 << draw(8));
    await assert.rejects(verify(flipped), EvidenceError);
  }
});
