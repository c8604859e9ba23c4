/**
 * Epochs and keys of other machines, which this one keeps in its own sealed store: for each
 * identity one present epoch, which only goes up (docs/security/keeper.md, "An attested peer").
 */

import { timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBase64, toBase64 } from '@enclaim/attestation/bytes';
import type { DigestText } from '@enclaim/attestation/digest';
import { KEPT_KEY_BYTES, type KeptIdentity, keptName } from '@enclaim/attestation/keeper';
import { RefusalError } from '../../errors.ts';
import { freshHex } from '../../random-pool.ts';
import { jsonText } from '../../worker/json-text.ts';
import { type Collection, recorded } from '../collection.ts';
import { Fences } from './fences.ts';
import type { SealedStore } from './sealed-store.ts';

/** Name of the collection. No policy has such a name for one of its own. */
export const KEPT_COLLECTION = '$kept';
/** Identities that epochs are kept for. **Bound**: each takes a part of the index for good. */
export const MAX_KEPT_IDENTITIES = 64;
const OWNER = '$owner';
const VERSION_BYTES = 8;
/** Milliseconds until an epoch of this machine is tried again that its keeper would not begin. */
const AGAIN_MS = 5000;

/** A machine that asks, as its evidence shows it. */
export interface Asker {
  readonly identity: KeptIdentity;
  /** Digest of its boot statement. */
  readonly boot: DigestText<'sha256'>;
}

/** A step that a record tells of. */
export interface KeptStep {
  readonly step: 'released' | 'advanced';
  readonly name: DigestText<'sha256'>;
  readonly boot: DigestText<'sha256'>;
  readonly epoch: number;
}

/** The parts that kept epochs need. */
export interface KeptEpochsOptions {
  readonly store: Pick<SealedStore, 'advanceAnew'>;
  /** {@link KEPT_COLLECTION} of the store. */
  readonly collection: Collection;
  /** Places a record at once, and resolves when it is durable. @throws RefusalError `log` */
  record(step: KeptStep): Promise<unknown>;
}

/** The present epoch of an identity. */
export interface KeptEpoch {
  /** 0 if none was ever kept. */
  readonly epoch: number;
  /** Absent at epoch 0. The caller wipes it. */
  readonly key?: Uint8Array;
}

/** An identity's epoch, as it is kept. */
interface Kept {
  epoch: number;
  key: Uint8Array;
  /** The policy of the identity. */
  policy: string;
  /** Number of the change that it came by: it is told once that one cannot be cut off the disk. */
  change: number;
}

/** Holds the present epoch of each identity, over boots. */
export class KeptEpochs {
  readonly #options: KeptEpochsOptions;
  readonly #kept: Map<string, Kept>;
  readonly #fences = new Fences();
  /** Changes that were made in this boot, and those that an epoch of this machine has behind it. */
  #changes = 0;
  #sealed = 0;
  #sealing: Promise<void> | undefined;
  /** Settles after the last change. Never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  #isOver = false;

  private constructor(options: KeptEpochsOptions, kept: Map<string, Kept>) {
    this.#options = options;
    this.#kept = kept;
  }

  /** Goes on with what earlier boots kept. @throws RefusalError `state` if it is unreadable */
  static async open(options: KeptEpochsOptions): Promise<KeptEpochs> {
    const { collection } = options;
    const { keys } = collection.list({ prefix: '', after: '', limit: Number.POSITIVE_INFINITY });
    const kept = new Map<string, Kept>();
    for (const name of keys) {
      const value = await collection.get(name)?.value;
      if (value === undefined) continue;
      const { epoch, key, policy = '' } = JSON.parse(value) as { epoch: number; key: string; policy?: string };
      kept.set(name, { epoch, key: fromBase64(key), policy, change: 0 });
    }
    return new KeptEpochs(options, kept);
  }

  /** The present instant, for {@link advance}: each telling of an epoch is one. */
  get instant(): number {
    return this.#fences.instant;
  }

  /** Whether a key is kept under a policy. */
  isKept(policy: string): boolean {
    return this.#kept.values().some((each) => each.policy === policy);
  }

  /**
   * The present epoch of an asker's identity, and its key. What was drawn until now begins no epoch
   * of this identity any more.
   *
   * @throws RefusalError `log`, `keeper`, `state`, `shutdown`
   */
  async release({ identity, boot }: Asker): Promise<KeptEpoch> {
    const name = keptName(identity);
    while (true) {
      const told = await this.#inTurn(() => this.#told(name, boot));
      if (typeof told !== 'number') return told;
      // The identity's epoch may go on while the one before is sealed.
      await this.#seal(told);
    }
  }

