/** Primary keys: made from a hierarchy's seed and a template, the same each time (Part 1, 14; TCG EK Profile 2.5). */

import { equalBytes, fromHex } from '@enclaim/attestation/bytes';
import { HIERARCHY, type Hierarchy, nameOf, type TpmPublic } from '@enclaim/attestation/tpm';
import { CREATE_PRIMARY } from './commands.ts';
import { TpmError } from './error.ts';
import type { Tpm } from './tpm.ts';

const EMPTY = new Uint8Array();
const NO_SECRET = { userAuth: EMPTY, data: EMPTY };

/** The attestation key. `noDA`: else a few unclean shutdowns lock it out. */
export const AK_TEMPLATE: TpmPublic = {
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
export const SRK_TEMPLATE: TpmPublic = {
  ...AK_TEMPLATE,
  attributes: ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'userWithAuth', 'noDA', 'restricted', 'decrypt'],
  symmetric: { algorithm: 'aes', keyBits: 128, mode: 'cfb' },
  scheme: { scheme: 'none' },
};

/** PolicySecret(endorsement hierarchy), which the low-range templates ask for. */
const POLICY_A = fromHex('837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa');
/** PolicyOR over it and a policy in NV, SHA-384; not needed where the key's empty password does. */
const POLICY_B_SHA384 = fromHex(
  'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12',
);

/** An endorsement key of the profile: where its certificate stands, and whether its use needs PolicySecret. */
export interface EndorsementTemplate {
  readonly certificateIndex: number;
  readonly template: TpmPublic;
  readonly use: 'policy' | 'password';
}

const LOW_RANGE = [
  'fixedTPM',
  'fixedParent',
  'sensitiveDataOrigin',
  'adminWithPolicy',
  'restricted',
  'decrypt',
] as const;

/** L-1 (RSA 2048), L-2 (P-256) and H-3 (P-384), in the order of preference. */
export const EK_TEMPLATES: readonly [EndorsementTemplate, ...EndorsementTemplate[]] = [
  {
    certificateIndex: 0x01c0_0002,
    use: 'policy',
    template: {
      type: 'rsa',
      nameAlg: 'sha256',
      attributes: LOW_RANGE,
      authPolicy: POLICY_A,
      symmetric: { algorithm: 'aes', keyBits: 128, mode: 'cfb' },
      scheme: { scheme: 'none' },
      keyBits: 2048,
      exponent: 0,
      modulus: new Uint8Array(256),
    },
  },
  {
    certificateIndex: 0x01c0_000a,
    use: 'policy',
    template: {
      ...SRK_TEMPLATE,
      attributes: LOW_RANGE,
      authPolicy: POLICY_A,
      x: new Uint8Array(32),
      y: new Uint8Array(32),
    },
  },
  {
    certificateIndex: 0x01c0_0016,
    use: 'password',
    template: {
      ...SRK_TEMPLATE,
      nameAlg: 'sha384',
      attributes: [
        'fixedTPM',
        'fixedParent',
        'sensitiveDataOrigin',
        'userWithAuth',
        'adminWithPolicy',
        'restricted',
        'decrypt',
      ],
      authPolicy: POLICY_B_SHA384,
      symmetric: { algorithm: 'aes', keyBits: 256, mode: 'cfb' },
      curve: 'P-384',
    },
  },
];

/**
 * Makes the key of `template` in `hierarchy`. Its handle must be flushed.
 * @throws TpmError `unusable` where the TPM names another key than it gives
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
  });
  if (!equalBytes(name, nameOf(publicArea))) throw new TpmError('unusable', 'a primary key of another name');
  return { handle, publicArea };
}
