/** Part of the realm: the runtime's `LiveMap` (runtime/src/live-map.ts). */

/** Entries of a realm by number, of which few are there at once. */
export type RealmMap<V> = Pick<Map<number, V>, 'get' | 'set' | 'delete'>;

/** Makes an empty one, which starts a new table after as many removals as it has entries. */
export function liveMap<V>(): RealmMap<V> {
  const MIN_REMOVALS = 64;
  let table = new Map<number, V>();
  let removals = 0;
  return {
    get: (key) => table.get(key),
    set: (key, value) => table.set(key, value),
    delete: (key) => {
      if (!table.delete(key)) return false;
      if (++removals < Math.max(MIN_REMOVALS, table.size)) return true;
      table = new Map(table);
      removals = 0;
      return true;
    },
  };
}
