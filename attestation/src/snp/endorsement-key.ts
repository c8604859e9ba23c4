/**
 * VCEK and VLEK certificates: the chip and firmware that their keys are derived from (AMD 57230,
 * section 3).
 */

import { fromUtf8 } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { deriveOnce } from '../parse-once.ts';
import { type Certificate, commonName } from '../x509/certificate.ts';
import { DerReader, soleElement, TAG } from '../x509/der.ts';
import type { SnpProduct } from './product.ts';
import type { SnpSigner } from './report.ts';

/** AMD's arc for these extensions. */
const ARC = '1.3.6.1.4.1.3704.1';
const OID = { structVersion: `${ARC}.1`, productName: `${ARC}.2`, hardwareId: `${ARC}.4` } as const;

/**
 * Extension arcs of the security version numbers, in the byte order of TCB_VERSION, lowest first.
 */
const MILAN_ARCS = [1, 2, 4, 5, 6, 7, 3, 8];
const SVN_ARCS: Readonly<Record<SnpProduct, readonly number[]>> = {
  Milan: MILAN_ARCS,
  Genoa: MILAN_ARCS,
  Turin: [9, 1, 2, 3, 5, 6, 7, 8],
};

/**
 * Length of the hardware id in certificates; the report's chip id is the same bytes, then zeros up
 * to 64.
 */
const HARDWARE_ID_LENGTH: Readonly<Record<SnpProduct, number>> = { Milan: 64, Genoa: 64, Turin: 8 };

/** The extensions of an endorsement key certificate. */
export interface EndorsementKey {
  readonly signer: SnpSigner;
  readonly product: SnpProduct;
  /** Product name with the silicon's stepping, such as `Milan-B0`; VLEKs have none. */
  readonly productName: string;
  /** TCB_VERSION as a report writes it. */
  readonly tcb: bigint;
  /** The chip of a VCEK; undefined for a VLEK. */
  readonly hardwareId: Uint8Array | undefined;
}

/**
 * Reads the extensions of a VCEK or VLEK.
 *
 * **Trust**: as authentic as the certificate.
 * @throws DecodeError `syntax`, `range`; `version` for a product that is not known.
 */
export const readEndorsementKey: (certificate: Certificate) => EndorsementKey = deriveOnce((certificate) => {
  if (new DerReader(need(certificate, OID.structVersion)).smallInteger('struct version') > 1) {
    throw new DecodeError('version', 'endorsement key of an unknown struct version', 0);
  }
  const productName = fromUtf8(soleElement(need(certificate, OID.productName), TAG.ia5String, 'product name').body);
  const [, product] = /^(Milan|Genoa|Turin)(?:-[A-Z][0-9A-F]{1,2})?$/.exec(productName) ?? [];
  if (product !== 'Milan' && product !== 'Genoa' && product !== 'Turin') {
    throw new DecodeError('version', `product ${JSON.stringify(productName)} is not known`, 0);
  }
  const signer = signerOf(certificate, product);
  const tcb = SVN_ARCS[product].reduce(
    (value, arc, byte) => value | (readSvn(certificate, arc) << BigInt(8 * byte)),
    0n,
  );
  return { signer, product, productName, tcb, hardwareId: readHardwareId(certificate, signer, product) };
});

/** Stepping of the silicon, from a name such as `Milan-B0`. */
export function namedStepping(productName: string): number | undefined {
  const [, stepping] = /-[A-Z]([0-9A-F]{1,2})$/.exec(productName) ?? [];
  return stepping === undefined ? undefined : Number.parseInt(stepping, 16);
}

/**
 * The issuer's name tells which kind of key this is: SEV-Milan makes VCEKs, SEV-VLEK-Milan makes
 * VLEKs.
 */
function signerOf(certificate: Certificate, product: SnpProduct): SnpSigner {
  const issuer = commonName(certificate.issuer);
  if (issuer === `SEV-${product}`) return 'VCEK';
  if (issuer === `SEV-VLEK-${product}`) return 'VLEK';
  throw new DecodeError('syntax', `issuer ${JSON.stringify(issuer)} does not make keys for ${product}`, 0);
}

function readSvn(certificate: Certificate, arc: number): bigint {
  const reader = new DerReader(need(certificate, `${ARC}.3.${arc}`));
  const value = reader.smallInteger('security version');
  reader.end('security version');
  if (value > 255) throw new DecodeError('range', `security version ${value}`, 0);
  return BigInt(value);
}

/** Older certificates hold the bare bytes, newer ones wrap them in an OCTET STRING. */
function readHardwareId(certificate: Certificate, signer: SnpSigner, product: SnpProduct): Uint8Array | undefined {
  const value = certificate.extensions.get(OID.hardwareId)?.value;
  if (signer === 'VLEK') {
    if (value !== undefined) throw new DecodeError('syntax', 'VLEK with a hardware id', 0);
    return undefined;
  }
  const raw = need(certificate, OID.hardwareId);
  const length = HARDWARE_ID_LENGTH[product];
  if (raw.length === length) return raw;
  const wrapped = soleElement(raw, TAG.octetString, 'hardware id').body;
  if (wrapped.length !== length) throw new DecodeError('range', `hardware id of ${wrapped.length} bytes`, 0);
  return wrapped;
}

function need(certificate: Certificate, oid: string): Uint8Array {
  const extension = certificate.extensions.get(oid);
  if (extension === undefined) throw new DecodeError('syntax', `extension ${oid} is absent`, 0);
  return extension.value;
}
