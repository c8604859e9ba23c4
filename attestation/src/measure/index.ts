/** What a launch measures, computed from the things launched. */

export { authenticodeBytes, type PeImage, type PeSection, parsePe, sectionBytes, sectionNamed } from './pe.ts';
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
  type TpmLaunch,
} from './tpm-boot.ts';
export { authenticodeDigest, readUki, sectionRegister } from './uki.ts';