  /**
   * Makes the epoch after `from` the present one of an asker's identity. That it was made already,
   * with this key, is no error: the answer may have been lost.
   *
   * @param key {@link KEPT_KEY_BYTES} bytes
   * @param drawn the {@link instant} at which the challenge of the asker's evidence was drawn
   * @returns the present epoch, when it can neither be cut off the disk nor the key before be had
   * @throws RefusalError `conflict` where another epoch is the present one; `channel` where
   * the present one was told since the challenge was drawn, which has to be asked for anew;
   * `budget` for an identity more than is kept; `log`, `keeper`, `state`, `shutdown`
   */
  async advance(asker: Asker, from: number, key: Uint8Array, drawn: number): Promise<number> {
    const change = await this.#inTurn(() => this.#change(asker, from, key, drawn));
    // layer: kept epochs are sealed before the answer
    await this.#seal(change);
    return from + 1;
  }

  /** Takes no further change, and wipes the keys. Resolves when those under way are made. */
  async close(): Promise<void> {
    this.#isOver = true;
    await this.#last;
    await this.#sealing?.catch(() => {});
    for (const { key } of this.#kept.values()) key.fill(0);
  }

  /** The present epoch, or the number of the change that has to be sealed before it is told. */
  async #told(name: KeptStep['name'], boot: KeptStep['boot']): Promise<KeptEpoch | number> {
    const { epoch = 0, key, change = 0 } = this.#kept.get(name) ?? {};
    // layer: epochs are told once they are sealed
    if (change > this.#sealed) return change;
    // Who is told goes on from here, and may write over what an earlier question was about.
    this.#fences.raise(name);
    const given = key && Uint8Array.from(key);
    await this.#options.record({ step: 'released', name, boot, epoch });
    return { epoch, ...(given && { key: given }) };
  }

  /** @returns the number of the change that the asker waits for */
  async #change({ identity, boot }: Asker, from: number, key: Uint8Array, drawn: number): Promise<number> {
    const name = keptName(identity);
    if (key.length !== KEPT_KEY_BYTES) throw new RefusalError('request', `a key of ${key.length} bytes`);
    const present = this.#kept.get(name);
    const { epoch = 0 } = present ?? {};
    if (present !== undefined && epoch === from + 1 && timingSafeEqual(present.key, key)) return present.change;
    // layer: kept epochs only go up
    if (epoch !== from)
      throw new RefusalError('conflict', `epoch ${from + 1} was to begin, where ${epoch} is the present one`);
    // layer: questions from before an epoch was told
    if (this.#fences.isVoid(name, drawn))
      throw new RefusalError('channel', `epoch ${epoch} was told since the challenge was drawn; ask anew`);
    // layer: number of identities
    if (present === undefined && this.#kept.size >= MAX_KEPT_IDENTITIES)
      throw new RefusalError('budget', `epochs of ${MAX_KEPT_IDENTITIES} identities are kept, and of no more`);
    const { policy } = identity;
    const next = { epoch: from + 1, key: Uint8Array.from(key), policy, change: this.#changes + 1 };
    await this.#put(name, next, { step: 'advanced', name, boot, epoch: next.epoch });
    this.#changes = next.change;
    present?.key.fill(0);
    this.#kept.set(name, next);
    return next.change;
  }

  /** Stores an epoch in the turn in which its record is placed, so that one write has both. */
  async #put(name: string, { epoch, key, policy }: Kept, step: KeptStep): Promise<void> {
    const { collection, record } = this.#options;
    const stored = {
      value: jsonText({ epoch, key: toBase64(key), policy }),
      since: Number.POSITIVE_INFINITY,
      owner: OWNER,
    };
    const change = { kind: 'put', key: name, label: [], version: freshHex(VERSION_BYTES), ...stored } as const;
    collection.check([change]);
    const durable = recorded(collection, () => record(step));
    collection.apply([change]);
    await durable;
  }

  /**
   * Waits until an epoch of this machine has begun after a change. Changes that wait at once share
   * one.
   *
   * Until then, a host can cut the change off the end of the disk, so that the epoch goes back, and
   * an older copy of the disk has the key that was to be gone.
   */
  async #seal(change: number): Promise<void> {
    while (this.#sealed < change) {
      this.#sealing ??= this.#sealOnce().finally(() => {
        this.#sealing = undefined;
      });
      await this.#sealing;
    }
  }

  async #sealOnce(): Promise<void> {
    const changes = this.#changes;
    while (true) {
      try {
        await this.#options.store.advanceAnew();
        this.#sealed = Math.max(this.#sealed, changes);
        return;
      } catch (error) {
        // A TPM begins so many epochs a minute, and no more.
        if (!(error instanceof RefusalError) || error.code !== 'keeper' || this.#isOver) throw error;
        await sleep(AGAIN_MS, undefined, { ref: false });
      }
    }
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    if (this.#isOver) return Promise.reject(new RefusalError('shutdown', 'the runtime is about to end'));
    const made = this.#last.then(step);
    this.#last = made.catch(() => {});
    return made;
  }
}
