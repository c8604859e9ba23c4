/**
 * A platform security processor in software: SEV-SNP reports with a chain of their own (ARK, ASK, VCEK or VLEK), in AMD's
 * formats. Nothing that it makes can verify under AMD's roots.
 */

import { sign } from 'node:crypto';
import type { SnpEvidence } from '../../attestation/src/snp/index.ts';
import { authority, crlAt, EPOCH, type FakeExtension, FakeIdentity, pinOf } from './certificates.ts';
import { der, integer } from './der.ts';

export type FakeProduct = 'Milan' | 'Genoa' | 'Turin';

/** Offsets of what tests set in a report; the rest has harmless values. */
const OFFSET = {
  version: 0x000,
  guestSvn: 0x004,
  policy: 0x008,
  familyId: 0x010,
  imageId: 0x020,
  vmpl: 0x030,
  signatureAlgorithm: 0x034,
  currentTcb: 0x038,
  platformInfo: 0x040,
  signerInfo: 0x048,
  reportData: 0x050,
  measurement: 0x090,
  hostData: 0x0c0,
  idKeyDigest: 0x0e0,
  authorKeyDigest: 0x110,
  reportedTcb: 0x180,
  cpu: 0x188,
  chipId: 0x1a0,
  committedTcb: 0x1e0,
  launchTcb: 0x1f0,
} as const;
const REPORT_LENGTH = 1184;
const SIGNED_LENGTH = 0x2a0;

/** Fields of a report, by name. Numbers and bigints are little-endian at their field's width. */
export interface FakeReport {
  readonly version?: number;
  readonly guestSvn?: number;
  readonly policy?: bigint;
  readonly familyId?: Uint8Array;
  readonly imageId?: Uint8Array;
  readonly vmpl?: number;
  readonly signatureAlgorithm?: number;
  readonly currentTcb?: bigint;
  readonly platformInfo?: bigint;
  readonly signerInfo?: number;
  readonly reportData?: Uint8Array;
  readonly measurement?: Uint8Array;
  readonly hostData?: Uint8Array;
  readonly idKeyDigest?: Uint8Array;
  readonly authorKeyDigest?: Uint8Array;
  readonly reportedTcb?: bigint;
  /** Family, model, stepping. */
  readonly cpu?: Uint8Array;
  readonly chipId?: Uint8Array;
  readonly committedTcb?: bigint;
  readonly launchTcb?: bigint;
  /** Bytes at offsets, written last and before signing. */
  readonly patch?: Readonly<Record<number, Uint8Array>>;
}

const WIDTH: Readonly<Record<string, number>> = {
  version: 4,
  guestSvn: 4,
  policy: 8,
  vmpl: 4,
  signatureAlgorithm: 4,
  currentTcb: 8,
  platformInfo: 8,
  signerInfo: 4,
  reportedTcb: 8,
  committedTcb: 8,
  launchTcb: 8,
};

/** CPUs and TCB of each product, as its first machines had them. */
const PRODUCTS = {
  Milan: { cpu: [0x19, 0x01, 0x01], tcb: 0xdb18_0000_0000_0104n, arcs: [1, 2, 4, 5, 6, 7, 3, 8], chip: 64 },
  Genoa: { cpu: [0x19, 0x11, 0x01], tcb: 0x5417_0000_0000_000an, arcs: [1, 2, 4, 5, 6, 7, 3, 8], chip: 64 },
  Turin: { cpu: [0x1a, 0x02, 0x01], tcb: 0x4700_0000_0200_0101n, arcs: [9, 1, 2, 3, 5, 6, 7, 8], chip: 8 },
} as const;

const ARC = '1.3.6.1.4.1.3704.1';

/** Where AMD is, as the names of all its certificates say (AMD 57230): other verifiers hold certificates to it. */
export const AMD: Readonly<Record<string, string>> = {
  '2.5.4.11': 'Engineering',
  '2.5.4.6': 'US',
  '2.5.4.7': 'Santa Clara',
  '2.5.4.8': 'CA',
  '2.5.4.10': 'Advanced Micro Devices',
};

export interface FakePspOptions {
  readonly product?: FakeProduct;
  readonly signer?: 'VCEK' | 'VLEK';
  /** TCB that the leaf's key is derived from. */
  readonly tcb?: bigint;
  /** First byte of the chip's id. */
  readonly chip?: number;
  /** A processor of the same maker: this one is under its root. */
  readonly sibling?: FakePsp;
}

export class FakePsp {
  readonly product: FakeProduct;
  readonly signer: 'VCEK' | 'VLEK';
  readonly tcb: bigint;
  readonly chipId: Uint8Array;
  readonly root: FakeIdentity;
  readonly intermediate: FakeIdentity;
  readonly key: FakeIdentity;
  readonly ark: Uint8Array;
  readonly ask: Uint8Array;
  readonly leaf: Uint8Array;

