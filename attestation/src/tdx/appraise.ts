/** Appraisal of authentic TDX quotes: pure comparisons, one line each. */

import { equalBytes, toHex } from '../bytes.ts';
import { checkDemand, checkEqual, checkOneOf, type OneOf } from '../verdict/check-demand.ts';
import { type Check, compared, notRun } from '../verdict/verdict.ts';
import type { TdReport } from './quote.ts';
import type { CurrentStatus, PlatformStatus } from './tcb.ts';
import type { AuthenticatedTdx } from './verify.ts';

/**
 * Bits of TDATTRIBUTES (TDX module ABI, table 3.22; Linux, arch/x86/include/asm/shared/tdx.h). Bits
 * 1 to 7 are those of TDs under debug or profiling. Like all other bits that are not listed, they
 * fail as not known.
 */
const ATTRIBUTE = {
  debug: 0,
  lass: 27,
  septVeDisable: 28,
  migratable: 29,
  protectionKeys: 30,
  keyLocker: 31,
  tpa: 62,
  perfmon: 63,
} as const;
/**
 * Attribute bits that widen what the host may see or do, or what the TD is. `tpa` makes it a
 * provisioning agent of Intel's, which no guest of an image is. The bits that are not here give the
 * guest instructions (LASS, PKS, key locker) and the host nothing.
 */
export type TdxPermission = 'debug' | 'migratable' | 'tpa' | 'perfmon';
const PERMISSIONS: readonly TdxPermission[] = ['debug', 'migratable', 'tpa', 'perfmon'];

/**
 * Demands of a verifier on a quote. Each field is a constraint or the literal `"any"`: nothing can
 * be left out.
 */
export interface TdxDemands {
  /** 48 bytes each; registers 0 to 3. */
  readonly mrTds: OneOf;
  readonly rtmrs: readonly [OneOf, OneOf, OneOf, OneOf];
  readonly reportData: Uint8Array | 'any';
  readonly mrConfigId: Uint8Array | 'any';
  readonly mrOwner: Uint8Array | 'any';
  readonly mrOwnerConfig: Uint8Array | 'any';
  /** TDX modules by measurement. */
  readonly mrSeams: OneOf;
  readonly permitted: readonly TdxPermission[];
  /**
   * Whether #VE on pages that the host took away must be off. With it on, the host chooses where
   * handlers run.
   */
  readonly septVeDisable: 'required' | 'any';
  /** Extended features that the guest may have on; bits 0 and 1 always are. */
  readonly xfamAllowed: bigint | 'any';
  /**
   * Service TDs that may be bound to the TD now or may have been in the past, by MRSERVICETD. None
   * needs to be.
   */
  readonly serviceTds: OneOf;
  /** Devices that may be, by their digest. */
  readonly devices: OneOf;
  /** Whether the TD may have been made on another platform than the one that signs. */
  readonly migrated: 'refused' | 'any';
  /** Which VM inside the TD asks; 0 is the TD itself. */
  readonly vmId: number | 'any';
  /**
   * Accepted statuses of the TCB that started the guest. `"any"` is any but Revoked, because a
   * platform that Intel revoked proves nothing.
   */
  readonly tcbStatuses: readonly PlatformStatus[] | 'any';
  /** Accepted statuses of the TCB in force now. */
  readonly currentTcbStatuses: readonly CurrentStatus[] | 'any';
  readonly minimumEvaluation: number | 'any';
}

/**
 * The demands of a careful verifier, before anything of the image is known: nothing that lets the
 * host in.
 */
export const TDX_CAREFUL: TdxDemands = {
  mrTds: [],
  rtmrs: [[], [], [], []],
  reportData: 'any',
  mrConfigId: 'any',
  mrOwner: 'any',
  mrOwnerConfig: 'any',
  mrSeams: 'any',
  permitted: [],
  septVeDisable: 'required',
  xfamAllowed: 'any',
  serviceTds: [],
  devices: [],
  migrated: 'refused',
  vmId: 0,
  tcbStatuses: ['UpToDate'],
  currentTcbStatuses: ['UpToDate'],
  minimumEvaluation: 'any',
};

