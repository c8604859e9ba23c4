/**
 * Intel's quoting enclave and provisioning service in software: TDX quotes, PCK chain and collateral with a root of their
 * own, in Intel's formats. Nothing that it makes can verify under Intel's root.
 */

import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { TcbStatus, TdxCollateral, TdxEvidence } from '../../attestation/src/tdx/index.ts';
import { authority, crlAt, EPOCH, FakeIdentity, pemOf, pinOf } from './certificates.ts';
import { bits, der, integer, octets, oid, sequence } from './der.ts';

const DAY = 86_400_000;
const SGX = '1.2.840.113741.1.13.1';
/** No letter is in it: there are verifiers that take the certificate's letters and the collateral's for different ones. */
const FMSPC = '009061050000';
const ROOT_CRL = 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der';
/** Where Intel is, as the names of all its certificates say. */
export const INTEL: Readonly<Record<string, string>> = {
  '2.5.4.10': 'Intel Corporation',
  '2.5.4.7': 'Santa Clara',
  '2.5.4.8': 'CA',
  '2.5.4.6': 'US',
};
/** Security versions of the platform's components. */
const COMPONENTS = [8, 8, 2, 2, 4, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0];
const PCE_SVN = 11;
const QE_MRSIGNER = 'dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5';
const QE_VENDOR = '939a7233f79c4ca9940a0db3957f0607';
const ZERO48 = '00'.repeat(48);

/** Fields of a trust domain's report. */
export interface FakeTd {
  readonly version?: 4 | 5;
  readonly teeTcbSvn?: readonly number[];
  /** In force now; of version 5. */
  readonly teeTcbSvn2?: readonly number[];
  readonly mrServiceTd?: Uint8Array;
  /** What body type 4 adds, 237 bytes: it is made where this is given. */
  readonly extension?: Uint8Array;
  readonly mrOwner?: Uint8Array;
  readonly mrOwnerConfig?: Uint8Array;
  readonly mrSignerSeam?: Uint8Array;
  readonly tdAttributes?: bigint;
  readonly xfam?: bigint;
  readonly mrTd?: Uint8Array;
  readonly mrConfigId?: Uint8Array;
  readonly rtmrs?: readonly Uint8Array[];
  readonly reportData?: Uint8Array;
  /** Bytes at offsets of the report, written last and before signing. */
  readonly patch?: Readonly<Record<number, Uint8Array>>;
}

/** What the collateral says; dates in milliseconds since 1970. */
export interface FakeCollateral {
  readonly issueDate?: number;
  readonly nextUpdate?: number;
  readonly fmspc?: string;
  readonly statuses?: readonly [first: TcbStatus, ...rest: TcbStatus[]];
  readonly moduleStatus?: TcbStatus;
  /** A level above the module's own that is up to date. */
  readonly newerModule?: number;
  readonly qeStatus?: TcbStatus;
  readonly qeMrSigner?: string;
  readonly revoked?: readonly number[];
  readonly rootRevoked?: readonly number[];
  /** What is signed, in the place of what would be. */
  readonly tcbInfo?: (made: FakeTcbInfo) => object;
  readonly qeIdentity?: (made: object) => object;
}

/** TCB info as far as tests change it. */
export interface FakeTcbInfo {
  readonly [field: string]: unknown;
  readonly tcbLevels: readonly { readonly tcb: object; readonly tcbStatus: string }[];
  readonly tdxModuleIdentities: readonly { readonly id: string; readonly tcbLevels: readonly object[] }[];
}

/** What is wrong with a quote that is signed all the same. */
export interface QuoteTamper {
  readonly qeReportData?: Uint8Array;
  readonly mrSigner?: string;
  /** What stands in the place of the attestation key, and is vouched for. */
  readonly attestationKey?: Uint8Array;
  /** Bytes at places of header and body, and of the enclave's report, before they are signed. */
  readonly signed?: Readonly<Record<number, Uint8Array>>;
  readonly qeReport?: Readonly<Record<number, Uint8Array>>;
  /** Changes the text of the PCK chain. */
  readonly pckPem?: (pem: string) => string;
  /** Whose certificates go with it. */
  readonly platform?: FakeQuotingEnclave;
}

export class FakeQuotingEnclave {
  readonly root: FakeIdentity = new FakeIdentity('Intel SGX Root CA', 'ecdsa-sha256', INTEL);
  readonly platformCa: FakeIdentity = new FakeIdentity('Intel SGX PCK Platform CA', 'ecdsa-sha256', INTEL);
  readonly pck: FakeIdentity = new FakeIdentity('Intel SGX PCK Certificate', 'ecdsa-sha256', INTEL);
  readonly tcbSigner: FakeIdentity = new FakeIdentity('Intel SGX TCB Signing', 'ecdsa-sha256', INTEL);
  readonly #attestation = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  readonly rootDer: Uint8Array;
  readonly platformCaDer: Uint8Array;
  readonly pckDer: Uint8Array;
  readonly tcbSignerDer: Uint8Array;

