/** The proof of a receipt: its record below a checkpoint that the hardware of its boot signed. */

import { appraise, type References, type Verdict } from '@enclaim/attestation';
import { Log, type LogProof } from '@enclaim/attestation/log-service';
import { verifyReceipt } from '@enclaim/attestation/receipt';
import {
  encodeRecordProof,
  type NamedRecord,
  type ProvenRecord,
  recordOf,
  verifyRecordProof,
} from '@enclaim/attestation/record-proof';
import type { Demand, Policy } from '@enclaim/policy-schema';
import { type ChannelInterface as Channel, Metadata } from '@grpc/grpc-js';
import type { Attestation } from './attestation.ts';
import { MAKERS } from './channel.ts';
import { ChannelError, VerdictError } from './errors.ts';
import { MADE_ELSEWHERE } from './handshake.ts';
import { LogCalls } from './log/log-calls.ts';
import type { CheckedReceipt } from './receipt-call.ts';
import type { CollateralSource } from './vendor-collateral.ts';

/** Demands on a proof: those on its connection, and how long to wait. */
export interface ProveOptions {
  readonly references: References;
  readonly demands?: readonly Demand[];
  /** Milliseconds to wait for the quote. Default: 60 000. */
  readonly timeout?: number;
  /** Milliseconds since 1970; by default this machine's clock. */
  readonly now?: () => number;
  /** Where certificates and lists come from that the evidence lacks. Default: the makers. */
  readonly collateral?: CollateralSource;
  /** The boot must have begun then or later, milliseconds since 1970. */
  readonly newerThan?: number | undefined;
  /** Policies that the client has, for demands that compare with one (`neverWeakerThan`). */
  readonly known?: readonly Policy[] | undefined;
}

/** The proof of a record, verified. */
export interface ReceiptProof {
  /** The `enclaim.v1.LogProof` message, with the collateral that its evidence needs. */
  readonly bytes: Uint8Array;
  readonly record: ProvenRecord;
  /** The verdict on the evidence in the proof; it is ok. */
  readonly verdict: Verdict;
}

const TIMEOUT_MS = 60_000;

/**
 * Waits until a quote of the hardware covers a receipt's record, and verifies the way there.
 * @param channel the channel that the response came over
 * @throws ChannelError `receipt` for a receipt that names no place in the log; LogError if no proof
 * came; EvidenceError; VerdictError
 *
 * @example
 * ```ts
 * import { readFile, writeFile } from 'node:fs/promises';
 * import { type CheckedReceipt, connect, parseReferences, receiptFile } from '@enclaim/client';
 * import { prove } from '@enclaim/client/proof';
 *
 * const references = parseReferences(await readFile('references.json'));
 * const receipts: CheckedReceipt[] = [];
 * await using server = await connect('intake.example:443', {
 *   references,
 *   onReceipt: (receipt) => void receipts.push(receipt),
 * });
 * for (const receipt of receipts) {
 *   const { bytes } = await prove(server, receipt, { references });
 *   await writeFile('note.enclaim-receipt', receiptFile(receipt, undefined, bytes));
 * }
 * ```
 */
export async function prove(channel: Channel, receipt: CheckedReceipt, options: ProveOptions): Promise<ReceiptProof> {
  const record = recordOf(receipt.body);
  if (record === null) throw new ChannelError('receipt', 'the receipt names no place in the log: it is an older one');
  return proveRecord(channel, record, receipt.attestation, options, receipt.bytes);
}

/**
 * Waits until a quote of the hardware covers a record of the boot at the other end, and verifies
 * the way there.
 * @param receipt that has to be of the same boot
 * @throws LogError if no proof came; EvidenceError; VerdictError
 *
 * @example
 * ```ts
 * import { readFile, writeFile } from 'node:fs/promises';
 * import { connect, parseReferences } from '@enclaim/client';
 * import { proofFile, proveRecord } from '@enclaim/client/proof';
 *
 * declare const record: `sha256:${string}`; // hash of the record's leaf
 * const references = parseReferences(await readFile('references.json'));
 * await using server = await connect('intake.example:443', { references });
 * const named = { index: 7, record };
 * const { bytes } = await proveRecord(server, named, server.attestation, { references });
 * await writeFile('7.enclaim-proof', proofFile(record, bytes));
 * ```
 */
export async function proveRecord(
  channel: Channel,
  record: NamedRecord,
  { statement }: Pick<Attestation, 'statement'>,
  options: ProveOptions,
  receipt?: Uint8Array,
): Promise<ReceiptProof> {
  const { references, demands = [], now = Date.now, newerThan, known } = options;
  const limits = { metadata: new Metadata(), timeout: options.timeout ?? TIMEOUT_MS };
  const proof = await new LogCalls(channel).ask(Log.method.getProof, { index: BigInt(record.index) }, limits);
  const bytes = await completed(proof, options);
  // Whose TPM it is was shown on the connection.
  const { ak } = statement.device;
  const { anchors } = references;
  const keys = ak === null ? anchors.attestationKeys : [...anchors.attestationKeys, ak];
  const proven = await verifyRecordProof(bytes, record, { ...anchors, attestationKeys: keys }, { now: now() });
  if (receipt !== undefined) await verifyReceipt(receipt, proven.authenticated);
  const verdict = await appraise(proven.authenticated, references, demands, { newerThan, known });
  if (!verdict.ok) throw new VerdictError(verdict);
  return { bytes, record: proven, verdict };
}

/** The proof with what its evidence needs of its makers. */
async function completed(proof: LogProof, { references, collateral = MAKERS }: ProveOptions): Promise<Uint8Array> {
  const { evidence } = proof;
  // Only for platforms that the references could accept, because unverified evidence chooses what
  // the client asks the makers.
  if (evidence !== undefined && MADE_ELSEWHERE.some((platform) => references[platform] !== undefined))
    await collateral.complete(evidence);
  return encodeRecordProof(proof);
}
