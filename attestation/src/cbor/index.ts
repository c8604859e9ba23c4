/** CBOR and COSE, as far as attestation needs them. */

export {
  COSE_SIGN1_TAG,
  type DetachedSign1,
  encodeSign1,
  parseDetachedSign1,
  parseSign1,
  type Sign1,
  signedBytes,
  verifySign1,
} from './cose.ts';
export { decodeCbor } from './decode.ts';
export { encodeCbor } from './encode.ts';
export { type CborKey, type CborMap, type CborValue, isTagged, type Tagged } from './value.ts';
