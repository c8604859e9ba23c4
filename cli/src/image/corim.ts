/** Measurements of a launch as CoRIM, signed or not (draft-ietf-rats-corim). */
import { sign } from 'node:crypto';
import { utf8 } from '@enclaim/attestation/bytes';
import { type DigestText, type HashName, parseDigest, sha256 } from '@enclaim/attestation/digest';
import { encodeCorim, signCorim } from '@enclaim/attestation/rats';
import { readEd25519, readTime } from '../input.ts';
import { UsageError } from '../usage-error.ts';
import type { LaunchPlatform, Measurement } from './launch.ts';

/** How a CoRIM is signed, as the command line has it. */
export interface CorimOptions {
  readonly key?: string;
  readonly signer: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
}

/**
 * Profile that gives the measurements their meaning: one module by platform, each value under the
 * name that `image measure` prints.
 */
export const LAUNCH_PROFILE = 'urn:enclaim:corim:launch:1';

const EDDSA = -8;
const REGISTERS: Readonly<Record<LaunchPlatform, number>> = { tpm: 7, snp: 1, tdx: 5 };

/**
 * Makes a CoRIM: the same bytes for the same measurements and, because Ed25519 is deterministic,
 * the same signature.
 * @throws UsageError if a value is missing: a verifier could not tell that from one that does not
 *   matter
 */
export async function launchCorim(
  platform: LaunchPlatform,
  measurements: readonly Measurement[],
  { key, signer, notBefore, notAfter }: CorimOptions,
): Promise<Uint8Array> {
  if (measurements.length < REGISTERS[platform])
    throw new UsageError('--corim needs --acpi-tables: a CoRIM has no way to leave RTMR0 open');
  const id = sha256(utf8(JSON.stringify([platform, measurements]))).subarray(0, 16);
  const content = {
    id: `${LAUNCH_PROFILE}:${id.toHex()}`,
    profile: LAUNCH_PROFILE,
    tagId: id,
    references: [
      {
        vendor: 'enclaim',
        model: platform,
        digests: measurements.map(({ name, digest }) => ({ key: name, ...digestOf(digest) })),
      },
    ],
  };
  if (key === undefined) return encodeCorim(content);
  const privateKey = await readEd25519('--key', key);
  const validity = { from: readTime('--not-before', notBefore), until: readTime('--not-after', notAfter) };
  if (validity.from >= validity.until) throw new UsageError(`${notAfter} is not after ${notBefore}`);
  return signCorim(content, signer, validity, EDDSA, async (message) => sign(null, message, privateKey));
}

function digestOf(text: DigestText<HashName>): { algorithm: 'sha256' | 'sha384'; value: Uint8Array } {
  const algorithm = text.startsWith('sha256:') ? 'sha256' : 'sha384';
  return { algorithm, value: parseDigest(algorithm, text) };
}
