/**
 * The HCL report of an Azure confidential VM: the bytes that its paravisor keeps in the vTPM's NV
 * index 0x01400001. They hold a hardware report whose report data binds a JSON document with the
 * vTPM's keys.
 */

import * as z from 'zod';
import { concat, equalBytes, fromBase64Url, fromHex, Reader, toHex } from '../bytes.ts';
import { decodeJson } from '../canonical.ts';
import { HASH_LENGTH, type HashName, hash } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { TDREPORT_LENGTH } from '../tdx/td-report.ts';
import { spkiOf } from '../tpm/public-area.ts';

/**
 * A report as parsed.
 *
 * **Trust**: none, until its hardware report is verified and `checkRuntimeBinding` has passed.
 */
export interface HclReport {
  readonly version: number;
  /** Length that the header states; the NV index is padded with zeros beyond it. */
  readonly size: number;
  /**
   * 2: a report that the guest asked for. Other types are the paravisor's own requests to Azure's
   * services.
   */
  readonly requestType: 2;
  /** Length of the request data: its own header and the runtime data. */
  readonly dataSize: number;
  readonly platform: 'snp' | 'tdx';
  /** SNP attestation report (1184 bytes) or TDREPORT (1024 bytes). */
  readonly hardwareReport: Uint8Array;
  readonly hash: HashName;
  /** The JSON document, exactly as hashed. */
  readonly runtimeData: Uint8Array;
}

/** The paravisor's statement of the VM. **Trust**: as authentic as the binding. */
export interface RuntimeData {
  /** SubjectPublicKeyInfo of the vTPM's attestation key, RSA. */
  readonly attestationKey: Uint8Array;
  /** Names of all keys in the document. */
  readonly keyIds: readonly string[];
  readonly vmConfiguration: Readonly<Record<string, string | number | boolean>>;
  /** 64 bytes that the guest may set; undefined if it did not. */
  readonly userData: Uint8Array | undefined;
}

const HEADER_LENGTH = 0x20;
const HARDWARE_LENGTH = 0x4a0;
const MAX_REPORT = 1 << 16;
const REPORT_REQUEST = 2;
const PLATFORMS: Readonly<Record<number, HclReport['platform']>> = { 2: 'snp', 4: 'tdx' };
const HASHES: Readonly<Record<number, HashName>> = { 1: 'sha256', 2: 'sha384', 3: 'sha512' };

/** Reads an HCL report of version 1 or 2. @throws DecodeError */
export function parseHclReport(bytes: Uint8Array): HclReport {
  if (bytes.length > MAX_REPORT) throw new DecodeError('range', `HCL report of ${bytes.length} bytes`, 0);
  const reader = new Reader(bytes);
  if (reader.u32le() !== 0x414c_4348) throw new DecodeError('magic', 'HCL report does not start with HCLA', 0);
  const version = reader.u32le();
  if (version !== 1 && version !== 2) throw new DecodeError('version', `HCL report version ${version}`, 4);
  const size = reader.u32le();
  const requestType = reader.u32le();
  if (requestType !== REPORT_REQUEST) throw new DecodeError('version', `HCL request of type ${requestType}`, 12);
  reader.zeros(HEADER_LENGTH - reader.at, 'status and reserved part of the header');
  const hardware = reader.take(HARDWARE_LENGTH);
  const dataSize = reader.u32le();
  if (size !== HEADER_LENGTH + HARDWARE_LENGTH + dataSize || size > bytes.length) {
    throw new DecodeError('range', `HCL report of ${size} bytes with data of ${dataSize}`, 8);
  }
  const dataVersion = reader.u32le();
  const type = reader.u32le();
  const hashType = reader.u32le();
  const [platform, hashName] = [PLATFORMS[type], HASHES[hashType]];
  if (dataVersion !== 1 || platform === undefined || hashName === undefined) {
    throw new DecodeError(
      'version',
      `HCL data version ${dataVersion}, report type ${type}, hash type ${hashType}`,
      0x4c4,
    );
  }
  const runtimeData = reader.take(reader.u32le());
  reader.zeros(reader.left, 'padding of the HCL report');
  return {
    version,
    size,
    requestType,
    dataSize,
    platform,
    hardwareReport: platform === 'tdx' ? readTdReport(hardware) : hardware,
    hash: hashName,
    runtimeData,
  };
}

function readTdReport(hardware: Uint8Array): Uint8Array {
  const reader = new Reader(hardware, HEADER_LENGTH);
  const report = reader.take(TDREPORT_LENGTH);
  reader.zeros(reader.left, 'bytes after the TDREPORT');
  return report;
}

/**
 * Shows that the hardware report binds the runtime data: its report data is their digest, then
 * zeros.
 * @param reportData 64 bytes of a verified hardware report
 * @throws EvidenceError `binding`
 */
export function checkRuntimeBinding(hcl: HclReport, reportData: Uint8Array): void {
  const digest = hash(hcl.hash, hcl.runtimeData);
  const expected = concat(digest, new Uint8Array(64 - HASH_LENGTH[hcl.hash]));
  if (!equalBytes(expected, reportData)) {
    throw new EvidenceError(
      'binding',
      `report data is ${toHex(reportData)}, the runtime data has digest ${toHex(digest)}`,
    );
  }
}

const AK = 'HCLAkPub';
const jwk = z.object({ kid: z.string().max(64), kty: z.literal('RSA'), e: z.literal('AQAB'), n: z.string().max(1024) });
const runtimeSchema = z.object({
  keys: z.array(jwk).max(8),
  'vm-configuration': z.record(z.string().max(64), z.union([z.string().max(1024), z.number(), z.boolean()])),
  'user-data': z
    .string()
    .regex(/^[0-9A-Fa-f]{128}$/)
    .optional(),
});

/**
 * Reads the runtime data.
 * @throws DecodeError; `syntax` if it has not exactly one attestation key.
 */
export function readRuntimeData({ runtimeData }: HclReport): RuntimeData {
  const json = decodeJson(runtimeSchema, runtimeData, MAX_REPORT);
  const [ak, another] = json.keys.filter(({ kid }) => kid === AK);
  if (ak === undefined || another !== undefined) throw new DecodeError('syntax', `not exactly one key ${AK}`, 0);
  const userData = json['user-data'];
  return {
    attestationKey: rsaKey(fromBase64Url(ak.n)),
    keyIds: json.keys.map(({ kid }) => kid),
    vmConfiguration: json['vm-configuration'],
    userData: userData === undefined ? undefined : fromHex(userData),
  };
}

function rsaKey(modulus: Uint8Array): Uint8Array {
  return spkiOf({
    type: 'rsa',
    nameAlg: 'sha256',
    attributes: [],
    authPolicy: new Uint8Array(),
    symmetric: { algorithm: 'none' },
    scheme: { scheme: 'none' },
    keyBits: 8 * modulus.length,
    exponent: 65_537,
    modulus,
  });
}
