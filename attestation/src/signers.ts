/** Signatures of the signers that a policy names, as successions and recoveries need them. */

import * as z from 'zod';
import { importKey, verifySignature } from '#crypto';
import { fromBase64Url } from './bytes.ts';
import type { Sha256 } from './digest.ts';
import { type Ed25519Text, ed25519Spki, ed25519Text } from './statement.ts';

/** A signer's Ed25519 signature over a document's digest, base64url. */
export interface SignersSignature {
  readonly key: Ed25519Text;
  readonly signature: string;
}

/** The shape of a {@link SignersSignature}. */
export const signersSignature: z.ZodType<SignersSignature> = z.strictObject({
  key: ed25519Text,
  signature: z.string().regex(/^[A-Za-z0-9_-]{86}$/),
});

/**
 * Why signatures are not those that a policy demands; undefined if they are.
 *
 * **Bound**: each is verified, until one is false. The caller bounds how many there are.
 */
export async function signaturesLack(
  digest: Sha256,
  signatures: readonly SignersSignature[],
  { signers, needed }: { readonly signers: readonly Ed25519Text[]; readonly needed: number },
): Promise<string | undefined> {
  const left = new Set(signers);
  for (const { key, signature } of signatures) {
    // layer: signers of the policy before
    if (!left.has(key)) return `${key} is no signer, or has signed twice`;
    left.delete(key);
    // layer: signatures of a succession
    if (!(await holds(digest, key, signature))) return `the signature of ${key} is over something else`;
  }
  // layer: number of signers
  if (signatures.length < needed) return `${signatures.length} signatures where ${needed} are needed`;
  return undefined;
}

async function holds(digest: Uint8Array, key: Ed25519Text, signature: string): Promise<boolean> {
  try {
    const imported = await importKey(ed25519Spki(key));
    return await verifySignature({ kind: 'ed25519' }, imported, digest, fromBase64Url(signature));
  } catch {
    return false;
  }
}
