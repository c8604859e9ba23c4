/**
 * References as a signed CoRIM. Each value of the document is one measurement, so that nothing is
 * lost. Digests are written as digests, which any reader of CoRIM can read. Modules are the
 * document's sections; a measurement's key is the path below its section.
 */

import { fromUtf8, toHex, utf8 } from '../bytes.ts';
import { encodeCanonical } from '../canonical.ts';
import { type CborMap, type CborValue, isTagged } from '../cbor/value.ts';
import { type DigestText, digestText, parseDigest, sha256 } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import { parseReferences, type References, withValidity } from '../references/references.ts';
import type { Environment, Measurement, MeasurementTriple } from './comid.ts';
import { type Corim, type CorimMeasurement, digestValue, signCorim, verifyCorim } from './corim.ts';

/** Names how a CoRIM is to be read as references. */
export const REFERENCES_PROFILE = 'urn:enclaim:corim:references:1';

const VENDOR = 'enclaim';
/** Measurement values by number (draft-ietf-rats-corim, section 5.1.4.1.4). */
const VALUE = { digests: 2, rawValue: 4, name: 11, integer: 15 } as const;
const BYTES_TAG = 560;
const MAX_DEPTH = 8;

/** COSE algorithms that a signer may use. */
type Algorithm = -7 | -35 | -8;
/** JSON without fractions, as references are. */
type Json = null | string | number | boolean | readonly Json[] | { readonly [name: string]: Json };

/**
 * References as a CoRIM, signed.
 * @param signer name for people
 * @param validity milliseconds since 1970; a reader refuses the document outside of it
 * @param sign makes the signature of `algorithm` over the bytes given to it
 */
export function signReferences(
  references: References,
  signer: string,
  validity: { readonly from: number; readonly until: number },
  algorithm: Algorithm,
  sign: (message: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const tagId = sha256(encodeCanonical(references)).subarray(0, 16);
  const content = {
    id: `${REFERENCES_PROFILE}:${toHex(tagId)}`,
    profile: REFERENCES_PROFILE,
    tagId,
    references: Object.entries(references).map(([section, value]) => ({
      vendor: VENDOR,
      model: section,
      measurements: [...leavesOf(value as Json, [])],
      digests: [],
    })),
  };
  return signCorim(content, signer, validity, algorithm, sign);
}

/** The values below a place, each with its way there. */
function* leavesOf(value: Json, path: readonly string[]): Iterable<CorimMeasurement> {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  if (entries.length === 0) yield { key: path.length === 0 ? undefined : path.join('/'), values: measured(value) };
  for (const [name, below] of entries) {
    if (name.includes('/')) throw new RangeError(`a name with a slash in references: ${name}`);
    yield* leavesOf(below as Json, [...path, name]);
  }
}

function measured(value: Json): CborMap {
  if (typeof value === 'number') return new Map([[VALUE.integer, value]]);
  if (typeof value !== 'string') {
    return new Map([[VALUE.rawValue, { tag: BYTES_TAG, value: utf8(JSON.stringify(value)) }]]);
  }
  const digest = /^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96})$/.exec(value);
  if (digest === null) return new Map([[VALUE.name, value]]);
  const algorithm = value.startsWith('sha256:') ? 'sha256' : 'sha384';
  return digestValue(algorithm, parseDigest(algorithm, value as DigestText<'sha256' | 'sha384'>));
}

/**
 * The references of a signed CoRIM.
 * @param spki the key that must have signed, SubjectPublicKeyInfo, and the one COSE algorithm that
 * it is used with
 * @param options.now milliseconds since 1970; the validity must include it, and there must be one
 * @throws EvidenceError `format`, `signature`, `validity`; AppraisalError `references`
 */
export async function verifyReferences(
  bytes: Uint8Array,
  spki: Uint8Array,
  algorithm: Algorithm,
  options: Moment,
): Promise<References> {
  const corim = await verifyCorim(bytes, spki, algorithm, options);
  // References age. Without this, an attacker could present a document of years ago as today's.
  if (corim.validity === undefined) throw new EvidenceError('validity', 'references without a validity never end');
  const references = parseReferences(
    utf8(JSON.stringify(parsePart('format', 'CoRIM of references', corim, readDocument))),
  );
  return withValidity(references, corim.validity);
}

