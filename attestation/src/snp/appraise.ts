/** Appraisal of authentic SEV-SNP reports: pure comparisons, one line each. */

import { checkDemand, checkEqual, checkOneOf, type OneOf } from '../verdict/check-demand.ts';
import type { Check } from '../verdict/verdict.ts';
import { belowFloor, type SnpProduct, type TcbVersion } from './product.ts';
import { type FirmwareVersion, type GuestPolicy, PLATFORM_KNOWN, type PlatformInfo } from './report.ts';
import type { AuthenticatedSnp, SnpTcb } from './verify.ts';

/** Guest policy bits that widen the host's rights: set only if permitted. */
export type SnpPermission = 'smt' | 'migrationAgent' | 'debug' | 'cxl';
/** Guest policy bits that narrow it. */
export type SnpProtection = Exclude<keyof GuestPolicy, SnpPermission | 'abiMajor' | 'abiMinor'>;
/** Platform bits that narrow the host's rights. */
export type PlatformProtection = Exclude<keyof PlatformInfo, 'smt' | 'tio'>;

/**
 * Demands of a verifier on a report. Each field is a constraint or the literal `"any"`: nothing can
 * be left out.
 */
export interface SnpDemands {
  /** Versions of the report. */
  readonly versions: readonly number[] | 'any';
  /** Launch digests, 48 bytes each. */
  readonly measurements: OneOf;
  readonly reportData: Uint8Array | 'any';
  readonly hostData: Uint8Array | 'any';
  readonly products: readonly { readonly line: SnpProduct; readonly stepping: number | 'any' }[] | 'any';
  readonly vmpl: number | 'any';
  readonly guestSvn: number | 'any';
  /** 16 bytes each, from the ID block. */
  readonly familyId: Uint8Array | 'any';
  readonly imageId: Uint8Array | 'any';
  /** The guest's ABI version must be this or newer. */
  readonly abi: { readonly major: number; readonly minor: number } | 'any';
  readonly permitted: readonly SnpPermission[] | 'any';
  readonly required: readonly SnpProtection[];
  readonly platformSmt: 'permitted' | 'refused';
  /**
   * Whether the platform may have trusted I/O on: no device gets into a guest that does not ask for
   * it.
   */
  readonly platformTio: 'permitted' | 'refused';
  readonly platformRequired: readonly PlatformProtection[];
  /** Bits that have no name here and may be set all the same. */
  readonly platformBits: readonly number[] | 'any';
  /**
   * Bits of the mitigation vectors that must be set at launch and now; a report before version 5
   * has none set.
   */
  readonly launchMitigations: bigint | 'any';
  readonly currentMitigations: bigint | 'any';
  /** Lowest versions by product line. A product that is not listed is below every floor. */
  readonly floors: Readonly<Record<SnpTcb, Readonly<Partial<Record<SnpProduct, TcbVersion>>> | 'any'>>;
  /**
   * Firmware that the host may still roll back: current above committed. The other way round is
   * never right.
   */
  readonly provisionalFirmware: 'permitted' | 'refused';
  /** SHA-384 of keys whose signed ID block is accepted. */
  readonly idKeys: OneOf;
  readonly authorKeys: OneOf;
  readonly revocation: 'required' | 'any';
}

/**
 * The demands of a careful verifier, before anything of the image is known: nothing that lets the
 * host in.
 */
export const SNP_CAREFUL: SnpDemands = {
  versions: [2, 3, 4, 5],
  measurements: [],
  reportData: 'any',
  hostData: 'any',
  products: 'any',
  vmpl: 0,
  guestSvn: 'any',
  familyId: 'any',
  imageId: 'any',
  abi: 'any',
  permitted: ['smt'],
  required: [],
  platformSmt: 'permitted',
  platformTio: 'permitted',
  platformRequired: ['aliasCheck'],
  platformBits: [],
  launchMitigations: 'any',
  currentMitigations: 'any',
  floors: { reported: 'any', committed: 'any', current: 'any', launch: 'any' },
  provisionalFirmware: 'refused',
  idKeys: 'any',
  authorKeys: 'any',
  revocation: 'required',
};

const PERMISSIONS: readonly SnpPermission[] = ['smt', 'migrationAgent', 'debug', 'cxl'];
const TCBS: readonly SnpTcb[] = ['reported', 'committed', 'current', 'launch'];

