/**
 * Reads a policy from a holder besides its own file: an app bundle, evidence, a receipt file, or a
 * running machine.
 */

import { isUtf8 } from 'node:buffer';
import { stat } from 'node:fs/promises';
import { type Authenticated, EvidenceError, type References } from '@enclaim/attestation';
import { policyFrame } from '@enclaim/attestation/bundle';
import { equalBytes, fromBase64, utf8 } from '@enclaim/attestation/bytes';
import { policyOfEvidence, verifyEvidence } from '@enclaim/attestation/evidence';
import { parseReceipt } from '@enclaim/attestation/receipt';
import { evidenceOfProof, recordOf, verifyRecordProof } from '@enclaim/attestation/record-proof';
import { inspect, parseReceiptFile, type ReceiptFile } from '@enclaim/client';
import type { Policy } from '@enclaim/policy-schema';
import { decodePolicy } from '@enclaim/policy-schema/admission';
import type { Command } from 'commander';
import { readInput } from '../input.ts';
import { readReferences } from '../references-file.ts';
import { UsageError } from '../usage-error.ts';
import { readPolicyFile } from './app.ts';

/** Options that say whose signatures on evidence are believed. */
export interface HolderOptions {
  readonly references?: string;
  readonly referencesKey?: string;
}

/** Holders that such a command takes, for its help. */
export const HOLDERS = 'policy, app bundle, evidence, receipt, or HOST:PORT';

const HOST_AND_PORT = /^(?:\[[0-9a-fA-F:.]+\]|[^/\\:\s]+):\d{1,5}$/;
const BUNDLE_MAGIC = utf8('ENCLAIM\0');
/** How a receipt file begins, white space aside. */
const RECEIPT = /^\s*\{\s*"enclaim"\s*:\s*"receipt\//;

/** Adds the options that evidence is believed by. */
export function holderOptions(command: Command): Command {
  return command
    .option('--references <file>', 'whose signatures on evidence are believed; HOST:PORT needs them')
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM');
}

/** Whether a word names a running machine. */
export function isMachine(word: string): boolean {
  return HOST_AND_PORT.test(word);
}

/**
 * Reads the policy that a file or machine holds. From a machine it is the attested policy. From
 * evidence and receipts in a file it is the attested one, too, if there are references. Without
 * references it is the policy that the file states, and a line on stderr says so.
 * @throws UsageError, PolicyError, EvidenceError, DecodeError, ChannelError
 */
export async function readPolicyOf(what: string, options: HolderOptions = {}): Promise<Policy> {
  const { references: file, ...key } = options;
  const isFile = (await stat(what).catch(() => undefined))?.isFile() ?? false;
  if (!isFile && isMachine(what)) {
    if (file === undefined) throw new UsageError(`${what} needs --references: what a stranger says is no policy`);
    const { authenticated } = await inspect(what, await readReferences({ ...key, references: file }));
    return authenticated.policy;
  }
  const bytes = await readInput(what);
  if (equalBytes(bytes.subarray(0, BUNDLE_MAGIC.length), BUNDLE_MAGIC)) return decodePolicy(policyFrame(bytes));
  const evidence = evidenceIn(bytes);
  if (evidence === null) return readPolicyFile(what);
  if (file === undefined) {
    console.error(`${what} is not verified: this is the policy that it states (--references, enclaim verify)`);
    return decodePolicy(policyOfEvidence(evidence));
  }
  const { anchors } = await readReferences({ ...key, references: file });
  const now = Date.now();
  const saved = isReceiptFile(bytes) ? parseReceiptFile(bytes) : null;
  if (saved?.enclaim === 'receipt/2') return (await verifySavedProof(saved, anchors, now)).policy;
  return (await verifyEvidence(evidence, anchors, { now, channel: 'offline', activation: null })).policy;
}

async function verifySavedProof(
  { proof, receipt }: Extract<ReceiptFile, { enclaim: 'receipt/2' }>,
  anchors: References['anchors'],
  now: number,
): Promise<Authenticated> {
  const record = recordOf(parseReceipt(fromBase64(receipt)).body);
  if (record === null) throw new EvidenceError('binding', 'the receipt names no place in the log, and has a proof');
  return (await verifyRecordProof(fromBase64(proof), record, anchors, { now })).authenticated;
}

/** Evidence is a message with keys and signatures in it, which no text is. */
function evidenceIn(bytes: Uint8Array): Uint8Array | null {
  if (!isUtf8(bytes)) return bytes;
  return isReceiptFile(bytes) ? evidenceOf(parseReceiptFile(bytes)) : null;
}

function evidenceOf(file: ReceiptFile): Uint8Array {
  return file.enclaim === 'receipt/1' ? fromBase64(file.evidence) : evidenceOfProof(fromBase64(file.proof));
}

function isReceiptFile(bytes: Uint8Array): boolean {
  return isUtf8(bytes) && RECEIPT.test(Buffer.from(bytes.subarray(0, 256)).toString('utf8'));
}
