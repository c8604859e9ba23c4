/** Event logs made up for tests, in both formats. */

import { concat, utf8 } from '../../attestation/src/bytes.ts';
import { HASH_LENGTH, type HashName, hash } from '../../attestation/src/digest.ts';
import { HASH_ID } from '../../attestation/src/tpm/algorithm.ts';
import { EV_NO_ACTION } from '../../attestation/src/tpm/event-log.ts';

/** `value` in `length` bytes, little-endian. */
export const le = (value: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => Math.floor(value / 256 ** i) & 0xff);

/** An event to be logged, with digests that are right. */
export interface Entry {
  readonly register: number;
  readonly type: number;
  readonly data: Uint8Array;
  /** The banks it has digests for, each of the data; all where left out. */
  readonly banks?: readonly HashName[];
  /** The digest of every bank that has one of its length, where it is not of the data. */
  readonly digest?: Uint8Array;
}

export const EV_IPL = 13;
export const ipl = (register: number, text: string): Entry => ({ register, type: EV_IPL, data: utf8(text) });
export const noAction = (data: Uint8Array, register = 0): Entry => ({ register, type: EV_NO_ACTION, data });
export const locality = (value: number): Entry => noAction(concat(utf8('StartupLocality\0'), Uint8Array.of(value)));

/** A log of SHA-1 events. */
export function sha1Log(...entries: readonly Entry[]): Uint8Array {
  return concat(
    ...entries.map(({ register, type, data }) =>
      concat(le(register, 4), le(type, 4), hash('sha1', data), le(data.length, 4), data),
    ),
  );
}

/** Data of the header event: algorithms with their digest lengths. */
export function specId(banks: readonly (readonly [number, number])[], version: readonly number[] = [0, 2]): Uint8Array {
  return concat(
    utf8('Spec ID Event03\0'),
    le(0, 4),
    Uint8Array.from([...version, 0, 2]),
    le(banks.length, 4),
    ...banks.map(([id, length]) => concat(le(id, 2), le(length, 2))),
    Uint8Array.of(0),
  );
}

export const BANKS: readonly HashName[] = ['sha1', 'sha256', 'sha384'];

/** A crypto-agile log. */
export function agileLog(...entries: readonly Entry[]): Uint8Array {
  const header = sha1Log(noAction(specId(BANKS.map((bank) => [HASH_ID[bank], HASH_LENGTH[bank]]))));
  return concat(
    header,
    ...entries.map(({ register, type, data, digest, banks = BANKS }) =>
      concat(
        ...[le(register, 4), le(type, 4), le(banks.length, 4)],
        ...banks.flatMap((bank) => [
          le(HASH_ID[bank], 2),
          digest?.length === HASH_LENGTH[bank] ? digest : hash(bank, data),
        ]),
        ...[le(data.length, 4), data],
      ),
    ),
  );
}
