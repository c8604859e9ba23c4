/** Google Compute Engine. */

export {
  type AuthenticatedGceEndorsement,
  appraiseGceEndorsement,
  type EndorsedLaunch,
  type GceGolden,
  verifyGceEndorsement,
} from './endorsement.ts';
export { type GceInstance, readGceInstance } from './instance.ts';
