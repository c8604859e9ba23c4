/** The hardware as the runtime sees it: it signs 64 bytes, and is behind a process boundary in the VM. */

import type { MessageInitShape } from '@bufbuild/protobuf';
import type { EvidenceSchema, Platform } from '@enclaim/attestation/messages';

/** The hardware part of an evidence message. */
export type HardwareEvidence = NonNullable<MessageInitShape<typeof EvidenceSchema>['hardware']>;

/** A platform that can attest this boot. */
export interface AttestingPlatform {
  readonly kind: Platform;
  /** What identifies the device in the boot statement: TPMT_PUBLIC of the AK and of the EK, DER of the EK's certificate. */
  readonly device: {
    readonly ak: Uint8Array | null;
    readonly ek: Uint8Array | null;
    readonly ekCertificate: Uint8Array | null;
  };
  /** The event log that this platform's evidence carries, where there is one; the statement names it. */
  readonly eventLog?: Uint8Array;
  /** Where somebody else holds the hardware: the boot statement, once and before the first signature. */
  state?(statement: Uint8Array): Promise<void>;
  /** One hardware signature over `root ‖ bootDigest`, 32 bytes each. */
  sign(root: Uint8Array, bootDigest: Uint8Array): Promise<HardwareEvidence>;
  /** TPM2_ActivateCredential: the secret, where this TPM holds both keys. */
  activate(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Promise<Uint8Array>;
}
