/**
 * Records of collections that are messages: their types, and the fields whose values they are
 * listed by.
 */

import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { type Category, uncovered } from '../category.ts';
import { type MatchError, PolicyError, pointerOf } from '../error.ts';
import type { Collection, Policy } from '../policy.ts';
import type { Descriptors } from './descriptors.ts';
import { isWellKnown, planOf, survey } from './handling.ts';

/** A field whose values records are listed by. */
export interface IndexedField {
  /** A single value: text, bytes, a whole number, a truth value or an enum. */
  readonly field: DescField;
  /** Categories of the field and of its message: part of the label of every search by it. */
  readonly categories: readonly Category[];
}

/** The message of a collection. */
export interface StoredMessage {
  readonly message: DescMessage;
  /** In the order of the policy. */
  readonly indexes: readonly IndexedField[];
}

/** Numbers with fractions: two that people take for equal may not be. */
const FRACTIONS: ReadonlySet<ScalarType> = new Set([ScalarType.DOUBLE, ScalarType.FLOAT]);

/**
 * The messages that a policy's collections name, and errors of those that cannot be what is stored
 * there.
 */
export function storedMessages(
  descriptors: Descriptors,
  policy: Policy,
): { readonly stored: ReadonlyMap<string, StoredMessage>; readonly errors: readonly MatchError[] } {
  const stored = new Map<string, StoredMessage>();
  const errors: MatchError[] = [];
  for (const [name, collection] of Object.entries(policy.collections)) {
    if (collection.message === undefined) continue;
    const message = descriptors.registry.getMessage(collection.message);
    if (message === undefined) errors.push(fault(name, ['message'], `no .proto has a message ${collection.message}`));
    else {
      errors.push(...misfits(name, collection, message), ...unindexable(name, collection, message));
      stored.set(name, { message, indexes: indexesOf(collection, message) });
    }
  }
  return { stored, errors };
}

function fault(name: string, rest: readonly PropertyKey[], message: string): MatchError {
  return { pointer: pointerOf(['collections', name, ...rest]), message };
}

/** Fields of which nothing says what they carry, or that carry more than the collection holds. */
function misfits(name: string, { holds }: Collection, message: DescMessage): MatchError[] {
  if (isWellKnown(message))
    return [fault(name, ['message'], `${message.typeName} is a type of protobuf itself: no field has a category`)];
  try {
    const { bare, carriers } = survey(message);
    return [
      ...bare.map(({ path, why }) =>
        fault(name, ['message'], `${name} keeps ${path || message.typeName}, which ${why}`),
      ),
      ...carriers.flatMap(({ path, categories }) =>
        uncovered(holds, categories).map((category) =>
          fault(
            name,
            ['holds'],
            `${message.typeName}.${path} carries ${category}; ${name} holds ${holds.join(', ') || 'none'}`,
          ),
        ),
      ),
    ];
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return [fault(name, ['message'], error.message)];
  }
}

function unindexable(name: string, { indexes = [] }: Collection, message: DescMessage): MatchError[] {
  return indexes.flatMap((index, i) => {
    const field = message.fields.find((each) => each.name === index);
    const why =
      field === undefined
        ? `${message.typeName} has no field ${index}`
        : isIndexable(field)
          ? undefined
          : `${message.typeName}.${index} is no single text, bytes, whole number, truth value or enum`;
    return why === undefined ? [] : [fault(name, ['indexes', i], why)];
  });
}

function isIndexable(field: DescField): boolean {
  if (field.fieldKind === 'enum') return true;
  return field.fieldKind === 'scalar' && !FRACTIONS.has(field.scalar);
}

function indexesOf({ indexes = [] }: Collection, message: DescMessage): IndexedField[] {
  return indexes.flatMap((index) => {
    const field = message.fields.find(({ name }) => name === index);
    if (field === undefined || !isIndexable(field)) return [];
    return [{ field, categories: categoriesOf(message, field) }];
  });
}

function categoriesOf(message: DescMessage, field: DescField): readonly Category[] {
  try {
    return planOf(message).find((plan) => plan.field === field)?.categories ?? [];
  } catch (error) {
    // An error of the message already.
    if (!(error instanceof PolicyError)) throw error;
    return [];
  }
}
