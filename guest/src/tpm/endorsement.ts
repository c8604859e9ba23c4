/**
 * The endorsement key: what it is made from, its certificate, and credential activation (TCG EK
 * Profile 2.5; Part 3, 12.5).
 */

import { fromHex } from '@enclaim/attestation/bytes';
import { HIERARCHY, type TpmPublic } from '@enclaim/attestation/tpm';
import { ACTIVATE_CREDENTIAL, CONTEXT_LOAD, CONTEXT_SAVE, POLICY_SECRET } from './commands.ts';
import { readNv } from './nv.ts';
import { withPolicySession } from './policy.ts';
import { createPrimary, SRK_TEMPLATE } from './primary.ts';
import type { Authorisation, Tpm } from './tpm.ts';

/** The endorsement key of a TPM. It is not kept loaded: a TPM has room for three objects. */
export interface Endorsement {
  readonly ekPublic: TpmPublic;
  /** DER, if the TPM holds one. */
  readonly certificate: Uint8Array | undefined;
  /**
   * Opens a credential that was made to the name of the loaded key `ak` and encrypted to
   * `ekPublic`.
   * @throws TpmError `integrity`, `size`, `value` or `ecc-point` if it was made to other keys or
   *   tampered with
   */
  activate(
    ak: number,
    credential: { readonly credentialBlob: Uint8Array; readonly encryptedSecret: Uint8Array },
  ): Promise<Uint8Array>;
}

/** PolicySecret(endorsement hierarchy), which the low-range templates ask for. */
const POLICY_A = fromHex('837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa');
/** PolicyOR over it and a policy in NV, SHA-384; not needed if the key's empty password does. */
const POLICY_B_SHA384 = fromHex(
  'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12',
);

/**
 * An endorsement key of the profile: where its certificate stands, and whether its use needs
 * PolicySecret.
 */
interface EndorsementTemplate {
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
const EK_TEMPLATES: readonly [EndorsementTemplate, ...EndorsementTemplate[]] = [
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
 * Makes the first endorsement key of the profile whose certificate the TPM holds, else the first.
 * @throws TpmError
 */
export async function openEndorsement(tpm: Tpm): Promise<Endorsement> {
  const { endorsement, certificate } = await findEndorsement(tpm);
  const { template, use } = endorsement;
  const { handle, publicArea } = await createPrimary(tpm, 'endorsement', template);
  // **Bound**: making the key again takes the search for two primes each time, and any client may
  // ask for an activation.
  const { context } = await tpm.using(handle, (object) => tpm.run(CONTEXT_SAVE, { object }));
  const activate: Endorsement['activate'] = async (ak, credential) => {
    const loaded = await tpm.run(CONTEXT_LOAD, { context });
    return tpm.using(loaded.handle, async (key) => {
      const run = async (auths: readonly Authorisation[]): Promise<Uint8Array> =>
        (await tpm.run(ACTIVATE_CREDENTIAL, { activate: ak, key, ...credential }, auths)).secret;
      if (use === 'password') return run([]);
      return withPolicySession(tpm, template.nameAlg, async (session, policy) => {
        await tpm.run(POLICY_SECRET, { entity: HIERARCHY.endorsement, session });
        return run([{ kind: 'password', password: new Uint8Array() }, policy]);
      });
    });
  };
  return { ekPublic: publicArea, certificate, activate: (ak, credential) => tpm.alone(() => activate(ak, credential)) };
}

async function findEndorsement(
  tpm: Tpm,
): Promise<{ endorsement: EndorsementTemplate; certificate?: Uint8Array | undefined }> {
  for (const endorsement of EK_TEMPLATES) {
    const certificate = certificateOf(await readNv(tpm, endorsement.certificateIndex));
    if (certificate) return { endorsement, certificate };
  }
  return { endorsement: EK_TEMPLATES[0] };
}

/** The certificate without the padding that an index larger than it has after it. */
function certificateOf(bytes: Uint8Array | undefined): Uint8Array | undefined {
  if (bytes?.[0] !== 0x30 || bytes[1] !== 0x82) return undefined;
  const length = 4 + (((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0));
  return length <= bytes.length ? bytes.slice(0, length) : undefined;
}
