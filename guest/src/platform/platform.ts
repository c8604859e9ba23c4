/** What measures and attests this machine: the one seam between the supervisor and hardware. */

import type { PolicyDigest } from '@enclaim/policy-schema/admission';
import type { BootHardware, QuoteAnswer } from '@enclaim/runtime/control';

/** What of an app bundle is measured. */
export interface Measured {
  /** Canonical bytes. */
  readonly policy: Uint8Array;
  readonly policyDigest: PolicyDigest;
  /** Of the whole bundle. */
  readonly digest: `sha384:${string}`;
}

/** Hardware in use. */
export interface GuestPlatform {
  readonly kind: 'tpm' | 'snp' | 'tdx';
  /** The command line as evidence gives it. */
  readonly commandLine: string;
  /**
   * Holds policy and bundle against what the launch measured of them, and measures them where there is a register.
   * Nothing of either was used before.
   * @throws Refusal `policy`, `platform`
   */
  measure(app: Measured): Promise<void>;
  /** What the runtime is told; once everything is measured. */
  hardware(): BootHardware;
  /** Puts a refusal where no later quote can deny it, if there is such a place. */
  refuse(reason: string): Promise<void>;
  /** @param data root and digest of the boot statement, 64 bytes */
  quote(data: Uint8Array): Promise<QuoteAnswer>;
  activate(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Promise<Uint8Array>;
}
