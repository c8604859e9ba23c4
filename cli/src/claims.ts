/** Claims about a log that proofs of records and COSE receipts show, for people and as JSON. */

import type { Verdict } from '@enclaim/attestation';
import { toHex } from '@enclaim/attestation/bytes';
import type { ProvenRecord } from '@enclaim/attestation/record-proof';
import type { ShownClaim } from '@enclaim/attestation/verdict-document';
import type { LogBoot, VerifiedCoseReceipt } from '@enclaim/client/log';
import { proofDocument, wayLines } from './proof-path.ts';

/** The first byte of a COSE_Sign1: tag 18. No text, message or JSON of ours begins with it. */
export const COSE_SIGN1 = 0xd2;

/** A verified claim about a log. */
export interface Claim {
  readonly lines: readonly string[];
  readonly document: ShownClaim;
}

/** The claim of a COSE receipt. */
export function claimOfReceipt({ verdict, origin, size, root, proof, known }: VerifiedCoseReceipt): Claim {
  const by = verdict.ok ? 'receipt: ok ' : 'receipt: of a boot that is refused ';
  const tree = `the tree of ${size} records of ${origin}, root ${toHex(root)}, signed by the log key`;
  if (proof.kind === 'inclusion') {
    const hash = `sha256:${toHex(known)}` as const;
    const document: ShownClaim = {
      kind: 'inclusion',
      index: proof.index,
      record: hash,
      origin,
      size,
      root: toHex(root),
    };
    return { lines: [`${by} record ${proof.index}, ${hash}, is in ${tree}`], document };
  }
  const document: ShownClaim = {
    kind: 'consistency',
    old: proof.old,
    oldRoot: toHex(known),
    origin,
    size,
    root: toHex(root),
  };
  const older = `the tree of ${proof.old} with root ${toHex(known)} (compare it with the one that you kept)`;
  return { lines: [`${by} ${tree}, continues ${older}`], document };
}

/** The claim of a proof file. */
export function claimOfProof(proof: ProvenRecord, verdict: Verdict, later: readonly LogBoot[]): Claim {
  return {
    lines: wayLines(proof, verdict, later),
    document: { kind: 'quoted', record: proof.record, ...proofDocument(proof, later) },
  };
}
