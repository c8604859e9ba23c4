/** Kinds of values: how each stands on the wire and in JSON. */

import type { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Json } from '../../worker/json-text.ts';
import type { WireReader } from './wire-reader.ts';

/** The values of one kind, which a field, a list or a map holds. Each leaves what is unusual. */
export interface Kind<V> {
  readonly wire: WireType;
  /** Whether a list of them can stand without tags between them. */
  readonly packable: boolean;
  /** Reads a value from the wire. */
  read(reader: WireReader): V;
  /** Reads a value from the wire as its JSON text; empty for a zero, if zeros are absent. */
  pass(reader: WireReader, zeroIsAbsent: boolean): string;
  /** Reads a value from JSON. */
  parse(json: Json): V;
  /** Whether a field without presence that has this value is absent. */
  isZero(value: V): boolean;
  write(writer: BinaryWriter, value: V): void;
  json(value: V): Json;
  /** `json(value)` as a text. */
  text(value: V): string;
  /** Texts of it that its JSON shows in another form. */
  hidden(value: V): readonly string[];
}

/** A kind of values without the parts that most kinds have alike. */
type Essence<V> = Pick<Kind<V>, 'wire' | 'read' | 'parse' | 'write'> & Partial<Kind<V>>;

const NOTHING: readonly string[] = [];

/**
 * A kind; by default of values that JSON has as they are, and of which "" and false are zeros.
 */
export function kindOf<V>(essence: Essence<V>): Kind<V> {
  const json = essence.json ?? ((value: V): Json => value as Json);
  const text = essence.text ?? ((value: V): string => JSON.stringify(json(value)));
  const isZero = essence.isZero ?? ((value: V): boolean => !value);
  const { read } = essence;
  return {
    packable: false,
    json,
    text,
    isZero,
    pass: (reader, zeroIsAbsent) => {
      const value = read(reader);
      return zeroIsAbsent && isZero(value) ? '' : text(value);
    },
    hidden: () => NOTHING,
    ...essence,
  };
}