  constructor({ product = 'Milan', signer = 'VCEK', tcb, chip = 0xc0, sibling }: FakePspOptions = {}) {
    this.product = product;
    this.signer = signer;
    this.tcb = tcb ?? PRODUCTS[product].tcb;
    this.chipId = Uint8Array.from({ length: PRODUCTS[product].chip }, (_, i) => chip + i);
    this.root = sibling?.root ?? new FakeIdentity(`ARK-${product}`, 'pss-sha384', AMD);
    const issuer = signer === 'VCEK' ? `SEV-${product}` : `SEV-VLEK-${product}`;
    const published = crlAt(`https://kdsintf.amd.com/${signer.toLowerCase()}/v1/${product}/crl`);
    this.intermediate = new FakeIdentity(issuer, 'pss-sha384', AMD);
    this.key = new FakeIdentity(`SEV-${signer}`, 'ecdsa-sha384', AMD);
    this.ark = sibling?.ark ?? this.root.root({ serial: 0x10000, extensions: [...authority(), published] });
    this.ask = this.root.certify({
      subject: this.intermediate.subject,
      spki: this.intermediate.spki,
      serial: 0x10001,
      extensions: [...authority(0), published],
    });
    this.leaf = this.certifyLeaf();
  }

  /** Pins under which this processor's reports verify. */
  get pins(): `sha256:${string}`[] {
    return [pinOf(this.ark)];
  }

  /** A leaf certificate; `replace` takes extensions by the last arcs of their identifier. */
  certifyLeaf(replace: Readonly<Record<string, Uint8Array>> = {}, fields: { notAfter?: number } = {}): Uint8Array {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, this.tcb, true);
    const all: Record<string, Uint8Array> = {
      '1': integer(1),
      '2': der(
        0x16,
        Buffer.from(this.signer === 'VCEK' && this.product !== 'Turin' ? `${this.product}-B1` : this.product),
      ),
      ...Object.fromEntries(PRODUCTS[this.product].arcs.map((arc, byte) => [`3.${arc}`, integer(bytes[byte] ?? 0)])),
      ...(this.signer === 'VCEK' ? { '4': this.chipId } : { '5': der(0x16, Buffer.from('a cloud')) }),
      ...replace,
    };
    const extensions: FakeExtension[] = Object.entries(all).map(([arcs, value]) => ({ oid: `${ARC}.${arcs}`, value }));
    const { subject, spki } = this.key;
    return this.intermediate.certify({ subject, spki, serial: 0, notBefore: EPOCH, ...fields, extensions });
  }

  /** The root's CRL. */
  crl(...revoked: number[]): Uint8Array {
    return this.root.crl({ revoked });
  }

  /** A signed report. */
  report(fields: FakeReport = {}): Uint8Array {
    const bytes = new Uint8Array(REPORT_LENGTH);
    const tcb = this.tcb;
    const { patch = {}, ...given } = fields;
    const all: Omit<FakeReport, 'patch'> = {
      version: 3,
      policy: 0x3_0000n,
      signatureAlgorithm: 1,
      platformInfo: 0x25n,
      signerInfo: this.signer === 'VCEK' ? 0 : 1 << 2,
      cpu: Uint8Array.from(PRODUCTS[this.product].cpu),
      chipId: this.signer === 'VCEK' ? this.chipId : new Uint8Array(),
      currentTcb: tcb,
      reportedTcb: tcb,
      committedTcb: tcb,
      launchTcb: tcb,
      ...given,
    };
    for (const [field, value] of Object.entries(all)) {
      bytes.set(
        value instanceof Uint8Array ? value : little(value, WIDTH[field] ?? 8),
        OFFSET[field as keyof typeof OFFSET],
      );
    }
    for (const [offset, part] of Object.entries(patch)) bytes.set(part, Number(offset));
    return this.signed(bytes);
  }

  /** The report with a signature over its first part. */
  signed(report: Uint8Array): Uint8Array {
    const bytes = Uint8Array.from(report);
    const { privateKey } = this.key;
    const raw = sign('sha384', bytes.subarray(0, SIGNED_LENGTH), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    bytes.set(new Uint8Array(raw.subarray(0, 48)).reverse(), SIGNED_LENGTH);
    bytes.set(new Uint8Array(raw.subarray(48)).reverse(), SIGNED_LENGTH + 72);
    return bytes;
  }

  /** A report with all that it needs to verify. */
  evidence(fields: FakeReport = {}): SnpEvidence {
    return {
      report: this.report(fields),
      leaf: this.leaf,
      intermediates: [this.ask, this.ark],
      crl: this.crl(),
    };
  }
}

function little(value: number | bigint, width: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes.subarray(0, width);
}
