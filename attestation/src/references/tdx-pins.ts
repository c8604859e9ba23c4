/**
 * Values of a TD that references name beside its measurements: the fields that a host sets, service
 * TDs, and grace for old patch levels.
 */

import * as z from 'zod';
import { type DigestText, parseDigest } from '../digest.ts';
import { sha384Text } from '../digest-schema.ts';
import type { Moment } from '../moment.ts';
import {
  type AuthenticatedTdx,
  type CurrentStatus,
  type PlatformStatus,
  TDX_CAREFUL,
  type TdxDemands,
} from '../tdx/index.ts';

/**
 * Statuses for which a grace can be given. There is none for Revoked, nor for a TCB that no level
 * describes, because nothing is known of it.
 */
const GRACED = [
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'TDRelaunchAdvised',
  'TDRelaunchAdvisedConfigurationNeeded',
] as const;

/**
 * A patch level that is not up to date and is accepted until a day. References must name the day,
 * because an exception without an end stays.
 */
export interface TcbGrace {
  readonly status: (typeof GRACED)[number];
  /** RFC 3339, UTC, milliseconds. */
  readonly until: string;
}

/** Values of a TD that a reference may name. */
export interface TdxPins {
  /**
   * Values of 48 bytes that the host must have set at launch, whatever they mean to it. Absent:
   * any; the verdict shows them. If `mrConfigId` is absent and the policy is in the measured
   * command line, MRCONFIGID must be zero or the policy's digest.
   */
  readonly mrConfigId?: DigestText<'sha384'>;
  readonly mrOwner?: DigestText<'sha384'>;
  readonly mrOwnerConfig?: DigestText<'sha384'>;
  /** Accepted TDX modules. Absent: any of Intel's. */
  readonly mrSeams?: readonly DigestText<'sha384'>[];
  /** Service TDs that may be bound, by MRSERVICETD. Absent: none may. */
  readonly serviceTds?: readonly DigestText<'sha384'>[];
  readonly tcbGraces?: readonly TcbGrace[];
}

const digests = z.array(sha384Text).min(1).max(64);

/** The shape of each member. */
export const tdxPins: { readonly [P in keyof TdxPins]-?: z.ZodExactOptional<z.ZodType<NonNullable<TdxPins[P]>>> } = {
  mrConfigId: sha384Text.exactOptional(),
  mrOwner: sha384Text.exactOptional(),
  mrOwnerConfig: sha384Text.exactOptional(),
  mrSeams: digests.exactOptional(),
  serviceTds: digests.exactOptional(),
  tcbGraces: z
    .array(z.strictObject({ status: z.enum(GRACED), until: z.iso.datetime({ precision: 3 }) }))
    .min(1)
    .max(GRACED.length)
    .exactOptional(),
};

/**
 * The demands of a careful verifier, with the values that a reference names. A grace that is used
 * ends the verdict with it.
 */
export function pinnedDemands({ tcb }: AuthenticatedTdx, pins: TdxPins, { now, holds }: Moment): TdxDemands {
  const bytes = (text: DigestText<'sha384'> | undefined): Uint8Array | 'any' =>
    text === undefined ? 'any' : parseDigest('sha384', text);
  const list = (texts: readonly DigestText<'sha384'>[]): Uint8Array[] =>
    texts.map((text) => parseDigest('sha384', text));
  // Written so that a clock that is not a number grants nothing.
  const current = (pins.tcbGraces ?? []).filter(({ until }) => now <= Date.parse(until));
  const found: readonly (PlatformStatus | CurrentStatus)[] =
    tcb === 'not checked' ? [] : [tcb.status, tcb.current.status];
  for (const { status, until } of current) {
    if (found.includes(status)) holds?.({ at: Date.parse(until), what: `grace for ${status}` });
  }
  const granted = current.map(({ status }) => status);
  return {
    ...TDX_CAREFUL,
    mrConfigId: bytes(pins.mrConfigId),
    mrOwner: bytes(pins.mrOwner),
    mrOwnerConfig: bytes(pins.mrOwnerConfig),
    mrSeams: pins.mrSeams === undefined ? 'any' : list(pins.mrSeams),
    serviceTds: list(pins.serviceTds ?? []),
    tcbStatuses: ['UpToDate', ...granted],
    // Advice to start a guest again is never the status of the TCB in force now.
    currentTcbStatuses: ['UpToDate', ...granted.filter((one) => !one.startsWith('TDRelaunch'))] as CurrentStatus[],
  };
}
