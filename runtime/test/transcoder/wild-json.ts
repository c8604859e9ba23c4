/**
 * JSON of messages at random: mostly as a handler writes it, now and then in any form that protobuf
 * allows, or in one that it does not.
 */

import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import type { Chance } from './chance.ts';
import { FRACTIONS, SPANS, TEXTS, TIMES, WHOLE } from './wild-values.ts';

const MAX_DEPTH = 5;

/** What stands where something else should. */
const ODD: readonly unknown[] = [
  ...[
    null,
    true,
    0,
    -0,
    1.5,
    2 ** 53,
    2 ** 53 + 2,
    2 ** 63,
    2 ** 64,
    -1,
    2 ** 31,
    2 ** 32,
    '',
    '0',
    ' 1',
    '1 ',
    '0x10',
  ],
  ...['1e2', '-0', '007', 'NaN', 'Infinity', 'COLOUR_RED', 'SHUT_ONE', 'CLOSED_TWO', 'NOBODY', '\ud800', 'a\udc00'],
  ...['aGk', 'aGk=', '_-8=', '+/8', 'a', 'aGk=aGk=', 'a G k', [], {}, [null], [[]], { word: 1 }, { '': '' }],
];

/** The JSON text of a message. */
export function wildJson(type: DescMessage, chance: Chance, odd: number): string {
  if (chance.once(400)) return JSON.stringify(tower(type, chance, odd));
  // A zero with a sign, and numbers beyond a double, are written only by hand.
  return JSON.stringify(body(type, chance, odd, 0))
    .replaceAll('"-zero-"', '-0')
    .replaceAll('"-huge-"', '1e999');
}

/** A text with a few changes. */
export function mutatedText(text: string, chance: Chance): string {
  let changed = text;
  for (let changes = 1 + chance.below(2); changes > 0; changes--) {
    const at = chance.below(changed.length + 1);
    const more = chance.of(['0', '1', '9', '-', '.', 'e5', '"', '\\', 'n', ',', ':', '[]', '{}', 'null', ' ', 'é', '']);
    changed = changed.slice(0, at) + more + changed.slice(at + chance.below(3));
  }
  return changed;
}

function tower(type: DescMessage, chance: Chance, odd: number): unknown {
  const field = type.fields.find(({ message, fieldKind }) => message === type && fieldKind !== 'map');
  let inner = body(type, chance, odd, MAX_DEPTH);
  if (field === undefined) return inner;
  for (let depth = chance.of([30, 62, 63, 64, 65, 98, 99, 100, 101]); depth > 0; depth--)
    inner = { [field.jsonName]: field.fieldKind === 'list' ? [inner] : inner };
  return inner;
}

function body(type: DescMessage, chance: Chance, odd: number, depth: number): unknown {
  const json: Record<string, unknown> = {};
  if (type.fields.length === 0 || chance.once(8)) return json;
  const share = 1 + chance.below(type.fields.length);
  const choices = new Set<unknown>();
  const fields = type.fields.filter(({ oneof }) => {
    if (chance.below(type.fields.length) >= share) return false;
    if (oneof === undefined || chance.once(odd)) return true;
    const free = !choices.has(oneof);
    choices.add(oneof);
    return free;
  });
  if (chance.once(3)) fields.reverse();
  for (const field of fields) {
    const name = chance.once(8) ? field.name : field.jsonName;
    Object.defineProperty(json, name, {
      ...{ value: ofField(field, chance, odd, depth), enumerable: true, configurable: true, writable: true },
    });
  }
  if (chance.once(odd * 4)) json[chance.of(['nobody', '', '[wild.more]', '__proto__', 'toString'])] = 'x';
  return json;
}

function ofField(field: DescField, chance: Chance, odd: number, depth: number): unknown {
  if (chance.once(odd)) return chance.of(ODD);
  switch (field.fieldKind) {
    case 'list':
      return Array.from({ length: chance.below(4) }, () => one(field, chance, odd, depth + 1));
    case 'map': {
      const map = Object.create(null);
      for (let entries = chance.below(4); entries > 0; entries--)
        map[keyOf(field.mapKey, chance)] = one(field, chance, odd, depth + 1);
      return map;
    }
    default:
      return one(field, chance, odd, depth + 1);
  }
}

function keyOf(type: ScalarType, chance: Chance): string {
  if (chance.once(40) || type === ScalarType.STRING) return chance.of(TEXTS);
  if (type === ScalarType.BOOL) return chance.of(['true', 'false']);
  return String(wholeOf(type, chance));
}

/** One value of a field. */
function one(field: DescField, chance: Chance, odd: number, depth: number): unknown {
  if (chance.once(odd * 2)) return chance.of(ODD);
  const { message } = field;
  if (message !== undefined) return messageOf(message, chance, odd, depth);
  if (field.scalar !== undefined) return scalarOf(field.scalar, chance);
  const value = chance.of(field.enum?.values ?? []);
  if (chance.once(10)) return value.number;
  return value.jsonName;
}

function messageOf(type: DescMessage, chance: Chance, odd: number, depth: number): unknown {
  switch (type.typeName) {
    case 'google.protobuf.Timestamp':
      return chance.of(TIMES);
    case 'google.protobuf.Duration':
      return chance.of(SPANS);
    case 'google.protobuf.FieldMask':
      return chance.of(['', 'a', 'a,bC', 'aB.cD', 'a_b']);
    case 'google.protobuf.Any':
      return chance.of([{}, { '@type': 'type.googleapis.com/wild.Tree', word: 'x' }, { '@type': 'nobody.Knows' }]);
    case 'google.protobuf.Struct':
      return { a: 1, b: [null, 'x'], c: { d: 2 ** 53 } };
    case 'google.protobuf.Value':
    case 'google.protobuf.ListValue':
      return chance.of<unknown>([[], ['x', 1], 'x', 1, true, { a: 'b' }]);
    default: {
      const [only] = type.fields;
      if (type.typeName.endsWith('Value') && only?.scalar !== undefined) return scalarOf(only.scalar, chance);
      return depth > MAX_DEPTH ? {} : body(type, chance, odd, depth);
    }
  }
}

function scalarOf(type: ScalarType, chance: Chance): unknown {
  switch (type) {
    case ScalarType.STRING:
      return chance.of(TEXTS);
    case ScalarType.BYTES:
      return Buffer.from(chance.of(TEXTS)).toString('base64');
    case ScalarType.BOOL:
      return chance.once(2);
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT: {
      if (chance.once(10)) return chance.of(['-zero-', '-huge-']);
      const value = chance.of(FRACTIONS);
      return Number.isFinite(value) ? value : String(value);
    }
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64: {
      const value = wholeOf(type, chance);
      return chance.once(6) ? Number(value) : String(value);
    }
    default:
      return Number(wholeOf(type, chance));
  }
}

/** A whole number, mostly one that the type can hold. */
function wholeOf(type: ScalarType, chance: Chance): bigint {
  const value = chance.of(WHOLE);
  switch (type) {
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return BigInt.asIntN(64, value);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return value;
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return chance.once(40) ? value : BigInt.asUintN(32, value);
    default:
      return chance.once(40) ? value : BigInt.asIntN(32, value);
  }
}
