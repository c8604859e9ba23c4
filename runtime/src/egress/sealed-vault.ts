/** A vault whose values outlive the boot, in a sealed collection of their own. */

import { fromBase64, toBase64 } from '@enclaim/attestation/bytes';
import { freshHex } from '../random-pool.ts';
import { type Change, type Collection, recorded } from '../storage/collection.ts';
import { jsonText } from '../worker/json-text.ts';
import { type Recording, type Vault, VolatileVault } from './vault.ts';

/** Name of the collection. No policy has such a name for one of its own. */
export const VAULT_COLLECTION = '$secrets';
/** The identity whose room secrets take: not one that calls can have. */
const OWNER = '$owner';
const VERSION_BYTES = 8;

/** Keeps values in memory, where messages take them, and sealed. */
export class SealedVault implements Vault {
  readonly #memory: VolatileVault;
  readonly #collection: Collection;

  private constructor(memory: VolatileVault, collection: Collection) {
    this.#memory = memory;
    this.#collection = collection;
  }

  /**
   * Reads the values that were kept.
   *
   * @param names those of the policy
   * @throws RefusalError `state` if a value cannot be read
   */
  static async open(
    collection: Collection,
    { names, now }: { readonly names: Iterable<string>; readonly now: () => number },
  ): Promise<SealedVault> {
    const memory = new VolatileVault(now);
    for (const name of names) {
      const found = collection.get(name);
      if (found?.value === undefined) continue;
      const value = fromBase64(JSON.parse(await found.value) as string);
      memory.keep(name, value, found.since);
      value.fill(0);
    }
    return new SealedVault(memory, collection);
  }

  get(name: string): Uint8Array | undefined {
    return this.#memory.get(name);
  }

  since(name: string): number | undefined {
    return this.#memory.since(name);
  }

  async put(name: string, value: Uint8Array, record: Recording): Promise<void> {
    const put = { value: jsonText(toBase64(value)), since: Number.POSITIVE_INFINITY, owner: OWNER };
    const change = { kind: 'put', key: name, label: [], ...put, version: freshHex(VERSION_BYTES) } as const;
    await this.#change(change, record);
    await this.#memory.put(name, value);
  }

  async remove(name: string, record: Recording): Promise<void> {
    const durable = this.#change({ kind: 'delete', key: name, label: [] }, record);
    this.#memory.forget(name);
    await durable;
  }

  watch(name: string, onGone: () => void): () => void {
    return this.#memory.watch(name, onGone);
  }

  /** Makes a change in the turn in which its record is placed, so that one write has both. */
  async #change(change: Change, record: Recording): Promise<void> {
    this.#collection.check([change]);
    const durable = recorded(this.#collection, record);
    this.#collection.apply([change]);
    await durable;
  }
}
