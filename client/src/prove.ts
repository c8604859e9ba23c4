/** The proof of a receipt: its record below a checkpoint that the hardware of its boot signed. */

import { toBinary } from '@bufbuild/protobuf';
import { appraise, type References, type Verdict } from '@enclaim/attestation';
import { GetProofRequestSchema, Log } from '@enclaim/attestation/log-service';
import { verifyReceipt } from '@enclaim/attestation/receipt';
import {
  encodeRecordProof,
  type NamedRecord,
  type ProvenRecord,
  parseRecordProof,
  recordOf,
  verifyRecordProof,
} from '@enclaim/attestation/record-proof';
import type { Demand, Policy } from '@enclaim/policy-schema';
import { type ChannelInterface as Channel, Client, credentials, status } from '@grpc/grpc-js';
import { MAKERS } from './channel.ts';
import { ChannelError, VerdictError } from './errors.ts';
import { MADE_ELSEWHERE } from './handshake.ts';
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

/** The proof of a receipt, verified. */
export interface ReceiptProof {
  /** The `enclaim.v1.LogProof` message, with the collateral that its evidence needs. */
  readonly bytes: Uint8Array;
  readonly record: ProvenRecord;
  /** The verdict on the evidence in the proof; it is ok. */
  readonly verdict: Verdict;
}

const TIMEOUT_MS = 60_000;
const MAX_REASON_CHARS = 1024;

/**
 * Waits until a quote of the hardware covers a receipt's record, and verifies the way there.
 * @param channel the channel that the response came over
 * @throws ChannelError `receipt` for a receipt that names no place in the log, `timeout`,
 * `protocol`; EvidenceError; VerdictError
 *
 * @example
 * ```ts
 * import { readFile, writeFile } from 'node:fs/promises';
 * import {
 *   type CheckedReceipt,
 *   connect,
 *   parseReferences,
 *   prove,
 *   receiptFile,
 * } from '@enclaim/client';
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
  const { references, demands = [], now = Date.now, newerThan, known } = options;
  const record = recordOf(receipt.body);
  if (record === null) throw new ChannelError('receipt', 'the receipt names no place in the log: it is an older one');
  const bytes = await completed(await askProof(channel, record, options.timeout ?? TIMEOUT_MS), options);
  // Whose TPM it is was shown on the connection that the receipt came over.
  const { ak } = receipt.attestation.statement.device;
  const { anchors } = references;
  const keys = ak === null ? anchors.attestationKeys : [...anchors.attestationKeys, ak];
  const proven = await verifyRecordProof(bytes, record, { ...anchors, attestationKeys: keys }, { now: now() });
  await verifyReceipt(receipt.bytes, proven.authenticated);
  const verdict = await appraise(proven.authenticated, references, demands, { newerThan, known });
  if (!verdict.ok) throw new VerdictError(verdict);
  return { bytes, record: proven, verdict };
}

/** The proof with what its evidence needs of its makers. */
async function completed(bytes: Uint8Array, { references, collateral = MAKERS }: ProveOptions): Promise<Uint8Array> {
  const proof = parseRecordProof(bytes);
  if (proof.evidence === undefined || !MADE_ELSEWHERE.some((platform) => references[platform] !== undefined))
    return bytes;
  await collateral.complete(proof.evidence);
  return encodeRecordProof(proof);
}

function askProof(channel: Channel, { index }: NamedRecord, timeout: number): Promise<Uint8Array> {
  const { parent, name } = Log.method.getProof;
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  const request = Buffer.from(
    toBinary(GetProofRequestSchema, { $typeName: 'enclaim.v1.GetProofRequest', index: BigInt(index) }),
  );
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  client.makeUnaryRequest(
    `/${parent.typeName}/${name}`,
    same,
    same,
    request,
    { deadline: Date.now() + timeout },
    (cause, answer) => {
      if (cause === null && answer !== undefined) return resolve(answer);
      const code = cause?.code ?? status.INTERNAL;
      const details = String(cause?.details).slice(0, MAX_REASON_CHARS);
      reject(
        code === status.DEADLINE_EXCEEDED
          ? new ChannelError('timeout', `no proof came within ${timeout} ms`)
          : new ChannelError('protocol', `no proof: ${status[code]}: ${details}`),
      );
    },
  );
  return promise;
}
