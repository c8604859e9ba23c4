/**
 * Evidence of a TPM: the quote, the key behind it, and the registers that carry policy and bundle.
 */

import { tpmExtraData } from '../batch.ts';
import { equalBytes, fromBase64 } from '../bytes.ts';
import { type DigestText, digestText, sha256 } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import type { Evidence, TpmEvidence } from '../gen/enclaim/v1/evidence_pb.js';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import type { Anchors } from '../references/references.ts';
import type { BootStatement } from '../statement.ts';
import { parseEndorsementKey, parsePublic, spkiOf, verifyQuote } from '../tpm/index.ts';
import { type Check, passed } from '../verdict/verdict.ts';
import {
  type Certificate,
  extendedKeyUsages,
  KEY_USAGE,
  parseCertificateOnce,
  plainRsaKey,
  verifyChain,
} from '../x509/index.ts';
import type { Context, Hardware, KeyTrust, Signed } from './authenticated.ts';
import { AK_CERTIFICATE, EK_CERTIFICATE, verifyKeyCertificate } from './certified-key.ts';
import { registersOf, verifyCommandLine, verifyMeasured } from './registers.ts';

/** Proves the hardware part. @throws EvidenceError */
export async function verifyTpm(
  evidence: Evidence,
  statement: BootStatement,
  signed: Signed,
  anchors: Anchors,
  context: Context,
): Promise<{ hardware: Hardware; checks: Check[] }> {
  if (evidence.hardware.case !== 'tpm') throw new EvidenceError('platform', 'evidence of platform tpm without a quote');
  const tpm = evidence.hardware.value;
  const registers = registersOf(tpm.pcrs);
  const { attest, signature, akPublic } = tpm;
  const expectedExtraData = tpmExtraData(signed.root, signed.boot);
  const quote = await verifyQuote({ attest, signature, akPublic, expectedExtraData, pcrs: registers });
  const attestationKey = verifyDevice(tpm, statement);
  const trust = await trustInKey(tpm, attestationKey, quote.akName, anchors, context);
  verifyMeasured(registers, statement);
  const commandLine = verifyCommandLine(tpm.commandLine, registers);
  return {
    hardware: { kind: 'tpm', registers, commandLine, attestationKey, trust, clock: quote.clockInfo },
    checks: [
      passed(
        'quote.signature',
        'signed by a restricted P-256 key of the endorsement hierarchy, over registers 0 to 15',
      ),
      passed('quote.key', describe(trust, attestationKey)),
      passed('quote.statement', 'the quote covers the boot statement: its keys, log, policy and bundle'),
    ],
  };
}

/** The device that the statement names is the one whose keys are given. */
function verifyDevice(
  { akPublic, ekPublic, ekCertificate }: TpmEvidence,
  { device }: BootStatement,
): DigestText<'sha256'> {
  const ak = digestText('sha256', sha256(akPublic));
  const ek = digestText('sha256', sha256(ekPublic));
  const certificate = ekCertificate.length === 0 ? null : digestText('sha256', sha256(ekCertificate));
  const given = { ak, ek, ekCertificate: certificate } as const;
  for (const name of ['ak', 'ek', 'ekCertificate'] as const) {
    if (given[name] !== device[name])
      throw new EvidenceError('binding', `${name} is ${given[name]}, stated is ${device[name]}`);
  }
  return ak;
}

/**
 * Why the attestation key is trusted. It is pinned, or a pinned root certifies it, or it was
 * activated by a TPM whose endorsement key a pinned root certifies.
 */
