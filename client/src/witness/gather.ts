/** The witnesses of a policy, asked at once for cosignatures of one checkpoint. */

import {
  formatNote,
  parseCheckpoint,
  parseNote,
  reachesQuorum,
  type VerifiedSignature,
  type WitnessPolicy,
} from '@enclaim/attestation/tlog';
import { type AskedWitness, type AskOptions, askWitness, type CourierCheckpoint } from './ask.ts';
import { WitnessError } from './errors.ts';

/** A checkpoint after one round. */
export interface Gathered {
  /** The checkpoint with all cosignatures that verified. */
  readonly note: string;
  /** Whether they reach the policy's quorum. */
  readonly reached: boolean;
  readonly failures: readonly WitnessError[];
}

/** Options of one round. */
export interface GatherOptions extends Omit<AskOptions, 'remembered'> {
  /** Sizes that witnesses have cosigned, by address; kept from round to round. */
  readonly sizes?: Map<string, number>;
}

/**
 * Asks every witness that has an address, each once however many keys it has, and adds what
 * verifies to the checkpoint. A witness that lies or is silent delays the round to its time limit,
 * and no cosignature of another witness is lost by it.
 */
export async function gatherCosignatures(
  policy: WitnessPolicy,
  checkpoint: CourierCheckpoint,
  { sizes = new Map(), ...options }: GatherOptions = {},
): Promise<Gathered> {
  const { text } = parseNote(checkpoint.note);
  const failures: WitnessError[] = [];
  const lines: string[] = [];
  const signatures: VerifiedSignature[] = [];
  const ask = async (witness: AskedWitness): Promise<void> => {
    try {
      const remembered = sizes.get(witness.url) ?? 0;
      const cosigned = await askWitness(witness, checkpoint, { ...options, remembered });
      sizes.set(witness.url, parseCheckpoint(text).size);
      lines.push(...cosigned.lines);
      signatures.push(...cosigned.signatures);
    } catch (error) {
      if (!(error instanceof WitnessError)) throw error;
      failures.push(error);
    }
  };
  await Promise.all(askedOf(policy).map(ask));
  const signed = checkpoint.note.slice(text.length + 1);
  return { note: formatNote(text, [signed, ...lines]), reached: reachesQuorum(policy, signatures), failures };
}

/** Witnesses by address: one that signs with two keys stands in a policy twice. */
function askedOf({ witnesses }: WitnessPolicy): AskedWitness[] {
  const byUrl = Map.groupBy(witnesses.values(), ({ url }) => url);
  return [...byUrl].flatMap(([url, members]) =>
    url === undefined ? [] : [{ url, keys: members.map(({ key }) => key) }],
  );
}
