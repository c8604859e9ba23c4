/**
 * Record: one line of the evidence log (docs/reference/formats.md, "Record"). No personal data,
 * ever: categories, digests, counts.
 */

import * as z from 'zod';
import { fromUtf8, utf8 } from '../bytes.ts';
import { checkUnicode, decodeCanonical, encodeCanonical } from '../canonical.ts';
import { type DigestText, isDigestText, type Sha256, sha256Digest } from '../digest.ts';
import { sha256Text, sha384Text } from '../digest-schema.ts';
import { DecodeError } from '../errors.ts';
import { leafHash } from '../merkle.ts';

/** A record. */
export interface EvidenceRecord {
  readonly v: 1;
  /** 16 random bytes, hex. */
  readonly id: string;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  /** Source of the time: the host's word, or a source that the policy names. */
  readonly timeStrength: 'host' | 'signed';
  readonly layer: 'pre-commit' | 'ci' | 'admission' | 'runtime' | 'evidence';
  readonly system: string;
  readonly policyDigest: DigestText<'sha384'>;
  /** Id of the claim that this record serves, or null if it serves the log itself. */
  readonly claim: string | null;
  readonly controls: readonly string[];
  readonly decision: 'allow' | 'deny' | 'error' | 'info';
  /** A stable code. */
  readonly reason: string;
  readonly method: string | null;
  readonly label: readonly string[];
  readonly sink: string | null;
  readonly figures: Readonly<Record<string, number>>;
  readonly basis: 'measured' | 'enforced' | 'observed' | 'asserted';
  /** Hash of the record before this one; 32 zero bytes for the first. */
  readonly prev: DigestText<'sha256'>;
}

const ID = /^[0-9a-f]{32}$/;
const TIME = z.core.regexes.datetime({ precision: 3 });
const STRENGTHS = ['host', 'signed'] as const;
const LAYERS = ['pre-commit', 'ci', 'admission', 'runtime', 'evidence'] as const;
const DECISIONS = ['allow', 'deny', 'error', 'info'] as const;
const BASES = ['measured', 'enforced', 'observed', 'asserted'] as const;
/** Most characters of a text, by its kind. */
const MAX_CHARS = { name: 256, reason: 2048, method: 512, figure: 512 } as const;
const MAX_CONTROLS = 256;
const MAX_CATEGORIES = 1024;

const name = z.string().max(MAX_CHARS.name);
const recordSchema: z.ZodType<EvidenceRecord> = z.strictObject({
  v: z.literal(1),
  id: z.string().regex(ID),
  time: z.string().regex(TIME),
  timeStrength: z.enum(STRENGTHS),
  layer: z.enum(LAYERS),
  system: name,
  policyDigest: sha384Text,
  claim: name.nullable(),
  controls: z.array(name).max(MAX_CONTROLS),
  decision: z.enum(DECISIONS),
  reason: z.string().max(MAX_CHARS.reason),
  method: z.string().max(MAX_CHARS.method).nullable(),
  label: z.array(name).max(MAX_CATEGORIES),
  sink: name.nullable(),
  figures: z.record(z.string().max(MAX_CHARS.figure), z.int()),
  basis: z.enum(BASES),
  prev: sha256Text,
});

/** Largest record in bytes. */
export const MAX_RECORD_BYTES: number = 64 * 1024;

/** Canonical bytes of a record. @throws DecodeError if {@link decodeRecord} would refuse it */
export function encodeRecord(record: EvidenceRecord): Uint8Array {
  const bytes = utf8(recordText(record));
  if (bytes.length > MAX_RECORD_BYTES)
    throw new DecodeError('range', `a record of ${bytes.length} bytes`, MAX_RECORD_BYTES);
  return bytes;
}

/**
 * The same as text, whose length as UTF-8 is not checked.
 *
 * **Cost**: the runtime writes one for every call. With its fields put in order by hand it takes
 * half the time of the canonical form of any value. A test holds the two to one result.
 */
