/** Indexes that a policy has come to declare otherwise: terms of what is stored are made anew. */

import { setImmediate as turn } from 'node:timers/promises';
import { RefusalError } from '../../errors.ts';
import type { Json } from '../../worker/json-text.ts';
import type { Place } from '../place.ts';
import type { IndexedValues, RecordForm } from '../record-form.ts';
import type { IndexedPlace, IndexTable } from './index-table.ts';
import type { Value } from './row.ts';
import type { SealedCollection } from './sealed-collection.ts';

/** Rows that are looked at in one turn of the loop. */
const SLICE_ROWS = 256;

/** The shape by which a collection's terms are made; undefined where it has no index. */
export function shapeOf({ form }: SealedCollection): string | undefined {
  return form !== undefined && form.fields.length > 0 ? form.shape : undefined;
}

/**
 * Makes the terms of every collection whose shape is another than that of its rows. Records of
 * before that are no such message are found by none.
 *
 * **Cost**: each value of such a collection is read once, at the first boot with its index.
 *
 * @param shapes of its rows, by number of the collection
 * @throws RefusalError `state` for a value that the disk does not give back: a host could hide a
 * record from an index for good
 */
export async function reindex(
  table: IndexTable,
  kept: readonly SealedCollection[],
  shapes: readonly (string | undefined)[],
): Promise<void> {
  const changed = kept.filter((collection, number) => shapeOf(collection) !== shapes[number]);
  for (const collection of changed)
    for await (const { key, place } of placesOf(table, collection.facts.number))
      if (place.value !== undefined) await remake(collection, key, place, place.value);
  if (changed.length > 0) table.recountBytes();
}

async function remake(collection: SealedCollection, key: string, place: Place<Value>, value: Value): Promise<void> {
  const { form } = collection;
  let values: IndexedValues | undefined;
  if (form !== undefined && shapeOf(collection) !== undefined) {
    const bytes = await collection.valueAt(key, place);
    values = valuesIn(bytes.toString(), form);
    bytes.fill(0);
  }
  collection.settle(key, { ...place, value: { ...value, terms: collection.termsOf(values) } });
}

function valuesIn(text: string, form: RecordForm): IndexedValues | undefined {
  try {
    return form.valuesOf(JSON.parse(text) as Json);
  } catch (error) {
    if (error instanceof RefusalError) return undefined;
    throw error;
  }
}

/** The places of a collection, some in each turn of the loop. */
async function* placesOf(table: IndexTable, collection: number): AsyncGenerator<IndexedPlace> {
  // No key is empty.
  let after: Pick<IndexedPlace, 'collection' | 'key'> = { collection, key: '' };
  while (true) {
    const places = table.places(after, SLICE_ROWS);
    for (const each of places) {
      if (each.collection !== collection) return;
      yield each;
      after = each;
    }
    if (places.length < SLICE_ROWS) return;
    await turn();
  }
}
