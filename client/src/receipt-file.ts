/**
 * `.enclaim-receipt`: a receipt, the messages it speaks of, and the evidence behind it, in one JSON
 * file.
 */

import type { Verdict } from '@enclaim/attestation';
import type { LaterBoot } from '@enclaim/attestation/boot-chain';
import { fromBase64, toBase64, utf8 } from '@enclaim/attestation/bytes';
import { decodeJson } from '@enclaim/attestation/canonical';
import {
  type AuthenticReceipt,
  type ComparedMessages,
  checkReceiptMessages,
  parseReceipt,
  type ReceiptBody,
  verifyReceipt,
} from '@enclaim/attestation/receipt';
import { type ProvenRecord, recordOf } from '@enclaim/attestation/record-proof';
import * as z from 'zod';
import { type LogBoot, type SavedBoot, savedBoots, savedBootsSchema, verifySavedBoots } from './later-boots.ts';
import type { CheckedReceipt } from './receipt-call.ts';
import { type SavedOptions, verifySaved, verifySavedProof } from './saved.ts';

/** Fields of receipt files of every version. All bytes as base64. */
interface FileFields {
  /** The `enclaim.v1.Receipt` message. */
  readonly receipt: string;
  /**
   * Messages of both directions, and the text of the status; or null if the holder keeps them
   * elsewhere.
   */
  readonly messages: {
    readonly request: readonly string[];
    readonly response: readonly string[];
    readonly text?: string | undefined;
  } | null;
}

/** A receipt with the evidence of its connection. */
export interface ConnectionReceiptFile extends FileFields {
  readonly enclaim: 'receipt/1';
  /** The `enclaim.v1.Evidence` message of the connection. */
  readonly evidence: string;
}

/** A receipt with the proof that its record is under a quote of the hardware. */
export interface ProvenReceiptFile extends FileFields {
  readonly enclaim: 'receipt/2';
  /** The `enclaim.v1.LogProof` message. The evidence in it is of the boot that answered. */
  readonly proof: string;
  /** Boots of the log after that one, the oldest first. */
  readonly boots?: readonly SavedBoot[];
}

/** A receipt file. */
export type ReceiptFile = ConnectionReceiptFile | ProvenReceiptFile;

const bytes = z.base64();
const fields = {
  receipt: bytes,
  messages: z
    .strictObject({ request: z.array(bytes), response: z.array(bytes), text: z.string().optional() })
    .nullable(),
};
const fileSchema: z.ZodType<ReceiptFile> = z.discriminatedUnion('enclaim', [
  z.strictObject({ enclaim: z.literal('receipt/1'), ...fields, evidence: bytes }),
  z.strictObject({
    enclaim: z.literal('receipt/2'),
    ...fields,
    proof: bytes,
    boots: savedBootsSchema.exactOptional(),
  }),
]);

const LIMIT = 16 * 1024 * 1024;
/** Bytes of messages that a file holds: with them in base64, and the evidence, it is still read. */
const MAX_MESSAGES_BYTES = 8 * 1024 * 1024;

/**
 * The file for a receipt.
 * @param messages by default those of its call, unless they are too large to be read again; null
 *   leaves them out
 * @param proof bytes of a proof ({@link prove}), which takes the place of the connection's evidence
 *
 * @example
 * ```ts
 * import { readFile, writeFile } from 'node:fs/promises';
 * import { connect, receiptFile } from '@enclaim/client';
 *
 * await using server = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 *   onReceipt: (receipt) =>
 *     void writeFile(`${receipt.body.sequence}.enclaim-receipt`, receiptFile(receipt)),
 * });
 * console.log(server.getTarget());
 * ```
 */
export function receiptFile(
  receipt: CheckedReceipt,
  messages: { request: readonly Uint8Array[]; response: readonly Uint8Array[]; text?: string } | null = heldIn(receipt),
  proof?: Uint8Array,
): Uint8Array {
  const { bytes, attestation } = receipt;
  const fields: FileFields = {
    receipt: toBase64(bytes),
    messages: messages && {
      ...messages,
      request: messages.request.map(toBase64),
      response: messages.response.map(toBase64),
    },
  };
  const file: ReceiptFile =
    proof === undefined
      ? { enclaim: 'receipt/1', ...fields, evidence: toBase64(attestation.evidence) }
      : { enclaim: 'receipt/2', ...fields, proof: toBase64(proof) };
  return utf8(`${JSON.stringify(file, undefined, 2)}\n`);
}

