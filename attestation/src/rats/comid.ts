/**
 * CoMID and CoEV: reference measurements of a module, and the measurements in evidence of one
 * (draft-ietf-rats-corim, sections 5 and 6).
 */

import { decodeCbor } from '../cbor/decode.ts';
import { type CborMap, type CborValue, isTagged } from '../cbor/value.ts';
import { DecodeError } from '../errors.ts';

/** Which module. Class members by number: 0 id, 1 vendor, 2 model, 3 layer, 4 index. */
export interface Environment {
  readonly class: CborMap | undefined;
  readonly instance: CborValue | undefined;
  readonly group: CborValue | undefined;
}

/** One measurement. Values by number as in the draft; negative ones are a profile's. */
export interface Measurement {
  readonly key: CborValue | undefined;
  readonly values: CborMap;
}

/** A statement of measurements about a module. */
export interface MeasurementTriple {
  readonly environment: Environment;
  readonly measurements: readonly Measurement[];
}

/** A statement of keys about a module. */
export interface KeyTriple {
  readonly environment: Environment;
  /** Tagged keys, certificates or thumbprints. */
  readonly keys: readonly CborValue[];
}

/** A module identifier document. **Trust**: as authentic as the CoRIM that it came in. */
export interface Comid {
  readonly tagId: string | Uint8Array;
  readonly references: readonly MeasurementTriple[];
  readonly endorsements: readonly MeasurementTriple[];
  readonly identityKeys: readonly KeyTriple[];
  readonly attestationKeys: readonly KeyTriple[];
  /** Triples of other kinds, by number, not interpreted. */
  readonly otherTriples: CborMap;
}

const COEV_TAG = 571;
/**
 * Members that this reader knows of each map. An unknown number is an error, unless it is negative:
 * those are a profile's.
 */
const MEMBERS = {
  comid: [0, 1, 2, 3, 4],
  identity: [0, 1],
  environment: [0, 1, 2],
  class: [0, 1, 2, 3, 4],
  measurement: [0, 1, 2],
} as const;
const TRIPLE = { reference: 0, endorsed: 1, identity: 2, attestationKey: 3 } as const;
const KNOWN_TRIPLES = 10;

/** Reads a concise-mid-tag. @throws DecodeError */
export function parseComid(bytes: Uint8Array): Comid {
  const map = asMap(decodeCbor(bytes), 'CoMID', MEMBERS.comid);
  const identity = asMap(map.get(1), 'tag identity', MEMBERS.identity);
  const triples = asMap(map.get(4), 'triples');
  if (triples.size === 0) throw new DecodeError('syntax', 'CoMID without triples', 0);
  for (const key of triples.keys()) {
    if (typeof key === 'number' && key > KNOWN_TRIPLES) throw new DecodeError('version', `triples of kind ${key}`, 0);
  }
  const known: readonly number[] = Object.values(TRIPLE);
  return {
    tagId: readTagId(identity.get(0)),
    references: readTriples(triples.get(TRIPLE.reference), readMeasurementTriple),
    endorsements: readTriples(triples.get(TRIPLE.endorsed), readMeasurementTriple),
    identityKeys: readTriples(triples.get(TRIPLE.identity), readKeyTriple),
    attestationKeys: readTriples(triples.get(TRIPLE.attestationKey), readKeyTriple),
    otherTriples: new Map([...triples].filter(([key]) => typeof key !== 'number' || !known.includes(key))),
  };
}

/** Reads tagged-concise-evidence: triples of measured values. @throws DecodeError */
export function parseCoev(bytes: Uint8Array): readonly MeasurementTriple[] {
  const value = decodeCbor(bytes);
  if (!isTagged(value) || value.tag !== COEV_TAG) throw new DecodeError('magic', 'not concise evidence', 0);
  const triples = asMap(asMap(value.value, 'evidence').get(0), 'evidence triples');
  const evidence = readTriples(triples.get(0), readMeasurementTriple);
  if (triples.size === 0) throw new DecodeError('syntax', 'evidence without triples', 0);
  return evidence;
}

/** A map, in which the standard's numbers are only the given ones. @throws DecodeError `syntax` */
export function asMap(value: CborValue | undefined, name: string, members?: readonly number[]): CborMap {
  if (!(value instanceof Map)) throw new DecodeError('syntax', `${name} is not a map`, 0);
  for (const key of (value as CborMap).keys()) {
    if (members !== undefined && typeof key === 'number' && key >= 0 && !members.includes(key)) {
      throw new DecodeError('version', `${name} has an unknown member ${key}`, 0);
    }
  }
  return value as CborMap;
}

/** An array. @throws DecodeError `syntax` */
export function asList(value: CborValue | undefined, name: string, minimum = 1): readonly CborValue[] {
  if (!Array.isArray(value) || value.length < minimum) throw new DecodeError('syntax', `${name} is not a list`, 0);
  return value as readonly CborValue[];
}

function readTagId(value: CborValue | undefined): string | Uint8Array {
  if ((typeof value === 'string' && value !== '') || (value instanceof Uint8Array && value.length === 16)) return value;
  throw new DecodeError('syntax', 'tag id is neither text nor a UUID', 0);
}

function readTriples<T>(value: CborValue | undefined, read: (record: readonly CborValue[]) => T): T[] {
  return value === undefined ? [] : asList(value, 'triples').map((record) => read(asList(record, 'triple', 2)));
}

function readMeasurementTriple([environment, measurements]: readonly CborValue[]): MeasurementTriple {
  return {
    environment: readEnvironment(environment),
    measurements: asList(measurements, 'measurements').map(readMeasurement),
  };
}

function readKeyTriple([environment, keys]: readonly CborValue[]): KeyTriple {
  const list = asList(keys, 'keys');
  for (const key of list) if (!isTagged(key)) throw new DecodeError('syntax', 'key without its tag', 0);
  return { environment: readEnvironment(environment), keys: list };
}

function readEnvironment(value: CborValue | undefined): Environment {
  const map = asMap(value, 'environment', MEMBERS.environment);
  if (map.size === 0) throw new DecodeError('syntax', 'environment that names nothing', 0);
  const classMap = map.get(0);
  return {
    class: classMap === undefined ? undefined : asMap(classMap, 'class', MEMBERS.class),
    instance: map.get(1),
    group: map.get(2),
  };
}

function readMeasurement(value: CborValue): Measurement {
  const map = asMap(value, 'measurement', MEMBERS.measurement);
  const values = asMap(map.get(1), 'measurement values');
  if (values.size === 0) throw new DecodeError('syntax', 'measurement without values', 0);
  const digests = values.get(2);
  if (digests !== undefined) for (const digest of asList(digests, 'digests')) readDigest(digest);
  return { key: map.get(0), values };
}

/**
 * [algorithm, value], the algorithm by number of the IANA named-information registry or by name.
 */
function readDigest(value: CborValue): void {
  const [algorithm, digest] = asList(value, 'digest', 2);
  if ((typeof algorithm !== 'number' && typeof algorithm !== 'string') || !(digest instanceof Uint8Array)) {
    throw new DecodeError('syntax', 'not a digest', 0);
  }
}
