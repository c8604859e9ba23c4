/**
 * Statements of in-toto (Statement v1), and the results of verifications in them (Simple
 * Verification Result 0.1).
 */

import * as z from 'zod';
import { decodeJson } from '../canonical.ts';

/** Something that a statement speaks of, by digests: `sha256`, `sha384`, `gitCommit`. */
export interface Subject {
  readonly name: string;
  readonly digest: Readonly<Record<string, string>>;
}

/**
 * The properties that a verifier found to hold. Fields that are not named here are kept and mean
 * nothing to this reader.
 */
export interface VerificationResult {
  readonly verifier: { readonly id: string };
  /** RFC 3339. */
  readonly timeCreated: string;
  /** Only the properties that were verified and held; empty if none did. */
  readonly properties: readonly string[];
}

/** A statement that holds a verification result. */
export interface VerificationStatement {
  readonly _type: typeof STATEMENT;
  readonly subject: readonly Subject[];
  readonly predicateType: typeof RESULT;
  readonly predicate: VerificationResult;
}

export const STATEMENT = 'https://in-toto.io/Statement/v1';
export const RESULT = 'https://in-toto.io/attestation/svr/v0.1';

const LIMIT = 4 * 1024 * 1024;
const text = z.string().min(1).max(4096);
const hex = z.string().regex(/^[0-9a-f]{40,128}$/);

// By in-toto a reader ignores fields that it does not know, so these objects are not strict.
const resultSchema = z.looseObject({
  _type: z.literal(STATEMENT),
  subject: z
    .array(z.looseObject({ name: text, digest: z.record(text, hex) }))
    .min(1)
    .max(256),
  predicateType: z.literal(RESULT),
  predicate: z.looseObject({
    verifier: z.looseObject({ id: z.url().max(4096) }),
    timeCreated: z.iso.datetime({ offset: true }),
    properties: z.array(text).max(256),
  }),
}) satisfies z.ZodType<VerificationStatement>;

/**
 * Reads the payload of an envelope.
 * @throws DecodeError `range`, `syntax`, also for a statement of another kind
 */
export function parseVerification(bytes: Uint8Array): VerificationStatement {
  return decodeJson(resultSchema, bytes, LIMIT);
}
