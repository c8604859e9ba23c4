/**
 * Frames: the sealed changes of one call to one collection, as a section of the journal has them
 * (docs/reference/formats.md, "Sealed state").
 */

import { RefusalError } from '../../errors.ts';
import type { Place } from '../place.ts';
import type { Value } from './row.ts';
import { type Seal, sealedBytes, TAG_BYTES } from './seals.ts';

const VERSION = 1;
const HEAD_BYTES = 21;
/** Bytes to which changes are padded. */
const STEP_BYTES = 256;

/** The result of a change for one place. */
export interface Changed {
  readonly key: string;
  /**
   * Undefined if there is none any more. A value of it that is new has its bytes; one without bytes
   * is the one that the place has already.
   */
  readonly place: Place<Value> | undefined;
}

/** A value that was sealed anew, because its space is to be used again. */
export interface Moved {
  readonly key: string;
  /** Where it was: the move counts if it is still there. */
  readonly from: number;
  readonly value: Value;
}

/** Changes of a collection at one time. */
export interface Changes {
  readonly collection: string;
  /** Milliseconds of the store's clock. */
  readonly time: number;
  readonly changed: readonly Changed[];
  readonly moved: readonly Moved[];
}

/** Bytes of the part of a frame before its values. */
function frameHeadBytes(changesText: number): number {
  return HEAD_BYTES + Math.ceil(changesText / STEP_BYTES) * STEP_BYTES + TAG_BYTES;
}

/**
 * Changes as a text. Offsets of values count from the first of them.
 *
 * @param offsets of new values
 */
function changesText({ collection, time, changed, moved }: Changes, offsets: ReadonlyMap<Value, number>): string {
  const put = changed.map((each) => fieldsOf(each, offsets));
  return JSON.stringify([
    collection,
    time,
    put,
    moved.map((each) => [each.key, each.from, ...newOf(each.value, offsets)]),
  ]);
}

function fieldsOf({ key, place }: Changed, offsets: ReadonlyMap<Value, number>): unknown[] {
  if (place === undefined) return [key];
  const { value, version = null, since, label, valueEnd, placeEnd, owner } = place;
  const fields: unknown[] = [key, label, since, orNull(valueEnd), orNull(placeEnd), owner, version];
  if (value === undefined) return fields;
  if (!offsets.has(value)) fields.push(true);
  else fields.push(...newOf(value, offsets), ...(value.terms ? [Buffer.from(value.terms).toString('base64')] : []));
  return fields;
}

function newOf(value: Value, offsets: ReadonlyMap<Value, number>): [key: string, length: number, offset: number] {
  return [Buffer.from(value.key).toString('base64'), value.length, offsets.get(value) ?? 0];
}

/** A value that the disk does not have yet. */
export interface NewValue {
  readonly key: string;
  readonly version: string | undefined;
  readonly value: Value;
}

/** A frame before it is sealed. */
export interface Layout {
  readonly values: readonly NewValue[];
  /** Where each value begins, from the first of them. */
  readonly offsets: ReadonlyMap<Value, number>;
  readonly text: string;
  /** Bytes before the values, and of all of them. */
  readonly head: number;
  readonly length: number;
}

/** A frame of changes and new values. */
export function layoutOf(changes: Changes, values: readonly NewValue[]): Layout {
  const offsets = new Map<Value, number>();
  let length = 0;
  for (const { value } of values) {
    offsets.set(value, length);
    length += sealedBytes(value.length);
  }
  const text = changesText(changes, offsets);
  return { values, offsets, text, head: frameHeadBytes(Buffer.byteLength(text)), length };
}

