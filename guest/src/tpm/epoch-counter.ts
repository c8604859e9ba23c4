/** Epochs of one set of registers: a counter that only software under them increments. */

import { SEALING_REGISTERS } from '@enclaim/attestation/measure';
import { type PcrBanks, type PcrSelection, pcrDigest } from '@enclaim/attestation/tpm';
import { TpmError } from './error.ts';
import { NvCounter, type NvGuard, NvNumber } from './nv.ts';
import { type CounterDemand, pcrPolicy } from './policy.ts';
import type { Tpm } from './tpm.ts';

/**
 * The registers that keys are sealed to: kernel, command line, initrd, sections of the image,
 * and policy (docs/reference/formats.md, "Registers"). Not 14: handlers may change, because they
 * are confined.
 */
export const KEEPER_SELECTION: PcrSelection = [{ bank: 'sha256', pcrs: SEALING_REGISTERS }];

/**
 * NV indices of the range that is the owner's: two for each set of registers, the counter and the
 * value that it had before the first epoch.
 */
export const KEEPER_INDICES = { first: 0x0180_4e00, systems: 8 } as const;

/** A counter that is in use. */
export interface KeptCounter {
  readonly counter: NvCounter;
  readonly value: bigint;
}

/** The present epoch, 0 before the first, and its counter if it is in use. */
export interface PresentEpoch {
  readonly epoch: number;
  readonly kept?: KeptCounter;
}

/** Counter of one set of registers, and the value that it had before the first epoch. */
interface Place {
  readonly counter: NvCounter;
  readonly beginning: NvNumber;
}

/**
 * The epochs of one set of registers. They count from 1; the counter may begin anywhere, because a
 * TPM starts it above all that it ever had.
 */
export class EpochCounter {
  readonly #tpm: Tpm;
  readonly #guard: NvGuard;

  /** @throws TpmError `unusable` if a register has no value */
  constructor(tpm: Tpm, banks: PcrBanks) {
    const digest = pcrDigest('sha256', KEEPER_SELECTION, banks);
    if (digest === undefined) throw new TpmError('unusable', 'a register of the keeper has no value');
    this.#tpm = tpm;
    this.#guard = { selection: KEEPER_SELECTION, policy: pcrPolicy('sha256', KEEPER_SELECTION, digest) };
  }

  /** The present epoch, 0 before the first, and the counter if it is in use. @throws TpmError */
  async present(): Promise<PresentEpoch> {
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
  begin(): Promise<KeptCounter> {
    return this.#tpm.alone(async () => {
      const { ours, orphans, free } = await this.#places();
      const place = ours ?? orphans[0] ?? free;
      if (place === undefined) {
        const { first, systems } = KEEPER_INDICES;
        const range = `0x${first.toString(16)} to 0x${(first + 2 * systems - 1).toString(16)}`;
        throw new TpmError('unusable', `other systems have the NV indices ${range}`);
      }
      const { counter, beginning } = place;
      // Of a counter that is gone. Beside a new one, it would make that unusable.
      if (orphans.includes(place)) await beginning.remove();
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

  /**
   * The place of these registers, places where only their beginning is left, because the power was
   * cut while one was removed, and the first that is free.
   *
   * The owner of the TPM may define a second counter for them. Without the refusal, a host could
   * let the state of one rest while another goes on, and exchange them.
   * @throws TpmError `unusable` if they have two
   */
  async #places(): Promise<{ readonly ours?: Place; readonly orphans: readonly Place[]; readonly free?: Place }> {
    const { first, systems } = KEEPER_INDICES;
    const found: { ours?: Place; orphans: Place[]; free?: Place } = { orphans: [] };
    for (let index = first; index < first + 2 * systems; index += 2) {
      const counter = new NvCounter(this.#tpm, index, this.#guard);
      const beginning = new NvNumber(this.#tpm, index + 1, this.#guard);
      const state = await counter.state();
      const left = state === 'absent' ? await beginning.state() : 'other';
      if (left === 'absent') found.free ??= { counter, beginning };
      else if (left !== 'other') found.orphans.push({ counter, beginning });
      if (state === 'absent' || state === 'other') continue;
      if (found.ours !== undefined) throw new TpmError('unusable', 'two counters for the same registers');
      found.ours = { counter, beginning };
    }
    return found;
  }

  /** Removes the counter, for good: one that is made anew begins above it. */
  async remove(): Promise<void> {
    const { ours, orphans } = await this.#places();
    for (const { beginning } of orphans) await beginning.remove();
    if (ours === undefined) return;
    await ours.counter.remove();
    if ((await ours.beginning.state()) !== 'absent') await ours.beginning.remove();
  }
}

/** The demand that a counter has a value. */
export function demanded({ index, name }: NvCounter, value: bigint): CounterDemand {
  return { index, name, value };
}
