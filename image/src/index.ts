/** Everything outside the VM that makes what runs inside: locked inputs, base image, app bundle, reference values. */

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
} from './audit.ts';
export { APP_MADE, checkApp } from './audited-app.ts';
export {
  artefactOf,
  type BuildOptions,
  type BuildPhase,
  buildImage,
  type Image,
} from './build.ts';
export { type AppSource, type BuiltBundle, buildBundle, findApp, mapApp } from './bundle.ts';
export { readDeb, unpackDeb } from './deb.ts';
export { ImageError, type ImageErrorCode } from './errors.ts';
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
} from './fetch.ts';
export { FIRMWARE, fetchFirmware, launchFirmware, type SiliconPlatform } from './firmware.ts';
export { writeImage } from './image-folder.ts';
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
} from './inputs.ts';
export {
  formatLock,
  type Lock,
  type LockedDeb,
  type LockedInput,
  type LockedNpm,
  parseLock,
  readLock,
} from './lock.ts';
export { debianRelease, type MachineLock, readMachineLock } from './machine-lock.ts';
export { formatManifest, type Manifest, manifestJsonSchema, parseManifest } from './manifest.ts';
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
export { editorPlace } from './proto-columns.ts';
export { compileProtos } from './protos.ts';
export { DOCUMENTS, SIGNED_PROVENANCE } from './provenance.ts';
export { type RebuildOptions, type RebuildStep, type Rebuilt, rebuild } from './rebuild.ts';
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
} from './release-log.ts';
export { type LockChange, updateLock } from './update.ts';
