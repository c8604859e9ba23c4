/** The vault: values of the secrets that a policy names. Brokers alone read it. */

/**
 * Values by name, for names that the policy has. A vault that outlives its boot reads them all when
 * it is opened, because a message takes one at the moment in which its peer is known.
 */
export interface Vault {
  /**
   * The value at this moment; undefined if there is none. The bytes are the vault's own: they are
   * read at once, and wiped when another value comes.
   */
  get(name: string): Uint8Array | undefined;
  /**
   * Milliseconds since 1970 at which the value came, by the clock of its boot; undefined if there
   * is none.
   */
  since(name: string): number | undefined;
  /**
   * Keeps a copy of a value, and wipes the one that was there. Resolves when it is as durable as
   * this vault keeps anything.
   */
  put(name: string, value: Uint8Array, record?: Recording): Promise<void>;
  /** Wipes a value. Resolves when it is gone as durably as it was kept. */
  remove(name: string, record?: Recording): Promise<void>;
  /** Hears when a value is taken away. @returns what ends that */
  watch(name: string, onGone: () => void): () => void;
}

/**
 * Places the record of a change, at once. Resolves when the record is durable, and until then the
 * change is not made: a secret must not be shown of which no record says that it came.
 *
 * @throws RefusalError `log`; then the change is not made
 */
export type Recording = () => Promise<unknown>;

const UNRECORDED: Recording = () => Promise.resolve();

interface Kept {
  readonly value: Uint8Array;
  readonly since: number;
}

/** A vault in memory, gone with its boot. */
export class VolatileVault implements Vault {
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept>();
  readonly #watchers = new Map<string, Set<() => void>>();

  /** @param now milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now;
  }

  get(name: string): Uint8Array | undefined {
    return this.#kept.get(name)?.value;
  }

  since(name: string): number | undefined {
    return this.#kept.get(name)?.since;
  }

  async put(name: string, value: Uint8Array, record: Recording = UNRECORDED): Promise<void> {
    // layer: record before secret
    await record();
    this.keep(name, value, this.#now());
  }

  /** Keeps a copy of a value that came at some time. */
  keep(name: string, value: Uint8Array, since: number): void {
    this.#wipe(name);
    // An array of its own, because one of Node's pool would share memory with other bytes.
    this.#kept.set(name, { value: new Uint8Array(value), since });
  }

  async remove(name: string, record: Recording = UNRECORDED): Promise<void> {
    await record();
    this.forget(name);
  }

  /** Wipes a value. */
  forget(name: string): void {
    this.#wipe(name);
    this.#kept.delete(name);
    for (const onGone of this.#watchers.get(name) ?? []) onGone();
  }

  watch(name: string, onGone: () => void): () => void {
    const watchers = this.#watchers.get(name) ?? new Set();
    this.#watchers.set(name, watchers.add(onGone));
    return () => {
      watchers.delete(onGone);
      if (watchers.size === 0 && this.#watchers.get(name) === watchers) this.#watchers.delete(name);
    };
  }

  #wipe(name: string): void {
    this.#kept.get(name)?.value.fill(0);
  }
}
