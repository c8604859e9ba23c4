/**
 * Proofs of deletion (docs/reference/formats.md, "Deletions"): a call's record commits to the
 * places that the call emptied, and a later record says up to where what was deleted is final.
 */

import { concat, equalBytes, fromHex, toHex, utf8 } from '../bytes.ts';
import { type DigestText, digestText, parseDigest, type Sha256, sha256Joined } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import { labelBytes } from '../labels.ts';
import { leafHash, merkleRoot, rootFromPath } from '../merkle.ts';
import { parsePart } from '../parse-part.ts';
import type { ReceiptBody } from '../receipt.ts';
import type { BootStatement } from '../statement.ts';
import { decodeEntry, type EvidenceRecord, recordHash } from './record.ts';
import type { ProvenRecord } from './record-proof.ts';

/** A place of a sealed collection. */
export interface NamedPlace {
  readonly collection: string;
  readonly key: string;
}

const LABEL = labelBytes('deletion');

/**
 * A commitment to places: the root of the RFC 6962 tree of their leaves, in ascending order. Each
 * leaf is blinded by the salt of the call's receipt, which its caller alone has.
 *
 * **Leak**: without the salt, who reads records could try keys, which are often few. Equal places
 * would have equal leaves, so that two records could be linked. No places have a leaf of their own:
 * that nothing was deleted looks like one deletion, and like a thousand.
 *
 * @param salt 16 bytes, as a receipt has them
 */
export function deletionRoot(salt: Uint8Array, places: readonly NamedPlace[]): DigestText<'sha256'> {
  const named = places.map(({ collection, key }) => utf8(JSON.stringify([collection, key])));
  const leaves = (named.length === 0 ? [new Uint8Array()] : named).map((name) => toHex(leafOf(salt, name)));
  return digestText('sha256', merkleRoot(leaves.sort().map(fromHex)));
}

/** The leaf of a place. It is blinded by what only this place of this call has. */
function leafOf(salt: Uint8Array, name: Uint8Array): Sha256 {
  const blind = sha256Joined([
    LABEL,
    // layer: blinded deletions
    salt,
    name,
  ]);
  return leafHash(concat(LABEL, blind, name));
}

/** The word of a record that began an epoch: from then on, nothing opens what was gone before. */
export interface FinalWord {
  readonly epoch: number;
  /** All that the calls of the first so many records deleted is final. */
  readonly records: number;
  /** Milliseconds since 1970: every value whose end came by then is gone, and that is final. */
  readonly until: number;
}

/** Figures of a record that state a {@link FinalWord}. */
export const FINAL_FIGURES = { epoch: 'epoch', records: 'final.records', until: 'final.until' } as const;

/** The word of a record; null if it states none. A record of a call never does. */
export function finalWordOf({ method, layer, reason, figures }: EvidenceRecord): FinalWord | null {
  const isOfEpoch = layer === 'runtime' && reason === 'epoch';
  const isOfBoot = layer === 'admission' && /^boot(?:,|$)/.test(reason);
  // layer: final by records of the runtime
  if (method !== null || !(isOfEpoch || isOfBoot)) return null;
  const [epoch, records, until] = Object.values(FINAL_FIGURES).map((name) => figures[name]);
  if (epoch === undefined || records === undefined || until === undefined) return null;
  return { epoch, records, until };
}

/** Something that a receipt is to show the end of. */
export type Ended =
  /** Places that its call deleted: all of them, or the commitment is another. */
  | { readonly kind: 'deleted'; readonly places: readonly NamedPlace[] }
  /** Values that its call stored in a collection, which keeps them so many milliseconds. */
  | { readonly kind: 'past retention'; readonly collection: string; readonly retention: number };

/** An end that holds, and where it has to be final. */
export interface ShownEnd {
  /** Index of the call's record. */
  readonly index: number;
  readonly record: DigestText<'sha256'>;
  /** Name of the system whose record it is. */
  readonly system: string;
  /** Milliseconds since 1970 at which it ended. */
  readonly end: number;
  /** Whether the word of a later record covers it. */
  covers(word: FinalWord): boolean;
}

