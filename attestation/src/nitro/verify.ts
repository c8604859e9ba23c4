/** Authenticity and appraisal of AWS Nitro Enclaves attestation documents. */

import { parseSign1, verifySign1 } from '../cbor/cose.ts';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import { checkDemand, checkEqual, checkOneOf, type OneOf } from '../verdict/check-demand.ts';
import type { Check } from '../verdict/verdict.ts';
import { parseCertificateOnce } from '../x509/certificate.ts';
import { type Pin, type VerifiedChain, verifyChain } from '../x509/chain.ts';
import { type NitroDocument, parseNitroDocument } from './document.ts';

declare const authenticated: unique symbol;

/** A document that the Nitro hypervisor signed: made by `verifyNitro` alone. */
export interface AuthenticatedNitro {
  readonly [authenticated]: true;
  readonly document: NitroDocument;
  readonly chain: VerifiedChain;
}

const ES384 = -35;

/**
 * Verifies who signed a document. The leaf certificate lives for three hours. `now` is the time to
 * judge the document by, such as that of the log that it was recorded in.
 * @param pins AWS's root (`VENDOR_ANCHORS.nitro`).
 * @param options.now Milliseconds since 1970.
 * @throws EvidenceError `format`, `chain`, `validity`, `signature`
 */
export async function verifyNitro(
  bytes: Uint8Array,
  pins: readonly Pin[],
  options: Moment,
): Promise<AuthenticatedNitro> {
  const message = parsePart('format', 'Nitro document', bytes, parseSign1);
  const document = parsePart('format', 'Nitro document', message.payload, parseNitroDocument);
  const leaf = parsePart('chain', 'Nitro certificate', document.certificate, parseCertificateOnce);
  const others = document.caBundle.map((der) => parsePart('chain', 'Nitro CA certificate', der, parseCertificateOnce));
  const chain = await verifyChain(leaf, others, pins, options);
  await verifySign1(message, ES384, chain.key);
  return { document, chain } as AuthenticatedNitro;
}

/** Demands of a verifier on a document. Each field is a constraint or the literal `"any"`. */
export interface NitroDemands {
  /** Accepted values by register; registers that are not listed are not compared. */
  readonly pcrs: ReadonlyMap<number, OneOf>;
  readonly nonce: Uint8Array | 'any';
  readonly userData: Uint8Array | 'any';
  readonly publicKey: Uint8Array | 'any';
  /** Debug enclaves, whose console the host reads, have zero in registers 0 to 2. */
  readonly debug: 'permitted' | 'refused';
}

/** The demands of a careful verifier, before anything of the image is known. */
export const NITRO_CAREFUL: NitroDemands = {
  pcrs: new Map([[0, []]]),
  nonce: 'any',
  userData: 'any',
  publicKey: 'any',
  debug: 'refused',
};

/** Every check, in a fixed order. `"any"` yields a check that was not run and is not required. */
export function appraiseNitro({ document }: AuthenticatedNitro, demands: NitroDemands): Check[] {
  const none = new Uint8Array();
  const debug = isDebug(document);
  return [
    ...[...demands.pcrs].map(([index, accepted]) =>
      checkOneOf(`nitro.pcr${index}`, document.pcrs.get(index) ?? none, accepted),
    ),
    checkEqual('nitro.nonce', document.nonce ?? none, demands.nonce),
    checkEqual('nitro.user-data', document.userData ?? none, demands.userData),
    checkEqual('nitro.public-key', document.publicKey ?? none, demands.publicKey),
    checkDemand('nitro.debug', demands.debug, debug ? 'a debug enclave' : 'not a debug enclave', (allowed) =>
      allowed === 'permitted' ? true : !debug,
    ),
  ];
}

function isDebug({ pcrs }: NitroDocument): boolean {
  return [0, 1, 2].some((index) => pcrs.get(index)?.every((byte) => byte === 0) ?? true);
}
