/** Envelopes (DSSE 1.0.2) with Ed25519 signatures around in-toto statements. */

import * as z from 'zod';
import { importKey, verifySignature } from '#crypto';
import { concat, fromBase64, toBase64, utf8 } from '../bytes.ts';
import { decodeJson } from '../canonical.ts';
import { digestText, sha256 } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import { parsePart } from '../parse-part.ts';
import { type Ed25519Text, ed25519Spki } from '../statement.ts';

/** Type of a payload that is an in-toto statement. */
export const STATEMENT_TYPE = 'application/vnd.in-toto+json';

/**
 * An envelope, as JSON holds it.
 *
 * **Trust**: `keyid` is a hint without a signature: any sender can write it.
 */
export interface Envelope {
  readonly payloadType: typeof STATEMENT_TYPE;
  /** Base64. */
  readonly payload: string;
  readonly signatures: readonly { readonly keyid?: string; readonly sig: string }[];
}

const LIMIT = 4 * 1024 * 1024;
const base64 = z.base64().max(LIMIT);
const envelopeSchema: z.ZodType<Envelope> = z.strictObject({
  payloadType: z.literal(STATEMENT_TYPE),
  payload: base64,
  signatures: z
    .array(z.strictObject({ keyid: z.string().max(256).exactOptional(), sig: base64 }))
    .min(1)
    .max(16),
});

/** Signs a payload. @param sign Ed25519 over the message, 64 bytes, under `key` */
export function signEnvelope(
  payload: Uint8Array,
  key: Ed25519Text,
  sign: (message: Uint8Array) => Uint8Array,
): Envelope {
  const sig = toBase64(sign(preAuthentication(payload)));
  return { payloadType: STATEMENT_TYPE, payload: toBase64(payload), signatures: [{ keyid: keyId(key), sig }] };
}

/** Reads an envelope. @throws DecodeError `range`, `syntax` */
export function parseEnvelope(bytes: Uint8Array): Envelope {
  return decodeJson(envelopeSchema, bytes, LIMIT);
}

/**
 * The payload, once `key` is known to have signed it. Signatures of other keys are passed over.
 * @throws EvidenceError `format`, `signature`
 */
export async function openEnvelope({ payload, signatures }: Envelope, key: Ed25519Text): Promise<Uint8Array> {
  const bytes = parsePart('format', 'payload', payload, fromBase64);
  const imported = await importKey(parsePart('format', 'key', key, ed25519Spki));
  const message = preAuthentication(bytes);
  for (const { sig } of signatures) {
    const signature = parsePart('format', 'signature', sig, fromBase64);
    if (await verifySignature({ kind: 'ed25519' }, imported, message, signature)) return bytes;
  }
  throw new EvidenceError('signature', `none of ${signatures.length} signatures is by ${key}`);
}

/** Lengths before the parts: no two pairs of type and payload share their bytes. */
function preAuthentication(payload: Uint8Array): Uint8Array {
  return concat(utf8(`DSSEv1 ${STATEMENT_TYPE.length} ${STATEMENT_TYPE} ${payload.length} `), payload);
}

function keyId(key: Ed25519Text): string {
  return digestText('sha256', sha256(ed25519Spki(key)));
}