/**
 * Shows by a receipt, and the record that it names, what a call ended.
 *
 * @param body of an authentic receipt
 * @param entry the entry of its record
 * @throws EvidenceError `format` for an older receipt or an entry that is no record; `binding` if
 * the entry is another one, the call failed, or it deleted other places
 */
export function shownEnd(body: ReceiptBody, entry: Uint8Array, ended: Ended): ShownEnd {
  if (body.version !== 3) throw new EvidenceError('format', `a receipt of version ${body.version} names no record`);
  const { index, record, status } = body;
  // layer: deletions are of their own record
  if (digestText('sha256', recordHash(entry)) !== record)
    throw new EvidenceError('binding', `entry ${index} is not the record that the receipt names`);
  const { deleted, system } = parsePart('format', 'record', entry, decodeEntry);
  const at = Date.parse(body.time);
  if (status !== 0) throw new EvidenceError('binding', `the call ended with status ${status}, and changed nothing`);
  if (ended.kind === 'past retention') {
    const end = at + ended.retention;
    if (!Number.isFinite(end)) throw new EvidenceError('binding', `${ended.collection} keeps values without an end`);
    return { index, record, system, end, covers: (word) => word.until >= end };
  }
  if (deleted === undefined) throw new EvidenceError('binding', 'the record says of no deletion');
  // layer: deletions are of these places
  if (deleted !== deletionRoot(fromHex(body.salt), ended.places))
    throw new EvidenceError('binding', 'the record commits to other places than these, or to more');
  return { index, record, system, end: at, covers: (word) => word.records > index };
}

/**
 * Demands that the proof of a final record is of the very log that has the call's record: of the
 * same system, of the machine whose TPM keeps its keys, and the call's record is a leaf of the tree
 * that the quote covers.
 *
 * **Trust**: a host can cut a call's record off within an epoch, and with it what the call ended.
 * The log goes on without it, and a later record says that all below it is final. So records in the
 * hands of the host show nothing: the quoted tree alone says which of them are in the log.
 *
 * @param proof of the final record, verified
 * @param device of the boot that signed the receipt, verified
 * @param inclusion the path of a leaf in the tree of the first `size` records, not believed yet
 * @throws EvidenceError `binding` for another system or TPM, `log` if the record is not in the
 * quoted tree; what `inclusion` throws
 */
export async function demandSameLog(
  { index, record, system }: Pick<ShownEnd, 'index' | 'record' | 'system'>,
  { checkpoint: { origin, size, root }, authenticated }: Pick<ProvenRecord, 'checkpoint' | 'authenticated'>,
  device: BootStatement['device'],
  inclusion: (index: number, size: number) => Promise<readonly Uint8Array[]>,
): Promise<void> {
  // layer: final in the log of their system
  if (origin.slice(0, origin.lastIndexOf('/')) !== system)
    throw new EvidenceError('binding', `the final record is of the log ${origin}, the call's of the system ${system}`);
  const { statement } = authenticated;
  const isOfTpm = statement.version === 3 && statement.storage?.keeper === 'tpm';
  // A copy of the disk whose state was wiped begins anew behind another TPM. This one's goes on.
  // layer: final behind the TPM of their keys
  if (isOfTpm && tpmOf(statement.device) !== tpmOf(device))
    throw new EvidenceError('binding', "the final record is of a machine with another TPM than the call's");
  if (index >= size)
    throw new EvidenceError('log', `record ${index} is not below the checkpoint of the final record, of ${size}`);
  const found = rootFromPath(parseDigest('sha256', record), index, size, await inclusion(index, size));
  // layer: final in the log of their record
  if (found === undefined || !equalBytes(found, root))
    throw new EvidenceError(
      'log',
      `record ${index} is not in the tree under the quote of the final record, of ${size}`,
    );
}

/** The digest that names a TPM: of its endorsement key, or, on clouds, its attestation key. */
function tpmOf({ ek, ak }: BootStatement['device']): DigestText<'sha256'> | null {
  return ek ?? ak;
}
