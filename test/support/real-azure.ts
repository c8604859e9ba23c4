/** Evidence of a real Azure machine (test/vectors/azure-snp), and references that accept its paravisor. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AzureSnpEvidence } from '../../attestation/src/azure/index.ts';
import { fromHex } from '../../attestation/src/bytes.ts';
import type { AzureSnpReference } from '../../attestation/src/references/cloud.ts';
import { type PcrValues, parseAttest } from '../../attestation/src/tpm/index.ts';

/** The evidence, its registers apart, and a time at which its certificates were valid. */
export interface RealAzure {
  readonly evidence: AzureSnpEvidence;
  readonly registers: PcrValues;
  readonly reference: AzureSnpReference;
  readonly now: number;
}

/** Reads the vector. */
export function realAzure(): RealAzure {
  const path = join(import.meta.dirname, '../vectors/azure-snp/genoa.json');
  const { certificates, reference, ...vector } = JSON.parse(readFileSync(path, 'utf8'));
  const [leaf = new Uint8Array(), ...intermediates]: Uint8Array[] = certificates.map(fromHex);
  const attest = fromHex(vector.attest);
  const quoted = parseAttest(attest);
  if (quoted.type !== 'quote') throw new TypeError('the vector holds no quote');
  const registers = new Map(
    Object.entries<string>(vector.pcrs).map(([index, value]) => [Number(index), fromHex(value)] as const),
  );
  const vtpm = {
    attest,
    signature: fromHex(vector.signature),
    selection: quoted.selection,
    banks: new Map([['sha256', registers]] as const),
    expectedExtraData: quoted.extraData,
  };
  const evidence = { hclReport: fromHex(vector.hclReport), leaf, intermediates, crl: 'none', vtpm } as const;
  return { evidence, registers, reference, now: Date.UTC(2026, 8, 1) };
}
