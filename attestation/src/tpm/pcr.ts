/**
 * Platform configuration registers: selections, values, and the digest that a quote signs (Part 1,
 * 17; Part 2, 10.6).
 */

import { concat, type Reader } from '../bytes.ts';
import { HASH_LENGTH, type HashName, hash } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { hashId } from './algorithm.ts';
import { type Codec, list } from './wire.ts';

/** Registers of a PC client TPM are 0 to 23. */
export const PCR_COUNT = 24;

/** Registers of one bank, ascending. */
export interface BankSelection {
  readonly bank: HashName;
  readonly pcrs: readonly number[];
}

/** TPML_PCR_SELECTION. The order of banks matters: values are hashed in it. */
export type PcrSelection = readonly BankSelection[];

/** Values of the registers of one bank, by index. */
export type PcrValues = ReadonlyMap<number, Uint8Array>;
/** Values by bank. */
export type PcrBanks = ReadonlyMap<HashName, PcrValues>;

/** TPMS_PCR_SELECTION with the bitmap of three bytes that the PC client profile fixes. */
const bankSelection: Codec<BankSelection> = {
  decode: (reader: Reader) => {
    const bank = hashId.decode(reader);
    const { at } = reader;
    const size = reader.u8();
    if (size !== PCR_COUNT / 8) throw new DecodeError('range', `bitmap of ${size} bytes`, at);
    const bitmap = reader.take(size);
    const pcrs = Array.from({ length: PCR_COUNT }, (_, pcr) => pcr).filter(
      (pcr) => ((bitmap[pcr >> 3] ?? 0) & (1 << (pcr & 7))) !== 0,
    );
    return { bank, pcrs };
  },
  encode: ({ bank, pcrs }) => {
    const bitmap = new Uint8Array(PCR_COUNT / 8);
    for (const pcr of pcrs) {
      if (!Number.isInteger(pcr) || pcr < 0 || pcr >= PCR_COUNT) throw new RangeError(`no register ${pcr}`);
      bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
    }
    return concat(hashId.encode(bank), Uint8Array.of(bitmap.length), bitmap);
  },
};

const selections = list(bankSelection, 16);

/** TPML_PCR_SELECTION. A bank that stands twice is refused: one value would answer for two. */
export const pcrSelection: Codec<PcrSelection> = {
  decode: (reader) => {
    const { at } = reader;
    const value = selections.decode(reader);
    if (new Set(value.map(({ bank }) => bank)).size !== value.length) {
      throw new DecodeError('canonical', 'a bank is selected twice', at);
    }
    return value;
  },
  encode: (value) => selections.encode(value),
};

/** Whether two selections name the same registers of the same banks in the same order. */
export function sameSelection(a: PcrSelection, b: PcrSelection): boolean {
  return formatSelection(filledBanks(a)) === formatSelection(filledBanks(b));
}

/**
 * The banks that a selection takes registers of. A TPM that was asked for a bank without registers
 * signs it too (Part 2, 10.6.2: bits that are not set select nothing). Such a bank adds no value to
 * the digest.
 */
export function filledBanks(selection: PcrSelection): PcrSelection {
  return selection.filter(({ pcrs }) => pcrs.length > 0);
}

/** A selection as text, the way tpm2-tools writes it: `sha256:0,1,2+sha384:0`. */
export function formatSelection(selection: PcrSelection): string {
  return selection.map(({ bank, pcrs }) => `${bank}:${pcrs.join(',')}`).join('+');
}

/**
 * Hash of the selected values in the order of the selection. A quote carries it as pcrDigest, under
 * the hash of the signing scheme.
 * @returns undefined if a selected value is missing, or is not of its bank's length.
 */
export function pcrDigest(algorithm: HashName, selection: PcrSelection, banks: PcrBanks): Uint8Array | undefined {
  const values: Uint8Array[] = [];
  for (const { bank, pcrs } of selection) {
    for (const pcr of pcrs) {
      const value = banks.get(bank)?.get(pcr);
      if (value?.length !== HASH_LENGTH[bank]) return undefined;
      values.push(value);
    }
  }
  return hash(algorithm, concat(...values));
}

/** A register after `digest` was extended into it: H(value ‖ digest). Start from `zeroPcr`. */
export function extendPcr(bank: HashName, value: Uint8Array, digest: Uint8Array): Uint8Array {
  return hash(bank, concat(value, digest));
}

/**
 * The value of registers 0 to 15 after a reset (register 0 may differ: see the event log's
 * StartupLocality).
 */
export function zeroPcr(bank: HashName): Uint8Array {
  return new Uint8Array(HASH_LENGTH[bank]);
}
