/** Record: one line of the evidence log (docs/formats.md, "Record"). No personal data, ever: categories, digests, counts. */

import * as z from 'zod';
import { decodeCanonical, encodeCanonical } from './canonical.ts';
import type { DigestText, Sha256 } from './digest.ts';
import { sha256Text, sha384Text } from './digest-schema.ts';
import { DecodeError } from './errors.ts';
import { leafHash } from './merkle.ts';

/** A record. */
export interface EvidenceRecord {
  readonly v: 1;
  /** 16 random bytes, hex. */
  readonly id: string;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  /** What the time rests on: the host's word, or a source the policy names. */
  readonly timeStrength: 'host' | 'signed';
  readonly layer: 'pre-commit' | 'ci' | 'admission' | 'runtime' | 'evidence';
  readonly system: string;
  readonly policyDigest: DigestText<'sha384'>;
  /** Id of the claim that this record serves, or null where it serves the log itself. */
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

const recordShape = z.object({
  v: z.literal(1),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  time: z.iso.datetime({ precision: 3 }),
  timeStrength: z.enum(['host', 'signed']),
  layer: z.enum(['pre-commit', 'ci', 'admission', 'runtime', 'evidence']),
  system: z.string().max(256),
  policyDigest: sha384Text,
  claim: z.string().max(256).nullable(),
  controls: z.array(z.string().max(256)).max(256),
  decision: z.enum(['allow', 'deny', 'error', 'info']),
  reason: z.string().max(2048),
  method: z.string().max(512).nullable(),
  label: z.array(z.string().max(256)).max(1024),
  sink: z.string().max(256).nullable(),
  figures: z.record(z.string().max(512), z.int()),
  basis: z.enum(['measured', 'enforced', 'observed', 'asserted']),
  prev: sha256Text,
});
const recordSchema: z.ZodType<EvidenceRecord> = recordShape.strict();

/** Largest record in bytes. */
export const RECORD_LIMIT: number = 64 * 1024;

/** Canonical bytes of a record. @throws DecodeError where it is one that {@link decodeRecord} would refuse */
export function encodeRecord(record: EvidenceRecord): Uint8Array {
  // To look for other names takes longer than all the rest, and only these are written.
  const { success, error } = recordShape.safeParse(record);
  if (!success) throw new DecodeError('syntax', 'not a record', 0, { cause: error });
  let bytes: Uint8Array;
  try {
    bytes = encodeCanonical(inOrder(record));
  } catch (cause) {
    throw new DecodeError('syntax', 'text of a record that is not Unicode', 0, { cause });
  }
  if (bytes.length > RECORD_LIMIT) throw new DecodeError('range', `a record of ${bytes.length} bytes`, RECORD_LIMIT);
  return bytes;
}

/** The same with its names in canonical order: see `encodeCanonical`. */
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

/** The record of canonical bytes. **Trust**: authentic only by its place in the log. @throws DecodeError */
export function decodeRecord(bytes: Uint8Array): EvidenceRecord {
  return decodeCanonical(recordSchema, bytes, RECORD_LIMIT);
}

/** A record's hash: its RFC 6962 leaf hash, so that a chain of them can become a tree. */
export function recordHash(bytes: Uint8Array): Sha256 {
  return leafHash(bytes);
}
