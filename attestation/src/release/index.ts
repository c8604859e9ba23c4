/**
 * Releases: the entries that an owner publishes in a log, and their proofs
 * (docs/audit/release-log.md).
 */

export { readReleases, releaseKeys, verifyContinues } from './read-releases.ts';
export { encodeRelease, type ImageRelease, type PolicyRelease, parseRelease, type Release } from './release.ts';
export type { LoggedReferences, ReleaseLog, SeenCheckpoint } from './release-log.ts';
export { releaseContent, type StatedRelease, verifyTransparentRelease } from './transparent.ts';
