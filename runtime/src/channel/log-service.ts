/**
 * enclaim.v1.Log: checkpoints, tiles of hashes and proofs for anyone, entries for the readers that
 * the policy names. No answer carries a receipt, and none is believed without a checkpoint.
 */

import { create, type DescMessage, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { Sha256 } from '@enclaim/attestation/digest';
import {
  AddCosignaturesRequestSchema,
  AddCosignaturesResponseSchema,
  GetCheckpointRequestSchema,
  GetCheckpointResponseSchema,
  GetEntriesRequestSchema,
  GetEntriesResponseSchema,
  GetProofRequestSchema,
  GetQuoteRequestSchema,
  GetTileRequestSchema,
  GetTileResponseSchema,
  Log,
  type LogProof,
  LogProofSchema,
  MAX_ENTRIES_REQUESTED,
  WatchRequestSchema,
  WatchResponseSchema,
} from '@enclaim/attestation/log-service';
import type { Ed25519Text } from '@enclaim/attestation/statement';
import { TILE_WIDTH, type Tile } from '@enclaim/attestation/tlog';
import { RefusalError } from '../errors.ts';
import { MAX_COSIGNED_NOTE_BYTES } from '../log/cosignatures.ts';
import type { Looked } from '../log/earlier-boots.ts';
import { STATUS } from '../refusals.ts';
import type { GrpcCall } from './grpc-call.ts';
import { LogReaders } from './log-readers.ts';
import { LogRefusal, serveLog } from './log-refusal.ts';
import { LogTurns } from './log-turns.ts';
import { LogWatchers } from './log-watchers.ts';
import { type ServedMethod, servedMethod } from './served-methods.ts';
import { requestOf, smallRequest } from './small-requests.ts';

/** Bytes of entries in an answer, unless one entry alone is longer. */
export const MAX_ENTRIES_ANSWER_BYTES: number = 256 * 1024;
/** Answers with entries that their readers have not taken yet, of all connections. */
export const MAX_ENTRIES_ANSWERS = 64;
/** The same of one reader, so that some are left for every other reader. */
export const MAX_ENTRIES_ANSWERS_OF_READER = 16;
/** Proofs that wait for a quote or are not taken yet, also of earlier boots, of all connections. */
export const MAX_WAITING_PROOFS = 1024;
/** Entries that are read at once: a few answers' worth, and never as many as could be long. */
const MAX_ENTRIES_READ = 32;
/** The highest level of a tile (C2SP tlog-tiles). */
const MAX_LEVEL = 63;

/** The log, as far as the service reads it. */
export interface ServedLog {
  /** The tree that this boot found. */
  readonly began: { readonly size: number };
  /** The tree of all records whose write has resolved. */
  readonly durable: { readonly size: number };
  /** Lowest index whose entry is held. */
  readonly minimum: number;
  /** Hashes of a tile of the durable tree. @throws RangeError for one that is no longer held */
  tile(tile: Tile): Promise<Uint8Array>;
  /** Bytes of entries. */
  entries(first: number, count: number): Promise<Uint8Array[]>;
}

/** A signed checkpoint. */
export interface ServedCheckpoint {
  readonly size: number;
  readonly note: string;
  /** The log key's signature for COSE receipts. */
  readonly coseSignature: () => Uint8Array;
}

/** The log's checkpoints. */
export interface ServedCheckpoints {
  /** The newest, of what is durable; undefined while none is signed. */
  readonly newest: ServedCheckpoint | undefined;
  /** The way of a record of this boot to a quote, once there is one. */
  proofOf(index: number): Promise<LogProof>;
}

/** Quotes that earlier boots left: one look reads one of them. */
export interface ServedEarlier {
  proofOf(index: number): Promise<Looked>;
  quoteWithin(size: number): Promise<Looked>;
}

/** Takes what couriers bring from witnesses. */
export interface ServedCosignatures {
  add(note: string): Promise<{ readonly cosigned: number; readonly mirrored: number }>;
}

/** The parts of the service. */
export interface LogSource {
  readonly log: ServedLog;
  readonly checkpoints: ServedCheckpoints;
  /** Absent: earlier boots left no quotes. */
  readonly earlier?: ServedEarlier;
  /** Absent: none are taken. */
  readonly cosignatures?: ServedCosignatures;
  readonly readers: readonly Ed25519Text[];
  readonly boot: Sha256;
}

/** The service. Without a source it has no checkpoint, and so nothing to tell. */
export class LogService {
  readonly #source: LogSource | undefined;
  readonly #readers: LogReaders;
  readonly #turns = new LogTurns();
  readonly #watchers: LogWatchers;
  /** Calls that wait for a proof; a call that left goes on counting until the proof is there. */
  readonly #proving = new Set<GrpcCall>();
  #provings = 0;
  #answers = 0;
  /** The same by reader: at most as many as the policy names. */
  readonly #answersOf = new Map<Ed25519Text, number>();
  #isOver = false;

  constructor(source: LogSource | undefined) {
    this.#source = source;
    this.#readers = new LogReaders(source?.readers ?? [], source?.boot ?? (new Uint8Array(32) as Sha256));
    this.#watchers = new LogWatchers(() => {
      const newest = source?.checkpoints.newest;
      const message = (note: string): Uint8Array =>
        encoded(WatchResponseSchema, { checkpoint: note, minimum: BigInt(source?.log.minimum ?? 0) });
      return newest && { size: newest.size, message: () => message(newest.note) };
    });
  }

  /** The methods of the service, with their paths. */
  get methods(): (readonly [string, ServedMethod])[] {
    const { getCheckpoint, getTile, getEntries, getProof, getQuote, watch, addCosignatures } = Log.method;
    return [
      servedMethod(getCheckpoint, (call) => serveLog(call, () => this.#checkpoint(call))),
      servedMethod(getTile, (call) => serveLog(call, () => this.#tile(call))),
      servedMethod(getEntries, (call) => serveLog(call, () => this.#entries(call))),
      servedMethod(getProof, (call) => serveLog(call, () => this.#proof(call))),
      servedMethod(getQuote, (call) => serveLog(call, () => this.#quote(call))),
      servedMethod(watch, (call) => serveLog(call, () => this.#watch(call))),
      servedMethod(addCosignatures, (call) => serveLog(call, () => this.#addCosignatures(call))),
    ];
  }

  /** Ends watches and what waits for a quote; nothing is answered any more. */
  stop(): void {
    this.#isOver = true;
    const end = (call: GrpcCall): void => serveLog(call, async () => void this.#open());
    this.#watchers.stop(end);
    for (const call of this.#proving) end(call);
  }

  async #checkpoint(call: GrpcCall): Promise<void> {
    await requested(call, GetCheckpointRequestSchema);
    const { checkpoints, log } = this.#open();
    const signed = await this.#inTurn(call, async () => {
      const { note: checkpoint, coseSignature } = newestOf(checkpoints);
      return { checkpoint, coseSignature: coseSignature() };
    });
    const minimum = BigInt(log.minimum);
    call.end({ status: STATUS.ok, response: encoded(GetCheckpointResponseSchema, { ...signed, minimum }) });
  }

  async #tile(call: GrpcCall): Promise<void> {
    const { level, index, width } = await requested(call, GetTileRequestSchema);
    const { log } = this.#open();
    const tile = { level, index: Number(index), width };
    if (width < 1 || width > TILE_WIDTH || level > MAX_LEVEL) throw new LogRefusal('request', 'not a tile');
    // Beyond 2^53 this is not exact, and above every size all the same.
    const end = (tile.index * TILE_WIDTH + width) * TILE_WIDTH ** level;
    within(end, log);
    const hashes = await this.#inTurn(call, () => log.tile(tile)).catch((error: unknown) => {
      throw error instanceof RangeError ? forgotten(log) : error;
    });
    call.end({ status: STATUS.ok, response: encoded(GetTileResponseSchema, { hashes }) });
  }

  async #entries(call: GrpcCall): Promise<void> {
    const asked = await requested(call, GetEntriesRequestSchema);
    const { log } = this.#open();
    // In a turn, because a stranger's signature costs as much as a reader's.
    // layer: readers of the log (off: undefined)
    const reader = await this.#inTurn(call, async () => this.#readers.admit(call));
    if (asked.count < 1 || asked.count > MAX_ENTRIES_REQUESTED)
      throw new LogRefusal('request', `1 to ${MAX_ENTRIES_REQUESTED} entries are asked for at once`);
    const first = Number(asked.first);
    within(first + 1, log);
    if (first < log.minimum) throw forgotten(log);
    const own = this.#answersOf.get(reader) ?? 0;
    // layer: answers of a reader
    if (own >= MAX_ENTRIES_ANSWERS_OF_READER) throw new LogRefusal('busy', `${own} answers wait for you to take them`);
    if (this.#answers >= MAX_ENTRIES_ANSWERS) throw new LogRefusal('busy', 'too many answers are not taken yet');
    this.#answers++;
    this.#answersOf.set(reader, own + 1);
    try {
      const end = Math.min(first + asked.count, log.durable.size);
      const entries = await this.#inTurn(call, () => entriesOf(log, first, end));
      // Without this wait, an answer would be held for each stream whose reader takes nothing.
      await call.send(encoded(GetEntriesResponseSchema, { entries }));
      call.end({ status: STATUS.ok });
    } finally {
      this.#answers--;
      this.#answersOf.set(reader, (this.#answersOf.get(reader) ?? 1) - 1);
    }
  }

  async #proof(call: GrpcCall): Promise<void> {
    const index = Number((await requested(call, GetProofRequestSchema)).index);
    const { checkpoints, log } = this.#open();
    within(index + 1, log);
    if (index < log.began.size) {
      if (index < log.minimum) throw forgotten(log);
      return this.#earlier(call, 'the record', (earlier) => earlier.proofOf(index));
    }
    return this.#prove(call, async () => {
      // Only asking takes a turn: a quote takes longer than a connection may be kept waiting.
      const asked = await this.#inTurn(call, async () => ({ proof: checkpoints.proofOf(index) }));
      return asked.proof;
    });
  }

  /** Answers with a proof, one of as many as may wait or not be taken yet. */
  async #prove(call: GrpcCall, proof: () => Promise<LogProof>): Promise<void> {
    // layer: proofs that are held
    if (this.#provings >= MAX_WAITING_PROOFS) throw new LogRefusal('busy', `${MAX_WAITING_PROOFS} proofs wait already`);
    this.#provings++;
    this.#proving.add(call);
    call.onLeave(() => this.#proving.delete(call));
    try {
      await call.send(toBinary(LogProofSchema, await proof()));
      call.end({ status: STATUS.ok });
    } finally {
      this.#proving.delete(call);
      this.#provings--;
    }
  }

  async #quote(call: GrpcCall): Promise<void> {
    const size = Number((await requested(call, GetQuoteRequestSchema)).size);
    return this.#earlier(call, `at most ${size} records`, (earlier) => earlier.quoteWithin(size));
  }

  /** Answers with what an earlier boot left. Quotes of such boots are read one in a turn. */
  #earlier(call: GrpcCall, of: string, look: (earlier: ServedEarlier) => Promise<Looked>): Promise<void> {
    const { earlier, log } = this.#open();
    return this.#prove(call, async () => {
      let found: Looked;
      do found = earlier && (await this.#inTurn(call, () => look(earlier)));
      while (found === 'more');
      if (found !== undefined) return found;
      const why = `this boot began at ${log.began.size}, and no quote of an earlier one was kept that covers ${of}`;
      throw new LogRefusal('earlier', why);
    });
  }

  async #addCosignatures(call: GrpcCall): Promise<void> {
    const bytes = (await call.next()) ?? new Uint8Array();
    if (bytes.length > MAX_COSIGNED_NOTE_BYTES)
      throw new LogRefusal('request', `cosignatures of more than ${MAX_COSIGNED_NOTE_BYTES} bytes`);
    const { checkpoint } = requestOf(AddCosignaturesRequestSchema, bytes);
    const { cosignatures } = this.#open();
    if (cosignatures === undefined) throw new LogRefusal('request', 'no cosignatures are taken here');
    const added = this.#turns.take(call.connection.number, () => cosignatures.add(checkpoint));
    const { cosigned, mirrored } = await added.catch((cause: unknown) => {
      if (!(cause instanceof RefusalError) || cause.code !== 'request') throw cause;
      throw new LogRefusal('request', cause.message, { cause });
    });
    const sizes = { cosigned: BigInt(cosigned), mirrored: BigInt(mirrored) };
    call.end({ status: STATUS.ok, response: encoded(AddCosignaturesResponseSchema, sizes) });
  }

  async #watch(call: GrpcCall): Promise<void> {
    const { size } = await requested(call, WatchRequestSchema);
    this.#open();
    this.#watchers.add(call, Number(size));
  }

  /** Does a piece of work in this connection's turn. @throws LogRefusal */
  #inTurn<T>(call: GrpcCall, work: () => Promise<T>): Promise<T> {
    return this.#turns.take(call.connection.number, work);
  }

  /** @throws LogRefusal `shutdown`, `no-checkpoint` */
  #open(): LogSource {
    if (this.#isOver) throw new LogRefusal('shutdown', 'the runtime is about to end');
    if (this.#source === undefined) throw unsigned();
    return this.#source;
  }
}

/** @throws LogRefusal `no-checkpoint` */
function newestOf({ newest }: ServedCheckpoints): ServedCheckpoint {
  if (newest === undefined) throw unsigned();
  return newest;
}

function unsigned(): LogRefusal {
  return new LogRefusal('no-checkpoint', 'this boot has signed no checkpoint yet');
}

/** @throws LogRefusal `beyond` */
function within(end: number, { durable: { size } }: ServedLog): void {
  // layer: durable size of the log
  if (!(end <= size)) throw new LogRefusal('beyond', `the log has ${size} entries`);
}

function forgotten({ minimum }: ServedLog): LogRefusal {
  return new LogRefusal('forgotten', `records below ${minimum} are held by mirrors alone`);
}

/** The one request of a call. @throws RequestError */
async function requested<Desc extends DescMessage>(call: GrpcCall, type: Desc): Promise<MessageShape<Desc>> {
  return smallRequest(type, (await call.next()) ?? new Uint8Array());
}

/** The entries [first, end), or those before an answer would be too long. */
async function entriesOf(log: ServedLog, first: number, end: number): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = [];
  let bytes = 0;
  for (let at = first; at < end; at += MAX_ENTRIES_READ) {
    for (const entry of await log.entries(at, Math.min(MAX_ENTRIES_READ, end - at))) {
      if (entries.length > 0 && bytes + entry.length > MAX_ENTRIES_ANSWER_BYTES) return entries;
      entries.push(entry);
      bytes += entry.length;
    }
  }
  return entries;
}

function encoded<Desc extends DescMessage>(type: Desc, value: MessageInitShape<Desc>): Uint8Array {
  return toBinary(type, create(type, value));
}
