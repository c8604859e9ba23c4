/**
 * Deployment: the policy's owner says which devices answer for it, and until when
 * (docs/client/deployments.md, "Deployments").
 */

import * as z from 'zod';
import { importKey, verifySignature } from '#crypto';
import { concat, fromBase64Url, toBase64Url } from '../bytes.ts';
import { decodeJson, encodeCanonical } from '../canonical.ts';
import type { DigestText } from '../digest.ts';
import { sha384Text } from '../digest-schema.ts';
import { EvidenceError } from '../errors.ts';
import { labelBytes } from '../labels.ts';
import { parsePart } from '../parse-part.ts';
import { type Ed25519Text, ed25519Spki } from '../statement.ts';

/**
 * Name of a device, which its hardware proves.
 * - `ak`, `ek`: SHA-256 of TPMT_PUBLIC of a TPM's attestation or endorsement key (of the
 *   SubjectPublicKeyInfo of a cloud's).
 * - `chip`: the chip id of an SEV-SNP processor.
 * - `pck`: SHA-256 of the SubjectPublicKeyInfo of a TDX platform's PCK.
 * - `gce`: project number and instance id on GCE.
 * - `nitro`: the instance that an AWS enclave belongs to.
 *
 * **Trust**: a cloud's processor is no name, because it runs the VMs of any customer.
 */
export type DeviceName = `${'ak' | 'ek' | 'pck'}:${DigestText<'sha256'>}` | `${'chip' | 'gce' | 'nitro'}:${string}`;

/** The statement that an owner signs. */
export interface Deployment {
  readonly policy: DigestText<'sha384'>;
  /** Devices that answer for the owner under this policy. */
  readonly devices: readonly DeviceName[];
  /** RFC 3339, UTC, milliseconds. */
  readonly notBefore: string;
  readonly notAfter: string;
}

/**
 * A deployment and the owner's Ed25519 signature over
 * `"enclaim/deployment/v1" ‖ NUL ‖ canonical bytes`, base64url.
 */
export interface SignedDeployment {
  readonly enclaim: 'deployment/1';
  readonly deployment: Deployment;
  readonly signature: string;
}

const device = z.union([
  z.templateLiteral([z.enum(['ak', 'ek', 'pck']), ':sha256:', z.string().regex(/^[0-9a-f]{64}$/)]),
  z.templateLiteral(['chip:', z.string().regex(/^[0-9a-f]{128}$/)]),
  z.templateLiteral(['gce:', z.string().regex(/^[1-9][0-9]{0,19}\/[1-9][0-9]{0,19}$/)]),
  z.templateLiteral(['nitro:', z.string().regex(/^i-[0-9a-f]{8,32}$/)]),
]);

/** The shape of a signed deployment. **Trust**: no signature is checked by the shape. */
export const signedDeploymentSchema: z.ZodType<SignedDeployment> = z.strictObject({
  enclaim: z.literal('deployment/1'),
  deployment: z.strictObject({
    policy: sha384Text,
    devices: z.array(device).min(1).max(4096),
    notBefore: z.iso.datetime({ precision: 3 }),
    notAfter: z.iso.datetime({ precision: 3 }),
  }),
  signature: z.string().regex(/^[A-Za-z0-9_-]{86}$/),
});

const LIMIT = 1024 * 1024;

/** Reads a deployment file. **Trust**: see {@link verifyDeployment}. @throws DecodeError */
export function parseDeployment(bytes: Uint8Array): SignedDeployment {
  return decodeJson(signedDeploymentSchema, bytes, LIMIT);
}

/**
 * Signs a deployment.
 * @param sign Ed25519 signature, 64 bytes, under the owner's key
 * @throws ZodError on another shape
 */
export function signDeployment(deployment: Deployment, sign: (message: Uint8Array) => Uint8Array): SignedDeployment {
  const signature = toBase64Url(sign(messageOf(deployment)));
  return signedDeploymentSchema.parse({ enclaim: 'deployment/1', deployment, signature });
}

/**
 * The deployment, once the owner is known to have signed it.
 * @throws EvidenceError `format`, `signature`
 */
export async function verifyDeployment(signed: SignedDeployment, owner: Ed25519Text): Promise<Deployment> {
  const key = await importKey(ed25519Spki(owner));
  const signature = parsePart('format', 'deployment signature', signed.signature, fromBase64Url);
  if (!(await verifySignature({ kind: 'ed25519' }, key, messageOf(signed.deployment), signature))) {
    throw new EvidenceError('signature', `deployment is not signed by ${owner}`);
  }
  return signed.deployment;
}

function messageOf(deployment: Deployment): Uint8Array {
  return concat(labelBytes('deployment'), encodeCanonical(deployment));
}
