/** The way from a receipt to the hardware, for people a line a step, and as JSON. */

import type { Verdict } from '@enclaim/attestation';
import { toHex } from '@enclaim/attestation/bytes';
import type { ReceiptBody } from '@enclaim/attestation/receipt';
import type { ProvenRecord } from '@enclaim/attestation/record-proof';
import type { ShownProof } from '@enclaim/attestation/verdict-document';
import type { LogBoot } from '@enclaim/client/log';

/** The steps of a proof, from the receipt upwards. Each was verified. */
export function proofLines(
  { record }: ReceiptBody,
  proof: ProvenRecord,
  verdict: Verdict,
  later: readonly LogBoot[],
): string[] {
  return [
    'proof: from the receipt to the hardware',
    `  receipt      signed by the receipt key of boot ${verdict.bootId}, names record ${record}`,
    ...stepsOf(proof, verdict),
    ...later.flatMap(laterLines),
  ];
}

/** The steps of a proof without a receipt. */
export function wayLines(proof: ProvenRecord, verdict: Verdict, later: readonly LogBoot[]): string[] {
  return [
    `proof: from record ${proof.record} to the hardware`,
    ...stepsOf(proof, verdict),
    ...later.flatMap(laterLines),
  ];
}

/** A boot that went on from the one before, under a quote of its own. */
function laterLines({ began, uncovered, checkpoint: { size, root }, verdict }: LogBoot): string[] {
  const gap = `  gap          records ${began - uncovered} to ${began - 1} are under no quote in this file`;
  const said = verdict.ok ? 'as expected' : 'REFUSED by the references';
  return [
    ...(uncovered === 0 ? [] : [gap]),
    `  later boot   ${verdict.bootId} goes on from there: size ${size}, root ${toHex(root)}`,
    `               quote ${verdict.platform}, policy ${verdict.policy}: ${said}`,
  ];
}

function stepsOf(proof: ProvenRecord, verdict: Verdict): string[] {
  const { index, checkpoint, pathLength, batch } = proof;
  const { origin, size, root } = checkpoint;
  const last = verdict.ok ? 'image and policy are the ones expected' : 'image or policy are refused, see the verdict';
  return [
    `  leaf         record ${index} of ${origin}, written by this boot`,
    `  checkpoint   size ${size}, root ${toHex(root)}, ${pathLength} hashes above the leaf, signed by the log key`,
    `  quote        ${verdict.platform}: covers leaf ${batch.index} of ${batch.size}, ${batch.pathLength} hashes above the checkpoint`,
    `  boot         policy ${verdict.policy}: ${last}`,
  ];
}

/** The source of the time that `--as-of receipt` takes, and its strength. */
export function asOfLine({ time }: ReceiptBody): string {
  return [
    `as of: ${time}, by the clock of the machine that answered, which its host sets (strength host)`,
    'a later holder of a key of that hardware could state this time, too: a witness, or a copy kept since, shows more',
  ].join('; ');
}

/** The same as JSON. */
export function proofDocument(
  { index, checkpoint, pathLength, batch, note }: ProvenRecord,
  later: readonly LogBoot[],
): ShownProof {
  const { origin, size, root } = checkpoint;
  const boots = later.map(({ began, uncovered, checkpoint: tree, verdict: { bootId, platform, policy, ok } }) => ({
    ...{ boot: bootId, origin: tree.origin, size: tree.size, root: toHex(tree.root) },
    ...{ began, uncovered, platform, policy, ok },
  }));
  const own = { index, origin, size, root: toHex(root), pathLength, batch, note };
  return boots.length === 0 ? own : { ...own, later: boots };
}
