/**
 * Keeps the key of the state's present epoch: sealed to the registers of what runs, and to a
 * counter that goes up when the next epoch begins (docs/security/keeper.md).
 */

import type { StatedStorage } from '@enclaim/attestation/statement';
import { type PcrBanks, type PcrSelection, pcrDigest } from '@enclaim/attestation/tpm';
import { EPOCH_KEY_BYTES, type Keeper, MAX_BLOB_BYTES } from '@enclaim/runtime/keeper';
import { TpmError } from './error.ts';
import { NvCounter, type NvGuard, NvNumber } from './nv.ts';
import { type CounterDemand, pcrPolicy } from './policy.ts';
import { Queue } from './queue.ts';
import { readPcrs } from './registers.ts';
import { seal, unseal } from './sealing.ts';
import type { Tpm } from './tpm.ts';

/**
 * The registers that keys are sealed to: kernel, command line, initrd, sections of the image,
 * and policy (docs/reference/formats.md, "Registers"). Not 14: handlers may change, because they
 * are confined.
 */
export const KEEPER_SELECTION: PcrSelection = [{ bank: 'sha256', pcrs: [4, 9, 11, 12, 13, 15] }];

/**
 * NV indices of the range that is the owner's: two for each set of registers, the counter and the
 * value that it had before the first epoch.
 */
export const KEEPER_INDICES = { first: 0x0180_4e00, systems: 8 } as const;

/** Epochs of one boot beyond one a minute. */
const MAX_EPOCHS_AT_ONCE = 16;
const MINUTE_MS = 60_000;

/** Counter of one set of registers, and the value that it had before the first epoch. */
interface Place {
  readonly counter: NvCounter;
  readonly beginning: NvNumber;
}

/** A place that is in use. */
interface Kept {
  readonly counter: NvCounter;
  readonly value: bigint;
}

/**
 * A TPM as keeper for the software that its registers show. Epochs count from 1; the counter may
 * begin anywhere, because a TPM starts it above all that it ever had.
 *
 * **Trust**: the TPM. A host that runs it in software can put its state back, together with the
 * disk.
 */
export class TpmKeeper implements Keeper {
  readonly kind = 'tpm';
  readonly #tpm: Tpm;
  readonly #banks: PcrBanks;
  readonly #guard: NvGuard;
  readonly #now: () => number;
  readonly #started: number;
  readonly #queue = new Queue();
  #begun: StatedStorage | null = null;
  #isSealed = false;
  #advanced = 0;

  private constructor(tpm: Tpm, banks: PcrBanks, now: () => number) {
    const digest = pcrDigest('sha256', KEEPER_SELECTION, banks);
    if (digest === undefined) throw new TpmError('unusable', 'a register of the keeper has no value');
    this.#tpm = tpm;
    this.#banks = banks;
    this.#guard = { selection: KEEPER_SELECTION, policy: pcrPolicy('sha256', KEEPER_SELECTION, digest) };
    this.#now = now;
    this.#started = now();
  }

  /**
   * The keeper for the registers as they are now: everything must be measured before.
   * @param now milliseconds of a clock that does not go back
   */
  static async open(tpm: Tpm, now: () => number = () => performance.now()): Promise<TpmKeeper> {
    return new TpmKeeper(tpm, await readPcrs(tpm, KEEPER_SELECTION), now);
  }

  /** The epoch that this boot began first; null before. */
  get begun(): StatedStorage | null {
    return this.#begun;
  }

  /** The present epoch; 0 if none ever began under these registers. @throws TpmError */
  epoch(): Promise<number> {
    return this.#queue.run(async () => (await this.#present()).epoch);
  }

  /**
   * Seals a key to the epoch after the present one.
   * @throws TpmError; RangeError for another epoch, or a key of another length
   */
  seal(key: Uint8Array, epoch: number): Promise<Uint8Array> {
    return this.#queue.run(async () => {
      if (key.length !== EPOCH_KEY_BYTES) throw new RangeError(`a key of ${key.length} bytes`);
      const present = await this.#present();
      if (epoch !== present.epoch + 1)
        throw new RangeError(`epoch ${epoch}, where ${present.epoch} is the present one`);
      const { counter, value } = present.kept ?? (await this.#begin());
      const blob = await seal(this.#tpm, key, KEEPER_SELECTION, this.#banks, demanded(counter, value + 1n));
      if (blob.length > MAX_BLOB_BYTES) throw new TpmError('unusable', `a sealed key of ${blob.length} bytes`);
      this.#isSealed = true;
      return blob;
    });
  }

