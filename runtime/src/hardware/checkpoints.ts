/**
 * Checkpoints: what is durable of the log, signed by the boot's log key, quoted by the hardware in
 * time, and the proofs of records that follow from it.
 */

import { create, toBinary } from '@bufbuild/protobuf';
import { encodeCheckpointLeaf } from '@enclaim/attestation/batch';
import { fromBase64Url, utf8 } from '@enclaim/attestation/bytes';
import type { Sha256 } from '@enclaim/attestation/digest';
import { LABELS } from '@enclaim/attestation/labels';
import { type LogProof, LogProofSchema } from '@enclaim/attestation/log-service';
import type { Evidence } from '@enclaim/attestation/messages';
import { treeMessage } from '@enclaim/attestation/scitt';
import { formatCheckpoint, formatNote, type NoteKey, noteKey, signatureLine } from '@enclaim/attestation/tlog';
import { RefusalError } from '../errors.ts';
import type { QuoteBatcher, SignedLeaf } from './quote-batch.ts';

/** A tree of the log. */
interface TreeHead {
  readonly size: number;
  readonly root: Sha256;
}

/** The log as its checkpoints see it. */
export interface CheckpointedLog {
  /** The tree that this boot found. */
  readonly began: TreeHead;
  /** The tree of all records whose write has resolved. */
  readonly durable: TreeHead;
  onDurable(listener: (head: TreeHead) => void): void;
  inclusion(index: number, size: number): Promise<Sha256[]>;
}

/** A checkpoint and its signed note. */
export interface SignedCheckpoint {
  readonly size: number;
  /** Text that is signed, and that a quote covers. */
  readonly text: string;
  /** C2SP signed note. */
  readonly note: string;
  /**
   * The log key's signature of the same tree for COSE receipts (RFC 9942), 64 bytes.
   *
   * **Cost**: made once it is asked for, and kept.
   */
  readonly coseSignature: () => Uint8Array;
}

interface QuotedCheckpoint extends SignedCheckpoint {
  /** **Cost**: one for all proofs under this checkpoint. */
  readonly evidence: Evidence;
}

/** The log, its key, and the hardware that quotes it. */
export interface CheckpointsOptions {
  readonly log: CheckpointedLog;
  /** The log's name. */
  readonly origin: string;
  /** The log key, and its signature of a checkpoint in either form. */
  readonly keys: { readonly log: `ed25519:${string}`; signCheckpoint(message: Uint8Array): Uint8Array };
  readonly quotes: Pick<QuoteBatcher, 'addLatest'>;
  /**
   * Milliseconds within which a durable record comes under a quote; 0: once a proof is asked for.
   */
  readonly within: number;
  /** The evidence of a leaf that the hardware signed. */
  readonly evidenceOf: (signed: SignedLeaf) => Evidence;
  /** Keeps a quote for later boots: `enclaim.v1.LogProof` without index and path. */
  readonly keep?: (quote: Uint8Array) => Promise<void>;
  /**
   * Told that no quote came for so long that calls may no longer be answered, and when one came.
   */
  readonly onOverdue?: (isOverdue: boolean) => void;
}

/**
 * Callers that wait for the same quote.
 *
 * **Cost**: a promise for each would cost as much as making its proof.
 */
interface Wave {
  readonly done: PromiseWithResolvers<QuotedCheckpoint>;
  callers: number;
  /** Records that the quote covers; 0 before that was decided. */
  size: number;
}

/** Callers that wait for a quote. */
const MAX_WAITERS = 8192;
/**
 * How many times the promised time may pass without a quote, and at least how many milliseconds,
 * before calls are refused.
 */
const OVERDUE = { times: 10, least: 30_000 } as const;
/** Milliseconds for the quote over the last record of a boot. */
const LAST_QUOTE_MS = 2_500;

/** Milliseconds without a quote after which calls are refused. */
export function overdueAfter(within: number): number {
  return Math.max(OVERDUE.times * within, OVERDUE.least);
}

/** Signs and quotes the log of one boot. */
export class Checkpoints {
  readonly #options: CheckpointsOptions;
  readonly #key: NoteKey;
  #newest: SignedCheckpoint | undefined;
  #quoted: QuotedCheckpoint | undefined;
  /** The quote under way. */
  #quoting: Promise<void> | undefined;
  /** The newest quote on its way to the disk. */
  #keeping: Promise<void> | undefined;
  /** The callers who wait for the quote under way, once it is decided what that covers. */
  #covered: Wave | undefined;
  /** The callers who wait for the one after it. */
  #waiting: Wave | undefined;
  #due: NodeJS.Timeout | undefined;
  #late: NodeJS.Timeout | undefined;
  #isOverdue = false;
  #isClosed = false;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
    const { keys, log, origin } = options;
    this.#key = noteKey(origin, 'ed25519', fromBase64Url(keys.log.slice('ed25519:'.length)));
    log.onDurable(() => this.#look());
  }

