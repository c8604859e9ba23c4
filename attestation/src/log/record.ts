/**
 * Record: one leaf of the evidence log (docs/reference/formats.md, "Record"). No personal data,
 * ever: categories, digests, counts.
 */

import * as z from 'zod';
import { concat, equalBytes, utf8 } from '../bytes.ts';
import { decodeCanonical } from '../canonical.ts';
import { type DigestText, isDigestText, type Sha256, sha256Digest } from '../digest.ts';
import { sha256Text, sha384Text } from '../digest-schema.ts';
import { DecodeError } from '../errors.ts';
import { LABELS, labelBytes } from '../labels.ts';
import { leafHash } from '../merkle.ts';
import type { AnyRecord, ControlTally, EvidenceRecord, FirstRecord, SegmentPart } from './record-fields.ts';
import { canonicalRecord } from './record-text.ts';

export type { AnyRecord, ControlTally, EvidenceRecord, FirstRecord, SegmentPart };

const ID = /^[0-9a-f]{32}$/;
const TIME = z.core.regexes.datetime({ precision: 3 });
const STRENGTHS = ['host', 'signed'] as const;
const LAYERS = ['pre-commit', 'ci', 'admission', 'runtime', 'evidence'] as const;
const DECISIONS = ['allow', 'deny', 'error', 'info'] as const;
const BASES = ['measured', 'enforced', 'observed', 'asserted'] as const;
/** Most characters of a text, by its kind. */
const MAX_CHARS = { name: 256, reason: 2048, method: 512, figure: 512 } as const;
/** Claims that one record can name. */
export const MAX_RECORD_CLAIMS: number = 256;
/** Controls that one record of a segment states. */
export const MAX_SEGMENT_CONTROLS: number = 128;
const CONTROL = /^[a-z][a-z0-9-]*\/[a-z0-9]+(?:[.-][a-z0-9]+)*$/;
const MAX_CONTROLS = 256;
const MAX_CATEGORIES = 1024;

const name = z.string().max(MAX_CHARS.name);
const fields = {
  id: z.string().regex(ID).describe('16 random bytes.'),
  time: z.string().regex(TIME).describe('UTC, with milliseconds.'),
  timeStrength: z.enum(STRENGTHS).describe("Source of the time: the host's word, or a source that the policy names."),
  layer: z.enum(LAYERS).describe('The stage at which it was made.'),
  system: name.describe('Name of the system, as its policy has it.'),
  policyDigest: sha384Text.describe('The policy that was in force.'),
  decision: z.enum(DECISIONS).describe('info: nothing was decided.'),
  reason: z.string().max(MAX_CHARS.reason).describe('A stable code, with what it met.'),
  method: z.string().max(MAX_CHARS.method).nullable().describe('package.Service/Method; null where there is no call.'),
  label: z.array(name).max(MAX_CATEGORIES).describe('Categories that the call carried.'),
  sink: name.nullable().describe('Where data would go; null for the call as a whole.'),
  figures: z.record(z.string().max(MAX_CHARS.figure), z.int()).describe('Counts by their names.'),
  basis: z.enum(BASES).describe('How what it says is known.'),
};
const count = z.int().nonnegative();
const tally: z.ZodType<ControlTally> = z.strictObject({
  ...{ allow: count, deny: count, error: count, info: count },
  root: sha256Text.describe('Root of the RFC 6962 tree of the leaf hashes of its records, in order.'),
});
const segmentSchema: z.ZodType<SegmentPart> = z
  .strictObject({
    first: count.describe("Index of the segment's first leaf."),
    end: count.describe('Index after its last leaf.'),
    part: count,
    parts: count,
    controls: z.record(z.string().max(128).regex(CONTROL), tally).describe('Those with a record in the segment.'),
  })
  .refine(({ first, end, part, parts }) => first < end && part < parts, 'an empty stretch, or a part beyond the parts')
  .refine(({ controls }) => Object.keys(controls).length <= MAX_SEGMENT_CONTROLS, 'too many controls');
const recordSchema = z.strictObject({
  v: z.literal(2).describe('Version of the schema.'),
  ...fields,
  claims: z
    .array(name)
    .max(MAX_RECORD_CLAIMS)
    .describe('Ids of the claims of the policy that the decision serves; their controls are in that policy.'),
  deleted: sha256Text
    .exactOptional()
    .describe('In the record of a call that changed a sealed collection: commitment to the places that it emptied.'),
  segment: segmentSchema.exactOptional().describe('In a record that closes a segment: what that holds.'),
});
const firstSchema = z.strictObject({
  v: z.literal(1),
  ...fields,
  claim: name.nullable(),
  controls: z.array(name).max(MAX_CONTROLS),
  prev: sha256Text,
});
const anySchema: z.ZodType<AnyRecord> = z.discriminatedUnion('v', [recordSchema, firstSchema]);

/** Largest entry of the log in bytes: what an entry bundle of C2SP tlog-tiles can hold. */
export const MAX_ENTRY_BYTES: number = 65_535;
/** Largest record of version 1 in bytes. */
export const MAX_FIRST_RECORD_BYTES: number = 64 * 1024;

const ENTRY_LABEL = labelBytes('record');
const ENTRY_LABEL_TEXT = `${LABELS.record}\0`;
/** Largest record in bytes: an entry without its label. */
export const MAX_RECORD_BYTES: number = MAX_ENTRY_BYTES - ENTRY_LABEL.length;

/** The JSON Schema of a record: docs/reference/record.schema.json. */
export function recordJsonSchema(): object {
  return z.toJSONSchema(recordSchema);
}

