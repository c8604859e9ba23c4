/**
 * CoRIM: reference values from the maker of a module, unsigned or as COSE_Sign1
 * (draft-ietf-rats-corim, section 4).
 */

import { importKey } from '#crypto';
import { encodeSign1, parseSign1, verifySign1 } from '../cbor/cose.ts';
import { decodeCbor } from '../cbor/decode.ts';
import { encodeCbor } from '../cbor/encode.ts';
import { type CborMap, type CborValue, isTagged } from '../cbor/value.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import { checkDates } from '../x509/chain.ts';
import { asList, asMap, type Comid, parseComid } from './comid.ts';

/** A manifest as parsed. **Trust**: none, unless `verifyCorim` has returned it. */
export interface Corim {
  readonly id: string | Uint8Array;
  /** URI of the profile that the documents follow, if one is named by URI. */
  readonly profile: string | undefined;
  readonly comids: readonly Comid[];
  /** Tags of documents of other kinds (software identifiers, lists of tags), not interpreted. */
  readonly otherTags: readonly number[];
}

/** A manifest whose signature was verified. */
export interface SignedCorim extends Corim {
  /** Milliseconds since 1970. Undefined if the signer stated none: then it has no end. */
  readonly validity: { readonly from: number; readonly until: number } | undefined;
}

const CORIM_TAG = 501;
const COMID_TAG = 506;
const URI_TAG = 32;
const MEMBERS = [0, 1, 2, 3, 4, 5];
const MAX_TAGS = 256;
const CONTENT_TYPE = 'application/rim+cbor';
/** Protected headers: content type and CoRIM's own metadata. */
const HEADER = { contentType: 3, meta: 8 } as const;

/** Reads an unsigned CoRIM. @throws DecodeError */
export function parseCorim(bytes: Uint8Array): Corim {
  const value = decodeCbor(bytes);
  if (!isTagged(value) || value.tag !== CORIM_TAG) throw new DecodeError('magic', 'not a CoRIM', 0);
  const map = asMap(value.value, 'CoRIM', MEMBERS);
  const tags = asList(map.get(1), 'tags');
  if (tags.length > MAX_TAGS) throw new DecodeError('range', `${tags.length} tags`, 0);
  const documents = tags.map((tag) => {
    if (!isTagged(tag) || !(tag.value instanceof Uint8Array))
      throw new DecodeError('syntax', 'not a tagged document', 0);
    return { tag: tag.tag, bytes: tag.value };
  });
  return {
    id: readId(map.get(0)),
    profile: readProfile(map.get(3)),
    comids: documents.filter(({ tag }) => tag === COMID_TAG).map(({ bytes: document }) => parseComid(document)),
    otherTags: documents.filter(({ tag }) => tag !== COMID_TAG).map(({ tag }) => tag),
  };
}

function readId(value: CborValue | undefined): string | Uint8Array {
  if ((typeof value === 'string' && value !== '') || value instanceof Uint8Array) return value;
  throw new DecodeError('syntax', 'CoRIM without an id', 0);
}

function readProfile(value: CborValue | undefined): string | undefined {
  if (value === undefined || !isTagged(value)) {
    if (value === undefined) return undefined;
    throw new DecodeError('syntax', 'profile without its tag', 0);
  }
  return value.tag === URI_TAG && typeof value.value === 'string' ? value.value : undefined;
}

/**
 * Verifies a signed CoRIM.
 * @param spki The signer's key and the one COSE algorithm that it is used with: -7 (ES256), -35
 * (ES384), -8 (EdDSA).
 * @param options.now Milliseconds since 1970; a validity in the metadata must include it. One
 * without is returned.
 * @throws EvidenceError `format`, `signature`, `validity`
 */
export async function verifyCorim(
  bytes: Uint8Array,
  spki: Uint8Array,
  algorithm: -7 | -35 | -8,
  options: Moment,
): Promise<SignedCorim> {
  const message = parsePart('format', 'signed CoRIM', bytes, parseSign1);
  await verifySign1(message, algorithm, await importKey(spki));
  if (message.protectedHeaders.get(HEADER.contentType) !== CONTENT_TYPE) {
    throw new EvidenceError('format', 'signed content is not of type application/rim+cbor');
  }
  const validity = parsePart('format', 'CoRIM metadata', message.protectedHeaders, readValidity);
  if (validity !== undefined) checkDates(validity.from, validity.until, options, 'CoRIM');
  return { ...parsePart('format', 'CoRIM', message.payload, parseCorim), validity };
}

