/**
 * Collateral that Intel publishes of platforms and quoting enclaves: signed JSON (Intel PCS API 4,
 * TCB info version 3, enclave identity version 2). Intel's own library knows no later version
 * (confidential-computing.tee.dcap.qvl, EnclaveIdentity.cpp of 2026).
 */

import * as z from 'zod';
import { verifySignature } from '#crypto';
import { equalBytes } from '../bytes.ts';
import { decodeJson } from '../canonical.ts';
import { EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
import { deriveOnce, parseOnce } from '../parse-once.ts';
import { parsePart } from '../parse-part.ts';
import { type Certificate, parseCertificateOnce } from '../x509/certificate.ts';
import {
  checkDates,
  type Pin,
  refuseRevoked,
  type VerifiedChain,
  type VerifiedCrl,
  verifyChain,
  verifyCrl,
  verifyNotRevoked,
} from '../x509/chain.ts';
import { parseCrlOnce } from '../x509/crl.ts';
import { type PckPlatform, readPckPlatform } from './pck.ts';

/** Collateral as fetched. Texts are the signed ones, byte by byte. */
export interface TdxCollateral {
  /** The `tcbInfo` object's text, and its signature r‖s. */
  readonly tcbInfo: Uint8Array;
  readonly tcbInfoSignature: Uint8Array;
  /** The `enclaveIdentity` object's text, and its signature r‖s. */
  readonly qeIdentity: Uint8Array;
  readonly qeIdentitySignature: Uint8Array;
  /** Certificates of the signer of each, and their issuers; DER, signer first. */
  readonly tcbInfoChain: readonly Uint8Array[];
  readonly qeIdentityChain: readonly Uint8Array[];
  /** CRLs of the PCK certificates' issuer and of the root, DER. */
  readonly pckCrl: Uint8Array;
  readonly rootCrl: Uint8Array;
}

/** Words for a patch level, best first (PCS API 4). */
export const TCB_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
] as const;
export type TcbStatus = (typeof TCB_STATUSES)[number];

/**
 * Status of each patch level of a platform and of the TDX module. Dates are in milliseconds since
 * 1970, hex is in lower case.
 */
export interface TcbInfo {
  readonly issueDate: number;
  readonly nextUpdate: number;
  readonly fmspc: string;
  readonly pceId: string;
  readonly tcbEvaluationDataNumber: number;
  readonly tdxModule: SignedModule;
  /** By name alone: see {@link moduleIdentity}. */
  readonly tdxModuleIdentities?: readonly { readonly id: string }[] | undefined;
  /** Highest first, whatever order they were published in. */
  readonly tcbLevels: readonly PlatformLevel[];
}

/** A patch level of a platform. */
export interface PlatformLevel extends Level {
  readonly tcb: {
    readonly sgxtcbcomponents: readonly { readonly svn: number }[];
    readonly pcesvn: number;
    readonly tdxtcbcomponents: readonly { readonly svn: number }[];
  };
}

/** Which quoting enclaves are Intel's, and how good. */
export interface QeIdentity {
  readonly issueDate: number;
  readonly nextUpdate: number;
  readonly tcbEvaluationDataNumber: number;
  readonly miscselect: string;
  readonly miscselectMask: string;
  readonly attributes: string;
  readonly attributesMask: string;
  readonly mrsigner: string;
  readonly isvprodid: number;
  readonly tcbLevels: readonly IsvLevel[];
}

/** How good a level is, and which advisories are open at it. */
export interface Level {
  /**
   * A {@link TcbStatus}, or a word that is not known yet. Such a word refuses platforms at this
   * level alone.
   */
  readonly tcbStatus: string;
  readonly advisoryIDs?: readonly string[] | undefined;
}

/** A level that is reached from one security version on. */
export interface IsvLevel extends Level {
  readonly tcb: { readonly isvsvn: number };
}

/** A TDX module by major version, and its levels, highest first. */
export interface ModuleIdentity extends SignedModule {
  readonly id: string;
  readonly tcbLevels: readonly IsvLevel[];
}

interface SignedModule {
  readonly mrsigner: string;
  readonly attributes: string;
  readonly attributesMask: string;
}

const svn = z.int().min(0).max(255);
const u16 = z.int().min(0).max(0xffff);
const level = { tcbStatus: z.string().max(64), advisoryIDs: z.array(z.string().max(64)).max(256).optional() };
const isvLevels = z.array(z.object({ tcb: z.object({ isvsvn: u16 }), ...level })).max(64);
const components = z.array(z.object({ svn })).length(16);
const date = z.iso.datetime().transform((text) => Date.parse(text));
const evaluation = { issueDate: date, nextUpdate: date, tcbEvaluationDataNumber: z.int().min(0) };
const signedModule = { mrsigner: hex(48), attributes: hex(8), attributesMask: hex(8) };

