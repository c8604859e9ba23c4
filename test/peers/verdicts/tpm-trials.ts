/** Event logs with the registers they lead to, and quotes over registers; odd ones and mutants of both. */

import { createHash, sign } from 'node:crypto';
import { concat, u32be, u64be, utf8 } from '../../../attestation/src/bytes.ts';
import type { HashName } from '../../../attestation/src/digest.ts';
import { FakeIdentity } from '../../fakes/certificates.ts';
import { agileLog, BANKS, type Entry, ipl, locality, noAction, sha1Log } from '../../fakes/event-log.ts';
import { Dice, mutated, type TestCase, type Trial, testCase } from './trial.ts';

const EV_NO_ACTION = 3;

function u16be(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

/** `count` logs, and a mutant of every second one. */
export function* eventLogTrials(seed: string, count: number): Generator<Trial> {
  const dice = new Dice(seed);
  for (let number = 0; number < count; number++) {
    const test = oddLog(dice);
    yield { id: `event-log ${number}`, test };
    if (number % 2 === 0)
      yield { id: `event-log ${number}, mutant`, test: mutated(test, Object.keys(test.bytes), dice) };
  }
}

function oddLog(dice: Dice): TestCase {
  const agile = dice.chance(75);
  const entries = Array.from({ length: dice.below(12) + 1 }, () => oddEntry(dice, agile));
  if (dice.chance(25))
    entries.splice(dice.chance(80) ? 0 : dice.below(entries.length), 0, locality(dice.pick([0, 3, 4, 1])));
  const bank = agile ? dice.pick(BANKS) : 'sha1';
  const log = agile ? agileLog(...entries) : sha1Log(...entries);
  return testCase('event-log', 0, { bytes: { log, ...replayed(entries, bank, agile) }, words: { bank } });
}

function oddEntry(dice: Dice, agile: boolean): Entry {
  const register = dice.chance(95) ? dice.below(24) : dice.pick([24, 0xffff_ffff]);
  const data = dice.chance(10) ? new Uint8Array() : dice.bytes(dice.below(80));
  switch (dice.below(10)) {
    case 0:
      return noAction(data, dice.pick([0, 5, 0xffff_ffff]));
    case 1:
      return ipl(register, 'a command line');
    case 2:
      return { register, type: dice.below(2 ** 32), data };
    case 3:
      return agile ? { register, type: 13, data, digest: dice.bytes(dice.pick([20, 32, 48])) } : ipl(register, '');
    case 4:
      return agile && dice.chance(30) ? { register, type: 13, data, banks: [dice.pick(BANKS)] } : ipl(register, 'x');
    default:
      return { register, type: dice.pick([1, 4, 5, 6, 7, 8, 13, 14, 0x8000_0001, 0x8000_0003, 0x8000_0007]), data };
  }
}

/** What a TPM would hold after these events: of every register of the bank. */
function replayed(entries: readonly Entry[], bank: HashName, agile: boolean): Record<string, Uint8Array> {
  const length = createHash(bank).digest().length;
  const start = Buffer.alloc(length);
  const first = entries.find(({ type, data }) => type === EV_NO_ACTION && isLocality(data));
  if (first !== undefined && agile) start[length - 1] = first.data.at(-1) ?? 0;
  const values = Array.from({ length: 24 }, (_, register) => (register === 0 ? start : Buffer.alloc(length)));
  for (const { register, type, data, digest } of entries) {
    const before = values[register];
    if (type === EV_NO_ACTION || before === undefined) continue;
    const extended = digest?.length === length ? digest : createHash(bank).update(data).digest();
    values[register] = createHash(bank).update(before).update(extended).digest();
  }
  return Object.fromEntries(values.map((value, register) => [`pcr${register}`, value]));
}

function isLocality(data: Uint8Array): boolean {
  return Buffer.from(data).subarray(0, 16).equals(utf8('StartupLocality\0'));
}

const HASHES: Readonly<Record<string, number>> = { sha1: 4, sha256: 0xb, sha384: 0xc, sha512: 0xd };

/** `count` quotes, and a mutant of every second one. */
export function* quoteTrials(seed: string, count: number): Generator<Trial> {
  const dice = new Dice(seed);
  const keys = [new FakeIdentity('AK', 'ecdsa-sha256'), new FakeIdentity('AK', 'rsassa-sha256')];
  for (let number = 0; number < count; number++) {
    const test = oddTpmQuote(dice, dice.pick(keys));
    yield { id: `quote ${number}`, test };
    const parts = ['attest', 'signature', 'nonce', ...Object.keys(test.bytes).filter((name) => name.startsWith('pcr'))];
    if (number % 2 === 0) yield { id: `quote ${number}, mutant`, test: mutated(test, parts, dice) };
  }
}

function oddTpmQuote(dice: Dice, key: FakeIdentity): TestCase {
  const bank = dice.pick(['sha1', 'sha256', 'sha256', 'sha384', 'sha512']);
  const hash = dice.pick(['sha256', 'sha256', 'sha384', 'sha512', 'sha1']);
  const width = createHash(bank).digest().length;
  const pcrs = Array.from({ length: 24 }, (_, pcr) => pcr).filter(() => dice.chance(40));
  const values = pcrs.map(() => dice.bytes(width));
  const nonce = dice.bytes(dice.pick([0, 16, 20, 32, 64]));
  const bitmap = new Uint8Array(dice.chance(95) ? 3 : dice.pick([2, 4]));
  for (const pcr of pcrs) bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
  const selection = (id: number, map: Uint8Array): Uint8Array => concat(u16be(id), Uint8Array.of(map.length), map);
  const selections = [selection(HASHES[bank] ?? 0, bitmap)];
  // A bank of which nothing is selected, as real TPMs write it.
  if (dice.chance(15)) selections.push(selection(dice.pick([4, 0xb, 0xc]), new Uint8Array(3)));
  if (dice.chance(50)) selections.reverse();
  const digest = createHash(hash).update(Buffer.concat(values)).digest();
  const sized = (bytes: Uint8Array): Uint8Array => concat(u16be(bytes.length), bytes);
  const attest = concat(
    u32be(dice.chance(97) ? 0xff54_4347 : 0xff54_4348),
    u16be(dice.chance(97) ? 0x8018 : dice.pick([0x8017, 0x8019, 0x801a])),
    sized(dice.chance(90) ? concat(u16be(0xb), dice.bytes(32)) : new Uint8Array()),
    sized(nonce),
    u64be(BigInt(dice.below(2 ** 40))),
    u32be(dice.below(2 ** 32)),
    u32be(dice.below(2 ** 32)),
    Uint8Array.of(dice.chance(97) ? dice.below(2) : 2),
    u64be(BigInt(dice.below(2 ** 40))),
    u32be(selections.length),
    ...selections,
    sized(digest),
    dice.chance(3) ? Uint8Array.of(0) : new Uint8Array(),
  );
  return testCase('quote', 0, {
    bytes: {
      attest,
      signature: signatureOf(key, hash, attest),
      nonce,
      spki: key.spki,
      ...Object.fromEntries(pcrs.map((pcr, index) => [`pcr${pcr}`, values[index] ?? new Uint8Array()])),
    },
    words: { bank },
  });
}

/** TPMT_SIGNATURE. */
function signatureOf(key: FakeIdentity, hash: string, message: Uint8Array): Uint8Array {
  const sized = (bytes: Uint8Array): Uint8Array => concat(u16be(bytes.length), bytes);
  const raw = sign(hash, message, { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  const id = u16be(HASHES[hash] ?? 0);
  if (key.scheme === 'rsassa-sha256') return concat(u16be(0x14), id, sized(raw));
  return concat(u16be(0x18), id, sized(raw.subarray(0, 32)), sized(raw.subarray(32)));
}
