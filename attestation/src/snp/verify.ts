/**
 * Authenticity of SEV-SNP reports: chain, revocation, signature, and that the key is this chip's at
 * this TCB.
 */

import { verifySignature } from '#crypto';
import { equalBytes, toHex } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import { type Certificate, parseCertificateOnce } from '../x509/certificate.ts';
import { type Pin, type VerifiedChain, verifyChain, verifyNotRevoked } from '../x509/chain.ts';
import { parseCrlOnce } from '../x509/crl.ts';
import { type EndorsementKey, namedStepping, readEndorsementKey } from './endorsement-key.ts';
import { productOf, type SnpProduct, type TcbVersion, tcbVersion } from './product.ts';
import { parseReport, type SnpReport } from './report.ts';

/** A report with its certificates and revocation list. */
export interface SnpEvidence {
  /** ATTESTATION_REPORT, 1184 bytes. */
  readonly report: Uint8Array;
  /** The VCEK or VLEK, DER. */
  readonly leaf: Uint8Array;
  /** ASK or ASVK, and ARK, DER, in any order. */
  readonly intermediates: readonly Uint8Array[];
  /**
   * The ARK's CRL, DER. `"none"` is carried into the result, where appraisal shows it as a check
   * that was not run.
   */
  readonly crl: Uint8Array | 'none';
}

declare const authenticated: unique symbol;

/**
 * A report that AMD silicon signed: made by `verifySnp` alone. Its contents are true; whether they
 * suffice is not judged.
 */
export interface AuthenticatedSnp {
  readonly [authenticated]: true;
  readonly report: SnpReport;
  readonly product: SnpProduct;
  /** From the report, or in version 2 from the VCEK; undefined if neither tells. */
  readonly stepping: number | undefined;
  readonly endorsement: EndorsementKey;
  readonly chain: VerifiedChain;
  readonly tcb: Readonly<Record<SnpTcb, TcbVersion>>;
  readonly revocation: 'checked' | 'not checked';
}

/** The TCB versions of a report. */
export type SnpTcb = 'reported' | 'committed' | 'current' | 'launch';

const ECDSA_P384_SHA384 = 1;

/**
 * Verifies who signed a report.
 * @param pins AMD roots (`VENDOR_ANCHORS.amd`).
 * @param options.now Milliseconds since 1970.
 * @throws EvidenceError `format`, `chain`, `validity`, `revoked`, `collateral`, `signature`,
 * `identity`.
 */
export async function verifySnp(
  evidence: SnpEvidence,
  pins: readonly Pin[],
  options: Moment,
): Promise<AuthenticatedSnp> {
  const report = parsePart('format', 'report', evidence.report, parseReport);
  const leaf = parsePart('chain', 'endorsement key', evidence.leaf, parseCertificateOnce);
  const others = evidence.intermediates.map((der) => parsePart('chain', 'AMD certificate', der, parseCertificateOnce));
  const chain = await verifyChain(leaf, others, pins, options);
  const endorsement = parsePart('identity', 'endorsement key', leaf, readEndorsementKey);
  await checkRevocation(chain, evidence.crl, options);
  await checkSignature(report, chain, endorsement);
  checkIdentity(report, endorsement);
  return {
    report,
    product: endorsement.product,
    stepping: report.cpu?.stepping ?? namedStepping(endorsement.productName),
    endorsement,
    chain,
    tcb: parsePart('format', 'TCB version', report, (from) => readTcbs(endorsement.product, from)),
    revocation: evidence.crl === 'none' ? 'not checked' : 'checked',
  } as AuthenticatedSnp;
}

/**
 * AMD publishes one list per ARK, of ASKs and ASVKs; a single chip is revoked by raising the TCB
 * floor.
 */
async function checkRevocation({ path }: VerifiedChain, crl: Uint8Array | 'none', options: Moment): Promise<void> {
  if (crl === 'none') return;
  const [, signer, root] = path as readonly (Certificate | undefined)[];
  if (signer === undefined || root === undefined) throw new EvidenceError('chain', 'chain without ASK and ARK');
  await verifyNotRevoked(signer, root, parsePart('collateral', 'AMD CRL', crl, parseCrlOnce), options);
}

async function checkSignature(report: SnpReport, { key }: VerifiedChain, endorsement: EndorsementKey): Promise<void> {
  if (report.signer !== endorsement.signer) {
    throw new EvidenceError(
      'identity',
      `report is signed by ${report.signer ?? 'nobody'}, key is a ${endorsement.signer}`,
    );
  }
  if (report.signatureAlgorithm !== ECDSA_P384_SHA384 || key.curve !== 'P-384') {
    throw new EvidenceError('signature', `signature algorithm ${report.signatureAlgorithm} with a key on ${key.curve}`);
  }
  const scheme = { kind: 'ecdsa', hash: 'sha384', encoding: 'p1363' } as const;
  if (!(await verifySignature(scheme, key, report.signed, report.signature))) {
    throw new EvidenceError('signature', `report signature does not verify under the ${endorsement.signer}`);
  }
}

/**
 * Without this, any genuine key of the product line would vouch for any chip at any firmware level.
 */
function checkIdentity(report: SnpReport, endorsement: EndorsementKey): void {
  const { product, hardwareId, tcb } = endorsement;
  if (report.cpu !== undefined && productOf(report.cpu) !== product) {
    const { family, model } = report.cpu;
    const cpu = `family 0x${family.toString(16)} model 0x${model.toString(16)}`;
    throw new EvidenceError('identity', `report is of ${cpu}, key is of ${product}`);
  }
  if (report.reportedTcb !== tcb) {
    const [reported, keyed] = [report.reportedTcb, tcb].map((value) => value.toString(16).padStart(16, '0'));
    throw new EvidenceError('identity', `reported TCB 0x${reported} is not the key's 0x${keyed}`);
  }
  if (hardwareId === undefined) return;
  const chip = new Uint8Array(report.chipId.length);
  chip.set(hardwareId);
  if (!equalBytes(chip, report.chipId)) {
    throw new EvidenceError('identity', `chip id ${toHex(report.chipId)} is not the key's ${toHex(hardwareId)}`);
  }
}

function readTcbs(product: SnpProduct, report: SnpReport): Record<SnpTcb, TcbVersion> {
  return {
    reported: tcbVersion(product, report.reportedTcb),
    committed: tcbVersion(product, report.committedTcb),
    current: tcbVersion(product, report.currentTcb),
    launch: tcbVersion(product, report.launchTcb),
  };
}