/** Unknown fields are left out, not refused, because Intel adds fields to what it signs. */
const tcbInfoSchema: z.ZodType<TcbInfo> = z.object({
  id: z.literal('TDX'),
  version: z.literal(3),
  ...evaluation,
  fmspc: hex(6),
  pceId: hex(2),
  tcbType: z.literal(0),
  tdxModule: z.object(signedModule),
  tdxModuleIdentities: z
    .array(z.looseObject({ id: z.string().max(64) }))
    .max(64)
    .optional(),
  tcbLevels: z
    .array(
      z.object({
        tcb: z.object({ sgxtcbcomponents: components, pcesvn: u16, tdxtcbcomponents: components }),
        ...level,
      }),
    )
    .max(256),
});

const moduleSchema: z.ZodType<ModuleIdentity> = z.object({
  id: z.string(),
  ...signedModule,
  tcbLevels: isvLevels,
});

const qeIdentitySchema: z.ZodType<QeIdentity> = z.object({
  id: z.literal('TD_QE'),
  version: z.literal(2),
  ...evaluation,
  miscselect: hex(4),
  miscselectMask: hex(4),
  attributes: hex(16),
  attributesMask: hex(16),
  mrsigner: hex(32),
  isvprodid: u16,
  tcbLevels: isvLevels,
});

function hex(bytes: number): z.ZodType<string> {
  const text = z.string().regex(new RegExp(`^[0-9a-fA-F]{${2 * bytes}}$`));
  return text.transform((digits) => digits.toLowerCase());
}

/** Collateral that Intel signed for a platform, and that is current. */
export interface VerifiedCollateral {
  readonly platform: PckPlatform;
  readonly tcbInfo: TcbInfo;
  readonly qeIdentity: QeIdentity;
  /** Time until which all of the collateral is current, in milliseconds since 1970. */
  readonly nextUpdate: number;
}

const NOTHING = new Uint8Array();
const MAX_JSON = 1 << 18;
const SIGNER_SCHEME = { kind: 'ecdsa', hash: 'sha256', encoding: 'p1363' } as const;

/**
 * Verifies collateral, and with its CRLs that the PCK chain is not revoked.
 * @param pck The verified chain of the PCK certificate: leaf, PCK CA, root.
 * @throws EvidenceError `collateral`, `chain`, `validity`, `revoked`
 */
export async function verifyCollateral(
  collateral: TdxCollateral,
  pck: VerifiedChain,
  pins: readonly Pin[],
  options: Moment,
): Promise<VerifiedCollateral> {
  const rootCrl = parsePart('collateral', 'root CRL', collateral.rootCrl, parseCrlOnce);
  const pckCrl = parsePart('collateral', 'PCK CRL', collateral.pckCrl, parseCrlOnce);
  const [leaf, issuer, root] = pck.path as readonly (Certificate | undefined)[];
  if (leaf === undefined || issuer === undefined || root === undefined || pck.path.length !== 3) {
    throw new EvidenceError('chain', `PCK chain of ${pck.path.length} certificates, expected 3`);
  }
  const revocation = { root, crl: await verifyCrl(rootCrl, root, options) };
  refuseRevoked(issuer, revocation.crl);
  await verifyNotRevoked(leaf, issuer, pckCrl, options);
  const { tcbInfoChain, qeIdentityChain } = collateral;
  const signer = await verifySigner(tcbInfoChain, pins, revocation, options);
  const same = sameChain(tcbInfoChain, qeIdentityChain);
  const qeSigner = same ? signer : await verifySigner(qeIdentityChain, pins, revocation, options);
  const tcbInfo = await verifySigned(
    'TCB info',
    collateral.tcbInfo,
    collateral.tcbInfoSignature,
    signer,
    parseTcbInfoOnce,
  );
  const qeIdentity = await verifySigned(
    'QE identity',
    collateral.qeIdentity,
    collateral.qeIdentitySignature,
    qeSigner,
    parseQeIdentityOnce,
  );
  const platform = parsePart('identity', 'PCK certificate', leaf, readPckPlatform);
  if (tcbInfo.fmspc !== platform.fmspc || tcbInfo.pceId !== platform.pceId) {
    const [described, own] = [tcbInfo, platform].map(({ fmspc, pceId }) => `${fmspc}/${pceId}`);
    throw new EvidenceError('collateral', `TCB info is of platform ${described}, the PCK is of ${own}`);
  }
  checkDates(tcbInfo.issueDate, tcbInfo.nextUpdate, options, 'TCB info');
  checkDates(qeIdentity.issueDate, qeIdentity.nextUpdate, options, 'QE identity');
  const ends = [tcbInfo.nextUpdate, qeIdentity.nextUpdate, rootCrl.nextUpdate, pckCrl.nextUpdate];
  return { platform, tcbInfo, qeIdentity, nextUpdate: Math.min(...ends) };
}

/** @throws DecodeError; EvidenceError `collateral` if a level stands twice */
const parseTcbInfoOnce = parseOnce((text): TcbInfo => {
  const info = decodeJson(tcbInfoSchema, text, MAX_JSON);
  return { ...info, tcbLevels: descending('TCB info', info.tcbLevels, comparePlatforms) };
});

