/**
 * TDX quotes, versions 4 and 5 (Intel TDX DCAP quoting library API 0.9, appendix A; TDX module ABI,
 * TDREPORT; body type 4 as in Intel's confidential-computing.tee.dcap.qvl, QuoteConstants.h and
 * QuoteStructures.h of 2026).
 */

import { fromUtf8, Reader, toHex } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { parseOnce } from '../parse-once.ts';
import { parsePem } from '../x509/pem.ts';

/** A trust domain as the TDX module reports it (TDREPORT 1.0, 1.5 and "1.5ex"). */
export interface TdReport {
  /**
   * Security versions of the TDX module (0: minor, 1: major) and of the layers below it; 16 bytes.
   */
  readonly teeTcbSvn: Uint8Array;
  readonly mrSeam: Uint8Array;
  readonly mrSignerSeam: Uint8Array;
  readonly seamAttributes: Uint8Array;
  readonly tdAttributes: bigint;
  readonly xfam: bigint;
  readonly mrTd: Uint8Array;
  readonly mrConfigId: Uint8Array;
  readonly mrOwner: Uint8Array;
  readonly mrOwnerConfig: Uint8Array;
  /** RTMR0 to RTMR3, 48 bytes each. */
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  /** 64 bytes from the guest. */
  readonly reportData: Uint8Array;
  /**
   * Security versions that are in force now. This field and `mrServiceTd`, the measurement of
   * service TDs, are of TDREPORT 1.5.
   */
  readonly teeTcbSvn2?: Uint8Array;
  readonly mrServiceTd?: Uint8Array;
  readonly extension?: TdReportExtension;
}

/**
 * Fields that body type 4 adds: the VM inside the TD that asked, devices, and the platform and
 * service TDs that the TD was made with.
 */
export interface TdReportExtension {
  readonly vmId: number;
  /** 32 bytes. */
  readonly tdId: Uint8Array;
  /** 48 bytes. */
  readonly deviceInfo: Uint8Array;
  /** Service TDs when the TD was made, and now: hash and attributes. */
  readonly initialServiceTd: Uint8Array;
  readonly initialServiceTdAttributes: Uint8Array;
  /** The platform that the TD was made on: 16, 16 and 12 bytes. */
  readonly initialCpuSvn: Uint8Array;
  readonly initialTeeTcbSvn: Uint8Array;
  readonly initialFmspc: Uint8Array;
  readonly currentServiceTd: Uint8Array;
  readonly currentServiceTdAttributes: Uint8Array;
}

/** The report of the quoting enclave (Intel SDM volume 3D, table 38-21). */
export interface EnclaveReport {
  readonly cpuSvn: Uint8Array;
  readonly miscSelect: number;
  readonly attributes: Uint8Array;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly reportData: Uint8Array;
  /** The whole report, which the PCK signs. */
  readonly signed: Uint8Array;
}

/**
 * A quote as parsed.
 *
 * **Trust**: nothing in it is authenticated until `verifyTdx` has returned it.
 */
export interface TdxQuote {
  readonly version: 4 | 5;
  /** 20 bytes from the quoting enclave's host. */
  readonly userData: Uint8Array;
  readonly report: TdReport;
  /** Header and body, which the attestation key signs. */
  readonly signed: Uint8Array;
  /** r‖s, 32 bytes each. */
  readonly signature: Uint8Array;
  /** Attestation key, x‖y, 32 bytes each. */
  readonly attestationKey: Uint8Array;
  readonly qeReport: EnclaveReport;
  readonly qeSignature: Uint8Array;
  readonly qeAuthData: Uint8Array;
  /** The PCK certificate and its issuers, DER, leaf first. */
  readonly pckChain: readonly Uint8Array[];
}

const HEADER_LENGTH = 48;
/** By body type. */
const BODY_LENGTH = { 2: 584, 3: 648, 4: 885 } as const;
type BodyType = keyof typeof BODY_LENGTH;
const MAX_QUOTE = 1 << 16;
const MAX_CERTIFICATES = 8;

const ECDSA_P256 = 2;
const TEE_TDX = 0x81;
const QE_VENDOR_INTEL = '939a7233f79c4ca9940a0db3957f0607';
const QE_REPORT_DATA = 6;
const PCK_CHAIN = 5;

/**
 * Reads a quote of exactly its own length.
 * @throws DecodeError `version` for another version, TEE, key type, vendor or certification data
 * than the ones known.
 */
export function parseQuote(bytes: Uint8Array): TdxQuote {
  if (bytes.length > MAX_QUOTE) throw new DecodeError('range', `quote of ${bytes.length} bytes`, 0);
  const reader = new Reader(bytes);
  const version = readHeader(reader);
  const userData = reader.take(20);
  const bodyType = version === 4 ? 2 : readBodyType(reader);
  const report = readReport(reader, bodyType);
  const signed = bytes.subarray(0, reader.at);
  const signatureData = reader.sub(reader.u32le());
  reader.end('quote');
  return { version, userData, report, signed, ...readSignatureData(signatureData) };
}

/**
 * The length that a quote states, of which `bytes` may hold more: many sources pad quotes.
 * @throws DecodeError `truncated` if the length itself is cut off.
 */
export function quoteLength(bytes: Uint8Array): number {
  const reader = new Reader(bytes);
  const version = reader.u16le();
  reader.skip(HEADER_LENGTH - 2);
  if (version === 5) reader.skip(2);
  reader.skip(version === 5 ? reader.u32le() : BODY_LENGTH[2]);
  const length = reader.u32le();
  return reader.at + length;
}

