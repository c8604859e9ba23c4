/**
 * Reads a policy from a holder besides its own file: an app bundle, evidence, a receipt file, or a
 * running machine.
 */

import { isUtf8 } from 'node:buffer';
import { stat } from 'node:fs/promises';
import { policyFrame } from '@enclaim/attestation/bundle';
import { equalBytes, fromBase64, utf8 } from '@enclaim/attestation/bytes';
import { policyOfEvidence, verifyEvidence } from '@enclaim/attestation/evidence';
import { inspect, parseReceiptFile } from '@enclaim/client';
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
  const { policy } = await verifyEvidence(evidence, anchors, { now: Date.now(), channel: 'offline', activation: null });
  return policy;
}

/** Evidence is a message with keys and signatures in it, which no text is. */
function evidenceIn(bytes: Uint8Array): Uint8Array | null {
  if (!isUtf8(bytes)) return bytes;
  const isReceipt = RECEIPT.test(Buffer.from(bytes.subarray(0, 256)).toString('utf8'));
  return isReceipt ? fromBase64(parseReceiptFile(bytes).evidence) : null;
}
