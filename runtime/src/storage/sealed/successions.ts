/**
 * The succession that waits for its time in this boot, and then passes the state with each epoch
 * (docs/operate/state.md, "To another launch").
 */

import { equalBytes, fromBase64, toBase64 } from '@enclaim/attestation/bytes';
import { digestText, sha256Digest } from '@enclaim/attestation/digest';
import { type ReadSuccession, SuccessionError, verifySuccession } from '@enclaim/attestation/succession';
import type { PolicyDigest } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../../errors.ts';
import { freshHex } from '../../random-pool.ts';
import { jsonText } from '../../worker/json-text.ts';
import { type Collection, recorded } from '../collection.ts';
import type { Inheritance } from './found.ts';
import type { Passage } from './keeper.ts';
import type { SealedStore } from './sealed-store.ts';

export { SUCCESSION_COLLECTION } from './heir.ts';

const KEY = 'waiting';
const OWNER = '$owner';
const VERSION_BYTES = 8;
/** Replaced successions of one state that are remembered, and refused. */
const MAX_REPLACED_SUCCESSIONS = 64;
/** Milliseconds until the clock is looked at again, at most: a timer has an end of its own. */
const MAX_WAIT_MS = 60_000;
/** Milliseconds until a hand-over that failed is tried again, at most: each attempt is an epoch. */
const MAX_RETRY_MS = 3_600_000;
/** Refusals that are remembered, by what was handed in. */
const MAX_REFUSED_SUCCESSIONS = 64;

/** A step of a succession, as its record says it. */
export type SuccessionStep = 'waits' | 'replaced' | 'handed over' | 'inherited';

/** The parts that successions need. */
export interface SuccessionsOptions {
  readonly store: SealedStore;
  /** {@link SUCCESSION_COLLECTION} of the store. */
  readonly collection: Collection;
  /** The policy of this boot. */
  readonly policy: PolicyDigest;
  readonly clock: { now(): number };
  /** Places a record at once, and resolves when it is durable. @throws RefusalError `log` */
  record(step: SuccessionStep, digest: string): Promise<unknown>;
}

/** The succession that waits. */
export interface WaitingSuccession {
  readonly succession: Uint8Array;
  readonly digest: string;
  /** Milliseconds since 1970 from which on the state passes. */
  readonly due: number;
  readonly passage: Passage;
  /** Signatures that it needed. */
  readonly signatures: number;
}

/** A succession that another one has replaced: it passes this state no more. */
interface Replaced {
  readonly digest: string;
  readonly signatures: number;
}

/** The stored form of successions. */
interface Stored {
  /** Canonical bytes of the one that waits, base64. */
  readonly succession: string;
  /** Milliseconds since 1970 from which on its notice is counted. */
  readonly since: number;
  /** Absent where none was replaced. */
  readonly replaced?: readonly Replaced[];
}

/**
 * Holds at most one succession, over boots, from the moment it was recorded.
 *
 * **Trust**: notice is counted by the boot's clock, which never goes back and is the host's. A host
 * that sets it forward makes the notice shorter.
 */
