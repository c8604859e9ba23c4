/**
 * AWS Nitro Enclaves attestation documents (Nitro Enclaves SDK, "Attestation process", sections 3.1
 * and 3.2).
 */

import { decodeCbor } from '../cbor/decode.ts';
import type { CborMap, CborValue } from '../cbor/value.ts';
import { DecodeError } from '../errors.ts';

/** A document's payload. **Trust**: none, until `verifyNitro` has returned it. */
export interface NitroDocument {
  readonly moduleId: string;
  /** Milliseconds since 1970, by the hypervisor's clock. */
  readonly timestamp: number;
  /** Register values of 48 bytes, by index 0 to 31. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** DER. */
  readonly certificate: Uint8Array;
  /** DER, root first. */
  readonly caBundle: readonly Uint8Array[];
  readonly publicKey: Uint8Array | undefined;
  readonly userData: Uint8Array | undefined;
  readonly nonce: Uint8Array | undefined;
}

const FIELDS = [
  'module_id',
  'timestamp',
  'digest',
  'pcrs',
  'certificate',
  'cabundle',
  'public_key',
  'user_data',
  'nonce',
];
const MAX_PCRS = 32;
const MAX_CA_BUNDLE = 8;
const MAX_CERTIFICATE = 1024;
/** Bounds of the optional fields. */
const MAX_FIELD = { public_key: 1024, user_data: 512, nonce: 512 } as const;
const DIGEST = 'SHA384';
const PCR_LENGTH = 48;

/**
 * Reads the payload of a document.
 * @throws DecodeError; `version` for a digest other than SHA384.
 */
export function parseNitroDocument(payload: Uint8Array): NitroDocument {
  const map = decodeCbor(payload, { indefinite: true });
  if (!(map instanceof Map)) throw new DecodeError('syntax', 'Nitro document is not a map', 0);
  for (const key of map.keys()) {
    if (!FIELDS.includes(String(key))) throw new DecodeError('syntax', `field ${String(key)} is not known`, 0);
  }
  if (map.get('digest') !== DIGEST) throw new DecodeError('version', `digest ${String(map.get('digest'))}`, 0);
  const moduleId = map.get('module_id');
  const timestamp = map.get('timestamp');
  if (typeof moduleId !== 'string' || moduleId === '') throw new DecodeError('syntax', 'no module id', 0);
  if (typeof timestamp !== 'number' || timestamp <= 0) throw new DecodeError('syntax', 'no timestamp', 0);
  return {
    moduleId,
    timestamp,
    pcrs: readPcrs(map.get('pcrs')),
    certificate: readBytes(map.get('certificate'), 'certificate', MAX_CERTIFICATE),
    caBundle: readBundle(map.get('cabundle')),
    publicKey: readOptional(map, 'public_key'),
    userData: readOptional(map, 'user_data'),
    nonce: readOptional(map, 'nonce'),
  };
}

function readPcrs(value: CborValue | undefined): Map<number, Uint8Array> {
  if (!(value instanceof Map) || value.size === 0) throw new DecodeError('syntax', 'no registers', 0);
  const pcrs = new Map<number, Uint8Array>();
  for (const [index, pcr] of value) {
    if (typeof index !== 'number' || index < 0 || index >= MAX_PCRS || !(pcr instanceof Uint8Array)) {
      throw new DecodeError('range', `register ${String(index)}`, 0);
    }
    if (pcr.length !== PCR_LENGTH) throw new DecodeError('range', `register ${index} of ${pcr.length} bytes`, 0);
    pcrs.set(index, pcr);
  }
  return pcrs;
}

function readBundle(value: CborValue | undefined): Uint8Array[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_CA_BUNDLE) {
    throw new DecodeError('range', `CA bundle is not of 1 to ${MAX_CA_BUNDLE} certificates`, 0);
  }
  return value.map((one: CborValue) => readBytes(one, 'CA certificate', MAX_CERTIFICATE));
}

function readBytes(value: CborValue | undefined, name: string, limit: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length === 0 || value.length > limit) {
    throw new DecodeError('range', `${name} is not of 1 to ${limit} bytes`, 0);
  }
  return value;
}

function readOptional(map: CborMap, field: keyof typeof MAX_FIELD): Uint8Array | undefined {
  const value = map.get(field);
  if (value === undefined || value === null) return undefined;
  if (!(value instanceof Uint8Array) || value.length > MAX_FIELD[field]) {
    throw new DecodeError('range', `${field} is not of at most ${MAX_FIELD[field]} bytes`, 0);
  }
  return value;
}
