/**
 * Everything outside the VM that makes what runs inside: locked inputs, base image, app bundle,
 * reference values.
 */

export {
  audit,
  type ClaimedImage,
  type ClaimedMachine,
  compareBundles,
  compareCommandLine,
  compareImages,
  compareManifests,
  compareRegisters,
  type Difference,
} from './audit/audit.ts';
export { APP_MADE, checkApp } from './audit/audited-app.ts';
export { type RebuildOptions, type RebuildStep, type Rebuilt, rebuild } from './audit/rebuild.ts';
export {
  artefactOf,
  type BuildOptions,
  type BuildPhase,
  buildImage,
  type Image,
} from './build/build.ts';
export { type AppSource, type BuiltBundle, buildBundle, findApp, mapApp } from './build/bundle.ts';
export { formatManifest, type Manifest, manifestJsonSchema, parseManifest } from './describe/manifest.ts';
export { ImageError, type ImageErrorCode } from './errors.ts';
export { readDeb, unpackDeb } from './inputs/deb.ts';
export {
  defaultCache,
  type Failure,
  type FetchOptions,
  type Finding,
  fetchLocked,
  findInputs,
  projectRoot,
  refuseNowhere,
  writeWhole,
} from './inputs/fetch.ts';
export { FIRMWARE, fetchFirmware, launchFirmware, type SiliconPlatform } from './inputs/firmware.ts';
export {
  groupsHere,
  inputsOf,
  isPublished,
  type Locks,
  readLocks,
  type SubstitutedLocks,
  saveArchive,
  substituteLocks,
  type UsedInput,
  writeLocks,
} from './inputs/inputs.ts';
export {
  formatLock,
  type Lock,
  type LockedDeb,
  type LockedInput,
  type LockedNpm,
  parseLock,
  readLock,
} from './inputs/lock.ts';
export { debianRelease, type MachineLock, readMachineLock } from './inputs/machine-lock.ts';
export { type LockChange, updateLock } from './inputs/update.ts';
export {
  directFiles,
  type SnpParts,
  snpFirmwareReference,
  snpLaunchDigests,
  snpParts,
  type TdxParts,
  tdxFirmwareReference,
  tdxParts,
  tdxReference,
} from './measure.ts';
export { editorPlace } from './programs/proto-columns.ts';
export { compileProtos } from './programs/protos.ts';
export { writeImage } from './publish/image-folder.ts';
export { DOCUMENTS, SIGNED_PROVENANCE } from './publish/provenance.ts';
export {
  appendReleases,
  createReleaseLog,
  type LogSigner,
  nameOf,
  proveContinues,
  proveRelease,
  type ReleaseDocument,
  type ReleaseFolder,
  readReleaseLog,
} from './release/release-folder.ts';
export { stateRelease } from './release/release-statement.ts';
