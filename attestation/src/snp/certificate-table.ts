/**
 * The certificate table that a host hands to the guest beside a report (GHCB specification 2.03,
 * section 4.1.8.1).
 */

import { Reader } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { formatUuid } from '../guid.ts';

/**
 * Kinds of certificates, by GUID. Hosts write these GUIDs in RFC 9562's order, unlike all other
 * GUIDs of UEFI's kin.
 */
export type CertificateKind = 'ARK' | 'ASK' | 'VCEK' | 'VLEK' | 'CRL' | 'unknown';

const KINDS: Readonly<Record<string, CertificateKind>> = {
  'c0b406a4-a803-4952-9743-3fb6014cd0ae': 'ARK',
  '4ab7b379-bbac-4fe4-a02f-05aef327c782': 'ASK',
  '63da758d-e664-4564-adc5-f4b93be8accd': 'VCEK',
  'a8074bc2-a25a-483e-aae6-39c045a0b8a1': 'VLEK',
  '92f81bc3-5811-4d3d-97ff-d19f88dc67ea': 'CRL',
};

/** One entry of the table. **Trust**: the host wrote it. */
export interface CertificateEntry {
  readonly guid: string;
  readonly kind: CertificateKind;
  readonly offset: number;
  readonly length: number;
  readonly data: Uint8Array;
}

const ENTRY_LENGTH = 24;
const MAX_ENTRIES = 16;
const MAX_TABLE = 1 << 20;

/**
 * Reads a table of at most 1 MiB. Bytes after the last certificate are padding of the guest's pages
 * and may be anything.
 * @throws DecodeError `range` for more than 16 entries or data outside the table, `syntax` for a
 * kind that stands twice.
 */
export function parseCertificateTable(bytes: Uint8Array): CertificateEntry[] {
  if (bytes.length > MAX_TABLE) throw new DecodeError('range', `certificate table of ${bytes.length} bytes`, 0);
  const reader = new Reader(bytes);
  const entries: CertificateEntry[] = [];
  for (;;) {
    const at = reader.at;
    const guid = formatUuid(reader.take(16));
    const offset = reader.u32le();
    const length = reader.u32le();
    if (guid === '00000000-0000-0000-0000-000000000000') {
      if (offset !== 0 || length !== 0) throw new DecodeError('reserved', 'terminating entry is not zero', at);
      checkAfterTable(entries, at + ENTRY_LENGTH);
      return entries;
    }
    if (entries.length === MAX_ENTRIES) throw new DecodeError('range', `more than ${MAX_ENTRIES} entries`, at);
    if (offset + length > bytes.length) throw new DecodeError('range', `data of ${guid} is outside the table`, at);
    if (entries.some((entry) => entry.guid === guid)) throw new DecodeError('syntax', `${guid} stands twice`, at);
    entries.push({
      guid,
      kind: KINDS[guid] ?? 'unknown',
      offset,
      length,
      data: bytes.subarray(offset, offset + length),
    });
  }
}

function checkAfterTable(entries: readonly CertificateEntry[], end: number): void {
  for (const { guid, offset } of entries) {
    if (offset < end) throw new DecodeError('range', `data of ${guid} overlaps the entries`, offset);
  }
}
