/** What measures and attests this machine: the one seam between the supervisor and hardware. */

import type { PolicyDigest } from '@enclaim/policy-schema/admission';
import type { BootHardware, QuoteAnswer } from '@enclaim/runtime/control';
import type { CommandLine } from './linux/index.ts';
import { Refusal } from './refusal.ts';
import { openAttester, type TpmTransport } from './tpm/index.ts';
import { openTpmPlatform } from './tpm-platform.ts';
import { openTsmPlatform, type TdxMeasurements, type TsmDevice } from './tsm/index.ts';

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

/** Where hardware is looked for. What is not there is null; what is there and does not work is an error. */
export interface HardwareSources {
  openTpm(): Promise<TpmTransport | null>;
  openTsm(): Promise<TsmDevice | null>;
  readonly tdx: TdxMeasurements;
}

/**
 * The platform that this machine attests by.
 *
 * A processor that reports on its guest comes first: who gave the machine a TPM beside it is the host. But a report can
 * only speak for a policy that the launch named; where it did not, a TPM is taken, which has a register for the policy.
 * @throws Refusal `platform` where nothing can attest this launch; TsmError, TpmError
 */
export async function openPlatform(sources: HardwareSources, commandLine: CommandLine): Promise<GuestPlatform> {
  const tsm = await sources.openTsm();
  const [policy, rtmr3] = [commandLine.policy !== null, sources.tdx.rtmr3 !== null];
  if (tsm !== null && (policy || rtmr3)) return openTsmPlatform(tsm, sources.tdx, commandLine.text);
  const transport = await sources.openTpm();
  if (transport !== null) return openTpmPlatform(await openAttester(transport), commandLine);
  throw new Refusal(
    'platform',
    tsm === null
      ? 'no TPM, and no processor that reports on its guest'
      : 'the command line names no policy, and there is no TPM with a register for it',
  );
}
