/**
 * CBOR values as this room reads and writes them (RFC 8949): no floats, no undefined, map keys that
 * are integers or text.
 */

/** A tagged value. */
export interface Tagged {
  readonly tag: number;
  readonly value: CborValue;
}

/** A key of a map. */
export type CborKey = number | bigint | string;

/** A map, in the order of the encoding. */
export type CborMap = ReadonlyMap<CborKey, CborValue>;

/** A decoded value. Integers are numbers if they are safe, else bigints. */
export type CborValue = CborKey | boolean | null | Uint8Array | readonly CborValue[] | CborMap | Tagged;

/** Whether a value is tagged. */
export function isTagged(value: CborValue): value is Tagged {
  return typeof value === 'object' && value !== null && 'tag' in value;
}
