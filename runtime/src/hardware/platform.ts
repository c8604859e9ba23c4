/**
 * The hardware as the runtime sees it: it signs 64 bytes. In the VM it is behind a process
 * boundary.
 */

import type { MessageInitShape } from '@bufbuild/protobuf';
import type { EvidenceSchema, Platform } from '@enclaim/attestation/messages';

/** The hardware part of an evidence message. */
export type HardwareEvidence = NonNullable<MessageInitShape<typeof EvidenceSchema>['hardware']>;

/** A platform that can attest this boot. */
export interface AttestingPlatform {
  readonly kind: Platform;
  /**
   * Identity of the device in the boot statement: TPMT_PUBLIC of the AK and of the EK, DER of the
   * EK's certificate.
   */
  readonly device: {
    readonly ak: Uint8Array | null;
    readonly ek: Uint8Array | null;
    readonly ekCertificate: Uint8Array | null;
  };
  /** The event log in this platform's evidence, if there is one. The boot statement names it. */
  readonly eventLog?: Uint8Array;
  /**
   * Hands over the boot statement, once and before the first signature. Present if another process
   * holds the hardware.
   */
  state?(statement: Uint8Array): Promise<void>;
  /** One hardware signature over `root ‖ bootDigest`, 32 bytes each. */
  sign(root: Uint8Array, bootDigest: Uint8Array): Promise<HardwareEvidence>;
  /** TPM2_ActivateCredential: the secret, if this TPM holds both keys. */
  activate(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Promise<Uint8Array>;
}
