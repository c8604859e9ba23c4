/**
 * Evidence of a confidential VM of Google Compute Engine: processor and vTPM each sign root and
 * boot statement.
 *
 * **Trust**: firmware is in the processor's measurement. Software that firmware started is in the
 * vTPM's registers alone, and those rest on Google's word.
 */

import { EvidenceError } from '../errors.ts';
import { type AuthenticatedGceEndorsement, readGceInstance, verifyGceEndorsement } from '../gcp/index.ts';
import type { Evidence, GcpEvidence } from '../gen/enclaim/v1/evidence_pb.js';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import type { Anchors } from '../references/references.ts';
import type { BootStatement } from '../statement.ts';
import { verifyQuoteUnderKey } from '../tpm/index.ts';
import { type Check, passed } from '../verdict/verdict.ts';
import type { Context, Hardware, Signed } from './authenticated.ts';
import { AK_CERTIFICATE, EK_CERTIFICATE, verifyKeyCertificate } from './certified-key.ts';
import { describeSilicon, verifySilicon } from './cloud-silicon.ts';
import { describeRoot, siliconPins } from './silicon.ts';
import { expectedQuote, registersBehind } from './vtpm.ts';

/** Proves the hardware part. @throws EvidenceError */
export async function verifyGcp(
  { hardware }: Evidence,
  statement: BootStatement,
  signed: Signed,
  anchors: Anchors,
  context: Context,
): Promise<{ hardware: Hardware; checks: Check[] }> {
  if (hardware.case !== 'gcp') throw new EvidenceError('platform', 'evidence of platform gcp without its parts');
  const gcp = hardware.value;
  if (gcp.silicon.case === undefined)
    throw new EvidenceError('platform', 'evidence of platform gcp without a processor');
  const silicon = await verifySilicon(gcp.silicon, signed, anchors, context);
  const { leaf, pin } = await verifyKeyCertificate(
    gcp.akCertificates,
    [AK_CERTIFICATE, EK_CERTIFICATE],
    siliconPins('gceTpm', anchors),
    context,
  );
  const instance = parsePart('chain', 'certificate of the attestation key', leaf, readGceInstance);
  const quote = await verifyQuoteUnderKey({ ...expectedQuote(gcp.vtpm, signed), spki: leaf.spki });
  const vtpm = registersBehind(quote, gcp.vtpm, leaf.spki, statement);
  const endorsement = await verifyEndorsement(gcp, anchors, context);
  const words = describeSilicon(silicon, anchors);
  const { projectId, zone, instanceId, instanceName } = instance;
  return {
    hardware: { kind: 'gcp', silicon, vtpm, instance, endorsement },
    checks: [
      passed('quote.signature', `${words.signed} under ${words.root}; registers 0 to 15 by Google's vTPM`),
      {
        ...passed(
          'quote.key',
          `${vtpm.attestationKey} of instance ${instanceName} (${instanceId}) of ${projectId} in ${zone}, under ${describeRoot('Google', pin, anchors)}`,
        ),
        strength: 'asserted',
      },
      passed('quote.statement', 'report and quote cover the boot statement: its keys, log, policy and bundle'),
    ],
  };
}

/**
 * Verifies that Google signed the endorsement of the firmware. Appraisal refuses an endorsement of
 * other firmware.
 */
async function verifyEndorsement(
  { endorsement, endorsementCertificates }: GcpEvidence,
  anchors: Anchors,
  moment: Moment,
): Promise<AuthenticatedGceEndorsement | null> {
  if (endorsement.length === 0) return null;
  return verifyGceEndorsement(endorsement, endorsementCertificates, siliconPins('gceFirmware', anchors), moment);
}
