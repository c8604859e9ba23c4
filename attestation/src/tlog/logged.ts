/** "In the log": whether everything that references accept was published in a release log (docs/release.md). */

import { equalBytes, fromBase64 } from '../bytes.ts';
import { encodeCanonical } from '../canonical.ts';
import { type DigestText, digestText, parseDigest } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { directRtmr1Events, rtmrOf } from '../measure/index.ts';
import { rootFromConsistency } from '../merkle.ts';
import type { Moment } from '../moment.ts';
import { withoutNetwork } from '../network-words.ts';
import type { References, RtmrReference } from '../references.ts';
import { type Check, compared, notRun } from '../verdict.ts';
import { checkDates } from '../x509/chain.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type NoteAlgorithm, type NoteKey, parseNoteKey } from './note.ts';
import { parseLogProof, verifyLogProof } from './proof.ts';
import { type ImageRelease, parseRelease, type Release } from './release.ts';
import type { ReleaseLog } from './release-log.ts';

/** Milliseconds by which a witness's clock may be ahead of the verifier's. */
const CLOCKS_APART_MS = 5 * 60_000;

/**
 * One line of a verdict for the images and one for the policy: passed where everything that the references accept is in
 * the log. What a machine runs is held against the references by other checks.
 */
export async function appraiseLogged(references: References, moment: Moment): Promise<Check[]> {
  const { images, policy } = references.logged ?? {};
  return [
    await appraiseLog('log.images', images, moment, (releases) => {
      const published = releases.filter((release) => release.kind === 'image');
      return missingImages(references, published);
    }),
    await appraiseLog('log.policy', policy, moment, (releases) => missingPolicies(references, releases)),
  ];
}

function missingPolicies({ policy, rollout = [] }: References, releases: readonly Release[]): string[] {
  const published = new Set<string>(releases.flatMap((release) => (release.kind === 'policy' ? [release.policy] : [])));
  return [policy, ...rollout.map((one) => one.policy)].filter((one) => !published.has(one));
}

async function appraiseLog(
  id: string,
  log: ReleaseLog | undefined,
  moment: Moment,
  missing: (releases: readonly Release[]) => string[],
): Promise<Check> {
  if (log === undefined) return notRun(id, 'the references demand no release log');
  try {
    const { releases, checkpoint, witnessed } = await readReleases(log);
    const absent = missing(releases);
    const where = `${checkpoint.origin} at ${checkpoint.size} entries`;
    const known = log.seen === null ? 'no earlier checkpoint to compare with' : `continues ${log.seen.size} entries`;
    const age = witnessedAt(id, log, witnessed, moment);
    const detail = absent.length === 0 ? `in ${where}, ${known}${age}` : `not in ${where}: ${absent.join(', ')}`;
    return compared(id, absent.length === 0, detail);
  } catch (error) {
    if (!(error instanceof EvidenceError) && !(error instanceof DecodeError)) throw error;
    return compared(id, false, error.message);
  }
}

/**
 * The releases that a log's proofs show, and the checkpoint that they lead to.
 * @throws EvidenceError `chain` unsigned, `signature`, `log` another tree than the one seen before, or two; DecodeError
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
 * How old the witnesses' word is, for people.
 * @throws EvidenceError `validity` where it is older than the references allow, or of the future
 */
function witnessedAt(id: string, { maxAge }: ReleaseLog, witnessed: number | null, moment: Moment): string {
  if (witnessed === null) return '';
  const since = `, cosigned at ${new Date(witnessed).toISOString()}`;
  if (maxAge === undefined) return `${since}, of any age`;
  checkDates(witnessed - CLOCKS_APART_MS, witnessed + maxAge, moment, `the cosigned checkpoint of ${id}`);
  return since;
}

/**
 * Shows that a tree continues one seen before: nothing was taken out of it or changed.
 * @throws EvidenceError `log` where it went back, or is another tree
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

/** The keys that must sign a log's checkpoints: the log's own, then those of its witnesses. @throws DecodeError */
export function releaseKeys({ key, witnesses }: Pick<ReleaseLog, 'key' | 'witnesses'>): NoteKey[] {
  return [keyOf(key, 'ed25519'), ...witnesses.map((witness) => keyOf(witness, 'cosignature/v1'))];
}

function keyOf(text: string, algorithm: NoteAlgorithm): NoteKey {
  const key = parseNoteKey(text);
  if (key.algorithm === algorithm) return key;
  throw new DecodeError('version', `key of ${key.name} is for ${key.algorithm}, expected ${algorithm}`, 0);
}

/**
 * What the references accept and no release says. Firmware is not ours to release, so no entry speaks of it; of enclave
 * images none does yet, so that none of those is in a log.
 */
function missingImages(
  { images, snp = [], tdx = [], nitro = [] }: References,
  releases: readonly ImageRelease[],
): string[] {
  const published = (one: { id: string; commandLine: string }, explains: (release: ImageRelease) => boolean): boolean =>
    releases.some((release) => {
      const { id, commandLine } = release.reference;
      return id === one.id && commandLine === withoutNetwork(one.commandLine) && explains(release);
    });
  return [
    ...images
      .filter((one) => {
        // A machine's addresses are no part of what is released.
        const released = { ...one, commandLine: withoutNetwork(one.commandLine) };
        return !published(one, ({ reference }) => equalBytes(encodeCanonical(reference), encodeCanonical(released)));
      })
      .map(({ id }) => id),
    ...snp
      .filter((one) => !published(one, (of) => one.kernel === of.kernelFile && one.initrd === of.reference.initrd))
      .map(({ id }) => `${id} on SEV-SNP`),
    ...tdx
      .filter((one) => !published(one, ({ tdx: of }) => one.initrd === of.initrd && startsAlone(one.rtmr1, of.kernel)))
      .map(({ id }) => `${id} on TDX`),
    ...nitro.map(({ pcr0 }) => `${pcr0} on Nitro`),
  ];
}

/** Whether RTMR1 accepts the start of this kernel and nothing else: an event beside it could be another kernel. */
function startsAlone(register: RtmrReference, kernel: DigestText<'sha384'>): boolean {
  const events = directRtmr1Events(parseDigest('sha384', kernel));
  if (typeof register === 'string') return register === digestText('sha384', rtmrOf(events));
  return (
    register.length === events.length &&
    events.every(({ digest }, at) => register[at]?.digest === digestText('sha384', digest))
  );
}
