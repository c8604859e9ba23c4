/** The form of records that are messages, by their descriptors. */

import { createHash } from 'node:crypto';
import { type DescField, fromJson, type JsonValue, type Message, type Registry } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import type { Descriptors, StoredMessage } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { IndexedValues, RecordForm, Search } from '../storage/record-form.ts';
import type { Json } from '../worker/json-text.ts';

/**
 * Records of one collection.
 *
 * **Trust**: descriptors travel with the handlers, so their author could call a diagnosis public.
 * What is found therefore also carries what the records' places carry, whatever a field is called.
 */
export class MessageForm implements RecordForm {
  readonly fields: readonly string[];
  readonly shape: string;
  readonly #collection: string;
  readonly #stored: StoredMessage;
  readonly #registry: Registry;

  /** @param registry types that a record may hold in an `Any` */
  constructor(collection: string, stored: StoredMessage, registry: Registry) {
    this.#collection = collection;
    this.#stored = stored;
    this.#registry = registry;
    this.fields = stored.indexes.map(({ field }) => field.name);
    this.shape = shapeOf(stored);
  }

  valuesOf(record: Json): IndexedValues {
    const { message, indexes } = this.#stored;
    const read = this.#read(record, (cause) => {
      const what = `records of ${this.#collection} are messages ${message.typeName}, and this is none`;
      return new RefusalError('worker', what, { cause });
    });
    return indexes.map(({ field }) => fieldValue(read, field, this.#stored));
  }

  searchOf(where: Json): Search {
    const [member, ...more] = Object.entries(typeof where === 'object' && !Array.isArray(where) ? (where ?? {}) : {});
    const [name, value] = member ?? [];
    // Names as a reader of JSON takes them.
    const index = this.#stored.indexes.findIndex(({ field }) => field.jsonName === name || field.name === name);
    const found = this.#stored.indexes[index];
    // The name is the handler's text, and goes into no message.
    if (found === undefined || name === undefined || more.length > 0) {
      const by = this.fields.length === 0 ? 'no field' : `one of ${this.fields.join(', ')}`;
      throw new RefusalError('grant', `${this.#collection} is listed by ${by}`);
    }
    const other = (cause?: unknown): RefusalError => {
      const what = `${this.#collection} is listed by a value of ${found.field.name}, and this is none`;
      return new RefusalError('grant', what, { cause });
    };
    const sought =
      value === null ? null : fieldValue(this.#read({ [name]: value as Json }, other), found.field, this.#stored);
    if (sought === null) throw other();
    return { index, value: sought, label: found.categories };
  }

  #read(json: Json, refusal: (cause: unknown) => RefusalError): Message {
    try {
      return fromJson(this.#stored.message, json as JsonValue, { registry: this.#registry });
    } catch (cause) {
      throw refusal(cause);
    }
  }
}

/** The forms of all collections whose records are messages, by their names. */
export function formsOf(
  stored: ReadonlyMap<string, StoredMessage>,
  { registry }: Pick<Descriptors, 'registry'>,
): ReadonlyMap<string, RecordForm> {
  return new Map([...stored].map(([name, each]) => [name, new MessageForm(name, each, registry)]));
}

/** The value of a field; null where it is not there, and would not count as its zero. */
function fieldValue(message: Message, field: DescField, { message: type }: StoredMessage): string | null {
  const read = reflect(type, message);
  if (!read.isSet(field) && field.presence !== FeatureSet_FieldPresence.IMPLICIT) return null;
  const value: unknown = read.get(field);
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : String(value);
}

function shapeOf({ message, indexes }: StoredMessage): string {
  const fields = indexes.map(({ field }) => {
    const of = field.enum?.values.map(({ name, number }) => [name, number]) ?? field.scalar ?? null;
    return [field.name, field.jsonName, field.presence, of];
  });
  return createHash('sha256')
    .update(JSON.stringify([message.typeName, fields]))
    .digest('hex');
}
