/** A TPM: registers 14 and 15 carry bundle and policy. */

import { tpmExtraData } from '@enclaim/attestation/batch';
import { toBase64, utf8 } from '@enclaim/attestation/bytes';
import { labelled } from '@enclaim/attestation/digest';
import { BUNDLE_REGISTER, bundleEvent, POLICY_REGISTER, policyEvent } from '@enclaim/attestation/measure';
import type { CommandLine } from '../linux/index.ts';
import { type Attester, TpmError, TpmKeeper } from '../tpm/index.ts';
import type { GuestPlatform, PlatformKeeper } from './platform.ts';

/** The platform of an open TPM. */
export function openTpmPlatform(attester: Attester, { policy, text }: CommandLine): GuestPlatform {
  const { akPublic, ekPublic, ekCertificate } = attester;
  let keeper: TpmKeeper | null = null;
  return {
    kind: 'tpm',
    // The stub measures a command line that was passed to it. The image's own is a section of the
    // image.
    commandLine: policy === null ? '' : text,
    measure: async (app) => {
      await attester.extend(POLICY_REGISTER, policyEvent(app.policyDigest));
      await attester.extend(BUNDLE_REGISTER, bundleEvent(app.digest));
      keeper = await TpmKeeper.open(attester.tpm);
    },
    hardware: () => ({
      kind: 'tpm',
      akPublic: toBase64(akPublic),
      ekPublic: toBase64(ekPublic),
      ekCertificate: ekCertificate === undefined ? null : toBase64(ekCertificate),
    }),
    refuse: (reason) => attester.extend(POLICY_REGISTER, labelled('refused', utf8(reason))),
    quote: async (data) => {
      const { attest, signature, pcrs } = await attester.quote(tpmExtraData(data.subarray(0, 32), data.subarray(32)));
      const values = [...pcrs].sort(([a], [b]) => a - b).map(([, value]) => toBase64(value));
      return { kind: 'tpm', attest: toBase64(attest), signature: toBase64(signature), pcrs: values };
    },
    activate: (blob, secret) => attester.activate(blob, secret),
    keeper: keeperOf(() => keeper),
  };
}

/** The keeper of a boot, which is there once everything is measured. */
function keeperOf(opened: () => TpmKeeper | null): PlatformKeeper {
  const keeper = async (): Promise<TpmKeeper> => {
    const found = opened();
    if (found === null) throw new TpmError('unusable', 'no key is kept or given before the policy is measured');
    return found;
  };
  return {
    kind: 'tpm',
    begun: () => opened()?.begun ?? null,
    epoch: async () => (await keeper()).epoch(),
    seal: async (key, epoch) => (await keeper()).seal(key, epoch),
    open: async (blob) => (await keeper()).open(blob),
    advance: async () => (await keeper()).advance(),
    recover: async (recovery) => (await keeper()).recover(recovery),
    heirs: {
      handOver: async (key, passage) => (await keeper()).heirs.handOver(key, passage),
      takeOver: async (blob, passage) => (await keeper()).heirs.takeOver(blob, passage),
      epochOfHeir: async (passage) => (await keeper()).heirs.epochOfHeir(passage),
      resume: async (passage) => (await keeper()).heirs.resume(passage),
      retire: async (passage, epoch) => (await keeper()).heirs.retire(passage, epoch),
    },
  };
}
