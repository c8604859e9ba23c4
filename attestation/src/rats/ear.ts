/**
 * Attestation results as EAR (draft-ietf-rats-ear, profile of veraison/ear): read, and made from a
 * verdict.
 */

import * as z from 'zod';
import { utf8 } from '../bytes.ts';
import { decodeJson } from '../canonical.ts';
import { parsePart } from '../parse-part.ts';
import type { Verdict } from '../verdict/verdict.ts';
import { type JwsAlgorithm, signJwt, verifyJwt } from './jwt.ts';

/** The profile that is read and written. */
export const EAR_PROFILE = 'tag:github.com,2023:veraison/ear';

/** Trust tiers (draft-ietf-rats-ar4si, section 3.2), by name and by number. */
const TIERS = { none: 0, affirming: 2, warning: 32, contraindicated: 96 } as const;
export type EarStatus = keyof typeof TIERS;

const VECTOR = [
  'instance-identity',
  'configuration',
  'executables',
  'file-system',
  'hardware',
  'runtime-opaque',
  'storage-opaque',
  'sourced-data',
] as const;

/**
 * The appraisal of one part of the attester. Claims that are not listed are extensions, and kept.
 */
export interface EarAppraisal {
  readonly 'ear.status': EarStatus;
  readonly 'ear.trustworthiness-vector'?: Readonly<Partial<Record<(typeof VECTOR)[number], number>>> | undefined;
  readonly 'ear.appraisal-policy-id'?: string | undefined;
  readonly 'ear.veraison.key-attestation'?: { readonly akpub: string } | undefined;
  readonly [extension: string]: unknown;
}

/** An attestation result. Claims that are not listed are extensions, and kept. */
export interface EarClaims {
  readonly eat_profile: typeof EAR_PROFILE;
  /** Seconds since 1970. */
  readonly iat: number;
  /** End of the result, seconds since 1970. Afterwards it proves nothing. */
  readonly exp?: number | undefined;
  readonly 'ear.verifier-id': { readonly build: string; readonly developer: string };
  readonly submods: Readonly<Record<string, EarAppraisal>>;
  readonly 'ear.raw-evidence'?: string | undefined;
  readonly eat_nonce?: string | undefined;
  readonly [extension: string]: unknown;
}

const MAX_CLAIMS = 1 << 18;
const base64 = z.string().regex(/^[A-Za-z0-9_+/=-]+$/);
const text = z.string().min(1).max(1024);

const status: z.ZodType<EarStatus> = z.union([
  z.enum(Object.keys(TIERS) as [EarStatus]),
  z.int().transform((number, context): EarStatus => {
    const name = (Object.keys(TIERS) as EarStatus[]).find((tier) => TIERS[tier] === number);
    if (name !== undefined) return name;
    context.issues.push({ code: 'custom', message: `${number} is no trust tier`, input: number });
    return z.NEVER;
  }),
]);

const vector = z.strictObject(Object.fromEntries(VECTOR.map((name) => [name, z.int().min(-128).max(127).optional()])));

const appraisal = z.looseObject({
  'ear.status': status,
  'ear.trustworthiness-vector': vector.optional(),
  'ear.appraisal-policy-id': text.optional(),
  'ear.veraison.key-attestation': z.strictObject({ akpub: base64 }).optional(),
});

const claimsSchema = z.looseObject({
  eat_profile: z.literal(EAR_PROFILE),
  iat: z.int().min(0),
  exp: z.int().min(0).optional(),
  'ear.verifier-id': z.strictObject({ build: text, developer: text }),
  submods: z.record(text, appraisal).refine((submods) => Object.keys(submods).length > 0, 'no submods'),
  'ear.raw-evidence': base64.optional(),
  eat_nonce: z.string().min(8).max(88).optional(),
}) as unknown as z.ZodType<EarClaims>;

/**
 * Reads a claims set, JSON in UTF-8.
 *
 * **Trust**: none; see `verifyEar`.
 * @throws DecodeError `syntax`, `range`
 */
export function parseEarClaims(bytes: Uint8Array): EarClaims {
  return decodeJson(claimsSchema, bytes, MAX_CLAIMS);
}

/**
 * The claims of a token that a verifier signed.
 * @param spki The verifier's key, and the one algorithm that it is used with.
 * @throws EvidenceError `signature`; `format` if the token or its claims do not parse.
 */
export async function verifyEar(token: string, spki: Uint8Array, algorithm: JwsAlgorithm): Promise<EarClaims> {
  const payload = await verifyJwt(token, spki, algorithm);
  return parsePart('format', 'EAR claims', payload, parseEarClaims);
}

/** The verifier that makes a result, and the time. */
export interface EarIssue {
  /** When it is made, whatever time the evidence was held against. Seconds since 1970. */
  readonly iat: number;
  /**
   * Time that certificates, collateral and deployments were compared with. Milliseconds since 1970.
   */
  readonly asOf: number;
  readonly verifier: { readonly build: string; readonly developer: string };
}

/** Seconds after which a result proves nothing, however long its verdict holds. */
const MAX_AGE_S = 3600;

/**
 * The claims of a verdict, with every check in an extension.
 * - Contraindicated: the verdict is not ok, or nothing was measured (`simulated`).
 * - Affirming: it is ok, and the evidence was made for this verifier's nonce.
 * - Warning: it is ok otherwise, because evidence from a file may be of any age.
 */
export function earOf(verdict: Verdict, { iat, asOf, verifier }: EarIssue): EarClaims {
  return {
    eat_profile: EAR_PROFILE,
    iat,
    exp: expiryOf(verdict, iat),
    'ear.verifier-id': verifier,
    submods: {
      [verdict.platform]: {
        'ear.status': statusOf(verdict),
        'ear.appraisal-policy-id': `policy:${verdict.policy}`,
        'ear.enclaim.as-of': new Date(asOf).toISOString(),
        'ear.enclaim.bundle': verdict.bundle,
        'ear.enclaim.boot-id': verdict.bootId,
        'ear.enclaim.checks': verdict.checks,
      },
    },
  };
}

function statusOf({ ok, platform, checks }: Verdict): EarStatus {
  if (!ok || platform === 'simulated') return 'contraindicated';
  return checks.some(({ id, outcome }) => id === 'nonce' && outcome === 'passed') ? 'affirming' : 'warning';
}

function expiryOf({ end }: Verdict, iat: number): number {
  const longest = iat + MAX_AGE_S;
  return end === null ? longest : Math.min(longest, Math.floor(Date.parse(end.notAfter) / 1000));
}

/**
 * A verdict as a signed token.
 * @param sign Makes the signature (r‖s for ECDSA) over the bytes given to it.
 */
export function signEar(
  verdict: Verdict,
  issue: EarIssue,
  algorithm: JwsAlgorithm,
  sign: (message: Uint8Array) => Promise<Uint8Array>,
): Promise<string> {
  return signJwt(utf8(JSON.stringify(earOf(verdict, issue))), algorithm, sign);
}
