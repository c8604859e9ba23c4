/** SEV-SNP ATTESTATION_REPORT (AMD 56860 revision 1.58, section 7.3, table 23). */

import { Reader } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import type { CpuId } from './product.ts';

/** Length of a report in bytes. */
export const REPORT_LENGTH = 1184;
/** The bytes that the signature covers: from the start up to here. */
const SIGNED_LENGTH = 0x2a0;
const SIGNATURE_PART = 72;
const P384_LENGTH = 48;

/** The key that signed: of this chip, or of the cloud that this chip is enrolled with. */
export type SnpSigner = 'VCEK' | 'VLEK';

/** Rights that the guest's launcher allowed (table 10). */
export interface GuestPolicy {
  readonly abiMajor: number;
  readonly abiMinor: number;
  readonly smt: boolean;
  readonly migrationAgent: boolean;
  readonly debug: boolean;
  readonly singleSocket: boolean;
  readonly cxl: boolean;
  readonly memoryAes256Xts: boolean;
  readonly raplDisabled: boolean;
  readonly ciphertextHiding: boolean;
  readonly pageSwapDisabled: boolean;
}

/**
 * Features that the platform has switched on (table 24). Bits from 8 on are in `platformBits`
 * alone.
 */
export interface PlatformInfo {
  readonly smt: boolean;
  readonly tsme: boolean;
  readonly ecc: boolean;
  readonly raplDisabled: boolean;
  readonly ciphertextHiding: boolean;
  /** Memory aliasing was looked for since the last reset, and none found. */
  readonly aliasCheck: boolean;
  /**
   * The IOMMU checks device writes against guest page ownership; later than revision 1.58, seen on
   * Turin.
   */
  readonly iommuWriteSafe: boolean;
  readonly tio: boolean;
}

/** Firmware version: build, minor, major. */
export interface FirmwareVersion {
  readonly build: number;
  readonly minor: number;
  readonly major: number;
}

/**
 * A report as parsed. TCB versions are the raw 64-bit values: what their bytes mean depends on the
 * product, which version 2 reports do not tell.
 *
 * **Trust**: nothing in it is authenticated until `verifySnp` has returned it.
 */
export interface SnpReport {
  readonly version: number;
  readonly guestSvn: number;
  readonly policy: GuestPolicy;
  readonly policyBits: bigint;
  readonly familyId: Uint8Array;
  readonly imageId: Uint8Array;
  readonly vmpl: number;
  readonly signatureAlgorithm: number;
  readonly currentTcb: bigint;
  readonly platform: PlatformInfo;
  readonly platformBits: bigint;
  /** The key that signed; undefined if the report says that none did. */
  readonly signer: SnpSigner | undefined;
  readonly signerInfo: number;
  readonly authorKeyEnabled: boolean;
  readonly chipKeyMasked: boolean;
  /** 64 bytes from the guest. */
  readonly reportData: Uint8Array;
  /** Launch digest, 48 bytes. */
  readonly measurement: Uint8Array;
  /** 32 bytes from the host at launch. */
  readonly hostData: Uint8Array;
  /** SHA-384 of the key that signed the ID block; zero without one. */
  readonly idKeyDigest: Uint8Array;
  readonly authorKeyDigest: Uint8Array;
  readonly reportId: Uint8Array;
  readonly reportIdMigrationAgent: Uint8Array;
  readonly reportedTcb: bigint;
  /** Undefined in version 2. */
  readonly cpu: CpuId | undefined;
  /** 64 bytes; zero if the platform masks it. */
  readonly chipId: Uint8Array;
  readonly committedTcb: bigint;
  readonly current: FirmwareVersion;
  readonly committed: FirmwareVersion;
  readonly launchTcb: bigint;
  /** Mitigations that were in force at launch and are now; undefined before version 5. */
  readonly launchMitigations: bigint | undefined;
  readonly currentMitigations: bigint | undefined;
  /** The bytes that the signature is over. */
  readonly signed: Uint8Array;
  /** r‖s, 48 bytes each, big-endian. */
  readonly signature: Uint8Array;
}

const POLICY_BITS = {
  smt: 16,
  migrationAgent: 18,
  debug: 19,
  singleSocket: 20,
  cxl: 21,
  memoryAes256Xts: 22,
  raplDisabled: 23,
  ciphertextHiding: 24,
  pageSwapDisabled: 25,
} as const;
const POLICY_ONE = 1n << 17n;
const POLICY_KNOWN = 0x3ff_ffffn;

const PLATFORM_BITS = {
  smt: 0,
  tsme: 1,
  ecc: 2,
  raplDisabled: 3,
  ciphertextHiding: 4,
  aliasCheck: 5,
  iommuWriteSafe: 6,
  tio: 7,
} as const;

/** The bits of the platform information that have names. */
export const PLATFORM_KNOWN: bigint = Object.values(PLATFORM_BITS).reduce(
  (mask, bit) => mask | (1n << BigInt(bit)),
  0n,
);

const SIGNERS: Readonly<Record<number, SnpSigner>> = { 0: 'VCEK', 1: 'VLEK' };
const NO_SIGNER = 7;

