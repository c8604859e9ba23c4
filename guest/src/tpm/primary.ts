/** Primary keys: made from a hierarchy's seed and a template, the same each time (Part 1, 14). */

import { equalBytes } from '@enclaim/attestation/bytes';
import { type EccPublic, HIERARCHY, type Hierarchy, nameOf, type TpmPublic } from '@enclaim/attestation/tpm';
import { CREATE_PRIMARY } from './commands.ts';
import { TpmError } from './error.ts';
import type { Tpm } from './tpm.ts';

const EMPTY = new Uint8Array();
const NO_SECRET = { userAuth: EMPTY, data: EMPTY };

/** The attestation key. `noDA`: else a few unclean shutdowns lock it out. */
export const AK_TEMPLATE: EccPublic = {
  type: 'ecc',
  nameAlg: 'sha256',
  attributes: ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'userWithAuth', 'noDA', 'restricted', 'sign'],
  authPolicy: EMPTY,
  symmetric: { algorithm: 'none' },
  scheme: { scheme: 'ecdsa', hash: 'sha256' },
  curve: 'P-256',
  kdf: 'none',
  x: EMPTY,
  y: EMPTY,
};

/** The storage root key, parent of sealed objects (TCG TPM v2.0 Provisioning Guidance, 7.5.1). */
export const SRK_TEMPLATE: EccPublic = {
  ...AK_TEMPLATE,
  attributes: ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'userWithAuth', 'noDA', 'restricted', 'decrypt'],
  symmetric: { algorithm: 'aes', keyBits: 128, mode: 'cfb' },
  scheme: { scheme: 'none' },
};

/**
 * Makes the key of `template` in `hierarchy`. Its handle must be flushed.
 * @throws TpmError `unusable` if the TPM names another key than it gives
 */
export async function createPrimary(
  tpm: Tpm,
  hierarchy: Hierarchy,
  template: TpmPublic,
): Promise<{ handle: number; publicArea: TpmPublic }> {
  const { handle, publicArea, name } = await tpm.run(CREATE_PRIMARY, {
    hierarchy: HIERARCHY[hierarchy],
    sensitive: NO_SECRET,
    publicArea: template,
    creationPcrs: [],
  });
  if (!equalBytes(name, nameOf(publicArea))) throw new TpmError('unusable', 'a primary key of another name');
  return { handle, publicArea };
}