/** Every check, in a fixed order. `"any"` yields a check that was not run and is not required. */
export function appraiseTdx({ quote, tcb }: AuthenticatedTdx, demands: TdxDemands): Check[] {
  const { report } = quote;
  const has = (bit: keyof typeof ATTRIBUTE): boolean => ((report.tdAttributes >> BigInt(ATTRIBUTE[bit])) & 1n) === 1n;
  const attributes = `attributes 0x${report.tdAttributes.toString(16)}`;
  return [
    checkOneOf('tdx.mrtd', report.mrTd, demands.mrTds),
    ...report.rtmrs.map((rtmr, index) => checkOneOf(`tdx.rtmr${index}`, rtmr, demands.rtmrs[index] ?? [])),
    checkEqual('tdx.report-data', report.reportData, demands.reportData),
    checkEqual('tdx.mr-config-id', report.mrConfigId, demands.mrConfigId),
    checkEqual('tdx.mr-owner', report.mrOwner, demands.mrOwner),
    checkEqual('tdx.mr-owner-config', report.mrOwnerConfig, demands.mrOwnerConfig),
    checkOneOf('tdx.mr-seam', report.mrSeam, demands.mrSeams),
    ...PERMISSIONS.map((bit) =>
      checkDemand(
        `tdx.attributes.${bit}`,
        demands.permitted,
        attributes,
        (permitted) => !has(bit) || permitted.includes(bit),
      ),
    ),
    checkDemand('tdx.attributes.known', 'only known bits', attributes, () => (report.tdAttributes & ~KNOWN) === 0n),
    checkDemand('tdx.attributes.septVeDisable', demands.septVeDisable, attributes, () => has('septVeDisable')),
    checkDemand(
      'tdx.xfam',
      demands.xfamAllowed,
      `XFAM 0x${report.xfam.toString(16)}`,
      (allowed) => (report.xfam & ~(allowed | 3n)) === 0n,
    ),
    ...checkServiceTds(report, demands.serviceTds),
    ...checkExtension(report, demands),
    checkStatus('tdx.tcb', demands.tcbStatuses, describe(tcb), tcb === 'not checked' ? tcb : tcb.status),
    checkStatus(
      'tdx.tcb.current',
      demands.currentTcbStatuses,
      describeCurrent(tcb),
      tcb === 'not checked' ? tcb : tcb.current.status,
    ),
    checkDemand(
      'tdx.tcb.evaluation',
      demands.minimumEvaluation,
      describe(tcb),
      (floor) => tcb !== 'not checked' && tcb.evaluation >= floor,
    ),
  ];
}

/**
 * Checks the service TDs of every time that the report tells. Each has power over the TD. A field
 * of zeros means that none is bound.
 */
function checkServiceTds({ mrServiceTd, extension }: TdReport, accepted: OneOf): Check[] {
  if (mrServiceTd === undefined) {
    return [
      notRun('tdx.service-td', 'a TDREPORT 1.0 does not tell; one that could move the TD needs it to be migratable'),
    ];
  }
  if (extension === undefined) return [checkUnlessZero('tdx.service-td', mrServiceTd, accepted)];
  const { initialServiceTd, initialServiceTdAttributes, currentServiceTd, currentServiceTdAttributes } = extension;
  return [
    checkUnlessZero('tdx.service-td', mrServiceTd, accepted),
    checkUnlessZero('tdx.service-td.initial', initialServiceTd, accepted),
    checkUnlessZero('tdx.service-td.current', currentServiceTd, accepted),
    // The hash of a service TD covers its attributes. Without a service TD, attributes belong to
    // nothing.
    checkDemand(
      'tdx.service-td.attributes',
      accepted,
      `attributes ${toHex(initialServiceTdAttributes)}, ${toHex(currentServiceTdAttributes)}`,
      () =>
        (isZero(initialServiceTdAttributes) || !isZero(initialServiceTd)) &&
        (isZero(currentServiceTdAttributes) || !isZero(currentServiceTd)),
    ),
  ];
}

function checkExtension({ extension }: TdReport, { devices, migrated, vmId }: TdxDemands): Check[] {
  if (extension === undefined) return [];
  const { deviceInfo, initialCpuSvn, initialTeeTcbSvn, initialFmspc } = extension;
  const made = [initialCpuSvn, initialTeeTcbSvn, initialFmspc];
  return [
    checkUnlessZero('tdx.devices', deviceInfo, devices),
    checkDemand('tdx.migrated', migrated, `made on ${made.map(toHex).join('/')}`, () => made.every(isZero)),
    checkDemand('tdx.vm-id', vmId, `VM ${extension.vmId}`, (one) => extension.vmId === one),
  ];
}

function checkUnlessZero(id: string, found: Uint8Array, accepted: OneOf): Check {
  return checkDemand(
    id,
    accepted,
    isZero(found) ? 'none' : toHex(found),
    (list) => isZero(found) || list.some((one) => equalBytes(one, found)),
  );
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Checks a status against the accepted ones. Revoked passes only if it is named. */
function checkStatus<S extends string>(
  id: string,
  accepted: readonly S[] | 'any',
  found: string,
  status: S | 'not checked',
): Check {
  if (accepted === 'any' && status === 'Revoked') return compared(id, false, `${found}; "any" is any but Revoked`);
  return checkDemand(id, accepted, found, (statuses) => status !== 'not checked' && statuses.includes(status));
}

const KNOWN = Object.values(ATTRIBUTE).reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);

function describe(tcb: AuthenticatedTdx['tcb']): string {
  if (tcb === 'not checked') return 'no collateral was given';
  const advisories = tcb.advisories.length === 0 ? 'no advisories' : tcb.advisories.join(', ');
  return `${tcb.status} at evaluation ${tcb.evaluation}, ${advisories}`;
}

function describeCurrent(tcb: AuthenticatedTdx['tcb']): string {
  if (tcb === 'not checked') return 'no collateral was given';
  const { status, advisories, why } = tcb.current;
  return `in force now: ${status}, ${why ?? (advisories.join(', ') || 'no advisories')}`;
}
