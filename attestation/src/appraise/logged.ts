/**
 * "In the log": whether everything that references accept was published in a release log
 * (docs/audit/release-log.md).
 */

import { equalBytes } from '../bytes.ts';
import { encodeCanonical } from '../canonical.ts';
import { type DigestText, digestText, parseDigest } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { directRtmr1Events, rtmrOf } from '../measure/index.ts';
import type { Moment } from '../moment.ts';
import { withoutNetwork } from '../network-words.ts';
import type { References, RtmrReference } from '../references/references.ts';
import { readReleases } from '../release/read-releases.ts';
import type { ImageRelease, Release } from '../release/release.ts';
import type { ReleaseLog } from '../release/release-log.ts';
import { type Check, compared, notRun } from '../verdict/verdict.ts';
import { checkDates } from '../x509/chain.ts';

/** Milliseconds by which a witness's clock may be ahead of the verifier's. */
const CLOCKS_APART_MS = 5 * 60_000;

/**
 * One line of a verdict for the images and one for the policy: passed if everything that the
 * references accept is in the log. Other checks hold what a machine runs against the references.
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
 * Age of the witnesses' cosignatures, for people.
 * @throws EvidenceError `validity` if it is older than the references allow, or of the future
 */
function witnessedAt(id: string, { maxAge }: ReleaseLog, witnessed: number | null, moment: Moment): string {
  if (witnessed === null) return '';
  const since = `, cosigned at ${new Date(witnessed).toISOString()}`;
  if (maxAge === undefined) return `${since}, of any age`;
  checkDates(witnessed - CLOCKS_APART_MS, witnessed + maxAge, moment, `the cosigned checkpoint of ${id}`);
  return since;
}

/**
 * Images that the references accept and no release names. Firmware is not ours to release, so no
 * entry speaks of it. No entry speaks of enclave images yet, so each of these is missing.
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
        // A machine's addresses are no part of a release.
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

/**
 * Whether RTMR1 accepts the start of this kernel and nothing else. An event beside it could be
 * another kernel.
 */
function startsAlone(register: RtmrReference, kernel: DigestText<'sha384'>): boolean {
  const events = directRtmr1Events(parseDigest('sha384', kernel));
  if (typeof register === 'string') return register === digestText('sha384', rtmrOf(events));
  return (
    register.length === events.length &&
    events.every(({ digest }, at) => register[at]?.digest === digestText('sha384', digest))
  );
}
