/** How good a platform's patch level is: Intel's matching of levels, modules and quoting enclaves, and how the three converge. */

import { toHex } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import type {
  IsvLevel,
  Level,
  ModuleIdentity,
  QeIdentity,
  TcbInfo,
  TcbStatus,
  VerifiedCollateral,
} from './collateral.ts';
import type { PckPlatform } from './pck.ts';
import type { EnclaveReport, TdReport } from './quote.ts';

/**
 * What is said of a platform: Intel's words for levels, and two that no level has. The TDX module that is loaded now is
 * new enough, but this guest was started by an older one: started again, it would be up to date.
 */
export type PlatformStatus = TcbStatus | 'TDRelaunchAdvised' | 'TDRelaunchAdvisedConfigurationNeeded';

/** The patch level of everything below the guest. */
export interface TdxTcb {
  readonly status: PlatformStatus;
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
  const own = hasIdentity(report.teeTcbSvn);
  const level = matchPlatform(tcbInfo, platform, report, own ? 2 : 0);
  const module = matchModule(tcbInfo, report);
  const enclave = matchEnclave(qeIdentity, qe);
  // A module that lags also leaves open what the levels above its version closed.
  const lagging = own && module?.tcbStatus === 'OutOfDate' ? matchPlatform(tcbInfo, platform, report, 0) : undefined;
  const levels = [level, module, enclave, lagging].filter((one) => one !== undefined);
  const launched = converge(level.tcbStatus, module?.tcbStatus ?? 'UpToDate');
  const relaunch =
    module?.tcbStatus === 'OutOfDate' && !LAGS.includes(enclave.tcbStatus)
      ? relaunchStatus(tcbInfo, matchProcessor(tcbInfo, platform), launched, report)
      : undefined;
  return {
    status: relaunch ?? converge(launched, enclave.tcbStatus),
    advisories: [...new Set(levels.flatMap(({ advisoryIDs }) => advisoryIDs ?? []))].sort(),
    evaluation: Math.min(tcbInfo.tcbEvaluationDataNumber, qeIdentity.tcbEvaluationDataNumber),
  };
}

/** A module with a major version has an identity of its own; its bytes 0 and 1 are no versions of the platform. */
function hasIdentity(svn: Uint8Array): boolean {
  return (svn[1] ?? 0) > 0;
}

const LAGS: readonly TcbStatus[] = ['OutOfDate', 'OutOfDateConfigurationNeeded', 'Revoked'];
const CONFIGURATION: readonly TcbStatus[] = [
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDateConfigurationNeeded',
];

/**
 * Whether only the module lags that started this guest, and the one in force now (TEE_TCB_SVN2 of TDREPORT 1.5) is the
 * newest; undefined where not. As Intel's quote verification library decides it.
 * @throws EvidenceError `identity`
 */
function relaunchStatus(
  tcbInfo: TcbInfo,
  processor: TcbStatus | undefined,
  launched: TcbStatus,
  { teeTcbSvn2: now }: TdReport,
): PlatformStatus | undefined {
  if (now === undefined || processor === undefined || LAGS.includes(processor)) return undefined;
  if (launched !== 'OutOfDate' && launched !== 'OutOfDateConfigurationNeeded') return undefined;
  const [newest] = tcbInfo.tcbLevels;
  const modules = hasIdentity(now) ? identityOf(tcbInfo, now).tcbLevels[0]?.tcb.isvsvn : component(newest, 0);
  if (modules === undefined || newest === undefined) return undefined;
  if ((now[0] ?? 0) < modules || (now[2] ?? 0) < component(newest, 2)) return undefined;
  const configure = CONFIGURATION.includes(processor) || CONFIGURATION.includes(launched);
  return configure ? 'TDRelaunchAdvisedConfigurationNeeded' : 'TDRelaunchAdvised';
}

function component(level: TcbInfo['tcbLevels'][number] | undefined, index: number): number {
  return level?.tcb.tdxtcbcomponents[index]?.svn ?? Number.POSITIVE_INFINITY;
}

/** The status of the processor alone, whatever the TDX module. */
function matchProcessor({ tcbLevels }: TcbInfo, platform: PckPlatform): TcbStatus | undefined {
  return tcbLevels.find((level) => reaches(platform, level))?.tcbStatus;
}

function reaches({ pceSvn, components }: PckPlatform, { tcb }: TcbInfo['tcbLevels'][number]): boolean {
  return pceSvn >= tcb.pcesvn && tcb.sgxtcbcomponents.every(({ svn }, index) => (components[index] ?? -1) >= svn);
}

/** The first level that the platform reaches in every component; Intel lists the highest first. */
function matchPlatform({ tcbLevels }: TcbInfo, platform: PckPlatform, { teeTcbSvn }: TdReport, from: number): Level {
  const level = tcbLevels.find(
    (each) =>
      reaches(platform, each) &&
      each.tcb.tdxtcbcomponents.every(({ svn }, index) => index < from || (teeTcbSvn[index] ?? -1) >= svn),
  );
  if (level === undefined) throw new EvidenceError('collateral', 'platform is below every known TCB level');
  return level;
}

/** The level of the TDX module; undefined where the platform's level covers it. */
function matchModule(tcbInfo: TcbInfo, report: TdReport): Level | undefined {
  const { teeTcbSvn, mrSignerSeam, seamAttributes } = report;
  const identity = hasIdentity(teeTcbSvn) ? identityOf(tcbInfo, teeTcbSvn) : undefined;
  const { mrsigner, attributes, attributesMask } = identity ?? tcbInfo.tdxModule;
  const name = `TDX module ${identity?.id ?? 'TDX_00'}`;
  if (toHex(mrSignerSeam) !== mrsigner || !masked(seamAttributes, attributesMask, attributes)) {
    throw new EvidenceError('identity', `${name} is not signed as its identity says`);
  }
  return identity && matchSvn(identity.tcbLevels, teeTcbSvn[0] ?? 0, name);
}

function identityOf({ tdxModuleIdentities = [] }: TcbInfo, svn: Uint8Array): ModuleIdentity {
  const id = `TDX_${(svn[1] ?? 0).toString(16).toUpperCase().padStart(2, '0')}`;
  const identity = tdxModuleIdentities.find((one) => one.id === id);
  if (identity === undefined) throw new EvidenceError('identity', `TDX module ${id} is not known`);
  return identity;
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
