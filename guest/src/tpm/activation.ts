/** Credential activation: the proof that an attestation key lives beside an endorsement key (Part 3, 12.5). */

import { HIERARCHY } from '@enclaim/attestation/tpm';
import { ACTIVATE_CREDENTIAL, POLICY_SECRET } from './commands.ts';
import { withPolicySession } from './policy.ts';
import { createPrimary, type EndorsementTemplate } from './primary.ts';
import type { Authorisation, Tpm } from './tpm.ts';

/**
 * Opens a credential that was made to the name of the loaded key `ak` and encrypted to the endorsement key.
 * @throws TpmError `integrity`, `size`, `value` or `ecc-point` where it was made to other keys or tampered with
 */
export async function activateCredential(
  tpm: Tpm,
  ak: number,
  { template, use }: EndorsementTemplate,
  credentialBlob: Uint8Array,
  encryptedSecret: Uint8Array,
): Promise<Uint8Array> {
  const { handle } = await createPrimary(tpm, 'endorsement', template);
  return tpm.using(handle, async (key) => {
    const run = async (auths: readonly Authorisation[]): Promise<Uint8Array> =>
      (await tpm.run(ACTIVATE_CREDENTIAL, { activate: ak, key, credentialBlob, encryptedSecret }, auths)).secret;
    if (use === 'password') return run([]);
    return withPolicySession(tpm, template.nameAlg, async (session, policy) => {
      await tpm.run(POLICY_SECRET, { entity: HIERARCHY.endorsement, session });
      return run([{ kind: 'password', password: new Uint8Array() }, policy]);
    });
  });
}
