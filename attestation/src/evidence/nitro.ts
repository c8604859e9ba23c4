/**
 * Evidence of an AWS Nitro enclave: the hypervisor's document over root and boot statement, with
 * the enclave's registers.
 */

import { concat, equalBytes } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import type { Evidence } from '../gen/enclaim/v1/evidence_pb.js';
import { nitroRegisters } from '../measure/index.ts';
import { type NitroDocument, verifyNitro } from '../nitro/index.ts';
import type { Anchors } from '../references/references.ts';
import type { BootStatement } from '../statement.ts';
import { type Check, passed } from '../verdict/verdict.ts';
import type { Context, Hardware, Signed } from './authenticated.ts';
import { describeRoot, siliconPins } from './silicon.ts';

/** Proves the hardware part. @throws EvidenceError */
export async function verifyNitroEnclave(
  { hardware }: Evidence,
  statement: BootStatement,
  signed: Signed,
  anchors: Anchors,
  context: Context,
): Promise<{ hardware: Hardware; checks: Check[] }> {
  if (hardware.case !== 'nitro') throw new EvidenceError('platform', 'evidence of platform nitro without a document');
  const nitro = await verifyNitro(hardware.value.document, siliconPins('nitro', anchors), context);
  verifyUserData(nitro.document, signed);
  verifyMeasured(nitro.document, statement);
  return {
    hardware: { kind: 'nitro', nitro },
    checks: [
      passed('quote.signature', `document signed by the hypervisor for ${nitro.document.moduleId}`),
      passed('quote.key', describeRoot('AWS', nitro.chain.pin, anchors)),
      passed('quote.statement', 'the document covers the boot statement: its keys, log, policy and bundle'),
    ],
  };
}

/**
 * Checks that the document covers root and boot statement, and holds no nonce or key beside them
 * that an auditor could take for a stated one.
 */
function verifyUserData({ userData, nonce, publicKey }: NitroDocument, { root, boot }: Signed): void {
  if (!equalBytes(userData ?? new Uint8Array(), concat(root, boot))) {
    throw new EvidenceError('nonce', 'the document was made for another batch or another boot');
  }
  if (nonce !== undefined || publicKey !== undefined) {
    throw new EvidenceError('binding', 'the document holds a nonce or a key that the boot statement says nothing of');
  }
}

/**
 * Checks that policy and bundle of the statement are the ones that the guest extended before it
 * used anything of them. A document lists locked registers only: an enclave that could still extend
 * them shows none.
 */
function verifyMeasured({ pcrs }: NitroDocument, { policy, bundle }: BootStatement): void {
  for (const { register, what, value } of nitroRegisters(policy, bundle)) {
    if (!equalBytes(pcrs.get(register) ?? new Uint8Array(), value)) {
      throw new EvidenceError('binding', `register ${register} does not carry the stated ${what}`);
    }
  }
}
