/**
 * The measuring and attesting platform of this machine: the one seam between the supervisor and
 * hardware.
 */

import type { StatedStorage } from '@enclaim/attestation/statement';
import type { PolicyDigest } from '@enclaim/policy-schema/admission';
import type { BootHardware, QuoteAnswer } from '@enclaim/runtime/control';
import type { HeirKeeper } from '@enclaim/runtime/keeper';
import type { TpmKeeper } from '../tpm/index.ts';

/** The measured parts of an app bundle. */
export interface Measured {
  /** Canonical bytes. */
  readonly policy: Uint8Array;
  readonly policyDigest: PolicyDigest;
  /** Digest of the whole bundle. */
  readonly digest: `sha384:${string}`;
}

/** A keeper of the state's keys (`Keeper` of the runtime), and what this boot has begun with it. */
export interface PlatformKeeper extends Pick<TpmKeeper, 'kind' | 'epoch' | 'seal' | 'open' | 'advance' | 'recover'> {
  readonly heirs: HeirKeeper;
  /** The epoch that this boot began first; null before. */
  begun(): StatedStorage | null;
}

/** Hardware in use. */
export interface GuestPlatform {
  readonly kind: 'tpm' | 'snp' | 'tdx';
  /** The command line as evidence gives it. */
  readonly commandLine: string;
  /**
   * Compares policy and bundle with what the launch measured of them, and measures them if there is
   * a register. The caller uses nothing of either before.
   * @throws Refusal `policy`, `platform`
   */
  measure(app: Measured): Promise<void>;
  /** Facts of the hardware that the runtime is told, once everything is measured. */
  hardware(): BootHardware;
  /** Puts a refusal where no later quote can deny it, if there is such a place. */
  refuse(reason: string): Promise<void>;
  /** @param data root and digest of the boot statement, 64 bytes */
  quote(data: Uint8Array): Promise<QuoteAnswer>;
  activate(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Promise<Uint8Array>;
  /**
   * The keeper of the state's keys over boots; absent where this platform has nothing that does.
   *
   * Every method rejects with a TpmError or RangeError. None answers before {@link measure}.
   */
  readonly keeper?: PlatformKeeper;
}
