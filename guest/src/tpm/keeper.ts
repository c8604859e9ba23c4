/**
 * Keeps the key of the state's present epoch: sealed to the registers of what runs, and to a
 * counter that goes up when the next epoch begins (docs/security/keeper.md).
 */

import { concat, equalBytes } from '@enclaim/attestation/bytes';
import { type DigestText, digestText, sha256 } from '@enclaim/attestation/digest';
import { POLICY_REGISTER, policyEvent, registerOf, SEALING_REGISTERS } from '@enclaim/attestation/measure';
import type { StatedStorage } from '@enclaim/attestation/statement';
import { type PcrBanks, pcrDigest } from '@enclaim/attestation/tpm';
import {
  EPOCH_KEY_BYTES,
  type HeirKeeper,
  type Keeper,
  MAX_BLOB_BYTES,
  type Passage,
  type Registers,
} from '@enclaim/runtime/keeper';
import { demanded, EpochCounter, KEEPER_SELECTION, type PresentEpoch } from './epoch-counter.ts';
import { TpmError } from './error.ts';
import { Queue } from './queue.ts';
import { readPcrs } from './registers.ts';
import { seal, unseal } from './sealing.ts';
import type { Tpm } from './tpm.ts';

/** Epochs of one boot beyond one a minute. */
const MAX_EPOCHS_AT_ONCE = 16;
const MINUTE_MS = 60_000;

/**
 * A TPM as keeper for the software that its registers show.
 *
 * **Trust**: the TPM. A host that runs it in software can put its state back, together with the
 * disk.
 */
export class TpmKeeper implements Keeper {
  readonly kind = 'tpm';
  readonly #tpm: Tpm;
  readonly #banks: PcrBanks;
  readonly #epochs: EpochCounter;
  readonly #now: () => number;
  readonly #queue = new Queue();
  #begun: StatedStorage | null = null;
  #isSealed = false;
  /** The latest epoch that this boot has seen to be the present one. */
  #seen = 0;
  /** The recovery by which this boot goes on; undefined without one. */
  #recovery: StatedStorage['recovery'];
  /** The launch whose key this boot took over; undefined if it took none. */
  #inherited: StatedStorage['predecessor'];
  /**
   * Whether this boot has ended a predecessor's epochs. A runtime that an attacker controls could
   * else end those of every system of this TPM.
   */
  #hasRetired = false;
  /** Epochs that may begin at once now, and the instant for which that was reckoned. */
  #allowance: { readonly left: number; readonly at: number };

  private constructor(tpm: Tpm, banks: PcrBanks, now: () => number) {
    this.#tpm = tpm;
    this.#banks = banks;
    this.#epochs = new EpochCounter(tpm, banks);
    this.#now = now;
    this.#allowance = { left: MAX_EPOCHS_AT_ONCE, at: now() };
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
      const { counter, value } = present.kept ?? (await this.#epochs.begin());
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
      const { left, at } = this.#refilled();
      if (left < 1) throw new RangeError('more epochs than one a minute');
      const { epoch, kept } = await this.#present();
      if (kept === undefined) throw new TpmError('unusable', 'the counter is gone');
      this.#isSealed = false;
      this.#allowance = { left: left - 1, at };
      await this.#tpm.alone(() => kept.counter.increment());
      const next = (await this.#present()).epoch;
      if (next !== epoch + 1) throw new TpmError('unusable', `epoch ${next} follows ${epoch}: others count, too`);
      const began = { keeper: this.kind, epoch: next } as const;
      this.#begun ??= { ...began, ...this.#beginning(epoch) };
      return next;
    });
  }

