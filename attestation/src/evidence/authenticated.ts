/** Authenticated evidence: the result of verification, and the only input that appraisal takes. */

import type { Policy } from '@enclaim/policy-schema/admission';
import type { RuntimeData } from '../azure/index.ts';
import type { DigestText } from '../digest.ts';
import type { AuthenticatedGceEndorsement, GceInstance } from '../gcp/index.ts';
import type { End, Moment } from '../moment.ts';
import type { AuthenticatedNitro } from '../nitro/index.ts';
import type { AuthenticatedSnp } from '../snp/index.ts';
import type { BootStatement, Platform } from '../statement.ts';
import type { AuthenticatedTdx, RtmrEvents } from '../tdx/index.ts';
import type { ClockInfo, PcrValues } from '../tpm/index.ts';
import type { Check } from '../verdict/verdict.ts';

/** Facts that the verifier brings, not the evidence. `now` is when certificates must be valid. */
export interface Context extends Moment {
  /**
   * The connection the evidence came in on: the nonce sent, the SHA-256 of the server's
   * SubjectPublicKeyInfo and the TLS exporter (null if this end cannot export). "offline" if the
   * evidence comes from a file: the verdict then says that freshness and channel were not checked.
   * The text of a checkpoint if the evidence belongs to a log's proof: its leaf is that checkpoint
   * then, and no nonce.
   */
  readonly channel:
    | { readonly nonce: Uint8Array; readonly spki: Uint8Array; readonly exporter: Uint8Array | null }
    | { readonly checkpoint: string }
    | 'offline';
  /** The proof of a credential activation over this connection, or null if none took place. */
  readonly activation: ActivationProof | null;
}

/**
 * Proof by TPM2_ActivateCredential that one TPM holds the endorsement key and the key of this name.
 * The client makes it after the secret came back.
 */
export interface ActivationProof {
  /** Name of the attestation key. */
  readonly akName: Uint8Array;
  /** TPMT_PUBLIC of the endorsement key that the credential was made for. */
  readonly ekPublic: Uint8Array;
}

/** Why the attestation key is believed to live in a TPM. */
export type KeyTrust =
  | { readonly kind: 'pinned' }
  | { readonly kind: 'certified'; readonly root: DigestText<'sha256'> }
  | { readonly kind: 'activated'; readonly root: DigestText<'sha256'>; readonly software: boolean };

declare const authenticated: unique symbol;

/**
 * Evidence whose signer is known and whose parts belong together. Made by `verifyEvidence` only.
 */
export interface Authenticated {
  readonly [authenticated]: true;
  readonly platform: Platform;
  /** `now` of the verification, in milliseconds since 1970. */
  readonly verifiedAt: number;
  /** The earliest end of everything that was found valid; null if nothing of it ends. */
  readonly end: End | null;
  readonly statement: BootStatement;
  readonly bootDigest: Uint8Array;
  /** The policy whose digest the statement and the registers carry. */
  readonly policy: Policy;
  /** Canonical bytes of the policy. */
  readonly policyBytes: Uint8Array;
  readonly hardware: Hardware;
  /** Checks that passed during verification, for the verdict. */
  readonly checks: readonly Check[];
}

/** The 64 bytes that hardware signed: root of the batch, digest of the boot statement. */
export interface Signed {
  readonly root: Uint8Array;
  readonly boot: Uint8Array;
}

/** Facts about the platform, by kind. Command lines are as the evidence gives them. */
export type Hardware =
  | TpmAuthenticated
  | AzureAuthenticated
  | GcpAuthenticated
  | { readonly kind: 'nitro'; readonly nitro: AuthenticatedNitro }
  /** A developer's machine. No fact about it is proved. */
  | { readonly kind: 'simulated' }
  /** **Trust**: the command line is shown by the launch digest, in appraisal. */
  | { readonly kind: 'snp'; readonly snp: AuthenticatedSnp; readonly commandLine: string }
  /** **Trust**: the command line is shown by RTMR2, in appraisal. */
  | {
      readonly kind: 'tdx';
      readonly tdx: AuthenticatedTdx;
      readonly commandLine: string;
      /** The events that led to the registers, or null if the evidence has no event log. */
      readonly events: RtmrEvents | null;
    };

/** Facts about one kind of platform. */
export type HardwareOf<K extends Hardware['kind']> = Extract<Hardware, { kind: K }>;

/** The registers that a TPM quoted, and the key that signed them. */
export interface Registers {
  /** Registers 0 to 15 of the SHA-256 bank. */
  readonly registers: PcrValues;
  /** The command line, as register 12 confirms it; null if none was passed to the stub. */
  readonly commandLine: string | null;
  /** SHA-256 of the attestation key: of TPMT_PUBLIC, on clouds of its SubjectPublicKeyInfo. */
  readonly attestationKey: DigestText<'sha256'>;
  readonly clock: ClockInfo;
}

/** Facts about a TPM platform. */
export interface TpmAuthenticated extends Registers {
  readonly kind: 'tpm';
  readonly trust: KeyTrust;
}

/** The processor under a cloud's VM. */
export type Silicon =
  | { readonly kind: 'snp'; readonly snp: AuthenticatedSnp }
  | { readonly kind: 'tdx'; readonly tdx: AuthenticatedTdx };

/** Facts about an Azure confidential VM. */
export interface AzureAuthenticated {
  readonly kind: 'azure';
  readonly silicon: Silicon;
  /** The paravisor's statement of the VM. **Trust**: appraisal shows that it is a paravisor. */
  readonly runtime: RuntimeData;
  /** **Trust**: as far as the paravisor, whose vTPM this is. */
  readonly vtpm: Registers;
}

/** Facts about a confidential VM of Google Compute Engine. */
export interface GcpAuthenticated {
  readonly kind: 'gcp';
  readonly silicon: Silicon;
  /** **Trust**: as far as Google, whose hypervisor runs the vTPM. */
  readonly vtpm: Registers;
  /** The VM, by the certificate of its attestation key. */
  readonly instance: GceInstance;
  /** Google's word on the firmware, or null if the evidence has none. */
  readonly endorsement: AuthenticatedGceEndorsement | null;
}
