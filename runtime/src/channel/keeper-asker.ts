/** Machines that ask for their keys, known by evidence for this connection and this question. */

import { appraise, verifyEvidence } from '@enclaim/attestation';
import { digestText, parseDigest } from '@enclaim/attestation/digest';
import { statementOfEvidence } from '@enclaim/attestation/evidence';
import { type KeeperQuestion, keeperNonce } from '@enclaim/attestation/keeper';
import type { BootStatement } from '@enclaim/attestation/statement';
import type { KeptMachines, PolicyDigest } from '@enclaim/policy-schema/admission';
import { machineReferences, ofImage } from '../admission/peer-references.ts';
import type { Asker } from '../storage/sealed/kept-epochs.ts';
import { KeeperRefusal } from './keeper-refusal.ts';

/** Evidence of an asker, with the question and the connection that it has to be for. */
export interface Shown {
  readonly evidence: Uint8Array;
  readonly question: KeeperQuestion;
  /** As the keeper drew it for this connection. */
  readonly challenge: Uint8Array;
  /** Keying material of this connection. */
  readonly exporter: Uint8Array;
}

/** Characters of a reason that an asker is told. */
const MAX_REASON_CHARS = 500;

/**
 * The machine that asks, if it is one that the policy keeps keys for.
 *
 * **Trust**: `owners` holds the key that the asker's own policy names; anyone can write a policy
 * that does. No key depends on it: another policy is another identity.
 *
 * @param now milliseconds since 1970
 * @throws KeeperRefusal `proof`, `machine`
 */
export async function askerOf(shown: Shown, keeps: KeptMachines, now: number): Promise<Asker> {
  try {
    return await proved(shown, keeps, now);
  } catch (cause) {
    if (cause instanceof KeeperRefusal) throw cause;
    throw new KeeperRefusal('proof', (cause as Error).message.slice(0, MAX_REASON_CHARS), { cause });
  }
}

async function proved({ evidence, question, challenge, exporter }: Shown, keeps: KeptMachines, now: number) {
  const { keys, policy } = statementOfEvidence(evidence);
  const references = machineReferences(keeps, policy as PolicyDigest);
  const channel = {
    nonce: keeperNonce(challenge, question),
    spki: parseDigest('sha256', keys.tls),
    exporter: /* layer: evidence of an asker for this connection (off: null) */ exporter,
  };
  const authenticated = await verifyEvidence(evidence, references.anchors, { now, channel, activation: null });
  const { statement, bootDigest } = authenticated;
  // layer: machines that have a peer as keeper
  if (statement.version !== 3 || statement.storage?.keeper !== 'peer')
    throw new KeeperRefusal('machine', 'its boot statement names no peer that keeps its keys');
  const owner = statement.owner;
  // layer: owners whose keys are kept
  if (owner === null || !keeps.owners.includes(owner))
    throw new KeeperRefusal('machine', `its policy names the owner ${owner ?? 'none'}, which is none of the policy's`);
  const reasons = new Set<string>();
  for (const image of keeps.images) {
    const { checks } = await appraise(authenticated, ofImage(references, image), []);
    const failed = checks.filter((each) => each.required && each.outcome !== 'passed' && !isAsking(statement, each.id));
    // layer: images whose keys are kept
    if (failed.length > 0) {
      for (const { id, detail } of failed) reasons.add(`${id} (${detail})`);
      continue;
    }
    const identity = { policy: statement.policy, image, owner, system: authenticated.policy.system.name };
    return { identity, boot: digestText('sha256', bootDigest) };
  }
  throw new KeeperRefusal('machine', `it is not accepted: ${[...reasons].join(', ')}`.slice(0, MAX_REASON_CHARS));
}

/** A boot that asks has no state that it could state yet. */
function isAsking({ version, ...statement }: BootStatement, check: string): boolean {
  return check === 'storage' && version === 3 && 'storage' in statement && statement.storage?.began === 'asking';
}