  /** The beginning of this boot's state. @param epoch that was there before */
  #beginning(epoch: number): Pick<StatedStorage, 'began' | 'predecessor' | 'recovery'> {
    if (this.#inherited !== undefined) return { began: 'inherited', predecessor: this.#inherited };
    if (this.#recovery !== undefined) return { began: 'recovered', recovery: this.#recovery };
    return { began: epoch === 0 ? 'new' : 'kept' };
  }

  /**
   * Has this boot say that it goes on with an older copy of its disk.
   *
   * **Trust**: the caller has verified the recovery. It says less of this boot than `kept`.
   * @throws RangeError once an epoch of this boot has begun, or for state of another launch
   */
  async recover(recovery: DigestText<'sha256'>): Promise<void> {
    this.#refuseBegun();
    if (this.#inherited !== undefined) throw new RangeError('this boot took its state over from another launch');
    this.#recovery = recovery;
  }

  /**
   * The present epoch, which does not go back while a boot runs.
   *
   * **Trust**: the owner of the TPM, who can be the host, may remove the counter at any time.
   * Without this, a runtime that is taken over could take the key of an epoch, have the host remove
   * the counter, and let the boot statement say that its state began anew (`began: new`).
   * @throws TpmError
   */
  async #present(): Promise<PresentEpoch> {
    const present = await this.#epochs.present();
    if (present.epoch < this.#seen)
      throw new TpmError('unusable', `epoch ${present.epoch}, where this boot has seen ${this.#seen}`);
    this.#seen = present.epoch;
    return present;
  }

  /** The allowance now: one more for each minute, and never more than at the begin. */
  #refilled(): { readonly left: number; readonly at: number } {
    const { left, at } = this.#allowance;
    const minutes = Math.floor((this.#now() - at) / MINUTE_MS);
    return { left: Math.min(MAX_EPOCHS_AT_ONCE, left + minutes), at: at + minutes * MINUTE_MS };
  }

  /** The part that passes state to another launch, of which this is one. */
  get heirs(): HeirKeeper {
    return {
      handOver: async (key, { from, to }) => {
        this.#refuseOther(from);
        return this.handOver(key, banksOf(to));
      },
      takeOver: async (blob, { policy, from, to }) => {
        this.#refuseOther(to);
        refuseOtherPolicy(policy, from);
        this.#refuseBegun();
        const key = await this.takeOver(blob, banksOf(from));
        this.#inherited = { policy, registers: digestOf(from) };
        return key;
      },
      epochOfHeir: async ({ from, to }) => {
        this.#refuseOther(from);
        return this.#queue.run(async () => (await new EpochCounter(this.#tpm, banksOf(to)).present()).epoch);
      },
      resume: async ({ policy, from, to }) => {
        this.#refuseOther(to);
        refuseOtherPolicy(policy, from);
        this.#refuseBegun();
        this.#inherited ??= { policy, registers: digestOf(from) };
      },
      retire: async ({ from, to }, epoch) => {
        this.#refuseOther(to);
        if (digestOf(from) !== this.#inherited?.registers)
          throw new RangeError('the predecessor is another than that whose state this boot has');
        if (this.#hasRetired) throw new RangeError('one predecessor of a boot can be retired');
        this.#hasRetired = true;
        await this.retire(banksOf(from), epoch);
      },
    };
  }

  /**
   * The statement names the launch before, so that it is settled before.
   * @throws RangeError once an epoch of this boot has begun
   */
  #refuseBegun(): void {
    if (this.#begun !== null) throw new RangeError('this boot has begun with its state already');
  }

  /** @throws RangeError unless these are the registers of this launch */
  #refuseOther(registers: Registers): void {
    const [own, other] = [this.#banks, banksOf(registers)].map((banks) => pcrDigest('sha256', KEEPER_SELECTION, banks));
    if (own === undefined || other === undefined || !equalBytes(own, other))
      throw new RangeError('the succession is of another launch than this');
  }

  /**
   * Seals the key of the present epoch to the registers that a successor will have: another image,
   * command line or policy. It opens there until this system begins another epoch.
   *
   * **Trust**: the caller has made sure that the policy lets this successor have the state.
   * @throws TpmError; RangeError if no epoch is the present one, or the successor has some already:
   * it could have gone on with this state, or would not take it
   */
  handOver(key: Uint8Array, successor: PcrBanks): Promise<Uint8Array> {
    return this.#queue.run(async () => {
      const { epoch, kept } = await this.#present();
      if (epoch === 0 || kept === undefined) throw new RangeError('no epoch to hand over');
      const heir = await new EpochCounter(this.#tpm, successor).present();
      if (heir.epoch > 0) {
        const index = heir.kept?.counter.index.toString(16);
        throw new RangeError(`the heir has state of its own here: NV index 0x${index} counts its epochs`);
      }
      return seal(this.#tpm, key, KEEPER_SELECTION, successor, demanded(kept.counter, kept.value));
    });
  }

  /**
   * The key that a predecessor handed over to these registers.
   *
   * **Trust**: `predecessor` are registers under which only software ran that this policy succeeds:
   * any other could hand over state that it made up.
   * @throws TpmError, DecodeError
   */
  takeOver(blob: Uint8Array, predecessor: PcrBanks): Promise<Uint8Array> {
    return this.#queue.run(async () => {
      const { kept } = await new EpochCounter(this.#tpm, predecessor).present();
      if (kept === undefined) throw new TpmError('unusable', 'the predecessor has kept nothing');
      return unseal(this.#tpm, blob, KEEPER_SELECTION, predecessor, demanded(kept.counter, kept.value));
    });
  }

  /**
   * Ends the predecessor's epochs, once this system has begun one of its own: what was handed over
   * never opens again.
   * @param epoch the predecessor's present epoch, unless its counter is gone
   * @throws TpmError; RangeError before that, or where the predecessor has gone on
   */
  retire(predecessor: PcrBanks, epoch: number): Promise<void> {
    return this.#queue.run(async () => {
      if ((await this.#present()).epoch === 0) throw new RangeError('no epoch of this system yet');
      const counter = new EpochCounter(this.#tpm, predecessor);
      const { epoch: present } = await counter.present();
      if (present !== 0 && present !== epoch)
        throw new RangeError(`the predecessor has gone on to epoch ${present}, where ${epoch} was taken over`);
      await counter.remove();
    });
  }
}

function digestOf(registers: Registers): `sha256:${string}` {
  return digestText('sha256', sha256(concat(...registers)));
}

function banksOf(registers: Registers): PcrBanks {
  if (registers.length !== SEALING_REGISTERS.length || registers.some(({ length }) => length !== 32))
    throw new RangeError('not the registers that keys are sealed to');
  return new Map([['sha256', new Map(registers.map((value, i) => [SEALING_REGISTERS[i] ?? 0, value] as const))]]);
}

/** The statement will name the policy, so the register that shows it has to. @throws RangeError */
function refuseOtherPolicy(policy: Passage['policy'], registers: Registers): void {
  const shown = registers[SEALING_REGISTERS.indexOf(POLICY_REGISTER)];
  if (shown === undefined || !equalBytes(shown, registerOf(policyEvent(policy))))
    throw new RangeError(`the predecessor's registers do not show policy ${policy}`);
}
