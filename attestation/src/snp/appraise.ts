/** Appraisal of authentic SEV-SNP reports: pure comparisons, one line each. */

import { checkDemand, checkEqual, checkOneOf, type OneOf } from '../demand.ts';
import type { Check } from '../verdict.ts';
import { belowFloor, type SnpProduct, type TcbVersion } from './product.ts';
import type { GuestPolicy, PlatformInfo } from './report.ts';
import type { AuthenticatedSnp, SnpTcb } from './verify.ts';

/** Guest policy bits that widen what the host may do: set only where permitted. */
export type SnpPermission = 'smt' | 'migrationAgent' | 'debug' | 'cxl';
/** Guest policy bits that narrow it. */
export type SnpProtection = Exclude<keyof GuestPolicy, SnpPermission | 'abiMajor' | 'abiMinor'>;
/** Platform bits that narrow what the host may do. */
export type PlatformProtection = Exclude<keyof PlatformInfo, 'smt' | 'tio'>;

/** What a verifier demands of a report. Each field is a constraint or the literal `"any"`: nothing can be left out. */
export interface SnpDemands {
  /** Launch digests, 48 bytes each. */
  readonly measurements: OneOf;
  readonly reportData: Uint8Array | 'any';
  readonly hostData: Uint8Array | 'any';
  readonly products: readonly { readonly line: SnpProduct; readonly stepping: number | 'any' }[] | 'any';
  readonly vmpl: number | 'any';
  readonly guestSvn: number | 'any';
  /** The guest's ABI version must be this or newer. */
  readonly abi: { readonly major: number; readonly minor: number } | 'any';
  readonly permitted: readonly SnpPermission[] | 'any';
  readonly required: readonly SnpProtection[];
  readonly platformSmt: 'permitted' | 'refused';
  readonly platformRequired: readonly PlatformProtection[];
  /** Lowest versions by product line. A product that is not listed is below every floor. */
  readonly floors: Readonly<Record<SnpTcb, Readonly<Partial<Record<SnpProduct, TcbVersion>>> | 'any'>>;
  /** Firmware that the host may still roll back: current above committed. */
  readonly provisionalFirmware: 'permitted' | 'refused';
  /** SHA-384 of keys whose signed ID block is accepted. */
  readonly idKeys: OneOf;
  readonly authorKeys: OneOf;
  readonly revocation: 'required' | 'any';
}

/** The demands of a careful verifier, before anything of the image is known: nothing that lets the host in. */
export const SNP_CAREFUL: SnpDemands = {
  measurements: [],
  reportData: 'any',
  hostData: 'any',
  products: 'any',
  vmpl: 0,
  guestSvn: 'any',
  abi: 'any',
  permitted: ['smt'],
  required: [],
  platformSmt: 'permitted',
  platformRequired: ['aliasCheck'],
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
    checkOneOf('snp.measurement', report.measurement, demands.measurements),
    checkEqual('snp.report-data', report.reportData, demands.reportData),
    checkEqual('snp.host-data', report.hostData, demands.hostData),
    checkDemand('snp.product', demands.products, `${product} stepping ${stepping ?? 'unknown'}`, (products) =>
      products.some((one) => one.line === product && (one.stepping === 'any' || one.stepping === stepping)),
    ),
    checkDemand('snp.vmpl', demands.vmpl, `VMPL ${report.vmpl}`, (vmpl) => report.vmpl === vmpl),
    checkDemand('snp.guest-svn', demands.guestSvn, `guest SVN ${report.guestSvn}`, (floor) => report.guestSvn >= floor),
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
    ...demands.platformRequired.map((bit) =>
      checkDemand(`snp.platform.${bit}`, 'set', set(platform[bit]), () => platform[bit]),
    ),
    ...TCBS.map((which) => checkFloor(evidence, which, demands.floors[which])),
    checkDemand('snp.provisional', demands.provisionalFirmware, provisional(evidence), (allowed) =>
      allowed === 'permitted' ? true : report.currentTcb === report.committedTcb,
    ),
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

function provisional({ report }: AuthenticatedSnp): string {
  const [current, committed] = [report.currentTcb, report.committedTcb].map((tcb) => tcb.toString(16));
  return current === committed ? 'current TCB is committed' : `current TCB 0x${current} over committed 0x${committed}`;
}

function set(bit: boolean): string {
  return bit ? 'set' : 'not set';
}