/**
 * Reads a report of version 2 to 6. Revision 1.58 describes versions up to 5. Each version so far
 * has given meaning to bytes that were zero before. So 6 is read as 5 is, and refused if bytes are
 * set that are zero in 5. Appraisal decides whether a version without a text is accepted.
 * @throws DecodeError `version`, `reserved`, `range`, or a length other than 1184: `truncated`,
 * `trailing`.
 */
export function parseReport(bytes: Uint8Array): SnpReport {
  const reader = new Reader(bytes);
  const version = reader.u32le();
  if (version < 2 || version > 6) throw new DecodeError('version', `report version ${version}, expected 2 to 6`, 0);
  const guestSvn = reader.u32le();
  const policyBits = reader.u64le();
  const familyId = reader.take(16);
  const imageId = reader.take(16);
  const vmpl = reader.u32le();
  if (vmpl > 3) throw new DecodeError('range', `VMPL ${vmpl}`, 0x30);
  const signatureAlgorithm = reader.u32le();
  const currentTcb = reader.u64le();
  const platformBits = reader.u64le();
  const signerInfo = reader.u32le();
  if (signerInfo >>> 5) throw new DecodeError('reserved', `signer information 0x${signerInfo.toString(16)}`, 0x48);
  const signingKey = (signerInfo >>> 2) & 7;
  if (SIGNERS[signingKey] === undefined && signingKey !== NO_SIGNER) {
    throw new DecodeError('range', `signing key ${signingKey}`, 0x48);
  }
  reader.zeros(4, 'bytes 0x4c–0x4f');
  return {
    version,
    guestSvn,
    policy: readPolicy(policyBits),
    policyBits,
    familyId,
    imageId,
    vmpl,
    signatureAlgorithm,
    currentTcb,
    platform: readFlags(PLATFORM_BITS, Number(platformBits & 0xffn)),
    platformBits,
    signer: SIGNERS[signingKey],
    signerInfo,
    authorKeyEnabled: (signerInfo & 1) !== 0,
    chipKeyMasked: (signerInfo & 2) !== 0,
    reportData: reader.take(64),
    measurement: reader.take(48),
    hostData: reader.take(32),
    idKeyDigest: reader.take(48),
    authorKeyDigest: reader.take(48),
    reportId: reader.take(32),
    reportIdMigrationAgent: reader.take(32),
    reportedTcb: reader.u64le(),
    cpu: readCpu(reader, version),
    chipId: reader.take(64),
    committedTcb: reader.u64le(),
    current: readFirmware(reader),
    committed: readFirmware(reader),
    launchTcb: reader.u64le(),
    launchMitigations: readMitigations(reader, version),
    currentMitigations: readMitigations(reader, version),
    ...readSignature(reader, bytes),
  };
}

function readPolicy(bits: bigint): GuestPolicy {
  const refuse = (why: string): never => {
    throw new DecodeError('reserved', `guest policy 0x${bits.toString(16)}: ${why}`, 8);
  };
  if (!(bits & POLICY_ONE)) refuse('bit 17 is not one');
  if (bits & ~POLICY_KNOWN) refuse('a bit above 25 is set');
  return {
    abiMinor: Number(bits & 0xffn),
    abiMajor: Number((bits >> 8n) & 0xffn),
    ...readFlags(POLICY_BITS, Number(bits)),
  };
}

/** @param bits The lower 32. */
function readFlags<K extends string>(table: Readonly<Record<K, number>>, bits: number): Record<K, boolean> {
  const flags = {} as Record<K, boolean>;
  for (const name in table) flags[name] = ((bits >>> table[name]) & 1) === 1;
  return flags;
}

function readCpu(reader: Reader, version: number): CpuId | undefined {
  if (version === 2) {
    reader.zeros(24, 'bytes 0x188–0x19f of version 2');
    return undefined;
  }
  const cpu = { family: reader.u8(), model: reader.u8(), stepping: reader.u8() };
  reader.zeros(21, 'bytes 0x18b–0x19f');
  return cpu;
}

function readFirmware(reader: Reader): FirmwareVersion {
  const firmware = { build: reader.u8(), minor: reader.u8(), major: reader.u8() };
  reader.zeros(1, 'byte after a firmware version');
  return firmware;
}

function readMitigations(reader: Reader, version: number): bigint | undefined {
  if (version >= 5) return reader.u64le();
  reader.zeros(8, 'mitigation vector before version 5');
  return undefined;
}

function readSignature(reader: Reader, bytes: Uint8Array): Pick<SnpReport, 'signed' | 'signature'> {
  reader.zeros(SIGNED_LENGTH - reader.at, 'bytes 0x208–0x29f');
  const signature = new Uint8Array(2 * P384_LENGTH);
  for (const end of [P384_LENGTH, 2 * P384_LENGTH]) {
    const little = reader.take(P384_LENGTH);
    reader.zeros(SIGNATURE_PART - P384_LENGTH, 'bytes above a P-384 integer');
    signature.set(little.toReversed(), end - P384_LENGTH);
  }
  reader.zeros(REPORT_LENGTH - reader.at, 'bytes after the signature');
  reader.end('report');
  return { signed: bytes.subarray(0, SIGNED_LENGTH), signature };
}
