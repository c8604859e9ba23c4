/** Secrets that the TPM gives back only while registers have the values they were sealed to (Part 1, 27). */

import { encodePublic, type PcrBanks, type PcrSelection, parsePublic, pcrDigest } from '@enclaim/attestation/tpm';
import { CREATE, LOAD, UNSEAL } from './commands.ts';
import { TpmError } from './error.ts';
import { pcrPolicy, satisfyPcrPolicy, withPolicySession } from './policy.ts';
import { createPrimary, SRK_TEMPLATE } from './primary.ts';
import type { Tpm } from './tpm.ts';

/** A sealed secret: useless outside the TPM that made it, so it may be stored anywhere. */
export interface SealedBlob {
  /** TPMT_PUBLIC; its policy says which values the registers must have. */
  readonly publicArea: Uint8Array;
  /** Encrypted by the storage root key. */
  readonly privateArea: Uint8Array;
}

/**
 * Seals at most 128 bytes to register values: the present ones, or those that another boot will have.
 * @throws TpmError `unusable` where a value of the selection is missing
 */
export async function seal(
  tpm: Tpm,
  secret: Uint8Array,
  selection: PcrSelection,
  banks: PcrBanks,
): Promise<SealedBlob> {
  const digest = pcrDigest('sha256', selection, banks);
  if (digest === undefined) throw new TpmError('unusable', 'a register to seal to has no value');
  return withStorageRoot(tpm, async (parent) => {
    const { publicArea, privateArea } = await tpm.run(CREATE, {
      parent,
      sensitive: { userAuth: new Uint8Array(), data: secret },
      publicArea: {
        type: 'keyedhash',
        nameAlg: 'sha256',
        // Without userWithAuth: the policy alone opens it, no password does.
        attributes: ['fixedTPM', 'fixedParent', 'adminWithPolicy', 'noDA'],
        authPolicy: pcrPolicy('sha256', selection, digest),
        scheme: 'none',
        unique: new Uint8Array(),
      },
    });
    return { publicArea: encodePublic(publicArea), privateArea };
  });
}

/**
 * The secret, where the registers of `selection` have the values that it was sealed to.
 * @throws TpmError `policy-fail` where they have not, `integrity` where the blob was changed or is another TPM's;
 * DecodeError where the public area is malformed
 */
export async function unseal(tpm: Tpm, blob: SealedBlob, selection: PcrSelection): Promise<Uint8Array> {
  const publicArea = parsePublic(blob.publicArea);
  return withStorageRoot(tpm, async (parent) => {
    const { handle } = await tpm.run(LOAD, { parent, privateArea: blob.privateArea, publicArea });
    return tpm.using(handle, (item) =>
      withPolicySession(tpm, 'sha256', async (session, authorisation) => {
        await satisfyPcrPolicy(tpm, session, selection);
        return (await tpm.run(UNSEAL, { item }, [authorisation])).data;
      }),
    );
  });
}

function withStorageRoot<T>(tpm: Tpm, use: (parent: number) => Promise<T>): Promise<T> {
  return tpm.alone(async () => {
    const { handle } = await createPrimary(tpm, 'owner', SRK_TEMPLATE);
    return tpm.using(handle, use);
  });
}