/** Canonical bytes of a record. @throws DecodeError if {@link decodeRecord} would refuse it */
export function encodeRecord(record: AnyRecord): Uint8Array {
  const bytes = utf8(recordText(record));
  checkLength(record, bytes.length);
  return bytes;
}

function checkLength({ v }: AnyRecord, length: number): void {
  const most = v === 1 ? MAX_FIRST_RECORD_BYTES : MAX_RECORD_BYTES;
  if (length > most) throw new DecodeError('range', `a record of ${length} bytes`, most);
}

/**
 * The same as text, whose length as UTF-8 is not checked.
 *
 * **Cost**: the runtime writes one for every call. A test holds it and the canonical form of any
 * value to one result.
 */
export function recordText(record: AnyRecord): string {
  if (!isRecord(record)) throw new DecodeError('syntax', 'not a record', 0);
  try {
    return canonicalRecord(record);
  } catch (cause) {
    throw new DecodeError('syntax', 'text of a record that is not Unicode', 0, { cause });
  }
}

/**
 * Bytes of a record as the log holds them: a label and the record.
 *
 * Without the label, bytes that were signed or hashed for another use could stand in the log.
 * @throws DecodeError if {@link decodeEntry} would refuse them
 */
export function recordEntry(record: EvidenceRecord): Uint8Array {
  return concat(ENTRY_LABEL, encodeRecord(record));
}

/** The same as text, whose length as UTF-8 is not checked: {@link MAX_ENTRY_BYTES}. */
export function entryText(record: EvidenceRecord): string {
  return ENTRY_LABEL_TEXT + recordText(record);
}

/**
 * The record of an entry.
 *
 * **Trust**: authentic only by its place in the log.
 * @throws DecodeError
 */
export function decodeEntry(entry: Uint8Array): EvidenceRecord {
  if (!equalBytes(entry.subarray(0, ENTRY_LABEL.length), ENTRY_LABEL))
    throw new DecodeError('magic', 'not an entry of the log', 0);
  return decodeCanonical(recordSchema, entry.subarray(ENTRY_LABEL.length), MAX_RECORD_BYTES);
}

/** An entry's hash: its RFC 6962 leaf hash. In version 1 the record itself is the entry. */
export function recordHash(entry: Uint8Array): Sha256 {
  return leafHash(entry);
}

/** The same of an entry's text. */
export function recordDigest(entry: string): DigestText<'sha256'> {
  return leafDigest(leafText(entry));
}

/**
 * An entry's text behind the NUL that it is hashed with (RFC 6962, section 2.1).
 *
 * **Cost**: the log, which needs the text, too, slices it off this one and copies nothing.
 */
export function leafText(entry: string): string {
  return `\0${entry}`;
}

/** The digest of the entry that {@link leafText} was made of. */
export function leafDigest(leaf: string): DigestText<'sha256'> {
  return sha256Digest(leaf);
}

/**
 * Whether the schema of its version takes these fields.
 *
 * **Cost**: the runtime asks this for every call, of values that have their types already. The
 * schema copies its input and takes many times as long. A test holds the two to one answer.
 */
function isRecord(record: AnyRecord): boolean {
  return (
    (record.v === 2 ? isSecond(record) : record.v === 1 && isFirst(record)) &&
    ID.test(record.id) &&
    TIME.test(record.time) &&
    STRENGTHS.includes(record.timeStrength) &&
    LAYERS.includes(record.layer) &&
    isShort(record.system) &&
    isPolicyDigest(record.policyDigest) &&
    DECISIONS.includes(record.decision) &&
    record.reason.length <= MAX_CHARS.reason &&
    (record.method === null || record.method.length <= MAX_CHARS.method) &&
    isNames(record.label, MAX_CATEGORIES) &&
    (record.sink === null || isShort(record.sink)) &&
    Object.keys(record.figures).every(isFigure) &&
    Object.values(record.figures).every(Number.isSafeInteger) &&
    BASES.includes(record.basis)
  );
}

/** The digest that was compared last and is one. **Cost**: a boot's records have the same one. */
let knownDigest: string | undefined;

function isPolicyDigest(text: string): boolean {
  if (text === knownDigest) return true;
  if (!isDigestText('sha384', text)) return false;
  knownDigest = text;
  return true;
}

function isSecond({ claims, deleted, segment }: EvidenceRecord): boolean {
  return (
    isNames(claims, MAX_RECORD_CLAIMS) &&
    (deleted === undefined || isDigestText('sha256', deleted)) &&
    (segment === undefined || isPart(segment))
  );
}

/** The schema's library leaves a control `__proto__` out. */
function isPart(segment: SegmentPart): boolean {
  return segmentSchema.safeParse(segment).success && Object.keys(segment.controls).every((name) => CONTROL.test(name));
}

function isFirst({ claim, controls, prev }: FirstRecord): boolean {
  return (claim === null || isShort(claim)) && isNames(controls, MAX_CONTROLS) && isDigestText('sha256', prev);
}

/** Whether a figure may have this name. The schema's library leaves `__proto__` out. */
function isFigure(name: string): boolean {
  return name.length <= MAX_CHARS.figure && name !== '__proto__';
}

function isNames(names: readonly string[], most: number): boolean {
  return names.length <= most && names.every(isShort);
}

function isShort(text: string): boolean {
  return text.length <= MAX_CHARS.name;
}

/**
 * The record of canonical bytes, of any version.
 *
 * **Trust**: authentic only by its place in the log.
 * @throws DecodeError
 */
export function decodeRecord(bytes: Uint8Array): AnyRecord {
  const record = decodeCanonical(anySchema, bytes, MAX_FIRST_RECORD_BYTES);
  checkLength(record, bytes.length);
  return record;
}
