/**
 * Seals secrets that the TPM gives back only while registers have the values they were sealed to,
 * and, where that is asked for, while a counter has its value (Part 1, 27).
 */

import { equalBytes } from '@enclaim/attestation/bytes';
import { sha256 } from '@enclaim/attestation/digest';
import {
  decodeWhole,
  HIERARCHY,
  MAX_DIGEST,
  MAX_NAME,
  nameOf,
  type PcrBanks,
  type PcrSelection,
  pcrDigest,
  pcrSelection,
  prefixed,
  sized,
  struct,
  type TpmPublic,
  tpm2b,
  tpmPublic,
  u8,
  u16,
} from '@enclaim/attestation/tpm';
import { CERTIFY_CREATION, CREATE, LOAD, ticket, UNSEAL } from './commands.ts';
import { TpmError } from './error.ts';
import {
  type CounterDemand,
  counterPolicy,
  pcrPolicy,
  satisfyCounterPolicy,
  satisfyPcrPolicy,
  withSaltedSession,
} from './policy.ts';
import { createPrimary, SRK_TEMPLATE } from './primary.ts';
import type { Tpm } from './tpm.ts';

/**
 * TPMS_CREATION_DATA (Part 2, 15.1). Among its fields are the register values when the object was
 * made.
 */
const creationData = struct({
  selection: pcrSelection,
  pcrDigest: tpm2b(MAX_DIGEST),
  locality: u8,
  parentNameAlg: u16,
  parentName: tpm2b(MAX_NAME),
  parentQualifiedName: tpm2b(MAX_NAME),
  outsideInfo: tpm2b(MAX_NAME),
});

/**
 * A sealed secret as it is stored: `enc` and the format's version, then the object and the proof of
 * its creation.
 */
const sealed = prefixed(
  0x656e_6301,
  struct({
    publicArea: sized(tpmPublic),
    privateArea: tpm2b(1024),
    creationData: tpm2b(1024),
    creationTicket: ticket,
  }),
);

/**
 * Seals at most 128 bytes to register values: the present ones, or those that another boot will
 * have; with `counter`, also to that value of it.
 * @returns bytes that are useless outside this TPM, and may be stored anywhere
 * @throws TpmError `unusable` if a value of the selection is missing
 */
export async function seal(
  tpm: Tpm,
  secret: Uint8Array,
  selection: PcrSelection,
  banks: PcrBanks,
  counter?: CounterDemand,
): Promise<Uint8Array> {
  const registers = pcrPolicy('sha256', selection, digestOf(selection, banks));
  const creation = {
    sensitive: { userAuth: new Uint8Array(), data: secret },
    publicArea: {
      type: 'keyedhash',
      nameAlg: 'sha256',
      // Without userWithAuth: the policy alone opens it, no password does.
      attributes: ['fixedTPM', 'fixedParent', 'adminWithPolicy', 'noDA'],
      authPolicy: counter === undefined ? registers : counterPolicy(registers, counter),
      scheme: 'none',
      unique: new Uint8Array(),
    },
    creationPcrs: selection,
  } as const;
  return withStorageRoot(tpm, (root) =>
    withSaltedSession(tpm, root, 'hmac', async (session) => {
      const authorisation = { kind: 'salted', session, names: [root.name], encrypts: 'command' } as const;
      return sealed.encode(await tpm.run(CREATE, { parent: root.handle, ...creation }, [authorisation]));
    }),
  );
}

/**
 * Returns the secret, if the registers of `selection` have the values it was sealed to, and had the
 * values of `sealedUnder` when it was sealed; and if `counter` is what it was sealed to, and is so
 * now.
 *
 * **Trust**: the policy alone keeps the secret from other software, but does not say which software
 * made it. Other software that ran on this TPM may have sealed a secret that it knows to the same
 * values, and put it in the place of ours. The TPM's proof of creation says under which registers
 * the secret was made.
 *
 * @param sealedUnder values under which only trusted software runs: the present ones, or those of
 *   the boot before
 * @throws TpmError `policy-fail` if registers or counter are not those of the seal, `policy` if the
 *   counter has not the value of `counter`, `provenance` if it was sealed under other values,
 *   `ticket` if the proof of creation is not this TPM's, `integrity` if the secret was changed or
 *   belongs to another TPM; DecodeError
 */
export async function unseal(
  tpm: Tpm,
  blob: Uint8Array,
  selection: PcrSelection,
  sealedUnder: PcrBanks,
  counter?: CounterDemand,
): Promise<Uint8Array> {
  const stored = decodeWhole(sealed, blob, 'a sealed secret');
  const made = decodeWhole(creationData, stored.creationData, 'TPMS_CREATION_DATA');
  const sameRegisters = equalBytes(pcrSelection.encode(made.selection), pcrSelection.encode(selection));
  if (!sameRegisters || !equalBytes(made.pcrDigest, digestOf(selection, sealedUnder))) {
    throw new TpmError('provenance', 'the secret was sealed under other registers');
  }
  const proof = { creationHash: sha256(stored.creationData), creationTicket: stored.creationTicket };
  return withStorageRoot(tpm, async (root) => {
    const { handle } = await tpm.run(LOAD, { parent: root.handle, ...stored });
    return tpm.using(handle, async (item) => {
      const qualifyingData = new Uint8Array();
      await tpm.run(CERTIFY_CREATION, { sign: HIERARCHY.null, object: item, qualifyingData, ...proof });
      return withSaltedSession(tpm, root, 'policy', async (session) => {
        await satisfyPcrPolicy(tpm, session.handle, selection);
        if (counter !== undefined) await satisfyCounterPolicy(tpm, session.handle, counter);
        const names = [nameOf(stored.publicArea)];
        return (await tpm.run(UNSEAL, { item }, [{ kind: 'salted', session, names, encrypts: 'response' }])).data;
      });
    });
  });
}

function digestOf(selection: PcrSelection, banks: PcrBanks): Uint8Array {
  const digest = pcrDigest('sha256', selection, banks);
  if (digest === undefined) throw new TpmError('unusable', 'a register of the selection has no value');
  return digest;
}

/** The storage root key while it is loaded. */
interface StorageRoot {
  readonly handle: number;
  readonly publicArea: TpmPublic;
  readonly name: Uint8Array;
}

function withStorageRoot<T>(tpm: Tpm, use: (root: StorageRoot) => Promise<T>): Promise<T> {
  return tpm.alone(async () => {
    const { handle, publicArea } = await createPrimary(tpm, 'owner', SRK_TEMPLATE);
    return tpm.using(handle, () => use({ handle, publicArea, name: nameOf(publicArea) }));
  });
}
