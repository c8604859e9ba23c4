/**
 * Releases as Transparent Statements (RFC 9943): the entry of a release, signed by the log's owner,
 * with a COSE receipt that it is in the log.
 */

import { EvidenceError } from '../errors.ts';
import { leafHash } from '../merkle.ts';
import {
  parseCoseReceipt,
  parseStatement,
  type StatementContent,
  verifyCoseReceipt,
  verifyStatement,
} from '../scitt/index.ts';
import { ed25519Key } from '../statement.ts';
import type { NoteKey } from '../tlog/index.ts';
import { encodeRelease, parseRelease, type Release } from './release.ts';

/** Media type of an entry of a release log. */
const RELEASE_TYPE = 'application/vnd.enclaim.release+json';

/** A release that is in a log, by its statement. */
export interface StatedRelease {
  readonly release: Release;
  readonly index: number;
  /** Number of entries, and root, of the tree that the log's key signed. */
  readonly size: number;
  readonly root: Uint8Array;
}

/** The content of a release's statement. @param origin of the log, who is the issuer */
export function releaseContent(origin: string, release: Release): StatementContent {
  const subject = release.kind === 'image' ? release.manifest : release.policy;
  return { issuer: origin, subject, contentType: RELEASE_TYPE, payload: encodeRelease(release) };
}

/**
 * Verifies a release's Transparent Statement: one receipt, and both signatures by the log's key.
 * @param key of the log, Ed25519
 * @throws DecodeError; EvidenceError `format` without one receipt of inclusion, `binding` for
 * another issuer, subject or log, `log`, `signature`, `key` for a key of another kind
 */
export async function verifyTransparentRelease(bytes: Uint8Array, key: NoteKey): Promise<StatedRelease> {
  if (key.algorithm !== 'ed25519') throw new EvidenceError('key', `${key.name} is no Ed25519 key of a log`);
  const owner = ed25519Key(key.publicKey);
  const statement = parseStatement(bytes);
  await verifyStatement(statement, owner);
  const release = parseRelease(statement.payload);
  const { issuer, subject, contentType } = releaseContent(key.name, release);
  if (statement.issuer !== issuer || statement.subject !== subject || statement.contentType !== contentType) {
    const { issuer: by, subject: of, contentType: as } = statement;
    throw new EvidenceError('binding', `${by} states ${of} as ${as}, expected ${issuer}, ${subject}, ${contentType}`);
  }
  const [first, ...more] = statement.receipts;
  if (first === undefined || more.length > 0)
    throw new EvidenceError('format', `${statement.receipts.length} receipts, expected one`);
  const receipt = parseCoseReceipt(first);
  const { tree, proof, companion } = receipt;
  if (proof.kind !== 'inclusion' || companion !== null)
    throw new EvidenceError('format', 'the receipt is none of an entry alone');
  if (tree.origin !== issuer || tree.subject !== subject)
    throw new EvidenceError('binding', `a receipt of ${tree.subject} in ${tree.origin}, expected ${subject}`);
  const root = await verifyCoseReceipt(receipt, owner, leafHash(statement.payload));
  return { release, index: proof.index, size: tree.size, root };
}