  constructor() {
    const { root, platformCa, pck, tcbSigner } = this;
    this.rootDer = root.root({ extensions: [...authority(1), crlAt(ROOT_CRL)] });
    this.platformCaDer = root.certify({
      subject: platformCa.subject,
      spki: platformCa.spki,
      serial: 2,
      extensions: authority(0),
    });
    // All that real ones have: there are verifiers that count them.
    const extensions = [
      { oid: '2.5.29.35', value: sequence(der(0x80, Buffer.alloc(20, 2))) },
      crlAt('https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=platform&encoding=der'),
      { oid: '2.5.29.14', value: octets(Buffer.alloc(20, 3)) },
      { oid: '2.5.29.15', critical: true, value: bits(Uint8Array.of(0xc0), 6) },
      { oid: '2.5.29.19', critical: true, value: sequence() },
      { oid: SGX, value: sgxExtension() },
    ];
    this.pckDer = platformCa.certify({ subject: pck.subject, spki: pck.spki, serial: 3, extensions });
    this.tcbSignerDer = root.certify({ subject: tcbSigner.subject, spki: tcbSigner.spki, serial: 4 });
  }

  /** Pins under which this enclave's quotes verify. */
  get pins(): `sha256:${string}`[] {
    return [pinOf(this.rootDer)];
  }

