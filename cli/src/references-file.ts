/** References as files: JSON, or a signed CoRIM under the key that must have signed it. */

import { createPublicKey } from 'node:crypto';
import { parseReferences, type References, withDeployments } from '@enclaim/attestation';
import { parseDeployment } from '@enclaim/attestation/deployment';
import { verifyReferences } from '@enclaim/attestation/rats';
import { readInput } from './input.ts';
import { UsageError } from './usage-error.ts';

/** COSE algorithm of each kind of key. */
export const ALGORITHMS = { ed25519: -8, prime256v1: -7, secp384r1: -35 } as const;
/** A COSE_Sign1 message in CBOR begins with its tag, 18 (RFC 9052, section 2). JSON never does. */
const SIGNED = 0xd2;

/** Options about references. */
export interface ReferencesOptions {
  readonly references: string;
  /** PEM of the key that must have signed them, if they are a signed CoRIM. */
  readonly referencesKey?: string;
  readonly deployment?: readonly string[];
}

/**
 * References from a file, with deployments from other files.
 * @param asOf milliseconds since 1970, when a signed CoRIM must hold
 * @throws UsageError, AppraisalError, DecodeError, EvidenceError
 */
export async function readReferences(options: ReferencesOptions, asOf: number = Date.now()): Promise<References> {
  const references = await read(options, asOf);
  const more = await Promise.all(
    (options.deployment ?? []).map(async (file) => parseDeployment(await readInput(file))),
  );
  return withDeployments(references, more);
}

async function read({ references: path, referencesKey }: ReferencesOptions, now: number): Promise<References> {
  const bytes = await readInput(path);
  const signed = bytes[0] === SIGNED;
  if (signed && referencesKey === undefined)
    throw new UsageError(`${path} is a signed CoRIM: name the key that must have signed it by --references-key`);
  if (!signed && referencesKey !== undefined)
    throw new UsageError(`${path} is no signed CoRIM, and --references-key names who signed it`);
  if (referencesKey === undefined) return parseReferences(bytes);
  const { spki, algorithm } = await readPublicKey('--references-key', referencesKey);
  return verifyReferences(bytes, spki, algorithm, { now });
}

/**
 * A public key and no other: what is handed to verifiers must not be a private one.
 * @throws UsageError naming the option
 */
export async function readPublicKey(
  option: string,
  path: string,
): Promise<{ spki: Uint8Array; algorithm: (typeof ALGORITHMS)[keyof typeof ALGORITHMS] }> {
  const pem = Buffer.from(await readInput(path)).toString('utf8');
  try {
    if (!pem.trimStart().startsWith('-----BEGIN PUBLIC KEY-----')) throw new TypeError('not a PUBLIC KEY in PEM');
    const key = createPublicKey(pem);
    const kind = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType ?? '';
    const [, algorithm] = Object.entries(ALGORITHMS).find(([name]) => name === kind) ?? [];
    if (algorithm === undefined) throw new TypeError(`a key of type ${kind}`);
    return { spki: key.export({ format: 'der', type: 'spki' }), algorithm };
  } catch (cause) {
    throw new UsageError(`${option} is no public key that signs CoRIM: ${(cause as Error).message}`, { cause });
  }
}