  /**
   * The newest checkpoint: of what is durable by now.
   *
   * Without this limit, a crash would leave a signed tree that the log never continues: a fork.
   */
  get newest(): SignedCheckpoint {
    const { size, root } = this.#options.log.durable;
    if (this.#newest?.size === size) return this.#newest;
    const { origin, keys } = this.#options;
    const text = formatCheckpoint({ origin, size, root, extensions: [] });
    const line = signatureLine(this.#key, keys.signCheckpoint(utf8(text)));
    let made: Uint8Array | undefined;
    const coseSignature = (): Uint8Array => {
      made ??= keys.signCheckpoint(treeMessage({ origin, subject: LABELS.record, size }, root, keys.log));
      return made;
    };
    this.#newest = { size, text, note: formatNote(text, [line]), coseSignature };
    return this.#newest;
  }

  /** The newest checkpoint that a quote covers; undefined before the first. */
  get quoted(): SignedCheckpoint | undefined {
    return this.#quoted;
  }

  /**
   * The way of a record to a quote. Waits for the quote, and asks for one if none covers the record
   * yet.
   *
   * @throws RangeError for a record that is not durable, or that an earlier boot wrote;
   * RefusalError `budget` if too many wait, `log` if no quote was to be had
   */
  async proofOf(index: number): Promise<LogProof> {
    const { log } = this.#options;
    if (!Number.isSafeInteger(index) || index < log.began.size || index >= log.durable.size)
      throw new RangeError(`record ${index} is not between ${log.began.size} and ${log.durable.size}`);
    const { note, size, evidence } = await this.#quotedAbove(index);
    const path = await log.inclusion(index, size);
    return create(LogProofSchema, { index: BigInt(index), path, checkpoint: note, evidence });
  }

  /** Has the hardware quote what is durable, within a limit; then makes no more checkpoints. */
  async close(): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, LAST_QUOTE_MS);
    await Promise.race([late, this.#last()]);
    clearTimeout(timer);
    this.#isClosed = true;
    clearTimeout(this.#due);
    clearTimeout(this.#late);
    this.#reject(new RefusalError('log', 'the runtime is about to end'));
  }

  async #last(): Promise<void> {
    await this.#quoting;
    if (this.#isBehind) await this.#quote();
    await this.#keeping;
  }

  get #isBehind(): boolean {
    const { durable, began } = this.#options.log;
    return durable.size > (this.#quoted?.size ?? began.size);
  }

  async #quotedAbove(index: number): Promise<QuotedCheckpoint> {
    if (this.#quoted !== undefined && index < this.#quoted.size) return this.#quoted;
    if (this.#isClosed) throw new RefusalError('log', 'the runtime is about to end');
    if ((this.#covered?.callers ?? 0) + (this.#waiting?.callers ?? 0) >= MAX_WAITERS)
      throw new RefusalError('budget', `${MAX_WAITERS} wait for a quote already`);
    const isCovered = index < (this.#covered?.size ?? 0);
    const wave = (isCovered ? this.#covered : this.#waiting) ?? begun();
    if (!isCovered) this.#waiting = wave;
    wave.callers++;
    this.#look();
    return wave.done.promise;
  }

  /** Decides what is next: nothing, a quote now, or a quote in time. */
  #look(): void {
    if (this.#isClosed || !this.#isBehind) return;
    const { within } = this.#options;
    if (within > 0) this.#late ??= setTimeout(() => this.#turnOverdue(true), overdueAfter(within)).unref();
    if (this.#quoting !== undefined) return;
    if (this.#waiting !== undefined) void this.#quote();
    // Half of the time is left for the quote itself.
    else if (within > 0) this.#due ??= setTimeout(() => void this.#quote(), within / 2).unref();
  }

  async #quote(): Promise<void> {
    if (this.#quoting !== undefined) return this.#quoting;
    clearTimeout(this.#due);
    this.#due = undefined;
    this.#quoting = this.#sign();
    await this.#quoting;
    this.#quoting = undefined;
    const [covered, quoted] = [this.#covered, this.#quoted];
    this.#covered = undefined;
    this.#look();
    // Behind the begin of the next quote: the hardware works while thousands of proofs are made.
    if (quoted !== undefined) setImmediate(() => covered?.done.resolve(quoted));
  }

  /** One quote. Never throws. */
  async #sign(): Promise<void> {
    try {
      let made = this.newest;
      const signed = await this.#options.quotes.addLatest(() => {
        made = this.newest;
        this.#covered = this.#waiting ?? begun();
        this.#covered.size = made.size;
        this.#waiting = undefined;
        return encodeCheckpointLeaf(made.text);
      });
      this.#take({ ...made, evidence: this.#options.evidenceOf(signed) });
    } catch (cause) {
      // Not tried again for those that wait: a platform that fails would keep them waiting.
      this.#reject(new RefusalError('log', 'no quote could be had', { cause }));
    }
  }

  #take(quoted: QuotedCheckpoint): void {
    this.#quoted = quoted;
    const { note: checkpoint, evidence } = quoted;
    this.#keeping = this.#options.keep?.(toBinary(LogProofSchema, create(LogProofSchema, { checkpoint, evidence })));
    clearTimeout(this.#late);
    this.#late = undefined;
    if (this.#isOverdue) this.#turnOverdue(false);
  }

  #reject(error: RefusalError): void {
    const waves = [this.#covered, this.#waiting];
    this.#covered = undefined;
    this.#waiting = undefined;
    for (const wave of waves) wave?.done.reject(error);
  }

  #turnOverdue(isOverdue: boolean): void {
    this.#isOverdue = isOverdue;
    this.#options.onOverdue?.(isOverdue);
  }
}

function begun(): Wave {
  const done = Promise.withResolvers<QuotedCheckpoint>();
  // Without this, a failing quote for which no caller waits would end the process.
  done.promise.catch(() => {});
  return { done, callers: 0, size: 0 };
}
