/** Quotes of clouds' virtual TPMs, under a key that something else in the evidence vouches for. */

import { tpmExtraData } from '../batch.ts';
import { type DigestText, digestText, sha256 } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import type { VtpmEvidence } from '../gen/enclaim/v1/evidence_pb.js';
import type { BootStatement } from '../statement.ts';
import { type AuthenticatedQuote, QUOTE_SELECTION, type verifyQuoteUnderKey } from '../tpm/index.ts';
import type { Registers, Signed } from './authenticated.ts';
import { registersOf, verifyCommandLine, verifyMeasured } from './registers.ts';

/** Arguments of `verifyQuoteUnderKey` without the key, which each platform's verifier adds. */
export type ExpectedQuote = Omit<Parameters<typeof verifyQuoteUnderKey>[0], 'spki'>;

/**
 * The quote that the evidence must hold: over registers 0 to 15, for this batch and boot.
 * @throws EvidenceError `format`
 */
export function expectedQuote(vtpm: VtpmEvidence | undefined, { root, boot }: Signed): ExpectedQuote {
  const { attest, signature, pcrs } = requireVtpm(vtpm);
  return {
    attest,
    signature,
    selection: QUOTE_SELECTION,
    banks: new Map([['sha256', registersOf(pcrs)]] as const),
    expectedExtraData: tpmExtraData(root, boot),
  };
}

/**
 * Checks that the registers of a verified quote carry the statement's policy, bundle and device,
 * and returns them with the command line.
 * @param spki DER SubjectPublicKeyInfo of the key that signed
 * @throws EvidenceError `binding`
 */
export function registersBehind(
  { banks, clockInfo }: AuthenticatedQuote,
  vtpm: VtpmEvidence | undefined,
  spki: Uint8Array,
  statement: BootStatement,
): Registers {
  const registers = banks.get('sha256') ?? new Map<number, Uint8Array>();
  const attestationKey = digestText('sha256', sha256(spki));
  verifyDevice(attestationKey, statement);
  verifyMeasured(registers, statement);
  const commandLine = verifyCommandLine(requireVtpm(vtpm).commandLine, registers);
  return { registers, commandLine, attestationKey, clock: clockInfo };
}

/** On clouds, a device is its attestation key alone. */
function verifyDevice(ak: DigestText<'sha256'>, { device }: BootStatement): void {
  if (device.ak !== ak) throw new EvidenceError('binding', `ak is ${ak}, stated is ${device.ak ?? 'none'}`);
  if (device.ek !== null || device.ekCertificate !== null) {
    throw new EvidenceError('binding', 'the statement names an endorsement key, the evidence has none');
  }
}

function requireVtpm(vtpm: VtpmEvidence | undefined): VtpmEvidence {
  if (vtpm === undefined) throw new EvidenceError('format', 'evidence of a virtual TPM without its quote');
  return vtpm;
}