export class Successions {
  readonly #options: SuccessionsOptions;
  #waiting: WaitingSuccession | undefined;
  #replaced: readonly Replaced[] = [];
  /** Whether no heir of before can open what is stored from now on. */
  #isWithdrawn = true;
  /** Digest of the last hand-over that was recorded in this boot. */
  #recorded: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Hand-overs that failed one after another, and the error of the last one. */
  #failed = { count: 0, error: undefined as unknown };
  /** Refusals by the hash of what was handed in. A boot judges the same bytes in the same way. */
  readonly #refused = new Map<string, SuccessionError>();
  /** Settles after the last step. Never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  #isOver = false;

  private constructor(options: SuccessionsOptions) {
    this.#options = options;
  }

  /** Goes on with what an earlier boot took. @throws RefusalError `state` if it is unreadable */
  static async open(options: SuccessionsOptions): Promise<Successions> {
    const opened = new Successions(options);
    const value = await options.collection.get(KEY)?.value;
    if (value === undefined) return opened;
    const { succession, since, replaced = [] } = JSON.parse(value) as Stored;
    const bytes = fromBase64(succession);
    // One of the launch before, or of a state of before, has had its time.
    const read = await verifySuccession(bytes).catch(() => undefined);
    if (read === undefined || !opened.#isOurs(read)) return opened;
    opened.#waiting = waitingOf(read, bytes, since);
    opened.#replaced = replaced;
    opened.#wait();
    return opened;
  }

  /** The present name of the state. */
  get state(): string {
    return this.#options.store.state;
  }

  /** The succession that waits, or that the state is handed over by; undefined without one. */
  get waiting(): WaitingSuccession | undefined {
    return this.#waiting;
  }

  /** Whether the heir can open the state as it is now. */
  get isHanded(): boolean {
    const { handed } = this.#options.store;
    return handed !== undefined && handed.passage === this.#waiting?.passage;
  }

  /**
   * Takes a succession in the place of the one that waits. Its notice begins with its record; that
   * of one which waits already goes on.
   *
   * **Bound**: bytes that were handed in before are not verified again, and hand over nothing while
   * a hand-over that failed is waited for.
   *
   * @throws SuccessionError; RefusalError `keeper` for another launch, `state`, `log`, `shutdown`
   */
  hand(bytes: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      const waiting = this.#waiting;
      const isKnown =
        waiting !== undefined &&
        // layer: successions that wait already (off: false)
        equalBytes(bytes, waiting.succession);
      if (!isKnown) await this.#judge(bytes);
      // layer: hand-overs that are waited for
      if (this.#waiting === waiting && this.#failed.count > 0) throw this.#failed.error;
      await this.#pass().catch((error: unknown) => {
        this.#again(error);
        throw error;
      });
    });
  }

  /** Verifies what was handed in, and has it wait. @throws SuccessionError; RefusalError */
  async #judge(bytes: Uint8Array): Promise<void> {
    const hash = sha256Digest(bytes);
    const before = this.#refused.get(hash);
    // layer: refused successions
    if (before !== undefined) throw before;
    try {
      const read = await verifySuccession(bytes);
      if (!this.#isOurs(read))
        throw new SuccessionError('launch', 'the succession is of another policy, or of a state of another name');
      const now = this.#options.clock.now();
      const next = waitingOf(read, bytes, now);
      if (next.digest !== this.#waiting?.digest) await this.#replace(next, now);
    } catch (error) {
      if (error instanceof SuccessionError) this.#refuse(hash, error);
      throw error;
    }
  }

  /** Remembers a refusal, in the place of the oldest. */
  #refuse(hash: string, error: SuccessionError): void {
    const [oldest] = this.#refused.keys();
    if (this.#refused.size >= MAX_REFUSED_SUCCESSIONS && oldest !== undefined) this.#refused.delete(oldest);
    this.#refused.set(hash, error);
  }

  /** Takes nothing more. Resolves when what is under way is done. */
  async close(): Promise<void> {
    this.#isOver = true;
    clearTimeout(this.#timer);
    await this.#last;
  }

  #isOurs({ file: { document } }: ReadSuccession): boolean {
    const { store, policy } = this.#options;
    return (
      document.from.policy === policy && /* layer: successions of this state alone */ document.state === store.state
    );
  }

  async #replace(next: WaitingSuccession, now: number): Promise<void> {
    const { store, collection, record } = this.#options;
    const replaced = this.#replacedBy(next);
    await store.tryPassage(next.passage);
    const kept = {
      succession: toBase64(next.succession),
      since: now,
      replaced: replaced.map(({ digest, signatures }) => ({ digest, signatures })),
    } satisfies Stored;
    const stored = { value: jsonText(kept), since: Number.POSITIVE_INFINITY, owner: OWNER };
    const change = { kind: 'put', key: KEY, label: [], version: freshHex(VERSION_BYTES), ...stored } as const;
    collection.check([change]);
    const durable = recorded(collection, () => record(this.#waiting === undefined ? 'waits' : 'replaced', next.digest));
    collection.apply([change]);
    this.#isWithdrawn = false;
    await durable;
    this.#waiting = next;
    this.#replaced = replaced;
    this.#failed = { count: 0, error: undefined };
  }

  /**
   * Successions that are over once this one waits.
   *
   * One that needs fewer signatures than the one that waits never waits again, so that those need
   * not be remembered. Without that refusal, one signer could hold up what a threshold has signed.
   * @throws SuccessionError for one that is over itself
   */
  #replacedBy({ digest, signatures }: WaitingSuccession): readonly Replaced[] {
    const waiting = this.#waiting;
    // layer: replaced successions
    if (this.#replaced.some((each) => each.digest === digest))
      throw new SuccessionError('launch', 'the succession was replaced by another one');
    // layer: successions of fewer signers
    if (waiting !== undefined && signatures < waiting.signatures)
      throw new SuccessionError('signatures', `one that ${waiting.signatures} signers have signed for waits`);
    const before = waiting === undefined ? [] : [{ digest: waiting.digest, signatures: waiting.signatures }];
    const replaced = [...this.#replaced, ...before].filter((each) => each.signatures >= signatures);
    if (replaced.length > MAX_REPLACED_SUCCESSIONS)
      throw new SuccessionError('launch', `${MAX_REPLACED_SUCCESSIONS} successions of this state were replaced`);
    return replaced;
  }

  /**
   * Hands the state over if the time has come, or waits for it.
   *
   * What waits was stored in an epoch that the host can cut, and its key can be another heir's. In
   * the next epoch neither is so.
   */
  async #pass(): Promise<void> {
    const { store, clock, record } = this.#options;
    const waiting = this.#waiting;
    if (waiting === undefined || this.isHanded) return;
    // layer: withdrawal from an heir
    if (!this.#isWithdrawn) await store.bequeath(undefined);
    this.#isWithdrawn = true;
    // layer: time of a succession
    if (clock.now() < waiting.due) return this.#wait();
    const { passage, succession, digest } = waiting;
    // Recorded first: else the state could go without a record of it.
    if (this.#recorded !== digest) await record('handed over', digest);
    this.#recorded = digest;
    await store.bequeath({ passage, digest, succession });
    this.#failed = { count: 0, error: undefined };
  }

  #wait(): void {
    clearTimeout(this.#timer);
    if (this.#isOver || this.#waiting === undefined) return;
    const left = Math.min(MAX_WAIT_MS, Math.max(0, this.#waiting.due - this.#options.clock.now()));
    this.#timer = setTimeout(() => {
      this.#inTurn(() => this.#pass()).catch((error: unknown) => this.#again(error));
    }, left).unref();
  }

  /**
   * Tries again later what could not be handed over now.
   *
   * **Bound**: an attempt wears the chip that counts epochs. Each comes twice as late as the one
   * before, and one an hour in the end.
   */
  #again(error: unknown): void {
    if (this.#isOver) return;
    clearTimeout(this.#timer);
    const { count } = this.#failed;
    this.#failed = { count: count + 1, error };
    this.#timer = setTimeout(() => this.#wait(), Math.min(MAX_RETRY_MS, MAX_WAIT_MS * 2 ** count)).unref();
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    if (this.#isOver) return Promise.reject(new RefusalError('shutdown', 'the runtime is about to end'));
    const made = this.#last.then(step);
    this.#last = made.catch(() => {});
    return made;
  }
}

/**
 * Judges what a disk brings of another launch, for the heir under a policy.
 *
 * **Trust**: signers of the policy before vouch for the launch before; the keeper shows that it was
 * that launch which sealed the key, to this one.
 */
export function inheritanceUnder(policy: PolicyDigest): (succession: Uint8Array) => Promise<Inheritance> {
  return async (bytes) => {
    const read = await verifySuccession(bytes).catch((cause: Error) => {
      throw new RefusalError('state', `the disk's succession: ${cause.message}`, { cause });
    });
    const { document } = read.file;
    // layer: heirs by their policy
    if (document.to.policy !== policy) throw new RefusalError('state', 'the disk’s succession is to another policy');
    return { digest: read.digest, state: document.state, passage: passageOf(read) };
  };
}

function passageOf({ file: { document }, registers }: ReadSuccession): Passage {
  return { policy: document.from.policy, ...registers };
}

function waitingOf(read: ReadSuccession, succession: Uint8Array, since: number): WaitingSuccession {
  const notice = since + read.demands.noticeSeconds * 1000;
  const due = Math.max(notice, Date.parse(read.file.document.notBefore));
  const { signatures } = read.demands;
  return { succession, digest: digestText('sha256', read.digest), due, passage: passageOf(read), signatures };
}
