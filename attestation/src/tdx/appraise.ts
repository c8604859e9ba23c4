/** Appraisal of authentic TDX quotes: pure comparisons, one line each. */

import { checkDemand, checkEqual, checkOneOf, type OneOf } from '../demand.ts';
import type { Check } from '../verdict.ts';
import type { PlatformStatus } from './tcb.ts';
import type { AuthenticatedTdx } from './verify.ts';

/** Bits of TDATTRIBUTES (TDX module ABI, table 3.22). */
const ATTRIBUTE = {
  debug: 0,
  septVeDisable: 28,
  migratable: 29,
  protectionKeys: 30,
  keyLocker: 31,
  perfmon: 63,
} as const;
/** Attribute bits that widen what the host may see or do. */
export type TdxPermission = 'debug' | 'migratable' | 'perfmon';
const PERMISSIONS: readonly TdxPermission[] = ['debug', 'migratable', 'perfmon'];

/** What a verifier demands of a quote. Each field is a constraint or the literal `"any"`: nothing can be left out. */
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
  /** Whether #VE on pages that the host took away must be off: with it, the host chooses where handlers run. */
  readonly septVeDisable: 'required' | 'any';
  /** Extended features that the guest may have on; bits 0 and 1 always are. */
  readonly xfamAllowed: bigint | 'any';
  readonly tcbStatuses: readonly PlatformStatus[] | 'any';
  readonly minimumEvaluation: number | 'any';
}

/** The demands of a careful verifier, before anything of the image is known: nothing that lets the host in. */
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
  tcbStatuses: ['UpToDate'],
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
    checkDemand(
      'tdx.tcb',
      demands.tcbStatuses,
      describe(tcb),
      (statuses) => tcb !== 'not checked' && statuses.includes(tcb.status),
    ),
    checkDemand(
      'tdx.tcb.evaluation',
      demands.minimumEvaluation,
      describe(tcb),
      (floor) => tcb !== 'not checked' && tcb.evaluation >= floor,
    ),
  ];
}

const KNOWN = Object.values(ATTRIBUTE).reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);

function describe(tcb: AuthenticatedTdx['tcb']): string {
  if (tcb === 'not checked') return 'no collateral was given';
  const advisories = tcb.advisories.length === 0 ? 'no advisories' : tcb.advisories.join(', ');
  return `${tcb.status} at evaluation ${tcb.evaluation}, ${advisories}`;
}