  /** A signed quote. @param tamper Changes what is signed between the steps of signing. */
  quote(td: FakeTd = {}, tamper: QuoteTamper = {}): Uint8Array {
    const version = td.version ?? 4;
    const header = Buffer.concat([
      u16(version),
      u16(2),
      u32(0x81),
      u32(0),
      Buffer.from(QE_VENDOR, 'hex'),
      Buffer.alloc(20),
    ]);
    const body = bodyOf(td);
    const signed = Buffer.concat([
      header,
      ...(version === 5 ? [u16(td.extension === undefined ? 3 : 4), u32(body.length)] : []),
      body,
    ]);
    for (const [offset, part] of Object.entries(tamper.signed ?? {})) signed.set(part, Number(offset));
    const authData = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
    const key = tamper.attestationKey ?? rawPublic(this.#attestation.publicKey);
    const binding = createHash('sha256').update(key).update(authData).digest();
    const qeReport = enclaveReport(tamper.qeReportData ?? Buffer.concat([binding, Buffer.alloc(32)]), tamper.mrSigner);
    for (const [offset, part] of Object.entries(tamper.qeReport ?? {})) qeReport.set(part, Number(offset));
    const { pckDer, platformCaDer, rootDer } = tamper.platform ?? this;
    const chain = Buffer.from((tamper.pckPem ?? unchanged)(pemOf(pckDer, platformCaDer, rootDer)));
    const certification = Buffer.concat([
      qeReport,
      rawSign(this.pck.privateKey, qeReport),
      u16(authData.length),
      authData,
      u16(5),
      u32(chain.length),
      chain,
    ]);
    const signature = rawSign(this.#attestation.privateKey, signed);
    const data = Buffer.concat([signature, key, u16(6), u32(certification.length), certification]);
    return Buffer.concat([signed, u32(data.length), data]);
  }

  /** Collateral that fits this enclave's platform. */
  collateral(content: FakeCollateral = {}): TdxCollateral {
    const { revoked = [], rootRevoked = [] } = content;
    const tcbInfo = Buffer.from(JSON.stringify((content.tcbInfo ?? unchanged)(tcbInfoOf(content))));
    const qeIdentity = Buffer.from(JSON.stringify((content.qeIdentity ?? unchanged)(qeIdentityOf(content))));
    const signerKey = this.tcbSigner.privateKey;
    return {
      tcbInfo,
      tcbInfoSignature: rawSign(signerKey, tcbInfo),
      qeIdentity,
      qeIdentitySignature: rawSign(signerKey, qeIdentity),
      tcbInfoChain: [this.tcbSignerDer, this.rootDer],
      qeIdentityChain: [this.tcbSignerDer, this.rootDer],
      pckCrl: this.platformCa.crl({ revoked }),
      rootCrl: this.root.crl({ revoked: rootRevoked }),
    };
  }

  /** A quote with all that it needs to verify. */
  evidence(td: FakeTd = {}, content: FakeCollateral = {}): TdxEvidence {
    return { quote: this.quote(td), collateral: this.collateral(content) };
  }
}

function unchanged<T>(made: T): T {
  return made;
}

function bodyOf(td: FakeTd): Buffer {
  const fixed = (bytes: Uint8Array | undefined, length: number): Buffer =>
    Buffer.concat([bytes ?? Buffer.alloc(length)], length);
  const body = [
    fixed(Uint8Array.from(td.teeTcbSvn ?? [6, 1, 8]), 16),
    Buffer.alloc(48, 0x5e),
    fixed(td.mrSignerSeam, 48),
    Buffer.alloc(8),
    u64(td.tdAttributes ?? 1n << 28n),
    u64(td.xfam ?? 0x6_00e7n),
    fixed(td.mrTd ?? Buffer.alloc(48, 0xd0), 48),
    fixed(td.mrConfigId, 48),
    fixed(td.mrOwner, 48),
    fixed(td.mrOwnerConfig, 48),
    ...[0, 1, 2, 3].map((index) => fixed(td.rtmrs?.[index], 48)),
    fixed(td.reportData, 64),
  ];
  const newer = [
    fixed(Uint8Array.from(td.teeTcbSvn2 ?? td.teeTcbSvn ?? [6, 1, 8]), 16),
    fixed(td.mrServiceTd, 48),
    td.extension ?? new Uint8Array(),
  ];
  const bytes = Buffer.concat(td.version === 5 ? [...body, ...newer] : body);
  for (const [offset, part] of Object.entries(td.patch ?? {})) bytes.set(part, Number(offset));
  return bytes;
}

function enclaveReport(reportData: Uint8Array, mrSigner: string = QE_MRSIGNER): Buffer {
  const report = Buffer.alloc(384);
  report.set([0x11], 48);
  report.set(Buffer.from(mrSigner, 'hex'), 128);
  report.writeUInt16LE(2, 256);
  report.writeUInt16LE(4, 258);
  report.set(reportData, 320);
  return report;
}

function sgxExtension(): Uint8Array {
  const field = (arcs: string, value: Uint8Array): Uint8Array => sequence(oid(`${SGX}.${arcs}`), value);
  const components = COMPONENTS.map((svn, index) => field(`2.${index + 1}`, integer(svn)));
  return sequence(
    field('1', octets(Buffer.alloc(16, 1))),
    field(
      '2',
      sequence(...components, field('2.17', integer(PCE_SVN)), field('2.18', octets(Uint8Array.from(COMPONENTS)))),
    ),
    field('3', octets(Buffer.alloc(2))),
    field('4', octets(Buffer.from(FMSPC, 'hex'))),
    field('5', der(0x0a, Uint8Array.of(1))),
  );
}

function dates({ issueDate = EPOCH, nextUpdate = EPOCH + 30 * DAY }: FakeCollateral): object {
  const text = (time: number): string => new Date(time).toISOString().replace('.000', '');
  return { issueDate: text(issueDate), nextUpdate: text(nextUpdate), tcbEvaluationDataNumber: 19 };
}

/** The first level is the platform's own; each one below it asks for one less of every component. */
function tcbInfoOf(content: FakeCollateral): FakeTcbInfo {
  const { fmspc = FMSPC, statuses = ['UpToDate'], moduleStatus = 'UpToDate', newerModule } = content;
  const svns = (versions: readonly number[], less: number): object[] =>
    versions.map((svn) => ({ svn: Math.max(0, svn - less), category: 'BIOS' }));
  const module = { mrsigner: ZERO48, attributes: '00'.repeat(8), attributesMask: 'FF'.repeat(8) };
  return {
    id: 'TDX',
    version: 3,
    ...dates(content),
    fmspc: fmspc.toUpperCase(),
    pceId: '0000',
    tcbType: 0,
    tdxModule: module,
    tdxModuleIdentities: [
      {
        id: 'TDX_01',
        ...module,
        tcbLevels: [
          ...(newerModule === undefined
            ? []
            : [{ tcb: { isvsvn: newerModule }, tcbDate: '2026-01-01T00:00:00Z', tcbStatus: 'UpToDate' }]),
          {
            tcb: { isvsvn: 6 },
            tcbDate: '2026-01-01T00:00:00Z',
            tcbStatus: moduleStatus,
            advisoryIDs: ['INTEL-SA-MODULE'],
          },
        ],
      },
    ],
    tcbLevels: statuses.map((tcbStatus, less) => ({
      tcb: {
        sgxtcbcomponents: svns(COMPONENTS, less),
        pcesvn: PCE_SVN,
        tdxtcbcomponents: svns([5, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], less),
      },
      tcbDate: '2026-01-01T00:00:00Z',
      tcbStatus,
      advisoryIDs: [`INTEL-SA-0000${less}`],
    })),
  };
}

function qeIdentityOf(content: FakeCollateral): object {
  const { qeStatus = 'UpToDate', qeMrSigner = QE_MRSIGNER } = content;
  return {
    id: 'TD_QE',
    version: 2,
    ...dates(content),
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    attributes: `11${'00'.repeat(15)}`,
    attributesMask: `FBFFFFFFFFFFFFFF${'00'.repeat(8)}`,
    mrsigner: qeMrSigner.toUpperCase(),
    isvprodid: 2,
    tcbLevels: [{ tcb: { isvsvn: 4 }, tcbDate: '2026-01-01T00:00:00Z', tcbStatus: qeStatus }],
  };
}

function rawSign(key: KeyObject, message: Uint8Array): Buffer {
  return sign('sha256', message, { key, dsaEncoding: 'ieee-p1363' });
}

function rawPublic(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' }).subarray(-64);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}
