/** Releases of a log as its proofs show them, under the keys that must have signed it. */

import { equalBytes, fromBase64 } from '../bytes.ts';
import { parseDigest } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { rootFromConsistency } from '../merkle.ts';
import type { Checkpoint } from '../tlog/checkpoint.ts';
import { type NoteAlgorithm, type NoteKey, parseNoteKey } from '../tlog/note.ts';
import { parseLogProof, verifyLogProof } from '../tlog/proof.ts';
import { parseRelease, type Release } from './release.ts';
import type { ReleaseLog } from './release-log.ts';

/**
 * The releases that a log's proofs show, and the checkpoint that they lead to.
 * @throws EvidenceError `chain` unsigned, `signature`, `log` another tree than the one seen before,
 * or two; DecodeError
 */
export async function readReleases(log: ReleaseLog): Promise<{
  releases: Release[];
  checkpoint: Checkpoint;
  /** When the first of the witnesses cosigned, milliseconds since 1970; null without witnesses. */
  witnessed: number | null;
}> {
  const keys = releaseKeys(log);
  const entries = await Promise.all(log.proofs.map((proof) => readProof(proof, keys)));
  const [first, ...others] = entries;
  if (first === undefined) throw new EvidenceError('log', `no proof that anything is in ${keys[0]?.name}`);
  const { checkpoint } = first;
  for (const { checkpoint: other } of others) {
    if (other.size !== checkpoint.size || !equalBytes(other.root, checkpoint.root)) {
      throw new EvidenceError('log', `proofs lead to two trees of ${checkpoint.size} and ${other.size} entries`);
    }
  }
  verifyContinues(checkpoint, log);
  const times = entries.flatMap(({ times }) => times);
  const witnessed = times.length === 0 ? null : Math.min(...times);
  return { releases: entries.map(({ release }) => release), checkpoint, witnessed };
}

/**
 * Shows that a tree continues one seen before: no entry was removed or changed.
 * @throws EvidenceError `log` if it went back, or is another tree
 */
export function verifyContinues(
  checkpoint: Pick<Checkpoint, 'size' | 'root'>,
  { seen, consistency }: Pick<ReleaseLog, 'seen' | 'consistency'>,
): void {
  if (seen === null) return;
  const old = parseDigest('sha256', seen.root);
  const { size, root } = checkpoint;
  if (size < seen.size) throw new EvidenceError('log', `the log went back from ${seen.size} to ${size} entries`);
  if (seen.size === 0) return; // every tree continues the empty one
  const led = rootFromConsistency(old, seen.size, size, consistency.map(fromBase64));
  if (led === undefined || !equalBytes(led, root)) {
    throw new EvidenceError(
      'log',
      `${size} entries do not continue the ${seen.size} seen before: another view of the log`,
    );
  }
}

async function readProof(
  text: string,
  keys: readonly NoteKey[],
): Promise<{ release: Release; checkpoint: Checkpoint; times: number[] }> {
  const entry = parseLogProof(text).extra;
  if (entry === undefined) throw new DecodeError('syntax', 'log proof without its entry', 0);
  const { checkpoint, signatures } = await verifyLogProof(text, entry, keys);
  for (const key of keys) {
    if (!signatures.some((one) => one.key === key)) {
      throw new EvidenceError('chain', `${key.name}+${key.id} did not sign the checkpoint`);
    }
  }
  const origin = keys[0]?.name;
  if (checkpoint.origin !== origin) {
    throw new EvidenceError('chain', `checkpoint of ${checkpoint.origin}, the key is for ${origin}`);
  }
  const times = signatures.flatMap(({ timestamp }) => (timestamp === undefined ? [] : [Number(timestamp) * 1000]));
  return { release: parseRelease(entry), checkpoint, times };
}

/**
 * The keys that must sign a log's checkpoints: the log's own, then those of its witnesses.
 * @throws DecodeError
 */
export function releaseKeys({ key, witnesses }: Pick<ReleaseLog, 'key' | 'witnesses'>): NoteKey[] {
  return [keyOf(key, 'ed25519'), ...witnesses.map((witness) => keyOf(witness, 'cosignature/v1'))];
}

function keyOf(text: string, algorithm: NoteAlgorithm): NoteKey {
  const key = parseNoteKey(text);
  if (key.algorithm === algorithm) return key;
  throw new DecodeError('version', `key of ${key.name} is for ${key.algorithm}, expected ${algorithm}`, 0);
}