function readHeader(reader: Reader): 4 | 5 {
  const version = reader.u16le();
  if (version !== 4 && version !== 5) throw new DecodeError('version', `quote version ${version}, expected 4 or 5`, 0);
  const keyType = reader.u16le();
  if (keyType !== ECDSA_P256) throw new DecodeError('version', `attestation key type ${keyType}`, 2);
  const tee = reader.u32le();
  if (tee !== TEE_TDX) throw new DecodeError('version', `TEE type 0x${tee.toString(16)}`, 4);
  reader.zeros(4, 'bytes 8–11 of the header');
  const vendor = toHex(reader.take(16));
  if (vendor !== QE_VENDOR_INTEL) throw new DecodeError('version', `quoting enclave of vendor ${vendor}`, 12);
  return version;
}

function readBodyType(reader: Reader): BodyType {
  const type = reader.u16le();
  const size = reader.u32le();
  if ((type !== 2 && type !== 3 && type !== 4) || size !== BODY_LENGTH[type]) {
    throw new DecodeError('version', `body type ${type} of ${size} bytes`, HEADER_LENGTH);
  }
  return type;
}

function readReport(reader: Reader, type: BodyType): TdReport {
  const report = {
    teeTcbSvn: reader.take(16),
    mrSeam: reader.take(48),
    mrSignerSeam: reader.take(48),
    seamAttributes: reader.take(8),
    tdAttributes: reader.u64le(),
    xfam: reader.u64le(),
    mrTd: reader.take(48),
    mrConfigId: reader.take(48),
    mrOwner: reader.take(48),
    mrOwnerConfig: reader.take(48),
    rtmrs: [reader.take(48), reader.take(48), reader.take(48), reader.take(48)] as const,
    reportData: reader.take(64),
  };
  if (type === 2) return report;
  const newer = { ...report, teeTcbSvn2: reader.take(16), mrServiceTd: reader.take(48) };
  return type === 3 ? newer : { ...newer, extension: readExtension(reader) };
}

function readExtension(reader: Reader): TdReportExtension {
  return {
    vmId: reader.u8(),
    tdId: reader.take(32),
    deviceInfo: reader.take(48),
    initialServiceTd: reader.take(48),
    initialServiceTdAttributes: reader.take(8),
    initialCpuSvn: reader.take(16),
    initialTeeTcbSvn: reader.take(16),
    initialFmspc: reader.take(12),
    currentServiceTd: reader.take(48),
    currentServiceTdAttributes: reader.take(8),
  };
}

type SignatureData = Omit<TdxQuote, 'version' | 'userData' | 'report' | 'signed'>;

function readSignatureData(reader: Reader): SignatureData {
  const signature = reader.take(64);
  const attestationKey = reader.take(64);
  const certification = readCertificationData(reader, QE_REPORT_DATA);
  reader.end('signature data');
  const qeReport = readEnclaveReport(certification.take(384), certification.at - 384);
  const qeSignature = certification.take(64);
  const qeAuthData = certification.take(certification.u16le());
  const chain = readCertificationData(certification, PCK_CHAIN);
  certification.end('certification data');
  const pckChain = readPckChainOnce(chain.take(chain.left));
  return { signature, attestationKey, qeReport, qeSignature, qeAuthData, pckChain };
}

function readCertificationData(reader: Reader, expected: number): Reader {
  const { at } = reader;
  const type = reader.u16le();
  if (type !== expected) throw new DecodeError('version', `certification data type ${type}, expected ${expected}`, at);
  return reader.sub(reader.u32le());
}

/**
 * Reads the report of the quoting enclave. Reserved parts are skipped: the PCK signs only for
 * Intel's own enclave, and the signature covers them.
 */
function readEnclaveReport(bytes: Uint8Array, base: number): EnclaveReport {
  const reader = new Reader(bytes, base);
  const cpuSvn = reader.take(16);
  const miscSelect = reader.u32le();
  reader.skip(28); // reserved, ISVEXTPRODID
  const attributes = reader.take(16);
  const mrEnclave = reader.take(32);
  reader.skip(32);
  const mrSigner = reader.take(32);
  reader.skip(96); // reserved, CONFIGID
  const isvProdId = reader.u16le();
  const isvSvn = reader.u16le();
  reader.skip(60); // CONFIGSVN, reserved, ISVFAMILYID
  const reportData = reader.take(64);
  reader.end('enclave report');
  return { cpuSvn, miscSelect, attributes, mrEnclave, mrSigner, isvProdId, isvSvn, reportData, signed: bytes };
}

/**
 * Some quoting libraries end the text in a NUL, some their lines in CRLF (RFC 7468, section 3).
 * Nothing else may stand before or after the certificates.
 */
function readPckChain(bytes: Uint8Array): Uint8Array[] {
  const text = fromUtf8(bytes.at(-1) === 0 ? bytes.subarray(0, -1) : bytes);
  if (!text.startsWith('-') || !/-(\r?\n)?$/.test(text))
    throw new DecodeError('syntax', 'text around the PCK chain', 0);
  return parsePem(text, 'CERTIFICATE', MAX_CERTIFICATES);
}

/** A platform's chain is the same in each of its quotes. */
const readPckChainOnce = parseOnce(readPckChain);
