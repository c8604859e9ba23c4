/** Which hardware of this machine attests it. */

import type { CommandLine } from '../linux/index.ts';
import { Refusal } from '../refusal.ts';
import { openAttester, type TpmTransport } from '../tpm/index.ts';
import type { TsmDevice } from '../tsm/index.ts';
import type { GuestPlatform } from './platform.ts';
import { openTpmPlatform } from './tpm.ts';
import { openTsmPlatform, type TdxMeasurements } from './tsm.ts';

/**
 * The sources of hardware. Absent hardware is null; hardware that is there and does not work is an
 * error.
 */
export interface HardwareSources {
  openTpm(): Promise<TpmTransport | null>;
  openTsm(): Promise<TsmDevice | null>;
  readonly tdx: TdxMeasurements;
}

/**
 * Returns the platform that this machine attests by.
 *
 * A processor that reports on its guest comes first, because the host gave the machine a TPM beside
 * it. But a report can only speak for a policy that the launch named. If the launch named none, a
 * TPM is taken, which has a register for the policy.
 * @throws Refusal `platform` if nothing can attest this launch; TsmError, TpmError
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