/** Validity in milliseconds since 1970, if the metadata states one. */
function readValidity(headers: CborMap): SignedCorim['validity'] {
  const meta = headers.get(HEADER.meta);
  if (!(meta instanceof Uint8Array)) throw new DecodeError('syntax', 'no CoRIM metadata', 0);
  const validity = asMap(decodeCbor(meta), 'CoRIM metadata').get(1);
  if (validity === undefined) return undefined;
  const [notBefore, notAfter] = [0, 1].map((member) => asMap(validity, 'validity').get(member));
  return { from: notBefore === undefined ? Number.NEGATIVE_INFINITY : readTime(notBefore), until: readTime(notAfter) };
}

function readTime(value: CborValue | undefined): number {
  if (value !== undefined && isTagged(value) && value.tag === 1 && typeof value.value === 'number')
    return value.value * 1000;
  throw new DecodeError('syntax', 'not an epoch time', 0);
}

/** Digest algorithms by number of the IANA named-information registry. */
const DIGESTS = { sha256: 1, sha384: 7, sha512: 8 } as const;

/**
 * One measurement as it is written. Without a key it is one of the module itself. Values are by
 * number as in the draft.
 */
export interface CorimMeasurement {
  readonly key: string | undefined;
  readonly values: CborMap;
}

/** Reference values of one module, as they are written. */
export interface CorimReference {
  readonly vendor: string;
  readonly model: string;
  /** Measurements of any kind, before the digests. */
  readonly measurements?: readonly CorimMeasurement[];
  /** Named values: a register, a component. */
  readonly digests: readonly {
    readonly key: string;
    readonly algorithm: keyof typeof DIGESTS;
    readonly value: Uint8Array;
  }[];
}

/** The contents of a CoRIM to be signed. */
export interface CorimContent {
  readonly id: string;
  readonly profile: string;
  /** Names the document inside: 16 bytes. */
  readonly tagId: Uint8Array;
  readonly references: readonly CorimReference[];
}

/** The value of a measurement that is a digest. */
export function digestValue(algorithm: keyof typeof DIGESTS, value: Uint8Array): CborMap {
  return new Map([[2, [[DIGESTS[algorithm], value]]]]);
}

/** An unsigned CoRIM of one CoMID. */
export function encodeCorim({ id, profile, tagId, references }: CorimContent): Uint8Array {
  const triples = references.map(({ vendor, model, measurements = [], digests }) => [
    new Map([
      [
        0,
        new Map([
          [1, vendor],
          [2, model],
        ]),
      ],
    ]),
    [
      ...measurements,
      ...digests.map(({ key, algorithm, value }) => ({ key, values: digestValue(algorithm, value) })),
    ].map(
      ({ key, values }) => new Map<number, CborValue>([...(key === undefined ? [] : [[0, key] as const]), [1, values]]),
    ),
  ]);
  const comid = encodeCbor(
    new Map<number, CborValue>([
      [1, new Map([[0, tagId]])],
      [4, new Map([[0, triples]])],
    ]),
  );
  const corim = new Map<number, CborValue>([
    [0, id],
    [1, [{ tag: COMID_TAG, value: comid }]],
    [3, { tag: URI_TAG, value: profile }],
  ]);
  return encodeCbor({ tag: CORIM_TAG, value: corim });
}

/** A signed CoRIM. @param signer Name for people. @param validity Milliseconds since 1970. */
export function signCorim(
  content: CorimContent,
  signer: string,
  validity: { readonly from: number; readonly until: number },
  algorithm: -7 | -35 | -8,
  sign: (message: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const times = [validity.from, validity.until].map((time) => ({ tag: 1, value: Math.floor(time / 1000) }));
  const meta = new Map<number, CborValue>([
    [0, new Map([[0, signer]])],
    [1, new Map(times.map((time, index) => [index, time]))],
  ]);
  const headers = new Map<number, CborValue>([
    [HEADER.contentType, CONTENT_TYPE],
    [HEADER.meta, encodeCbor(meta)],
  ]);
  return encodeSign1(algorithm, encodeCorim(content), sign, headers);
}
