/** IETF RATS formats: attestation results (EAR) and reference values (CoRIM). */

export { type Comid, type Measurement, type MeasurementTriple, parseCoev, parseComid } from './comid.ts';
export {
  type Corim,
  type CorimContent,
  encodeCorim,
  parseCorim,
  type SignedCorim,
  signCorim,
  verifyCorim,
} from './corim.ts';
export { EAR_PROFILE, type EarClaims, type EarIssue, earOf, parseEarClaims, signEar, verifyEar } from './ear.ts';
export { type JwsAlgorithm, signJwt, verifyJwt } from './jwt.ts';
export { REFERENCES_PROFILE, signReferences, verifyReferences } from './references-corim.ts';
export { checkSnpProfile, SNP_CORIM_PROFILE } from './snp-profile.ts';
