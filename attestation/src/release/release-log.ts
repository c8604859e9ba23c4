/**
 * Release logs as references name them: their keys, the checkpoint seen before, and proofs
 * (docs/audit/release-log.md).
 */

import * as z from 'zod';
import type { DigestText } from '../digest.ts';
import { sha256Text } from '../digest-schema.ts';

/** A log that releases have to be in, with the proofs that they are. */
export interface ReleaseLog {
  /** Verifier key `name+id+key`; the name is the log's origin. */
  readonly key: string;
  /**
   * Verifier keys of witnesses, each of which must have cosigned the checkpoint. Empty demands
   * none.
   */
  readonly witnesses: readonly string[];
  /**
   * Greatest age of the oldest of the witnesses' cosignatures, in milliseconds. Absent beside
   * witnesses: any age is accepted, and the verdict says so.
   */
  readonly maxAge?: number;
  /** An earlier checkpoint of this log, which the new one must continue; null if none was seen. */
  readonly seen: SeenCheckpoint | null;
  /**
   * Consistency proof from the checkpoint seen: hashes in base64. Empty if none was seen, or the
   * same one.
   */
  readonly consistency: readonly string[];
  /** C2SP tlog-proofs with the entry as their extra data, all to one checkpoint. */
  readonly proofs: readonly string[];
}

/** Size and root of a tree, as remembered. */
export interface SeenCheckpoint {
  readonly size: number;
  readonly root: DigestText<'sha256'>;
}

/**
 * Logs that releases of images and of policies have to be in. Absent demands nothing, and the
 * verdict says so.
 */
export interface LoggedReferences {
  readonly images?: ReleaseLog;
  readonly policy?: ReleaseLog;
}

const noteKeyText = z.string().max(512);
const logSchema: z.ZodType<ReleaseLog> = z.strictObject({
  key: noteKeyText,
  witnesses: z.array(noteKeyText).max(16),
  maxAge: z
    .int()
    .min(1000)
    .max(10 * 366 * 86_400_000)
    .exactOptional(),
  seen: z
    .strictObject({
      size: z.int().min(0),
      root: sha256Text,
    })
    .nullable(),
  consistency: z.array(z.base64().max(44)).max(64),
  proofs: z.array(z.string().max(1 << 18)).max(64),
});

/** Shape of {@link LoggedReferences} inside a references file. */
export const loggedSchema: z.ZodType<LoggedReferences> = z.strictObject({
  images: logSchema.exactOptional(),
  policy: logSchema.exactOptional(),
});