export function recordText(record: EvidenceRecord): string {
  if (!isRecord(record)) throw new DecodeError('syntax', 'not a record', 0);
  try {
    return canonicalRecord(record);
  } catch (cause) {
    throw new DecodeError('syntax', 'text of a record that is not Unicode', 0, { cause });
  }
}

/**
 * Whether {@link recordSchema} takes these fields.
 *
 * **Cost**: the runtime asks this for every call, of values that have their types already. The
 * schema copies its input and takes many times as long. A test holds the two to one answer.
 */
function isRecord(record: EvidenceRecord): boolean {
  return (
    record.v === 1 &&
    ID.test(record.id) &&
    TIME.test(record.time) &&
    STRENGTHS.includes(record.timeStrength) &&
    LAYERS.includes(record.layer) &&
    isShort(record.system) &&
    isDigestText('sha384', record.policyDigest) &&
    (record.claim === null || isShort(record.claim)) &&
    record.controls.length <= MAX_CONTROLS &&
    record.controls.every(isShort) &&
    DECISIONS.includes(record.decision) &&
    record.reason.length <= MAX_CHARS.reason &&
    (record.method === null || record.method.length <= MAX_CHARS.method) &&
    record.label.length <= MAX_CATEGORIES &&
    record.label.every(isShort) &&
    (record.sink === null || isShort(record.sink)) &&
    Object.keys(record.figures).every(isFigure) &&
    Object.values(record.figures).every(Number.isSafeInteger) &&
    BASES.includes(record.basis) &&
    isDigestText('sha256', record.prev)
  );
}

/** Whether a figure may have this name. The schema's library leaves `__proto__` out. */
function isFigure(name: string): boolean {
  return name.length <= MAX_CHARS.figure && name !== '__proto__';
}

function isShort(text: string): boolean {
  return text.length <= MAX_CHARS.name;
}

/** The canonical form (RFC 8785). @throws TypeError for a text that is not Unicode */
function canonicalRecord(record: EvidenceRecord): string {
  const { claim, controls, figures, label, method, reason, sink, system } = record;
  const names = Object.keys(figures);
  checkUnicode([claim ?? '', method ?? '', reason, sink ?? '', system]);
  checkUnicode(controls);
  checkUnicode(label);
  checkUnicode(names);
  const fields = inOrder(record);
  return isAscending(names) ? JSON.stringify(fields) : fromUtf8(encodeCanonical(fields));
}

/** The same with its names in the order of RFC 8785, in which `JSON.stringify` writes them. */
function inOrder(record: EvidenceRecord): EvidenceRecord {
  return {
    basis: record.basis,
    claim: record.claim,
    controls: record.controls,
    decision: record.decision,
    figures: record.figures,
    id: record.id,
    label: record.label,
    layer: record.layer,
    method: record.method,
    policyDigest: record.policyDigest,
    prev: record.prev,
    reason: record.reason,
    sink: record.sink,
    system: record.system,
    time: record.time,
    timeStrength: record.timeStrength,
    v: record.v,
  };
}

/** Whether names ascend by UTF-16 code units. */
function isAscending(names: readonly string[]): boolean {
  for (let at = 1; at < names.length; at++) if ((names[at - 1] ?? '') >= (names[at] ?? '')) return false;
  return true;
}

/**
 * The record of canonical bytes.
 *
 * **Trust**: authentic only by its place in the log.
 * @throws DecodeError
 */
export function decodeRecord(bytes: Uint8Array): EvidenceRecord {
  return decodeCanonical(recordSchema, bytes, MAX_RECORD_BYTES);
}

/** A record's hash: its RFC 6962 leaf hash, so that a chain of them can become a tree. */
export function recordHash(bytes: Uint8Array): Sha256 {
  return leafHash(bytes);
}

/** The same of a record's canonical text. */
export function recordDigest(text: string): DigestText<'sha256'> {
  return sha256Digest(`\0${text}`);
}
