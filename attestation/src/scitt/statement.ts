/**
 * Signed and Transparent Statements (RFC 9943): a payload under the signature of its issuer, and
 * with receipts that it is in a log.
 */

import { equalBytes } from '../bytes.ts';
import { type CborMap, COSE_SIGN1_TAG, encodeCbor, parseSign1, signedBytes } from '../cbor/index.ts';
import { DecodeError } from '../errors.ts';
import type { Ed25519Text } from '../statement.ts';
import { asArray, asBytes, asMap, asText, field } from './fields.ts';
import { verifyUnderKey } from './signature.ts';
import { ALGORITHM_EDDSA, CLAIM, HEADER, keyThumbprint } from './signed-tree.ts';

/** Largest statement in bytes. */
export const MAX_STATEMENT_BYTES: number = 1 << 20;
/** Receipts of one statement. */
const MAX_RECEIPTS = 16;

/** The signed part of a statement. */
export interface StatementContent {
  /** The name of the party that states it. */
  readonly issuer: string;
  /** The artefact that it is about. */
  readonly subject: string;
  /** Media type of the payload. */
  readonly contentType: string;
  readonly payload: Uint8Array;
}

/** A statement as parsed. **Trust**: none of it, until `verifyStatement` has passed. */
export interface SignedStatement extends StatementContent {
  /** Thumbprint of the issuer's key. */
  readonly keyId: Uint8Array;
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
  /** COSE receipts; those of a Transparent Statement are not covered by the signature. */
  readonly receipts: readonly Uint8Array[];
}

function headersOf({ issuer, subject, contentType }: StatementContent, keyId: Uint8Array): Uint8Array {
  const claims = new Map([
    [CLAIM.issuer, issuer],
    [CLAIM.subject, subject],
  ] as const);
  return encodeCbor(
    new Map<number, number | string | Uint8Array | CborMap>([
      [HEADER.algorithm, ALGORITHM_EDDSA],
      [HEADER.contentType, contentType],
      [HEADER.keyId, keyId],
      [HEADER.claims, claims],
    ]),
  );
}

/** The bytes that an issuer signs, a Sig_structure. */
export function statementMessage(content: StatementContent, key: Ed25519Text): Uint8Array {
  return signedBytes(headersOf(content, keyThumbprint(key)), content.payload);
}

/** The bytes of a statement: the one form that `parseStatement` takes. */
export function encodeStatement(statement: SignedStatement): Uint8Array {
  const { keyId, payload, signature, receipts } = statement;
  const headers: CborMap = new Map(receipts.length === 0 ? [] : [[HEADER.receipts, receipts]]);
  return encodeCbor({ tag: COSE_SIGN1_TAG, value: [headersOf(statement, keyId), headers, payload, signature] });
}

/**
 * Reads a statement of at most {@link MAX_STATEMENT_BYTES}, in its one form. @throws DecodeError
 */
export function parseStatement(bytes: Uint8Array): SignedStatement {
  if (bytes.length > MAX_STATEMENT_BYTES) throw new DecodeError('range', `statement of ${bytes.length} bytes`, 0);
  const { protectedHeaders, unprotectedHeaders, payload, signature } = parseSign1(bytes);
  const claims = field(protectedHeaders, HEADER.claims, asMap);
  const receipts = unprotectedHeaders.has(HEADER.receipts) ? field(unprotectedHeaders, HEADER.receipts, asArray) : [];
  if (receipts.length > MAX_RECEIPTS) throw new DecodeError('range', `${receipts.length} receipts`, 0);
  const statement: SignedStatement = {
    issuer: field(claims, CLAIM.issuer, asText),
    subject: field(claims, CLAIM.subject, asText),
    contentType: field(protectedHeaders, HEADER.contentType, asText),
    payload,
    keyId: field(protectedHeaders, HEADER.keyId, asBytes),
    signature,
    receipts: receipts.map((receipt) => asBytes(receipt, 'a receipt')),
  };
  if (!equalBytes(encodeStatement(statement), bytes))
    throw new DecodeError('canonical', 'another form of a statement', 0);
  return statement;
}

/**
 * Verifies a statement's signature.
 * @throws EvidenceError `binding` for the statement of another key, `signature`
 */
export async function verifyStatement(statement: SignedStatement, key: Ed25519Text): Promise<void> {
  const { keyId, payload, signature } = statement;
  await verifyUnderKey({ keyId, protectedBytes: headersOf(statement, keyId), payload, signature }, key);
}
