/**
 * Evidence of a developer's machine: a key in a file signed it and nothing was measured. References
 * must name that very key.
 */

import { importKey, verifySignature } from '#crypto';
import { simulatedMessage } from '../batch.ts';
import { EvidenceError } from '../errors.ts';
import type { Evidence } from '../gen/enclaim/v1/evidence_pb.js';
import type { Anchors } from '../references/references.ts';
import { ed25519Key, ed25519Spki } from '../statement.ts';
import { type Check, passed } from '../verdict/verdict.ts';
import type { Hardware, Signed } from './authenticated.ts';

const KEY_LENGTH = 32;

/** Proves that a developer's key signed. @throws EvidenceError `platform`, `chain`, `signature` */
export async function verifySimulated(
  { hardware }: Evidence,
  signed: Signed,
  { unsafeSimulatedKeys = [] }: Anchors,
): Promise<{ hardware: Hardware; checks: Check[] }> {
  if (hardware.case !== 'simulated' || hardware.value.key.length !== KEY_LENGTH)
    throw new EvidenceError('platform', 'evidence of platform simulated without a key');
  const { key, signature } = hardware.value;
  const name = ed25519Key(key);
  if (!unsafeSimulatedKeys.includes(name)) {
    const trusted = unsafeSimulatedKeys.length === 0 ? 'no simulated evidence' : 'another key';
    throw new EvidenceError('chain', `simulated evidence of ${name}: the references accept ${trusted}`);
  }
  const imported = await importKey(ed25519Spki(name));
  if (!(await verifySignature({ kind: 'ed25519' }, imported, simulatedMessage(signed.root, signed.boot), signature)))
    throw new EvidenceError('signature', 'simulated evidence is not signed by its key');
  return {
    hardware: { kind: 'simulated' },
    checks: [
      passed(
        'simulated',
        `a developer's key signed, which the references name as unsafe: nothing was measured (${name})`,
      ),
      passed('quote.statement', 'the signature covers the boot statement: its keys, log, policy and bundle'),
    ],
  };
}
