/** SEV-SNP reports that are validly signed and odd, under a chain of the fake processor; and mutants of them. */

import { EPOCH } from '../../fakes/certificates.ts';
import { der, integer } from '../../fakes/der.ts';
import { type FakeProduct, FakePsp, type FakeReport } from '../../fakes/psp.ts';
import { Dice, mutated, type Trial, testCase } from './trial.ts';

const NOW = EPOCH + 86_400_000;
const PARTS = ['report', 'leaf', 'ask', 'crl'];
/** Versions of the firmware, current and committed: build, minor, major. */
const CURRENT = 0x1e8;
const COMMITTED = 0x1ec;
/** Reserved in every version, of different kinds: after the signer, before the chip, after the versions, before the signature. */
const RESERVED = [0x4c, 0x18b, 0x19f, 0x1eb, 0x1ef, 0x1f8, 0x208, 0x29f];

/** `count` reports, and a mutant of every second one. */
export function* snpTrials(seed: string, count: number): Generator<Trial> {
  const dice = new Dice(seed);
  const makers = makePsps();
  for (let number = 0; number < count; number++) {
    const test = oddReport(dice, dice.pick(makers));
    yield { id: `snp ${number}`, test };
    if (number % 2 === 0) yield { id: `snp ${number}, mutant`, test: mutated(test, PARTS, dice) };
  }
}

function makePsps(): FakePsp[] {
  const lines: FakeProduct[] = ['Milan', 'Genoa', 'Turin'];
  return lines.flatMap((product) => [new FakePsp({ product }), new FakePsp({ product, signer: 'VLEK' })]);
}

function oddReport(dice: Dice, psp: FakePsp): Trial['test'] {
  const leaf = dice.chance(15) ? oddLeaf(dice, psp) : psp.leaf;
  const crl = dice.chance(70) ? psp.root.crl({ revoked: dice.chance(4) ? [0x10001] : [dice.below(9) + 1] }) : undefined;
  return testCase('snp', dice.chance(4) ? dice.pick([EPOCH - 1000, EPOCH + 4e11]) : NOW, {
    bytes: {
      report: psp.report(oddFields(dice, psp)),
      leaf,
      ask: psp.ask,
      ark: psp.ark,
      ...(crl && { crl }),
    },
    words: { product: psp.product },
  });
}

function oddFields(dice: Dice, psp: FakePsp): FakeReport {
  const fields: Record<string, unknown> = { version: dice.pick([2, 3, 3, 4, 5, 5]) };
  // Most are odd in a thing or two: of those that are odd in all, none is accepted.
  const share = dice.pick([0.05, 0.1, 0.2, 0.5]);
  const odd = (name: keyof FakeReport, percent: number, value: () => unknown): void => {
    if (dice.chance(percent * share)) fields[name] = value();
  };
  const bits = (count: number): bigint => BigInt(dice.below(2 ** count));
  // A TCB below the key's in one of its bytes, or above it.
  const tcb = (): bigint => psp.tcb + (1n << BigInt(8 * dice.below(8))) * BigInt(dice.pick([-1, 1, 1, 2]));
  if (fields.version === 2) fields.cpu = new Uint8Array(3);
  odd('guestSvn', 20, () => dice.below(2 ** 32));
  odd('policy', 40, () => (dice.chance(80) ? 0x2_0000n : 0n) | (bits(8) << 18n) | (bits(1) << 16n) | bits(3));
  odd('policy', 10, () => 0x3_0000n | (1n << BigInt(dice.below(64))) | (bits(2) << 8n));
  odd('familyId', 20, () => dice.bytes(16));
  odd('imageId', 20, () => dice.bytes(16));
  odd('vmpl', 15, () => dice.below(6));
  odd('signatureAlgorithm', 5, () => dice.below(4));
  odd('platformInfo', 30, () => bits(8));
  odd('platformInfo', 5, () => 1n << BigInt(dice.below(64)));
  odd('signerInfo', 15, () => (psp.signer === 'VCEK' ? 0 : 4) | dice.below(4));
  odd('signerInfo', 4, () => dice.below(64));
  odd('reportData', 50, () => dice.bytes(64));
  odd('measurement', 50, () => dice.bytes(48));
  odd('idKeyDigest', 20, () => dice.bytes(48));
  odd('authorKeyDigest', 20, () => dice.bytes(48));
  odd('chipId', 8, () => dice.pick([new Uint8Array(64), dice.bytes(64)]));
  odd('currentTcb', 15, tcb);
  odd('committedTcb', 15, tcb);
  odd('launchTcb', 15, tcb);
  odd('reportedTcb', 5, tcb);
  odd('cpu', 10, () => Uint8Array.of(dice.pick([0x19, 0x1a, 0x17]), dice.below(0xc0), dice.below(32)));
  odd('patch', 40, () => oddPatch(dice, fields.version as number));
  return fields;
}

function oddPatch(dice: Dice, version: number): Record<number, Uint8Array> {
  const patch: Record<number, Uint8Array> = {};
  if (dice.chance(70)) {
    const firmware = Uint8Array.of(dice.below(80), dice.below(60), dice.below(3));
    patch[CURRENT] = firmware;
    patch[COMMITTED] = Uint8Array.from(firmware);
    if (dice.chance(50)) {
      const at = dice.below(3);
      (patch[COMMITTED] as Uint8Array)[at] = ((firmware[at] ?? 0) + dice.pick([1, 255])) & 0xff;
    }
  }
  if (dice.chance(10)) patch[dice.pick(RESERVED)] = Uint8Array.of(1 + dice.below(255));
  if (version >= 5 && dice.chance(50)) patch[0x1f8] = dice.bytes(16);
  return patch;
}

/** A leaf that AMD's root vouches for, and that says something odd. */
function oddLeaf(dice: Dice, psp: FakePsp): Uint8Array {
  switch (dice.below(6)) {
    case 0:
      return psp.certifyLeaf({
        '2': der(0x16, Buffer.from(dice.pick(['Milan-B0', 'Genoa', 'Rome', '', 'Milan-B1\0']))),
      });
    case 1:
      return psp.certifyLeaf({ '1': integer(dice.below(4)) });
    case 2:
      return psp.certifyLeaf({ '4': dice.pick([new Uint8Array(64), dice.bytes(64), dice.bytes(8)]) });
    case 3:
      return psp.certifyLeaf({}, { notAfter: EPOCH + 1000 });
    case 4:
      return psp.certifyLeaf({ '3.8': integer(dice.below(600)) });
    default:
      return psp.certifyLeaf({ [`3.${dice.pick([4, 5, 6, 7])}`]: integer(dice.below(3)) });
  }
}