/** @throws as `parseTcbInfoOnce` */
const parseQeIdentityOnce = parseOnce((text): QeIdentity => {
  const identity = decodeJson(qeIdentitySchema, text, MAX_JSON);
  return { ...identity, tcbLevels: descending('QE identity', identity.tcbLevels, compareIsvs) };
});

/**
 * The identity of the TDX module of a major version. Identities of other modules are not read: one
 * that a later API writes otherwise must not refuse platforms that do not run it.
 * @throws EvidenceError `identity` if there is none, `collateral` if there are two or it is
 * malformed
 */
export function moduleIdentity({ tdxModuleIdentities = [] }: TcbInfo, major: number): ModuleIdentity {
  const id = `TDX_${major.toString(16).toUpperCase().padStart(2, '0')}`;
  const [found, another] = tdxModuleIdentities.filter((one) => one.id.toUpperCase() === id);
  if (found === undefined) throw new EvidenceError('identity', `TDX module ${id} is not known`);
  if (another !== undefined) throw new EvidenceError('collateral', `TDX module ${id} has two identities`);
  return readModule(found);
}

const readModule = deriveOnce((found: { readonly id: string }): ModuleIdentity => {
  const name = `TDX module ${found.id.toUpperCase()}`;
  const { success, data } = moduleSchema.safeParse(found);
  if (!success) throw new EvidenceError('collateral', `the identity of ${name} is malformed`);
  return { ...data, tcbLevels: descending(name, data.tcbLevels, compareIsvs) };
});

/**
 * Levels, highest first. The first one that is reached counts, so the order decides.
 *
 * **Trust**: the publisher's order is not relied on. Without this, a revoked level that is listed
 * last would be passed over for a level below it. Intel's own library sorts them too
 * (confidential-computing.tee.dcap.qvl, AttestationParsers: std::set with TcbLevel::operator>), and
 * refuses equal ones.
 * @throws EvidenceError `collateral` if two levels are equal
 */
function descending<L>(name: string, levels: readonly L[], compare: (a: L, b: L) => number): readonly L[] {
  const sorted = levels.toSorted((a, b) => compare(b, a));
  const twice = sorted.some((level, index) => index > 0 && compare(sorted[index - 1] as L, level) === 0);
  if (twice) throw new EvidenceError('collateral', `the ${name} has a level twice`);
  return sorted;
}

function compareIsvs({ tcb: a }: IsvLevel, { tcb: b }: IsvLevel): number {
  return a.isvsvn - b.isvsvn;
}

/** By SGX components, then PCE, then TDX components: TcbLevel::operator> of Intel's library. */
function comparePlatforms({ tcb: a }: PlatformLevel, { tcb: b }: PlatformLevel): number {
  return (
    compareComponents(a.sgxtcbcomponents, b.sgxtcbcomponents) ||
    a.pcesvn - b.pcesvn ||
    compareComponents(a.tdxtcbcomponents, b.tdxtcbcomponents)
  );
}

type Components = PlatformLevel['tcb']['sgxtcbcomponents'];

function compareComponents(a: Components, b: Components): number {
  return a.map(({ svn }, index) => svn - (b[index]?.svn ?? 0)).find((difference) => difference !== 0) ?? 0;
}

/**
 * Verifies the TCB signing certificate, which must stand directly under the root. A PCK CA, for
 * example, may not vouch for patch levels.
 */
async function verifySigner(
  chain: readonly Uint8Array[],
  pins: readonly Pin[],
  { root, crl }: { readonly root: Certificate; readonly crl: VerifiedCrl },
  options: Moment,
): Promise<VerifiedChain> {
  const [leaf, ...others] = chain.map((der) => parsePart('collateral', 'collateral signer', der, parseCertificateOnce));
  if (leaf === undefined) throw new EvidenceError('collateral', 'collateral without a signing certificate');
  const verified = await verifyChain(leaf, others, pins, options);
  if (verified.path.length !== 2 || leaf.ca !== undefined) {
    throw new EvidenceError('collateral', 'collateral is not signed by a certificate right under the root');
  }
  // Another certificate of the root's key may be pinned too: the list has to be that anchor's own.
  const { anchor } = verified;
  refuseRevoked(leaf, equalBytes(anchor.der, root.der) ? crl : await verifyCrl(crl, anchor, options));
  return verified;
}

async function verifySigned<T>(
  name: string,
  text: Uint8Array,
  signature: Uint8Array,
  signer: VerifiedChain,
  parse: (text: Uint8Array) => T,
): Promise<T> {
  if (!(await verifySignature(SIGNER_SCHEME, signer.key, text, signature))) {
    throw new EvidenceError('collateral', `signature of the ${name} does not verify`);
  }
  return parsePart('collateral', name, text, parse);
}

function sameChain(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((one, index) => equalBytes(one, b[index] ?? NOTHING));
}