/**
 * The file of a receipt with the proof of its record in place of its connection's evidence.
 *
 * @param bytes of the `enclaim.v1.LogProof`
 * @param later boots after the record's, as `readLaterBoots` gives them
 *
 * @example
 * ```ts
 * import { readFile, writeFile } from 'node:fs/promises';
 * import { parseReceiptFile } from '@enclaim/client';
 * import { provenReceiptFile, type ReceiptProof } from '@enclaim/client/proof';
 *
 * declare const proven: ReceiptProof; // of proveRecord
 * const file = parseReceiptFile(await readFile('note.enclaim-receipt'));
 * await writeFile('note.enclaim-receipt', provenReceiptFile(file, proven.bytes));
 * ```
 */
export function provenReceiptFile(
  { receipt, messages }: ReceiptFile,
  bytes: Uint8Array,
  later: readonly LaterBoot[] = [],
): Uint8Array {
  const boots = later.length === 0 ? {} : { boots: savedBoots(later) };
  const file: ReceiptFile = { enclaim: 'receipt/2', receipt, messages, proof: toBase64(bytes), ...boots };
  return utf8(`${JSON.stringify(file, undefined, 2)}\n`);
}

function heldIn({ call, body }: CheckedReceipt): Exclude<Parameters<typeof receiptFile>[1], undefined> {
  const { request, response, text } = call;
  const size = [...request, ...response].reduce((sum, message) => sum + message.length, 0);
  return size > MAX_MESSAGES_BYTES ? null : { request, response, ...(body.status !== 0 && { text }) };
}

/**
 * Reads a receipt file. **Trust**: nothing in it is authentic yet. @throws DecodeError
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parseReceiptFile, parseReferences, verifyReceiptFile } from '@enclaim/client';
 *
 * const file = parseReceiptFile(await readFile('note.enclaim-receipt'));
 * const references = parseReferences(await readFile('references.json'));
 * console.log((await verifyReceiptFile(file, { references })).verdict.ok);
 * ```
 */
export function parseReceiptFile(content: Uint8Array): ReceiptFile {
  return decodeJson(fileSchema, content, LIMIT);
}

/**
 * Verifies a receipt file offline: its evidence, the receipt under the key of that evidence, the
 * messages that the receipt speaks of, and the way of its record to the quote and over later boots
 * if the file has it.
 * @throws EvidenceError if the receipt or its evidence is not authentic
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parseReceiptFile, parseReferences, verifyReceiptFile } from '@enclaim/client';
 *
 * const file = parseReceiptFile(await readFile('note.enclaim-receipt'));
 * const references = parseReferences(await readFile('references.json'));
 * const { verdict, body, messages } = await verifyReceiptFile(file, { references });
 * if (verdict.ok) console.log(body.method, body.time, messages); // 'both': request and response
 * ```
 */
export async function verifyReceiptFile(file: ReceiptFile, options: SavedOptions): Promise<VerifiedReceiptFile> {
  const bytes = fromBase64(file.receipt);
  const { body } = parseReceipt(bytes);
  const { attestation, proof } =
    file.enclaim === 'receipt/1'
      ? { attestation: await verifySaved(fromBase64(file.evidence), options), proof: null }
      : await verifySavedProof(fromBase64(file.proof), recordOf(body), options);
  const receipt = await verifyReceipt(bytes, attestation);
  const boots = file.enclaim === 'receipt/2' ? (file.boots ?? []) : [];
  const later = proof === null ? [] : await verifySavedBoots(proof, boots, options);
  const messages = file.messages === null ? 'not run' : compareMessages(receipt, file.messages);
  return { verdict: attestation.verdict, body: receipt.body, messages, proof, later };
}

/** A receipt file whose parts are authentic, with its verdict. */
export interface VerifiedReceiptFile {
  readonly verdict: Verdict;
  readonly body: ReceiptBody;
  readonly messages: ComparedMessages | 'not run';
  /** The record's way to the quote; null if the file has none. */
  readonly proof: ProvenRecord | null;
  /** Boots after that of the proof, the oldest first, each continuing the one before. */
  readonly later: readonly LogBoot[];
}

function compareMessages(
  receipt: AuthenticReceipt,
  { request, response, text }: NonNullable<ReceiptFile['messages']>,
): ComparedMessages {
  const { method, status } = receipt.body;
  return checkReceiptMessages(receipt, {
    method,
    status,
    request: request.map(fromBase64),
    response: response.map(fromBase64),
    ...(text !== undefined && { text }),
  });
}