/** A frame's bytes up to its values. */
export function sealFrame(seal: Seal, epoch: number, sequence: number, text: string): Buffer {
  const length = Buffer.byteLength(text);
  const plain = Buffer.alloc(frameHeadBytes(length) - HEAD_BYTES - TAG_BYTES, ' ');
  plain.write(text);
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt8(VERSION);
  head.writeBigUInt64BE(BigInt(epoch), 1);
  head.writeBigUInt64BE(BigInt(sequence), 9);
  head.writeUInt32BE(plain.length + TAG_BYTES, 17);
  const sealed = seal.seal(sequence, head, plain, HEAD_BYTES);
  plain.fill(0);
  sealed.set(head);
  return sealed;
}

/** A change of a frame that was read. */
export interface ReadChange extends Changed {
  /** Whether the value stays the one that the place has. */
  readonly stays: boolean;
}

/** A frame that was read, with new values where the disk has them. */
export interface OpenedFrame extends Changes {
  readonly changed: readonly ReadChange[];
}

/**
 * Opens a frame.
 *
 * @param position of its first byte in the journal
 * @throws RefusalError `state` if it is not the one of this epoch and sequence
 */
export function openFrame(
  seal: Seal,
  epoch: number,
  sequence: number,
  { position, data }: { readonly position: number; readonly data: Uint8Array },
): OpenedFrame {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  if (bytes.length < HEAD_BYTES || bytes.readUInt8() !== VERSION) throw refused('a section that is no frame');
  const [ofEpoch, number] = [bytes.readBigUInt64BE(1), bytes.readBigUInt64BE(9)];
  if (ofEpoch !== BigInt(epoch)) throw refused(`changes of epoch ${ofEpoch} behind the index of epoch ${epoch}`);
  if (number !== BigInt(sequence)) throw refused(`changes ${number} of epoch ${epoch}, where ${sequence} are next`);
  const end = HEAD_BYTES + bytes.readUInt32BE(17);
  if (end > bytes.length) throw refused('changes that are cut off');
  const text = seal.open(sequence, bytes.subarray(0, HEAD_BYTES), bytes.subarray(HEAD_BYTES, end));
  const [collection, time, changed, moved] = readText(text);
  const at = position + end;
  return {
    ...{ collection, time },
    changed: changed.map((fields) => changedOf(fields, at)),
    moved: moved.map(([key, from, ...value]) => ({ key, from, value: valueIn(value, at) })),
  };
}

/** The text of a frame, which is overwritten. **Trust**: it was sealed by this system. */
function readText(text: Buffer): ReadText {
  try {
    return JSON.parse(text.toString()) as ReadText;
  } finally {
    text.fill(0);
  }
}

type ReadText = [string, number, Fields[], [key: string, from: number, ...New][]];
type New = [sealed: string, length: number, offset: number];
type Fields = [
  ...[key: string, label?: string[], since?: number, valueEnd?: number | null, placeEnd?: number | null],
  ...[owner?: string, version?: string | null, sealed?: string | true, length?: number, offset?: number],
  ...[terms?: string],
];

function changedOf(fields: Fields, values: number): ReadChange {
  const [key, label, since = 0, valueEnd, placeEnd, owner = '', version, sealed, length = 0, offset = 0, terms] =
    fields;
  if (label === undefined) return { key, place: undefined, stays: false };
  const value = typeof sealed === 'string' ? valueIn([sealed, length, offset], values, terms) : undefined;
  const ends = { valueEnd: valueEnd ?? Number.POSITIVE_INFINITY, placeEnd: placeEnd ?? Number.POSITIVE_INFINITY };
  const place = { value, version: version ?? undefined, since, label, ...ends, owner };
  return { key, place, stays: sealed === true };
}

function valueIn([sealed, length, offset]: New, values: number, terms?: string): Value {
  const key = Buffer.from(sealed, 'base64');
  return {
    length,
    key,
    terms: terms ? Buffer.from(terms, 'base64') : undefined,
    position: values + offset,
    bytes: undefined,
  };
}

function orNull(end: number): number | null {
  return Number.isFinite(end) ? end : null;
}

function refused(what: string): RefusalError {
  return new RefusalError('state', what);
}
