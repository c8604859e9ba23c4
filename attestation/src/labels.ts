/**
 * Domain separation: the use of each of our hashes and signatures (docs/reference/formats.md).
 *
 * Without a label of its own, a peer could present bytes that were hashed or signed for one use as
 * those of another.
 */

import { utf8 } from './bytes.ts';

/**
 * Every label by its use; none is the beginning of another. Interfaces have one in policy-schema.
 */
export const LABELS = {
  boot: 'enclaim/boot/v1',
  bundle: 'enclaim/bundle/v1',
  deletion: 'enclaim/deletion/v1',
  deployment: 'enclaim/deployment/v1',
  disk: 'enclaim/disk/v1',
  diskGuid: 'enclaim/disk-guid/v1',
  keeper: 'enclaim/keeper/v1',
  kept: 'enclaim/kept/v1',
  keptKey: 'enclaim/kept-key/v1',
  partitionType: 'enclaim/partition-type/v1',
  policy: 'enclaim/policy/v1',
  reader: 'enclaim/reader/v1',
  receipt: 'enclaim/receipt/v3',
  receipts: 'enclaim/receipts/v1',
  record: 'enclaim/record/v2',
  recovery: 'enclaim/recovery/v1',
  refused: 'enclaim/refused/v1',
  request: 'enclaim/request/v1',
  response: 'enclaim/response/v1',
  secrets: 'enclaim/secrets/v1',
  simulated: 'enclaim/simulated/v1',
  state: 'enclaim/state-name/v1',
  status: 'enclaim/status/v1',
  succession: 'enclaim/succession/v1',
  tpm: 'enclaim/tpm/v1',
  vhd: 'enclaim/vhd/v1',
} as const;

/** A use of a hash or signature. */
export type Label = keyof typeof LABELS;

/** A label's bytes, with the NUL that ends it. */
export function labelBytes(label: Label): Uint8Array {
  return utf8(`${LABELS[label]}\0`);
}