async function trustInKey(
  tpm: TpmEvidence,
  attestationKey: DigestText<'sha256'>,
  akName: Uint8Array,
  anchors: Anchors,
  context: Context,
): Promise<KeyTrust> {
  const { activation } = context;
  if (anchors.attestationKeys.includes(attestationKey)) return { kind: 'pinned' };
  if (isCertified(tpm.akCertificates, anchors)) return trustInCertificate(tpm, anchors, context);
  if (activation === null) {
    // A file cannot activate a credential. References have to pin the key that an activation over a
    // connection has shown.
    const missing =
      context.channel === 'offline' || 'checkpoint' in context.channel
        ? 'what is saved cannot show whose TPM it is of: pin the key that a connection has shown (--ak)'
        : 'no credential activation took place';
    throw new EvidenceError('chain', `attestation key ${attestationKey} is not pinned, and ${missing}`);
  }
  if (!equalBytes(activation.akName, akName) || !equalBytes(activation.ekPublic, tpm.ekPublic)) {
    throw new EvidenceError('key', 'the credential activation was of other keys');
  }
  const leaf = parsePart('chain', 'endorsement certificate', tpm.ekCertificate, parseCertificateOnce);
  const others = anchors.certificates.map((text) =>
    parsePart('chain', 'certificate', fromBase64(text), parseCertificateOnce),
  );
  const pins = [...anchors.endorsementRoots, ...anchors.unsafeSwtpmRoots];
  const { pin } = await verifyChain(leaf, others, pins, context);
  verifyEndorsementKey(leaf, tpm.ekPublic);
  return { kind: 'activated', root: pin, software: !anchors.endorsementRoots.includes(pin) };
}

/**
 * Whether the key is to be trusted by its certificates. If so, those alone decide, and the client
 * sends no credential. Both ends of a connection answer this from the same evidence and references.
 */
export function isCertified(akCertificates: readonly Uint8Array[], { attestationRoots = [] }: Anchors): boolean {
  return akCertificates.length > 0 && attestationRoots.length > 0;
}

/** A pinned root certifies exactly this key as an attestation key. @throws EvidenceError */
async function trustInCertificate(
  { akPublic, akCertificates }: TpmEvidence,
  { attestationRoots = [], certificates }: Anchors,
  moment: Moment,
): Promise<KeyTrust> {
  const path = [...akCertificates, ...certificates.map((text) => parsePart('chain', 'certificate', text, fromBase64))];
  const { leaf, pin } = await verifyKeyCertificate(path, [AK_CERTIFICATE], attestationRoots, moment);
  const spki = parsePart('format', 'attestation key', akPublic, (bytes) => spkiOf(parsePublic(bytes)));
  if (!equalBytes(leaf.spki, spki)) {
    throw new EvidenceError('identity', 'the certificate is for another key than the attestation key');
  }
  return { kind: 'certified', root: pin };
}

/**
 * Checks that the certificate says that this key is a TPM's endorsement key.
 *
 * Without this, a peer that holds any key under the root could play the TPM: the attributes in
 * `ekPublic` are the peer's own words.
 */
function verifyEndorsementKey(certificate: Certificate, ekPublic: Uint8Array): void {
  const key = parseEndorsementKey(ekPublic);
  const certified = parsePart('chain', 'endorsement certificate', certificate.spki, plainRsaKey) ?? certificate.spki;
  if (!equalBytes(certified, spkiOf(key))) {
    throw new EvidenceError('identity', 'the endorsement certificate is for another key');
  }
  const usages = parsePart('chain', 'endorsement certificate', certificate, extendedKeyUsages);
  const use = key.type === 'rsa' ? KEY_USAGE.keyEncipherment : KEY_USAGE.keyAgreement;
  const forIt = ((certificate.keyUsage ?? 0) & use) !== 0;
  if (!usages.includes(EK_CERTIFICATE) || !forIt || certificate.ca !== undefined) {
    throw new EvidenceError(
      'chain',
      `not a certificate of an endorsement key: for ${usages.join(', ') || 'no named use'}`,
    );
  }
}

function describe(trust: KeyTrust, key: string): string {
  if (trust.kind === 'pinned') return `${key} is pinned`;
  if (trust.kind === 'certified') {
    return `${key} certified as a TPM's attestation key under root ${trust.root}, on whose word it is restricted`;
  }
  const root = trust.software
    ? `software TPM root ${trust.root}, named as unsafe by the references`
    : `root ${trust.root}`;
  return `${key} activated beside an endorsement key under ${root}`;
}
