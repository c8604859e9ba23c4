/**
 * Another attested machine as the keeper of this one's keys: it holds the present epoch and its key
 * (docs/security/keeper.md, "An attested peer").
 */

import { timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageShape } from '@bufbuild/protobuf';
import { digestText } from '@enclaim/attestation/digest';
import {
  KEPT_KEY_BYTES,
  KeeperDescriptor,
  type KeeperQuestion,
  keptMark,
  type ReleaseResponseSchema,
} from '@enclaim/attestation/keeper';
import type { StatedStorage } from '@enclaim/attestation/statement';
import { RefusalError } from '../errors.ts';
import type { Keeper } from '../storage/sealed/keeper.ts';
import { isBusy, isFinal, KeeperLink, type KeeperLinkOptions } from './keeper-link.ts';

/** Milliseconds before each further attempt at a question that a keeper may answer later. */
const AGAIN_MS: readonly number[] = [500, 1000, 2000, 4000, 8000, 16_000];

/** A connection as it is used here. */
type Link = Pick<KeeperLink, 'keeper' | 'ask' | 'close'>;

/** Opens a connection that is ready for a question, with the evidence for it. */
export type OpenLink = (options: KeeperLinkOptions, question: KeeperQuestion) => Promise<readonly [Link, Uint8Array]>;

/** An epoch, and its key. */
interface Keyed {
  readonly epoch: number;
  readonly key: Uint8Array;
}

/** A key for the next epoch, and the connection on which the keeper is ready to take it. */
interface Prepared extends Keyed {
  readonly link: Link;
  readonly evidence: Uint8Array;
}

/**
 * A keeper that is asked over the network.
 *
 * **Trust**: its software, as its evidence shows it on each connection; and what keeps *its* state,
 * which its own evidence says.
 */
export class PeerKeeper implements Keeper {
  readonly kind = 'peer';
  readonly #options: KeeperLinkOptions;
  readonly #open: OpenLink;
  /** The latest epoch that this boot has seen to be the present one. */
  #seen = 0;
  #released: Keyed | undefined;
  #prepared: Prepared | undefined;
  /** The epoch that this boot last tried to begin, and the mark of its key. */
  #tried: { readonly epoch: number; readonly mark: Uint8Array } | undefined;
  #peer: StatedStorage['peer'];

  /** @param open how the keeper is reached */
  constructor(options: KeeperLinkOptions, open: OpenLink = KeeperLink.open) {
    this.#options = options;
    this.#open = open;
  }

  /** The keeper as it has shown itself last; undefined before. */
  get peer(): StatedStorage['peer'] {
    return this.#peer;
  }

  async epoch(): Promise<number> {
    this.#forget();
    const { epoch, key } = await this.#told();
    const present = countOf(epoch);
    // layer: a peer's epochs within a boot
    if (present < this.#seen)
      throw new RefusalError('keeper', `epoch ${present}, where this boot has seen ${this.#seen}`);
    if (key.length !== (present === 0 ? 0 : KEPT_KEY_BYTES))
      throw new RefusalError('keeper', `a key of ${key.length} bytes for epoch ${present}`);
    // layer: epochs that another machine began
    if (present === this.#tried?.epoch && !timingSafeEqual(keptMark(present, key), this.#tried.mark))
      throw new RefusalError('keeper', `another machine of this identity began epoch ${present}`);
    this.#seen = present;
    if (present > 0) this.#released = { epoch: present, key };
    return present;
  }

  /** The keeper's answer, asked for again while strangers keep it busy. */
  async #told(): Promise<MessageShape<typeof ReleaseResponseSchema>> {
    const release = (): Promise<MessageShape<typeof ReleaseResponseSchema>> =>
      this.#asked({ kind: 'release' }, (link, evidence) => link.ask(KeeperDescriptor.method.release, { evidence }));
    for (const pause of AGAIN_MS) {
      try {
        return await release();
      } catch (error) {
        if (!isBusy(error as Error)) throw error;
      }
      await sleep(pause);
    }
    return await release();
  }

  async open(blob: Uint8Array): Promise<Uint8Array> {
    const released = this.#released;
    if (released === undefined) throw new RefusalError('keeper', 'no key was released');
    const { epoch, key } = released;
    const mark = keptMark(epoch, key);
    if (blob.length !== mark.length || !timingSafeEqual(blob, mark))
      throw new RefusalError('keeper', `the key of epoch ${epoch} is not that of this disk: another machine went on`);
    this.#released = undefined;
    return key;
  }

  /** Makes the keeper ready: what can fail without a change fails here. */
  async seal(key: Uint8Array, epoch: number): Promise<Uint8Array> {
    if (epoch !== this.#seen + 1) throw new RefusalError('keeper', `epoch ${epoch} does not follow ${this.#seen}`);
    this.#forget();
    const own = Uint8Array.from(key);
    const [link, evidence] = await this.#open(this.#options, { kind: 'advance', from: this.#seen, key: own });
    this.#note(link);
    this.#prepared = { epoch, key: own, link, evidence };
    return keptMark(epoch, own);
  }

  async advance(): Promise<number> {
    const prepared = this.#prepared;
    if (prepared === undefined) throw new RefusalError('keeper', 'no key is prepared for the next epoch');
    this.#tried = { epoch: prepared.epoch, mark: keptMark(prepared.epoch, prepared.key) };
    try {
      const epoch = await this.#begun(prepared);
      if (epoch !== prepared.epoch)
        throw new RefusalError('keeper', `epoch ${epoch} began, where ${prepared.epoch} was to`);
      this.#seen = epoch;
      return epoch;
    } finally {
      this.#forget();
    }
  }

  /**
   * Has the keeper begin the epoch. An answer that is lost is asked for again: with the same key it
   * is the same epoch, and with another one it is refused.
   */
  async #begun({ epoch, key, link, evidence }: Prepared): Promise<number> {
    const from = epoch - 1;
    const begin = async (on: Link, shown: Uint8Array): Promise<number> =>
      countOf((await on.ask(KeeperDescriptor.method.advance, { evidence: shown, from: BigInt(from), key })).epoch);
    let failure: unknown;
    try {
      return await begin(link, evidence);
    } catch (error) {
      if (isFinal(error as Error)) throw error;
      failure = error;
    }
    for (const pause of AGAIN_MS) {
      await sleep(pause);
      try {
        return await this.#asked({ kind: 'advance', from, key }, begin);
      } catch (error) {
        if (isFinal(error as Error)) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  async #asked<T>(question: KeeperQuestion, ask: (link: Link, evidence: Uint8Array) => Promise<T>): Promise<T> {
    const [link, evidence] = await this.#open(this.#options, question);
    try {
      this.#note(link);
      return await ask(link, evidence);
    } finally {
      link.close();
    }
  }

  #note({ keeper: { statement, bootDigest } }: Link): void {
    this.#peer = { policy: statement.policy, boot: digestText('sha256', bootDigest) };
  }

  /** Wipes what was released or prepared and is of no further use. */
  #forget(): void {
    this.#released?.key.fill(0);
    this.#released = undefined;
    this.#prepared?.key.fill(0);
    this.#prepared?.link.close();
    this.#prepared = undefined;
  }
}

/** @throws RefusalError `keeper` */
function countOf(epoch: bigint): number {
  const count = Number(epoch);
  if (!Number.isSafeInteger(count)) throw new RefusalError('keeper', `epoch ${epoch}`);
  return count;
}
