/** Fields of CBOR values that foreign bytes hold, each of the type that is expected. */

import type { CborKey, CborMap, CborValue } from '../cbor/index.ts';
import { DecodeError } from '../errors.ts';

/** Reads one type. @throws DecodeError `syntax` */
type Read<T> = (value: CborValue | undefined, name: string) => T;

function reader<T extends CborValue>(what: string, is: (value: CborValue | undefined) => value is T): Read<T> {
  return (value, name) => {
    if (is(value)) return value;
    throw new DecodeError('syntax', `${name} is no ${what}`, 0);
  };
}

/** A byte string. */
export const asBytes: Read<Uint8Array> = reader('byte string', (value) => value instanceof Uint8Array);
/** A text. */
export const asText: Read<string> = reader('text', (value) => typeof value === 'string');
/** A whole number from 0 to 2^53 - 1. */
export const asSize: Read<number> = reader('size', (value): value is number => typeof value === 'number' && value >= 0);
/** A map. */
export const asMap: Read<CborMap> = reader('map', (value): value is CborMap => value instanceof Map);
/** An array. */
export const asArray: Read<readonly CborValue[]> = reader('array', (value): value is readonly CborValue[] =>
  Array.isArray(value),
);

/** A field of a map by its label. @throws DecodeError `syntax` */
export function field<T>(map: CborMap, label: CborKey, read: Read<T>): T {
  return read(map.get(label), `the value of ${label}`);
}