/** Every check, in a fixed order. `"any"` yields a check that was not run and is not required. */
export function appraiseSnp(evidence: AuthenticatedSnp, demands: SnpDemands): Check[] {
  const { report, product, stepping } = evidence;
  const { policy, platform } = report;
  return [
    checkDemand('snp.version', demands.versions, `version ${report.version}`, (versions) =>
      versions.includes(report.version),
    ),
    checkOneOf('snp.measurement', report.measurement, demands.measurements),
    checkEqual('snp.report-data', report.reportData, demands.reportData),
    checkEqual('snp.host-data', report.hostData, demands.hostData),
    checkDemand('snp.product', demands.products, `${product} stepping ${stepping ?? 'unknown'}`, (products) =>
      products.some((one) => one.line === product && (one.stepping === 'any' || one.stepping === stepping)),
    ),
    checkDemand('snp.vmpl', demands.vmpl, `VMPL ${report.vmpl}`, (vmpl) => report.vmpl === vmpl),
    checkDemand('snp.guest-svn', demands.guestSvn, `guest SVN ${report.guestSvn}`, (floor) => report.guestSvn >= floor),
    checkEqual('snp.family-id', report.familyId, demands.familyId),
    checkEqual('snp.image-id', report.imageId, demands.imageId),
    checkDemand('snp.abi', demands.abi, `ABI ${policy.abiMajor}.${policy.abiMinor}`, ({ major, minor }) =>
      policy.abiMajor === major ? policy.abiMinor >= minor : policy.abiMajor > major,
    ),
    ...PERMISSIONS.map((bit) =>
      checkDemand(
        `snp.policy.${bit}`,
        demands.permitted,
        set(policy[bit]),
        (bits) => !policy[bit] || bits.includes(bit),
      ),
    ),
    ...demands.required.map((bit) => checkDemand(`snp.policy.${bit}`, 'set', set(policy[bit]), () => policy[bit])),
    checkDemand(
      'snp.platform.smt',
      demands.platformSmt,
      set(platform.smt),
      (smt) => !platform.smt || smt === 'permitted',
    ),
    checkDemand(
      'snp.platform.tio',
      demands.platformTio,
      set(platform.tio),
      (tio) => !platform.tio || tio === 'permitted',
    ),
    ...demands.platformRequired.map((bit) =>
      checkDemand(`snp.platform.${bit}`, 'set', set(platform[bit]), () => platform[bit]),
    ),
    checkDemand('snp.platform.known', demands.platformBits, `bits 0x${report.platformBits.toString(16)}`, (bits) => {
      const accepted = bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), PLATFORM_KNOWN);
      return (report.platformBits & ~accepted) === 0n;
    }),
    checkMitigations('snp.mitigations.launch', report.launchMitigations, demands.launchMitigations),
    checkMitigations('snp.mitigations.current', report.currentMitigations, demands.currentMitigations),
    ...TCBS.map((which) => checkFloor(evidence, which, demands.floors[which])),
    checkProvisional(evidence, demands.provisionalFirmware),
    checkOneOf('snp.id-key', report.idKeyDigest, demands.idKeys),
    checkOneOf('snp.author-key', report.authorKeyDigest, demands.authorKeys),
    checkDemand('snp.revocation', demands.revocation, evidence.revocation, () => evidence.revocation === 'checked'),
  ];
}

function checkFloor(evidence: AuthenticatedSnp, which: SnpTcb, floors: SnpDemands['floors'][SnpTcb]): Check {
  const version = evidence.tcb[which];
  return checkDemand(`snp.tcb.${which}`, floors, JSON.stringify(version), (byProduct) => {
    const floor = byProduct[evidence.product];
    return floor !== undefined && belowFloor(version, floor).length === 0;
  });
}

/**
 * Checks that the host cannot roll firmware back, and has not done so.
 *
 * Committed firmware cannot be rolled back any more; firmware that is current but not committed can
 * (AMD 56860, SNP_COMMIT). The report tells both as TCB, as version and as build, and firmware may
 * change by one of them alone. Current below committed, by any of them, is the mark of a rollback.
 * go-sev-guest 0.15.0 refuses it too, whether provisional firmware is permitted or not
 * (validate.go, validateVersion and tcbGtError), and a reported TCB above the current one.
 */
function checkProvisional({ report, tcb }: AuthenticatedSnp, allowed: SnpDemands['provisionalFirmware']): Check {
  const { current, committed } = report;
  const committable =
    belowFloor(tcb.current, tcb.committed).length === 0 &&
    belowFloor(tcb.current, tcb.reported).length === 0 &&
    versionOf(current) >= versionOf(committed) &&
    current.build >= committed.build;
  const same =
    report.currentTcb === report.committedTcb &&
    versionOf(current) === versionOf(committed) &&
    current.build === committed.build;
  const [now, kept] = [describeFirmware(current, report.currentTcb), describeFirmware(committed, report.committedTcb)];
  const found = same ? `current firmware ${now} is committed` : `current firmware ${now}, committed ${kept}`;
  return checkDemand('snp.provisional', allowed, found, () => committable && (same || allowed === 'permitted'));
}

function versionOf({ major, minor }: FirmwareVersion): number {
  return 256 * major + minor;
}

function describeFirmware({ major, minor, build }: FirmwareVersion, tcb: bigint): string {
  return `${major}.${minor} build ${build}, TCB 0x${tcb.toString(16)}`;
}

function checkMitigations(id: string, found: bigint | undefined, required: bigint | 'any'): Check {
  const vector = found === undefined ? 'none is told' : `0x${found.toString(16)}`;
  return checkDemand(id, required, vector, (bits) => ((found ?? 0n) & bits) === bits);
}

function set(bit: boolean): string {
  return bit ? 'set' : 'not set';
}
