/**
 * Judgement of a platform's patch level: Intel's matching of levels, modules and quoting enclaves,
 * and how the three converge.
 */

import { fromHex, toHex } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import {
  type IsvLevel,
  type Level,
  moduleIdentity,
  type PlatformLevel,
  type QeIdentity,
  TCB_STATUSES,
  type TcbInfo,
  type TcbStatus,
  type VerifiedCollateral,
} from './collateral.ts';
import type { PckPlatform } from './pck.ts';
import type { EnclaveReport, TdReport } from './quote.ts';

/**
 * Status of a platform: Intel's words for levels, and two that no level has. These two mean that
 * the TDX module which is loaded now is new enough, but an older one started this guest. Started
 * again, the guest would be up to date.
 */
export type PlatformStatus = TcbStatus | 'TDRelaunchAdvised' | 'TDRelaunchAdvisedConfigurationNeeded';

/**
 * Status of the TCB in force now. `NotSupported` says nothing of it, because it matches no level
 * that is known.
 */
export type CurrentStatus = TcbStatus | 'NotSupported';

/** The patch level of everything below the guest. */
export interface TdxTcb {
  /**
   * Status of the TCB that started the guest (TEE_TCB_SVN), with advice to start it again if the
   * TCB in force now is better.
   */
  readonly status: PlatformStatus;
  /** Intel's advisories that apply, sorted. */
  readonly advisories: readonly string[];
  /**
   * Status of the TCB in force now (TEE_TCB_SVN2 of TDREPORT 1.5). TDREPORT 1.0 tells one TCB only.
   */
  readonly current: { readonly status: CurrentStatus; readonly advisories: readonly string[]; readonly why?: string };
  /** Number of Intel's evaluation; it grows when a new evaluation raises the bar. */
  readonly evaluation: number;
}

/**
 * Judges a report's platform by verified collateral, as Intel's quote verification library of 2026
 * does (confidential-computing.tee.dcap.qvl, TcbLevelCheck.cpp, 4.1.2.5.1.20, and EvaluateTcb.cpp,
 * 4.1.2.5.2). The TCB at launch and the one in force now are judged each by itself.
 * @throws EvidenceError `collateral` if no level matches the TCB that started the guest, or its
 * status is a word that is not known, `identity` if the TDX module or the quoting enclave is not
 * Intel's.
 */
export function judgeTcb(collateral: VerifiedCollateral, report: TdReport, qe: EnclaveReport): TdxTcb {
  const { tcbInfo, qeIdentity } = collateral;
  checkModuleSigner(tcbInfo, report);
  const enclave = matchEnclave(qeIdentity, qe);
  const launched = evaluate(collateral, report.teeTcbSvn, enclave);
  const current = report.teeTcbSvn2 === undefined ? launched : evaluateCurrent(collateral, report.teeTcbSvn2, enclave);
  return {
    status: adviseRelaunch(launched.status, current.status),
    advisories: launched.advisories,
    current,
    evaluation: Math.min(tcbInfo.tcbEvaluationDataNumber, qeIdentity.tcbEvaluationDataNumber),
  };
}

/** A status, and the advisories of the levels that made it. */
interface Evaluated {
  readonly status: TcbStatus;
  readonly advisories: readonly string[];
}

/** @throws EvidenceError */
function evaluate({ platform, tcbInfo }: VerifiedCollateral, svn: Uint8Array, enclave: Level): Evaluated {
  const own = hasIdentity(svn);
  const level = matchPlatform(tcbInfo, platform, svn, own ? 2 : 0);
  if (level === undefined) throw new EvidenceError('collateral', 'platform is below every known TCB level');
  const module = own ? matchModule(tcbInfo, svn) : undefined;
  const parts = [level, ...(module === undefined ? [] : [module]), enclave];
  // A module that lags also leaves open what the levels above its version closed. Those are the
  // advisories of the highest level that it reaches by its own bytes. If it reaches none, they are
  // those of the lowest level that the processor reaches.
  const lagging =
    module?.tcbStatus === 'OutOfDate'
      ? (matchPlatform(tcbInfo, platform, svn, 0) ?? tcbInfo.tcbLevels.findLast((each) => reaches(platform, each)))
      : undefined;
  const advising = lagging === undefined ? parts : [...parts, lagging];
  return {
    status: parts.map(statusOf).reduce(converge),
    advisories: [...new Set(advising.flatMap(({ advisoryIDs }) => advisoryIDs ?? []))].sort(),
  };
}

/**
 * Judges the TCB in force now. If no level describes it, its status says so, and the TCB at launch
 * is still judged.
 */
