/** Predicted measurements of a launch, computed from the things launched. */

export { qemuAcpiBlobs } from './acpi.ts';
export { type ImageReference, imageSchema } from './image-reference.ts';
export { nitroRegisters } from './nitro-boot.ts';
export { type Firmware, parseFirmware, type SevSection } from './ovmf.ts';
export { authenticodeBytes, type PeImage, type PeSection, parsePe, sectionBytes, sectionNamed } from './pe.ts';
export {
  type DirectBoot,
  describeSnpFirmware,
  type SnpFirmware,
  type SnpLaunch,
  snpLaunchDigest,
  snpSvsmLaunchDigest,
} from './snp.ts';
export { encodeIdBlock, type IdBlock, snpKeyDigest } from './snp-id-block.ts';
export { qemuCpuSignature, type Vmm } from './snp-vmsa.ts';
export { gceTdHob, qemuTdHob, type TdvfRegion } from './td-hob.ts';
export { cfvDigest, type MrtdOrder, mrtdOf, parseTdvf, type TdvfSection } from './tdvf.ts';
export { launchRtmrEvents, policyEvents, rtmr3Records } from './tdx-boot.ts';
export {
  describeTdxFirmware,
  directRtmr0Events,
  type ExpectedEvent,
  type TdvfEdition,
  type TdxFirmware,
  type TdxMachine,
} from './tdx-direct.ts';
export {
  commandLineEvent,
  directRtmr1Events,
  dstackEvent,
  gceBootOptions,
  gcePlaceholderVariables,
  menuOptions,
  type RtmrEvent,
  rtmr0Events,
  rtmr1Events,
  rtmr2Events,
  rtmrOf,
  type SecureBootVariables,
  secureBootEvents,
  type TdxImage,
  type TdxPlatform,
  uiAppOption,
} from './tdx-events.ts';
export {
  BUNDLE_REGISTER,
  bundleEvent,
  commandLineRegister,
  launchCommandLine,
  launchEvents,
  POLICY_REGISTER,
  PREDICTED_REGISTERS,
  policyEvent,
  predictPcrs,
  registerOf,
  SEALING_REGISTERS,
  type TpmLaunch,
} from './tpm-boot.ts';
export { authenticodeDigest, readUki, sectionRegister } from './uki.ts';
export { type FirmwareVariable, parseVariables, secureBootVariables, variableRange } from './variable-store.ts';