  /**
   * The key that was sealed to the present epoch, by these registers.
   * @throws TpmError; DecodeError; RangeError for a blob that is too long
   */
  open(blob: Uint8Array): Promise<Uint8Array> {
    return this.#queue.run(async () => {
      if (blob.length > MAX_BLOB_BYTES) throw new RangeError(`a blob of ${blob.length} bytes`);
      const { kept } = await this.#present();
      if (kept === undefined) throw new TpmError('unusable', 'the keeper has kept nothing for these registers');
      return unseal(this.#tpm, blob, KEEPER_SELECTION, this.#banks, demanded(kept.counter, kept.value));
    });
  }

  /**
   * Begins the next epoch. After an error either may be the present one.
   *
   * **Bound**: an increment wears the chip. A runtime that an attacker controls could ask for as
   * many as the chip can bear; it gets one for each key that was sealed, and one a minute.
   * @throws TpmError; RangeError beyond that
   */
  advance(): Promise<number> {
    return this.#queue.run(async () => {
      if (!this.#isSealed) throw new RangeError('no key is sealed to the next epoch');
      const minutes = Math.floor((this.#now() - this.#started) / MINUTE_MS);
      // layer: rate of epochs
      if (this.#advanced >= MAX_EPOCHS_AT_ONCE + minutes) throw new RangeError('more epochs than one a minute');
      const { epoch, kept } = await this.#present();
      if (kept === undefined) throw new TpmError('unusable', 'the counter is gone');
      this.#isSealed = false;
      this.#advanced++;
      await this.#tpm.alone(() => kept.counter.increment());
      const next = (await this.#present()).epoch;
      if (next !== epoch + 1) throw new TpmError('unusable', `epoch ${next} follows ${epoch}: others count, too`);
      this.#begun ??= { keeper: this.kind, epoch: next, began: epoch === 0 ? 'new' : 'kept' };
      return next;
    });
  }

  async #present(): Promise<{ readonly epoch: number; readonly kept?: Kept }> {
    const { ours } = await this.#places();
    if (ours === undefined) return { epoch: 0 };
    const { counter, beginning } = ours;
    const states = [await counter.state(), await beginning.state()] as const;
    if (states.join() === 'unwritten,written') throw new TpmError('unusable', 'the counter was made anew');
    if (states.join() !== 'written,written') return { epoch: 0 };
    const [value, before] = [await counter.read(), await beginning.read()];
    const epoch = Number(value - before);
    if (!Number.isSafeInteger(epoch) || epoch < 0) throw new TpmError('unusable', `the counter is at ${value}`);
    return { epoch, kept: { counter, value } };
  }

  /** Makes a place, or ends the making of one, and notes where its counter begins. */
  #begin(): Promise<Kept> {
    return this.#tpm.alone(async () => {
      const { ours, free } = await this.#places();
      const place = ours ?? free;
      if (place === undefined) {
        const { first, systems } = KEEPER_INDICES;
        const range = `0x${first.toString(16)} to 0x${(first + 2 * systems - 1).toString(16)}`;
        throw new TpmError('unusable', `other systems have the NV indices ${range}`);
      }
      const { counter, beginning } = place;
      if (ours === undefined) await counter.define();
      const state = await beginning.state();
      if (state === 'other')
        throw new TpmError('unusable', `NV index 0x${beginning.index.toString(16)} is another thing`);
      if (state === 'absent') await beginning.define();
      if ((await counter.state()) === 'unwritten') await counter.increment();
      const value = await counter.read();
      await beginning.set(value);
      return { counter, value };
    });
  }

  /** The place of these registers, or else the first that is free. */
  async #places(): Promise<{ readonly ours?: Place; readonly free?: Place }> {
    const { first, systems } = KEEPER_INDICES;
    let free: Place | undefined;
    for (let index = first; index < first + 2 * systems; index += 2) {
      const counter = new NvCounter(this.#tpm, index, this.#guard);
      const beginning = new NvNumber(this.#tpm, index + 1, this.#guard);
      const state = await counter.state();
      if (state === 'unwritten' || state === 'written') return { ours: { counter, beginning } };
      if (state === 'absent' && (await beginning.state()) === 'absent') free ??= { counter, beginning };
    }
    return free === undefined ? {} : { free };
  }
}

function demanded({ index, name }: NvCounter, value: bigint): CounterDemand {
  return { index, name, value };
}
