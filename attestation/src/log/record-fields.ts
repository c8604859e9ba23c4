/** The fields of records (docs/reference/formats.md, "Record"). */

import type { DigestText } from '../digest.ts';

/** The fields that records of every version have. */
interface RecordFields {
  /** 16 random bytes, hex. */
  readonly id: string;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  /** Source of the time: the host's word, or a source that the policy names. */
  readonly timeStrength: 'host' | 'signed';
  /** The stage at which it was made: what checked, admitted, ran, or keeps the evidence. */
  readonly layer: 'pre-commit' | 'ci' | 'admission' | 'runtime' | 'evidence';
  readonly system: string;
  readonly policyDigest: DigestText<'sha384'>;
  readonly decision: 'allow' | 'deny' | 'error' | 'info';
  /** A stable code. */
  readonly reason: string;
  readonly method: string | null;
  readonly label: readonly string[];
  readonly sink: string | null;
  readonly figures: Readonly<Record<string, number>>;
  readonly basis: 'measured' | 'enforced' | 'observed' | 'asserted';
}

/** A record. Its controls are those of its claims in the policy of its digest. */
export interface EvidenceRecord extends RecordFields {
  readonly v: 2;
  /** Ids of the policy's claims that the decision serves; empty if it serves the log itself. */
  readonly claims: readonly string[];
  /**
   * In the record of a call that changed a sealed collection: commitment to the places that it
   * emptied.
   */
  readonly deleted?: DigestText<'sha256'>;
  /** In a record that closes a segment: what that holds. */
  readonly segment?: SegmentPart;
}

/** Content of a segment of the log, or a part of that. */
export interface SegmentPart {
  /** Index of the segment's first leaf. */
  readonly first: number;
  /** Index after its last leaf. */
  readonly end: number;
  /** Number of this part, from 0, and of all parts. */
  readonly part: number;
  readonly parts: number;
  /** Controls with a record in the segment. */
  readonly controls: Readonly<Record<string, ControlTally>>;
}

/**
 * The records of one control in a segment: how many of each decision, and the root of their leaves.
 */
export interface ControlTally {
  readonly allow: number;
  readonly deny: number;
  readonly error: number;
  readonly info: number;
  /** Root of the RFC 6962 tree of their leaf hashes, in order. */
  readonly root: DigestText<'sha256'>;
}

/** A record of version 1, which stood in a chain. */
export interface FirstRecord extends RecordFields {
  readonly v: 1;
  /** Id of the claim that this record serves, or null if it serves the log itself. */
  readonly claim: string | null;
  readonly controls: readonly string[];
  /** Hash of the record before this one; 32 zero bytes for the first. */
  readonly prev: DigestText<'sha256'>;
}

/** A record of any version. */
export type AnyRecord = FirstRecord | EvidenceRecord;
