/**
 * Quotes that outlive their boot: the newest in one of two places behind the journal, and the last
 * of each earlier boot as a section of the journal (docs/reference/formats.md, "Kept quotes").
 */

import { concat, equalBytes, fromHex, Reader, setU64be, u32be, utf8 } from '../bytes.ts';
import { sha256 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { type LogProof, LogProofSchema } from '../gen/enclaim/v1/evidence_pb.js';
import { decodeMessage } from '../message.ts';
import { type CurrentBootStatement, decodeStatement } from '../statement.ts';
import { type Checkpoint, parseCheckpoint, parseNote } from '../tlog/index.ts';
import type { Block } from './block.ts';
import { HASH_BYTES, type LogLayout } from './layout.ts';
import { safeNumber } from './superblock.ts';

const MAGIC = utf8('ENCLQUO\0');
/** Bytes before the quote. */
const HEAD_BYTES = 24;
/** Type of the section of a block that holds the last kept quote of an earlier boot. */
export const QUOTE_SECTION = 1;
/** Bytes of a section before the quote. */
const BEFORE_BYTES = 8;

/** A quote as it stands in its place or section. */
export interface KeptQuote {
  /** Position of the block with the quote of the boot before in its section; 0 for none. */
  readonly before: number;
  /** `enclaim.v1.LogProof` without index and path: a checkpoint, and evidence that covers it. */
  readonly quote: Uint8Array;
}

/** A boot as a quote of it tells. **Trust**: nothing of it is verified. */
export interface QuotedBoot {
  readonly statement: CurrentBootStatement;
  /** The newest checkpoint of the boot that was kept. */
  readonly checkpoint: Checkpoint;
  /** Without index and path. */
  readonly proof: LogProof;
}

/** Bytes that a quote may have on a disk. */
export function maxQuoteBytes({ quotes }: LogLayout): number {
  return quotes.length - HEAD_BYTES - HASH_BYTES;
}

/** Bytes of a kept quote, up to the end of its hash. */
export function encodeKeptQuote({ before, quote }: KeptQuote): Uint8Array {
  const out = new Uint8Array(HEAD_BYTES + quote.length + HASH_BYTES);
  out.set(concat(MAGIC, u32be(quote.length)));
  setU64be(out, 16, before);
  out.set(quote, HEAD_BYTES);
  const end = HEAD_BYTES + quote.length;
  out.set(sha256(out.subarray(0, end)), end);
  return out;
}

/**
 * The quote of a place; bytes behind it are left alone.
 *
 * **Trust**: its hash shows that it was written whole, not who wrote it.
 * @throws DecodeError
 */
export function parseKeptQuote(place: Uint8Array): KeptQuote {
  const reader = new Reader(place);
  if (!equalBytes(reader.take(MAGIC.length), MAGIC)) throw new DecodeError('magic', 'not a kept quote', 0);
  const length = reader.u32be();
  reader.zeros(4, 'reserved field of a kept quote');
  const before = safeNumber(reader);
  const quote = reader.take(length);
  const end = HEAD_BYTES + length;
  // layer: hash of a kept quote
  if (!equalBytes(reader.take(HASH_BYTES), sha256(place.subarray(0, end))))
    throw new DecodeError('canonical', 'a kept quote whose hash is another', end);
  return { before, quote };
}

/** Bytes of the section that holds a quote of an earlier boot. */
export function encodeQuoteSection({ before, quote }: KeptQuote): Uint8Array {
  const out = new Uint8Array(BEFORE_BYTES + quote.length);
  setU64be(out, 0, before);
  out.set(quote, BEFORE_BYTES);
  return out;
}

/** The quote in a block's section; undefined if the block has none, or one that is too short. */
export function quoteIn({ sections }: Block): KeptQuote | undefined {
  const data = sections.find(({ type }) => type === QUOTE_SECTION)?.data;
  if (data === undefined || data.length < BEFORE_BYTES) return undefined;
  const reader = new Reader(data);
  const before = Number(reader.u64be());
  return { before: Number.isSafeInteger(before) ? before : 0, quote: reader.take(reader.left) };
}

/**
 * The boot of a quote. **Trust**: nothing of it is verified.
 * @throws DecodeError
 */
export function quotedBoot(quote: Uint8Array): QuotedBoot {
  const proof = decodeMessage(LogProofSchema, quote, quote.length);
  if (proof.index !== 0n || proof.path.length > 0)
    throw new DecodeError('canonical', 'a kept quote with the way of a record', 0);
  if (proof.evidence === undefined) throw new DecodeError('syntax', 'a kept quote without evidence', 0);
  const statement = decodeStatement(proof.evidence.statement);
  if (statement.version !== 3) throw new DecodeError('version', `a boot of version ${statement.version}`, 0);
  const checkpoint = parseCheckpoint(parseNote(proof.checkpoint).text);
  const { origin, size } = statement.log;
  if (checkpoint.origin !== origin || checkpoint.size < size)
    throw new DecodeError('canonical', `a checkpoint of ${checkpoint.origin} at ${checkpoint.size}`, 0);
  return { statement, checkpoint, proof };
}

/** The tree that a boot found. */
export function beganWith({ log }: CurrentBootStatement): { readonly size: number; readonly root: Uint8Array } {
  return { size: log.size, root: fromHex(log.root.slice('sha256:'.length)) };
}
