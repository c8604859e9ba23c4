/** X.509: certificates, CRLs and paths to pinned roots. */

export { plainRsaKey } from './algorithm.ts';
export {
  type Certificate,
  commonName,
  type Extension,
  extendedKeyUsages,
  KEY_USAGE,
  parseCertificate,
  parseCertificateOnce,
  readName,
} from './certificate.ts';
export {
  checkDates,
  importCertified,
  type Pin,
  pinsOf,
  type VerifiedChain,
  verifyChain,
  verifyNotRevoked,
} from './chain.ts';
export { parseCrl, parseCrlOnce, type RevocationList } from './crl.ts';
export { type PemBlock, parsePem, parsePemBlocks } from './pem.ts';
