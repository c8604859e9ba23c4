/** How good a platform's patch level is: Intel's matching of levels, modules and quoting enclaves, and how the three converge. */

import { toHex } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import type { IsvLevel, Level, QeIdentity, TcbInfo, TcbStatus, VerifiedCollateral } from './collateral.ts';
import type { PckPlatform } from './pck.ts';
import type { EnclaveReport, TdReport } from './quote.ts';

/** The patch level of everything below the guest. */
export interface TdxTcb {
  readonly status: TcbStatus;
  /** Intel's advisories that apply, sorted. */
  readonly advisories: readonly string[];
  /** Number of Intel's evaluation; it grows when a new evaluation raises the bar. */
  readonly evaluation: number;
}

/**
 * Judges a report's platform by verified collateral.
 * @throws EvidenceError `collateral` where no level matches, `identity` where the TDX module
 * or the quoting enclave is not Intel's.
 */
export function judgeTcb(
  { platform, tcbInfo, qeIdentity }: VerifiedCollateral,
  report: TdReport,
  qe: EnclaveReport,
): TdxTcb {
  // A module with a major version has an identity of its own; its bytes 0 and 1 are no versions of the platform.
  const own = (report.teeTcbSvn[1] ?? 0) > 0;
  const level = matchPlatform(tcbInfo, platform, report, own ? 2 : 0);
  const module = matchModule(tcbInfo, report);
  const enclave = matchEnclave(qeIdentity, qe);
  // A module that lags also leaves open what the levels above its version closed.
  const lagging = own && module?.tcbStatus === 'OutOfDate' ? matchPlatform(tcbInfo, platform, report, 0) : undefined;
  const levels = [level, module, enclave, lagging].filter((one) => one !== undefined);
  const components = [module?.tcbStatus ?? 'UpToDate', enclave.tcbStatus];
  return {
    status: components.reduce(converge, level.tcbStatus),
    advisories: [...new Set(levels.flatMap(({ advisoryIDs }) => advisoryIDs ?? []))].sort(),
    evaluation: Math.min(tcbInfo.tcbEvaluationDataNumber, qeIdentity.tcbEvaluationDataNumber),
  };
}

/** The first level that the platform reaches in every component; Intel lists the highest first. */
function matchPlatform({ tcbLevels }: TcbInfo, platform: PckPlatform, { teeTcbSvn }: TdReport, from: number): Level {
  const level = tcbLevels.find(
    ({ tcb }) =>
      platform.pceSvn >= tcb.pcesvn &&
      tcb.sgxtcbcomponents.every(({ svn }, index) => (platform.components[index] ?? -1) >= svn) &&
      tcb.tdxtcbcomponents.every(({ svn }, index) => index < from || (teeTcbSvn[index] ?? -1) >= svn),
  );
  if (level === undefined) throw new EvidenceError('collateral', 'platform is below every known TCB level');
  return level;
}

/** The level of the TDX module; undefined where the platform's level covers it. */
function matchModule({ tdxModule, tdxModuleIdentities = [] }: TcbInfo, report: TdReport): Level | undefined {
  const [minor = 0, major = 0] = report.teeTcbSvn;
  const id = `TDX_${major.toString(16).toUpperCase().padStart(2, '0')}`;
  const identity = major === 0 ? undefined : tdxModuleIdentities.find((one) => one.id === id);
  if (major > 0 && identity === undefined) throw new EvidenceError('identity', `TDX module ${id} is not known`);
  const { mrsigner, attributes, attributesMask } = identity ?? tdxModule;
  if (toHex(report.mrSignerSeam) !== mrsigner || !masked(report.seamAttributes, attributesMask, attributes)) {
    throw new EvidenceError('identity', `TDX module ${id} is not signed as its identity says`);
  }
  return identity && matchSvn(identity.tcbLevels, minor, `TDX module ${id}`);
}

function matchEnclave(identity: QeIdentity, qe: EnclaveReport): Level {
  const miscSelect = new Uint8Array(4);
  new DataView(miscSelect.buffer).setUint32(0, qe.miscSelect, true);
  const fits =
    toHex(qe.mrSigner) === identity.mrsigner &&
    qe.isvProdId === identity.isvprodid &&
    // miscselect is written as a number, most significant byte first.
    masked(miscSelect.toReversed(), identity.miscselectMask, identity.miscselect) &&
    masked(qe.attributes, identity.attributesMask, identity.attributes);
  if (!fits) throw new EvidenceError('identity', "quoting enclave does not fit Intel's identity for TDX");
  return matchSvn(identity.tcbLevels, qe.isvSvn, 'quoting enclave');
}

function matchSvn(levels: readonly IsvLevel[], svn: number, what: string): Level {
  const level = levels.find(({ tcb }) => tcb.isvsvn <= svn);
  if (level === undefined)
    throw new EvidenceError('collateral', `${what} with version ${svn} is below every known level`);
  return level;
}

/** As Intel's quote verification library has a module or enclave that lags pull the platform down. */
function converge(platform: TcbStatus, component: TcbStatus): TcbStatus {
  if (component === 'Revoked') return component;
  if (component !== 'OutOfDate') return platform;
  switch (platform) {
    case 'UpToDate':
    case 'SWHardeningNeeded':
      return 'OutOfDate';
    case 'ConfigurationNeeded':
    case 'ConfigurationAndSWHardeningNeeded':
      return 'OutOfDateConfigurationNeeded';
    default:
      return platform;
  }
}

function masked(value: Uint8Array, mask: string, expected: string): boolean {
  const [maskBytes, expectedBytes] = [Uint8Array.fromHex(mask), Uint8Array.fromHex(expected)];
  return (
    value.length === maskBytes.length && value.every((byte, i) => (byte & (maskBytes[i] ?? 0)) === expectedBytes[i])
  );
}
