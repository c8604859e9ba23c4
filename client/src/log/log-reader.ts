/** Reads the log of an attested machine, and believes nothing that no checkpoint confirms. */

import { setTimeout } from 'node:timers/promises';
import type { DescMethod, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { equalBytes, fromBase64Url, fromHex, toHex } from '@enclaim/attestation/bytes';
import { DecodeError, EvidenceError } from '@enclaim/attestation/errors';
import { Log, MAX_ENTRIES_REQUESTED, READER_METADATA, readerMessage } from '@enclaim/attestation/log-service';
import { leafHash } from '@enclaim/attestation/merkle';
import type { BootStatement, CurrentBootStatement, Ed25519Text } from '@enclaim/attestation/statement';
import {
  type Checkpoint,
  formatNoteKey,
  type NoteKey,
  noteKey,
  parseCheckpoint,
  TILE_WIDTH,
  type Tile,
  tilePath,
  VerifiedTiles,
  verifyNote,
} from '@enclaim/attestation/tlog';
import { Metadata, status } from '@grpc/grpc-js';
import type { Attestation } from '../attestation.ts';
import type { AttestedChannel } from '../channel.ts';
import { type ReceiptOf, signedReceipt } from './cose-receipt.ts';
import { LogCalls } from './log-calls.ts';
import { LogError } from './log-error.ts';

/** Milliseconds for each question. */
const QUESTION_MS = 30_000;
/** Milliseconds without a word after which a watch is begun anew. The server sends one in 30 s. */
const SILENCE_MS = 90_000;
/** Milliseconds before a watch is begun anew. */
const RESUME_MS = 1000;
/** Watches in a row that told nothing new and ended early. */
const MAX_VAIN_WATCHES = 5;
/** A watch that lasted so long did not end early, in milliseconds. */
const LONG_WATCH_MS = 60_000;
/** Checkpoints of one watch that told nothing new. */
const MAX_REPEATS = 100;
/** Full tiles that are kept over checkpoints, of 8 KiB each. */
const MAX_KEPT_TILES = 64;
const KEY_AT = 'ed25519:'.length;

/** A log as it was seen: a later one must continue it, whichever boot writes. */
export interface SeenLog {
  readonly size: number;
  /** RFC 6962 root, 32 bytes. */
  readonly root: Uint8Array;
}

/** The key by which a reader of entries is known to the policy (`evidence.readers`). */
export interface ReaderKey {
  readonly key: Ed25519Text;
  /** Ed25519 signature, 64 bytes. */
  sign(message: Uint8Array): Uint8Array;
}

/** Options of a {@link LogReader}. */
export interface LogReaderOptions {
  /** Needed for entries alone. */
  readonly reader?: ReaderKey;
  /** The log as it was seen last. Absent: it is seen for the first time. */
  readonly seen?: SeenLog;
  /** Milliseconds for each question; by default 30 000. */
  readonly timeout?: number;
  /**
   * Milliseconds before a watch that ended is begun anew, times the number of those that told
   * nothing; by default 1000.
   */
  readonly pause?: number;
}

/** A checkpoint that continues all that was seen before. */
export interface VerifiedCheckpoint extends Checkpoint {
  /** The signed note. */
  readonly note: string;
  /** The verifier key of the note, as C2SP writes it. */
  readonly key: string;
  /**
   * Number of entries with which this boot began. Entries below it count under quotes of earlier
   * boots alone.
   */
  readonly began: number;
  /**
   * Lowest index whose entry the machine says that it holds. A mirror holds those below.
   *
   * **Trust**: the machine's word.
   */
  readonly minimum: number;
}

/** An entry of the log. */
export interface LogEntry {
  readonly index: number;
  /** Its bytes: a label, then a record. */
  readonly data: Uint8Array;
}

/** A checkpoint as a server tells it. */
interface ToldCheckpoint {
  readonly checkpoint: string;
  readonly minimum: bigint;
  /** Absent from watches. */
  readonly coseSignature?: Uint8Array;
}

/** A checkpoint with the tiles that lead to it, and the boot that signed it. */
interface Newest {
  readonly checkpoint: VerifiedCheckpoint;
  readonly tiles: VerifiedTiles;
  readonly coseSignature: Uint8Array | undefined;
  readonly attestation: Attestation;
}

/**
 * Reads the log of the machine at the other end of a channel. Every checkpoint is one of the boot
 * that the channel attested, and continues those before; every tile and entry leads to its root.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { connect } from '@enclaim/client';
 * import { LogReader } from '@enclaim/client/log';
 *
 * await using channel = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 * });
 * const log = new LogReader(channel);
 * for await (const { size, note } of log.watch()) console.log(size, note);
 * ```
 */
export class LogReader {
  readonly #channel: AttestedChannel;
  readonly #calls: LogCalls;
  readonly #reader: ReaderKey | undefined;
  readonly #timeout: number;
  readonly #pause: number;
  #seen: SeenLog | undefined;
  #newest: Newest | undefined;
  /** The boot whose beginning was held against its log. */
  #begun: string | undefined;
  /** Full tiles by path, as the server sent them: they are held against each checkpoint anew. */
  readonly #kept = new Map<string, Uint8Array>();

  constructor(
    channel: AttestedChannel,
    { reader, seen, timeout = QUESTION_MS, pause = RESUME_MS }: LogReaderOptions = {},
  ) {
    this.#channel = channel;
    this.#calls = new LogCalls(channel);
    this.#reader = reader;
    this.#seen = seen;
    this.#timeout = timeout;
    this.#pause = pause;
  }

  /** The newest checkpoint. @throws LogError */
  async checkpoint(): Promise<VerifiedCheckpoint> {
    const { attestation } = this.#channel;
    return this.#acceptOf(await this.#ask(Log.method.getCheckpoint, {}), attestation);
  }

  /**
   * Hashes of a tile under the newest checkpoint that was asked for, the widest of its place.
   *
   * @throws LogError `tile`, `answer`, `refused`; RangeError beyond the tree
   */
  async tile(level: number, index: number): Promise<Uint8Array> {
    const { tiles } = await this.#current();
    return believed(() => tiles.tile(level, index));
  }

  /**
   * The proof that the tree of `size` entries, by default that of the newest checkpoint that was
   * asked for, continues the tree of `old` entries, from 1.
   *
   * @throws LogError `tile`, `answer`, `refused`; RangeError beyond the tree
   */
  async consistency(old: number, size?: number): Promise<readonly Uint8Array[]> {
    const { checkpoint, tiles } = await this.#current();
    const of = size ?? checkpoint.size;
    if (!(old >= 1 && old <= of && of <= checkpoint.size)) throw new RangeError(`${old} of ${of} entries`);
    return believed(() => tiles.consistency(old, of));
  }

  /**
   * A COSE receipt (RFC 9942) under the newest checkpoint that was asked for, with the evidence of
   * the boot: for a record of this boot by its index, or for the tree of its first `old` entries.
   *
   * @throws LogError `tile`, `answer`, `refused`, `checkpoint` if the log key did not sign it,
   * `unsupported` if the server signs none; RangeError beyond the tree, or for a record of an
   * earlier boot
   */
  async receipt(of: ReceiptOf): Promise<Uint8Array> {
    if ((await this.#current()).coseSignature === undefined) await this.checkpoint();
    const { checkpoint, tiles, coseSignature, attestation } = await this.#current();
    if (coseSignature === undefined || coseSignature.length === 0)
      throw new LogError('unsupported', 'the server gives no signature for COSE receipts');
    return believed(() => signedReceipt(of, { checkpoint, source: tiles, coseSignature, attestation }));
  }

  /**
   * Hands in a checkpoint of this log with cosignatures, and tells how far the machine says that it
   * is cosigned.
   *
   * @throws LogError `refused` if they do not count by the machine's policy
   */
  async addCosignatures(note: string): Promise<{ readonly cosigned: number; readonly mirrored: number }> {
    const { cosigned, mirrored } = await this.#ask(Log.method.addCosignatures, { checkpoint: note });
    return { cosigned: Number(cosigned), mirrored: Number(mirrored) };
  }

  /**
   * Entries [first, end) under the newest checkpoint that was asked for.
   *
   * @throws LogError `tile`, `answer`, `refused`; RangeError beyond the tree
   */
  async *entries(first: number, end: number): AsyncGenerator<LogEntry> {
    const { checkpoint, tiles } = await this.#current();
    if (!(first >= 0 && end <= checkpoint.size))
      throw new RangeError(`entries ${first} to ${end} of ${checkpoint.size}`);
    for (let at = first; at < end; ) {
      const count = Math.min(MAX_ENTRIES_REQUESTED, TILE_WIDTH - (at % TILE_WIDTH), end - at);
      const { entries } = await this.#askAsReader({ first: BigInt(at), count });
      if (entries.length < 1 || entries.length > count)
        throw new LogError('answer', `${entries.length} entries, where 1 to ${count} were asked for`);
      const hashes = await believed(() => tiles.tile(0, Math.floor(at / TILE_WIDTH)));
      for (const data of entries) {
        const from = (at % TILE_WIDTH) * 32;
        if (!equalBytes(leafHash(data), hashes.subarray(from, from + 32)))
          throw new LogError('tile', `entry ${at} is not the one of the tree`);
        yield { index: at++, data };
      }
    }
  }

  /**
   * Checkpoints as they come, each larger than the one before. Goes on over connections and boots.
   *
   * @throws LogError; `silent` if the server tells nothing new and ends its watches
   */
  async *watch({ signal }: { readonly signal?: AbortSignal } = {}): AsyncGenerator<VerifiedCheckpoint> {
    for (let vain = 0; vain < MAX_VAIN_WATCHES; vain++) {
      const began = performance.now();
      try {
        for await (const checkpoint of this.#watchOnce(signal)) {
          vain = 0;
          yield checkpoint;
        }
      } catch (error) {
        if (!(error instanceof LogError) || error.status !== status.UNAVAILABLE) throw error;
      }
      if (signal?.aborted) return;
      if (performance.now() - began > LONG_WATCH_MS) vain = 0;
      await waited(this.#pause * (vain + 1), signal);
      if (signal?.aborted) return;
    }
    throw new LogError('silent', `${MAX_VAIN_WATCHES} watches told nothing new`);
  }

  async *#watchOnce(signal: AbortSignal | undefined): AsyncGenerator<VerifiedCheckpoint> {
    const { attestation } = this.#channel;
    const limits = { metadata: new Metadata(), silence: SILENCE_MS, signal };
    const size = this.#newest?.checkpoint.size ?? this.#seen?.size ?? 0;
    let repeats = 0;
    for await (const told of this.#calls.follow(Log.method.watch, { size: BigInt(size) }, limits)) {
      const before = this.#newest?.checkpoint.size ?? 0;
      const checkpoint = await this.#acceptOf(told, attestation);
      if (checkpoint.size > before) yield checkpoint;
      else if (++repeats >= MAX_REPEATS) return;
    }
  }

  /**
   * A checkpoint of the connection that was there when it was asked for, or of the one that took
   * its place meanwhile. @throws LogError
   */
  async #acceptOf(told: ToldCheckpoint, asked: Attestation): Promise<VerifiedCheckpoint> {
    try {
      return await this.#accept(told, asked);
    } catch (error) {
      const { attestation } = this.#channel;
      if (attestation === asked || !(error instanceof LogError) || error.code !== 'checkpoint') throw error;
      return this.#accept(told, attestation);
    }
  }

  /** A checkpoint that continues all that was seen, and is then what was seen. @throws LogError */
  async #accept(
    { checkpoint: note, minimum, coseSignature }: ToldCheckpoint,
    attestation: Attestation,
  ): Promise<VerifiedCheckpoint> {
    const stated = statedLog(attestation.statement);
    const key = noteKey(stated.log.origin, 'ed25519', fromBase64Url(stated.keys.log.slice(KEY_AT)));
    const checkpoint = await checkpointOf(note, key);
    const tiles = new VerifiedTiles(checkpoint, (tile) => this.#fetch(tile));
    // Of what a mirror alone holds no tile leads anywhere; size and root are under the quote.
    const isHeld = stated.log.size >= Number(minimum);
    if (isHeld && this.#begun !== stated.bootId)
      await continues(checkpoint, tiles, beginningOf(stated), 'this boot began with');
    if (this.#seen !== undefined) await continues(checkpoint, tiles, this.#seen, 'was seen before');
    this.#begun = stated.bootId;
    const verified: VerifiedCheckpoint = {
      ...checkpoint,
      note,
      key: formatNoteKey(key),
      began: stated.log.size,
      minimum: Math.min(Number(minimum), checkpoint.size),
    };
    this.#newest = { checkpoint: verified, tiles, coseSignature, attestation };
    this.#seen = { size: checkpoint.size, root: checkpoint.root };
    return verified;
  }

  async #current(): Promise<Newest> {
    if (this.#newest === undefined) await this.checkpoint();
    if (this.#newest === undefined) throw new LogError('checkpoint', 'no checkpoint is known');
    return this.#newest;
  }

  async #fetch({ level, index, width }: Tile): Promise<Uint8Array> {
    const path = tilePath({ level, index, width });
    const kept = this.#kept.get(path);
    if (kept !== undefined) return kept;
    const { hashes } = await this.#ask(Log.method.getTile, { level: Number(level), index: BigInt(index), width });
    if (width === TILE_WIDTH) this.#kept.set(path, hashes);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT_TILES && oldest !== undefined) this.#kept.delete(oldest);
    return hashes;
  }

  #ask<Method extends DescMethod>(
    method: Method,
    request: MessageInitShape<Method['input']>,
  ): Promise<MessageShape<Method['output']>> {
    return this.#calls.ask(method, request, { metadata: new Metadata(), timeout: this.#timeout });
  }

  /** Asks for entries with the reader's proof, once more if the connection is another. */
  async #askAsReader(request: { readonly first: bigint; readonly count: number }): Promise<{ entries: Uint8Array[] }> {
    if (this.#reader === undefined) throw new LogError('refused', 'entries are for readers: no key is given');
    const { attestation } = this.#channel;
    const ask = (shown: Attestation): Promise<{ entries: Uint8Array[] }> =>
      this.#calls.ask(Log.method.getEntries, request, {
        metadata: proofOf(this.#reader as ReaderKey, shown),
        timeout: this.#timeout,
      });
    try {
      return await ask(attestation);
    } catch (error) {
      const isOther = this.#channel.attestation !== attestation;
      if (!isOther || !(error instanceof LogError) || error.status !== status.UNAUTHENTICATED) throw error;
      return ask(this.#channel.attestation);
    }
  }
}

/** A statement whose log has checkpoints. @throws LogError `unsupported` */
function statedLog(statement: BootStatement): CurrentBootStatement {
  if (statement.version === 3) return statement;
  throw new LogError('unsupported', `boot statement ${statement.version} names no key of a log`);
}

function beginningOf({ log: { size, root } }: CurrentBootStatement): SeenLog {
  return { size, root: fromHex(root.slice('sha256:'.length)) };
}

/** The checkpoint of a note. @throws LogError `checkpoint` */
async function checkpointOf(note: string, key: NoteKey): Promise<Checkpoint> {
  try {
    const { text } = await verifyNote(note, [key]);
    const checkpoint = parseCheckpoint(text);
    if (checkpoint.origin !== key.name)
      throw new DecodeError('syntax', `a checkpoint of ${checkpoint.origin}, not of ${key.name}`, 0);
    return checkpoint;
  } catch (cause) {
    if (cause instanceof DecodeError || cause instanceof EvidenceError)
      throw new LogError('checkpoint', `no checkpoint of ${key.name}: ${cause.message}`, { cause });
    throw cause;
  }
}

/**
 * Holds a checkpoint against an earlier size of the log. @throws LogError `shrunk`, `fork`, `tile`
 */
async function continues(now: Checkpoint, tiles: VerifiedTiles, then: SeenLog, what: string): Promise<void> {
  if (now.size < then.size) throw new LogError('shrunk', `the log has ${now.size} entries, and ${what} ${then.size}`);
  const root = now.size === then.size ? now.root : await believed(() => tiles.rootAt(then.size));
  if (!equalBytes(root, then.root))
    throw new LogError(
      'fork',
      `of its first ${then.size} entries the root is ${toHex(root)}, and ${what} ${toHex(then.root)}`,
    );
}

/** The result of a read of verified tiles. @throws LogError `tile` */
async function believed<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof EvidenceError) throw new LogError('tile', cause.message, { cause });
    throw cause;
  }
}

/** The metadata by which a reader is known on one connection. @throws LogError `refused` */
function proofOf({ key, sign }: ReaderKey, { exporter, bootDigest }: Attestation): Metadata {
  if (exporter === undefined) throw new LogError('refused', 'no connection whose reader could be known');
  const metadata = new Metadata();
  const proof = [fromBase64Url(key.slice(KEY_AT)), sign(readerMessage(exporter, bootDigest))];
  metadata.set(READER_METADATA, Buffer.concat(proof));
  return metadata;
}

/** Waits; ends early with the signal. */
function waited(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return setTimeout(milliseconds, undefined, signal && { signal }).catch(() => {});
}