function evaluateCurrent(collateral: VerifiedCollateral, svn: Uint8Array, enclave: Level): TdxTcb['current'] {
  try {
    return evaluate(collateral, svn, enclave);
  } catch (cause) {
    if (!(cause instanceof EvidenceError)) throw cause;
    return { status: 'NotSupported', advisories: [], why: cause.message };
  }
}

/**
 * Whether a module has an identity of its own: it does if it has a major version. Its bytes 0 and 1
 * are then no versions of the platform.
 */
function hasIdentity(svn: Uint8Array): boolean {
  return (svn[1] ?? 0) > 0;
}

const LAUNCHED_OLD: readonly TcbStatus[] = ['OutOfDate', 'OutOfDateConfigurationNeeded'];
const GOOD_ENOUGH: readonly CurrentStatus[] = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
];

/**
 * The status of the TCB at launch, or advice to start the guest again if only that TCB lags and the
 * one in force now does not (Intel's checkForRelaunch, TDRelaunchCheck.cpp).
 */
function adviseRelaunch(launched: TcbStatus, current: CurrentStatus): PlatformStatus {
  if (!LAUNCHED_OLD.includes(launched) || !GOOD_ENOUGH.includes(current)) return launched;
  return [launched, current].some((status) => status.includes('Configuration'))
    ? 'TDRelaunchAdvisedConfigurationNeeded'
    : 'TDRelaunchAdvised';
}

/**
 * The status of a level. An unknown word refuses only platforms at this level.
 * @throws EvidenceError `collateral` for a word that is not known
 */
function statusOf({ tcbStatus }: Level): TcbStatus {
  const status = TCB_STATUSES.find((one) => one === tcbStatus);
  if (status === undefined) {
    throw new EvidenceError('collateral', `the status ${JSON.stringify(tcbStatus)} of the TCB level is not known`);
  }
  return status;
}

function reaches({ pceSvn, components }: PckPlatform, { tcb }: PlatformLevel): boolean {
  return pceSvn >= tcb.pcesvn && tcb.sgxtcbcomponents.every(({ svn }, index) => (components[index] ?? -1) >= svn);
}

/** The highest level that the platform reaches in every component. */
function matchPlatform(
  { tcbLevels }: TcbInfo,
  platform: PckPlatform,
  svn: Uint8Array,
  from: number,
): PlatformLevel | undefined {
  return tcbLevels.find(
    (each) =>
      reaches(platform, each) &&
      each.tcb.tdxtcbcomponents.every((component, index) => index < from || (svn[index] ?? -1) >= component.svn),
  );
}

/** The level of a TDX module that has an identity. @throws EvidenceError */
function matchModule(tcbInfo: TcbInfo, svn: Uint8Array): Level {
  const { id, tcbLevels } = moduleIdentity(tcbInfo, svn[1] ?? 0);
  return matchSvn(tcbLevels, svn[0] ?? 0, `TDX module ${id}`);
}

/**
 * Checks that the module that started the guest is Intel's, of the kind that its version says.
 * @throws EvidenceError `identity`
 */
function checkModuleSigner(tcbInfo: TcbInfo, { teeTcbSvn, mrSignerSeam, seamAttributes }: TdReport): void {
  const identity = hasIdentity(teeTcbSvn) ? moduleIdentity(tcbInfo, teeTcbSvn[1] ?? 0) : undefined;
  const { mrsigner, attributes, attributesMask } = identity ?? tcbInfo.tdxModule;
  if (toHex(mrSignerSeam) !== mrsigner || !masked(seamAttributes, attributesMask, attributes)) {
    throw new EvidenceError('identity', `TDX module ${identity?.id ?? 'TDX_00'} is not signed as its identity says`);
  }
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

/**
 * Joins two statuses: what either needs is needed. For the words that Intel gives modules and
 * enclaves (UpToDate, OutOfDate, Revoked) this is Intel's own table. Of any other word its library
 * would pass over some.
 */
function converge(a: TcbStatus, b: TcbStatus): TcbStatus {
  const either = (part: string): boolean => a.includes(part) || b.includes(part);
  const configuration = either('Configuration');
  if (either('Revoked')) return 'Revoked';
  if (either('OutOfDate')) return configuration ? 'OutOfDateConfigurationNeeded' : 'OutOfDate';
  if (either('SWHardening')) return configuration ? 'ConfigurationAndSWHardeningNeeded' : 'SWHardeningNeeded';
  return configuration ? 'ConfigurationNeeded' : 'UpToDate';
}

function masked(value: Uint8Array, mask: string, expected: string): boolean {
  const [maskBytes, expectedBytes] = [fromHex(mask), fromHex(expected)];
  return (
    value.length === maskBytes.length && value.every((byte, i) => (byte & (maskBytes[i] ?? 0)) === expectedBytes[i])
  );
}
