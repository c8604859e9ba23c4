/**
 * Cosignatures of the log's checkpoints, as a courier brings them: which count by the policy, and
 * what follows when they do, when none come, and when they are for another tree.
 */

import { equalBytes } from '@enclaim/attestation/bytes';
import type { Sha256 } from '@enclaim/attestation/digest';
import { DecodeError, EvidenceError } from '@enclaim/attestation/errors';
import {
  type Checkpoint,
  parseCheckpoint,
  parseNote,
  reachesQuorum,
  type VerifiedNote,
  verifyNote,
} from '@enclaim/attestation/tlog';
import type { CosigningRules } from '../admission/cosigning-rules.ts';
import { RefusalError } from '../errors.ts';

/** Longest note with cosignatures, in bytes: beyond sixteen of ML-DSA-44. */
export const MAX_COSIGNED_NOTE_BYTES: number = 128 * 1024;

/** The log, as far as cosignatures concern it. */
export interface CosignedLog {
  readonly began: { readonly size: number };
  readonly durable: { readonly size: number };
  onDurable(listener: (head: { readonly size: number }) => void): void;
  rootAt(size: number): Promise<Sha256>;
  forget(below: number): void;
}

/** Parts of the boot that are told what happens. */
export interface CosigningEffects {
  /** The quorum has cosigned the tree of this size. Gives the index of its durable record. */
  noted(size: number): Promise<number>;
  /** More records than the policy allows are beyond the last cosigned checkpoint, or no longer. */
  unwitnessed(isOver: boolean, records: number): void;
  /** The quorum has cosigned a tree of this size that is not the log's. */
  forked(size: number): void;
}

/** How far the log is cosigned. */
export interface CosignedSizes {
  /** Entries under the quorum; what this boot began with, before it. */
  readonly cosigned: number;
  /** Entries that the mirror has said it holds. */
  readonly mirrored: number;
}

/** The cosignatures of one boot's log. */
export class Cosignatures {
  readonly #log: CosignedLog;
  readonly #origin: string;
  readonly #rules: CosigningRules;
  readonly #effects: CosigningEffects;
  #cosigned: number;
  #mirrored = 0;
  /** Index of the record of the last quorum. */
  #noted = Number.POSITIVE_INFINITY;
  #isOver = false;
  #isBusy = false;

  constructor(log: CosignedLog, origin: string, rules: CosigningRules, effects: CosigningEffects) {
    this.#log = log;
    this.#origin = origin;
    this.#rules = rules;
    this.#effects = effects;
    this.#cosigned = log.began.size;
    log.onDurable(({ size }) => this.#look(size));
  }

  /** How far the log is cosigned by now. */
  get sizes(): CosignedSizes {
    return { cosigned: this.#cosigned, mirrored: this.#mirrored };
  }

  /**
   * Takes a checkpoint with cosignatures.
   *
   * **Trust**: the courier can be anyone. Only what verifies under keys of the policy counts, over
   * this log's own origin and a root that its tree has at that size.
   *
   * @throws RefusalError `request` for a note that does not count; `budget` while another is judged
   */
  async add(note: string): Promise<CosignedSizes> {
    if (this.#isBusy) throw new RefusalError('budget', 'other cosignatures are being judged');
    this.#isBusy = true;
    try {
      await this.#judge(note);
      return this.sizes;
    } finally {
      this.#isBusy = false;
    }
  }

  async #judge(note: string): Promise<void> {
    const { witnesses, mirror } = this.#rules;
    const checkpoint = this.#read(note);
    const { size } = checkpoint;
    const isOwn = await this.#has(checkpoint);
    // A note of before costs no verification.
    if (isOwn && size <= this.#cosigned && (mirror === undefined || size <= this.#mirrored)) return;
    const verified = await this.#verified(note);
    const isReached = witnesses !== undefined && reachesQuorum(witnesses, verified);
    const isMirrored = verified.some(({ key, timestamp }) => key === mirror && timestamp !== 0n);
    // layer: quorum of the policy
    if (!isReached && !isMirrored) throw refused('no quorum of witnesses and no mirror cosigned it');
    // layer: the log's own tree
    if (!isOwn) {
      if (isReached) this.#effects.forked(size);
      throw refused(`cosigned is a tree of ${size} that is not this log's`);
    }
    if (isReached) await this.#witnessed(size);
    if (isMirrored && size > this.#mirrored) {
      this.#mirrored = size;
      this.#log.forget(size);
    }
  }

  /** The checkpoint of a note, by no word but the courier's. @throws RefusalError `request` */
  #read(note: string): Checkpoint {
    if (note.length > MAX_COSIGNED_NOTE_BYTES) throw refused(`more than ${MAX_COSIGNED_NOTE_BYTES} bytes`);
    const checkpoint = read(() => parseCheckpoint(parseNote(note).text));
    if (checkpoint.origin === this.#origin) return checkpoint;
    throw refused('a checkpoint of another log');
  }

  /** The signatures of the policy's keys. @throws RefusalError `request` */
  async #verified(note: string): Promise<VerifiedNote['verified']> {
    const { witnesses, mirror } = this.#rules;
    const keys = [...(witnesses?.witnesses.values() ?? [])].map(({ key }) => key);
    const { verified } = await verifyNote(note, mirror === undefined ? keys : [...keys, mirror]).catch(asRefusal);
    return verified;
  }

  /**
   * Whether the tree of a checkpoint is the log's own. One that is larger than what is durable was
   * signed by a twin of this boot, because this one signs only what is durable.
   *
   * @throws RefusalError `request` for a tree whose hashes are no longer held
   */
  async #has({ size, root }: Checkpoint): Promise<boolean> {
    if (size > this.#log.durable.size) return false;
    try {
      return equalBytes(await this.#log.rootAt(size), root);
    } catch (cause) {
      if (cause instanceof RangeError) throw refused(`the tree of ${size} is no longer held`, cause);
      throw cause;
    }
  }

  async #witnessed(size: number): Promise<void> {
    if (size <= this.#cosigned) return;
    // Without this, each record of a quorum would ask for the next quorum, and a log at rest grow.
    const isForNote = this.#cosigned >= this.#noted && size === this.#noted + 1;
    this.#cosigned = size;
    this.#look(this.#log.durable.size);
    if (!isForNote) this.#noted = await this.#effects.noted(size);
  }

  #look(size: number): void {
    const records = size - this.#cosigned;
    const isOver = this.#rules.witnesses !== undefined && records > this.#rules.unwitnessed;
    if (isOver === this.#isOver) return;
    this.#isOver = isOver;
    this.#effects.unwitnessed(isOver, records);
  }
}

function read<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    return asRefusal(cause);
  }
}

function asRefusal(cause: unknown): never {
  if (cause instanceof DecodeError || cause instanceof EvidenceError) throw refused(cause.message, cause);
  throw cause;
}

function refused(message: string, cause?: unknown): RefusalError {
  return new RefusalError('request', message, { cause });
}