/** A place in the document: a value, or names of places below. */
type Place = { readonly value: Json } | Map<string, Place>;

function readDocument({ profile, comids, otherTags }: Corim): Json {
  const [comid, another] = comids;
  if (profile !== REFERENCES_PROFILE) throw misshapen(`profile ${profile ?? 'none'} is not that of references`);
  if (comid === undefined || another !== undefined || otherTags.length > 0) throw misshapen('not exactly one document');
  const { references, endorsements, identityKeys, attestationKeys, otherTriples } = comid;
  if (endorsements.length + identityKeys.length + attestationKeys.length + otherTriples.size > 0) {
    throw misshapen('triples other than reference values');
  }
  const document = new Map<string, Place>();
  for (const triple of references) place(document, triple);
  return jsonOf(document);
}

function place(document: Map<string, Place>, { environment, measurements }: MeasurementTriple): void {
  const section = sectionOf(environment);
  for (const measurement of measurements) {
    const { key } = measurement;
    if (key !== undefined && typeof key !== 'string') throw misshapen('a key that is no text');
    const path = key === undefined ? [section] : [section, ...key.split('/')];
    const last = path.pop();
    if (last === undefined || path.length > MAX_DEPTH) throw misshapen('a value too far down');
    let at = document;
    for (const name of path) {
      const below = at.get(name) ?? new Map<string, Place>();
      if (!(below instanceof Map)) throw misshapen(`a value below a value at ${name}`);
      at.set(name, below);
      at = below;
    }
    if (at.has(last)) throw misshapen(`${last} twice`);
    at.set(last, { value: readValue(measurement) });
  }
}

function sectionOf({ class: module, instance, group }: Environment): string {
  const section = module?.get(2);
  const alone = module?.size === 2 && instance === undefined && group === undefined;
  if (!alone || module.get(1) !== VENDOR || typeof section !== 'string') throw misshapen('a module that is no section');
  return section;
}

function readValue({ values }: Measurement): Json {
  const [entry, another] = values;
  if (entry === undefined || another !== undefined) throw misshapen('a measurement of several values');
  const [kind, value] = entry;
  switch (kind) {
    case VALUE.digests:
      return readDigest(value);
    case VALUE.name:
      if (typeof value === 'string') return value;
      break;
    case VALUE.integer:
      if (typeof value === 'number') return value;
      break;
    case VALUE.rawValue:
      if (isTagged(value) && value.tag === BYTES_TAG && value.value instanceof Uint8Array) return readRaw(value.value);
  }
  throw misshapen(`a value of kind ${String(kind)}`);
}

function readDigest(value: CborValue): DigestText {
  const [one, another] = value as readonly (readonly CborValue[])[];
  const [algorithm, digest] = one ?? [];
  if (another !== undefined || !(digest instanceof Uint8Array)) throw misshapen('several digests');
  // The named-information registry's numbers.
  if (algorithm === 1) return digestText('sha256', digest);
  if (algorithm === 7) return digestText('sha384', digest);
  throw misshapen(`a digest of algorithm ${String(algorithm)}`);
}

/**
 * Reads a raw value: `null`, `true`, `false`, an empty list or an empty object, which no other kind
 * of value can express.
 */
function readRaw(bytes: Uint8Array): Json {
  const text = fromUtf8(bytes);
  if (['null', 'true', 'false', '[]', '{}'].includes(text)) return JSON.parse(text) as Json;
  throw misshapen('a raw value that is none of references');
}

/** Names that count from zero are places in a list. */
function jsonOf(at: Place): Json {
  if (!(at instanceof Map)) return at.value;
  const names = [...at.keys()];
  const listed = names.every((name) => /^(0|[1-9][0-9]{0,4})$/.test(name));
  if (!listed) return Object.fromEntries([...at].map(([name, below]) => [name, jsonOf(below)]));
  return names
    .map((_, index) => at.get(String(index)))
    .map((below) => {
      if (below === undefined) throw misshapen('a list with a gap');
      return jsonOf(below);
    });
}

function misshapen(what: string): DecodeError {
  return new DecodeError('syntax', what, 0);
}
