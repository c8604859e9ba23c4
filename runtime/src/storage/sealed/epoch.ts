/** The present epoch of a store: its keys, and the next number of a frame. */

import { RefusalError } from '../../errors.ts';
import { type EpochSeals, epochSeals } from './seals.ts';

const NOTHING = new Uint8Array();

/** The epoch under which frames are sealed. Only one is present. */
export class Epoch {
  readonly #system: string;
  #number = 0;
  #seals: EpochSeals | undefined;
  #sequence = 0;
  /** Blocks that were sealed in this epoch. */
  #blocks = 0;
  #broken: RefusalError | undefined;

  constructor(system: string) {
    this.#system = system;
  }

  get number(): number {
    return this.#number;
  }

  /** Frames of this epoch. */
  get sequence(): number {
    return this.#sequence;
  }

  get seals(): EpochSeals {
    this.refuse();
    if (this.#seals === undefined) throw new RefusalError('state', 'the store is closed');
    return this.#seals;
  }

  /** Begins an epoch; the keys of the one before are wiped. @param key which is wiped */
  begin(number: number, key: Uint8Array): void {
    this.end();
    this.#number = number;
    this.#sequence = 0;
    this.#blocks = 0;
    this.#seals = epochSeals(key, this.#system);
    key.fill(0);
  }

  /** The next number of a frame, which no other frame gets. */
  next(): number {
    return this.#sequence++;
  }

  /** The seal of a block's facts; undefined once the store has ended. */
  sealBlock(facts: Uint8Array): Uint8Array | undefined {
    return this.#seals?.blocks.seal(this.#blocks++, facts, NOTHING);
  }

  /** Wipes the keys. */
  end(): void {
    for (const seal of Object.values(this.#seals ?? {})) seal.wipe();
    this.#seals = undefined;
  }

  /** From now on nothing is read and nothing is written. */
  break(cause: unknown): void {
    this.#broken ??= new RefusalError('state', 'the store failed earlier', { cause, final: true });
    this.end();
  }

  /** @throws RefusalError `state` if the store has failed */
  refuse(): void {
    if (this.#broken !== undefined) throw this.#broken;
  }
}
