/** A vault whose values outlive the boot, in a sealed collection of their own. */

import { fromBase64, toBase64 } from '@enclaim/attestation/bytes';
import type { Placed } from '../log/record-log.ts';
import { freshHex } from '../random-pool.ts';
import type { Change, Collection } from '../storage/collection.ts';
import { jsonText } from '../worker/json-text.ts';
import { type Vault, VolatileVault } from './vault.ts';

/** Name of the collection. No policy has such a name for one of its own. */
export const VAULT_COLLECTION = '$secrets';
/** The identity whose room secrets take: not one that calls can have. */
const OWNER = '$owner';
const VERSION_BYTES = 8;

/** Keeps values in memory, where messages take them, and sealed. */
export class SealedVault implements Vault {
  readonly #memory: VolatileVault;
  readonly #collection: Collection;
  readonly #record: (name: string) => Placed;

  private constructor(memory: VolatileVault, collection: Collection, record: (name: string) => Placed) {
    this.#memory = memory;
    this.#collection = collection;
    this.#record = record;
  }

  /**
   * Reads the values that were kept.
   *
   * @param names those of the policy
   * @param record places a record of a value that is kept or gone, which the change rides with
   * @throws RefusalError `state` if a value cannot be read
   */
  static async open(
    collection: Collection,
    { names, now, record }: { names: Iterable<string>; now: () => number; record: (name: string) => Placed },
  ): Promise<SealedVault> {
    const memory = new VolatileVault(now);
    for (const name of names) {
      const found = collection.get(name);
      if (found?.value === undefined) continue;
      const value = fromBase64(JSON.parse(await found.value) as string);
      memory.keep(name, value, found.since);
      value.fill(0);
    }
    return new SealedVault(memory, collection, record);
  }

  get(name: string): Uint8Array | undefined {
    return this.#memory.get(name);
  }

  since(name: string): number | undefined {
    return this.#memory.since(name);
  }

  async put(name: string, value: Uint8Array): Promise<void> {
    const put = { value: jsonText(toBase64(value)), since: Number.POSITIVE_INFINITY, owner: OWNER };
    await this.#change({ kind: 'put', key: name, label: [], ...put, version: freshHex(VERSION_BYTES) });
    await this.#memory.put(name, value);
  }

  async remove(name: string): Promise<void> {
    await this.#change({ kind: 'delete', key: name, label: [] });
    await this.#memory.remove(name);
  }

  /** Makes a change in the turn in which its record is placed. */
  async #change(change: Change): Promise<void> {
    this.#collection.check([change]);
    const { durable } = this.#record(change.key);
    this.#collection.apply([change]);
    await durable;
  }
}
