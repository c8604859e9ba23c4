/**
 * The boots of a log, read back from the newest: each under its own quote, each continued by the
 * next.
 */

import { create } from '@bufbuild/protobuf';
import type { References } from '@enclaim/attestation';
import { type ChainedBoot, type LaterBoot, MAX_CHAINED_BOOTS, verifyBootChain } from '@enclaim/attestation/boot-chain';
import { Log, type LogProof, LogProofSchema } from '@enclaim/attestation/log-service';
import { merkleRoot } from '@enclaim/attestation/merkle';
import {
  encodeRecordProof,
  type ProvenRecord,
  type QuotedTree,
  verifyQuotedTree,
} from '@enclaim/attestation/record-proof';
import type { CurrentBootStatement } from '@enclaim/attestation/statement';
import { Metadata, status } from '@grpc/grpc-js';
import type { AttestedChannel } from '../channel.ts';
import { appraised, type LogBoot } from '../later-boots.ts';
import { LogCalls } from './log-calls.ts';
import { LogError } from './log-error.ts';
import { LogReader } from './log-reader.ts';

/** Options of {@link readBoots}. */
export interface BootsOptions {
  readonly references: References;
  /** Milliseconds for each question; by default 60 000. */
  readonly timeout?: number;
  /** Milliseconds since 1970; by default this machine's clock. */
  readonly now?: () => number;
  /** Hears of the chain that was verified. */
  readonly onChain?: (chain: readonly ChainedBoot[]) => void;
}

const TIMEOUT_MS = 60_000;

/**
 * The boots of the log of a machine, the oldest first, as far back as quotes of theirs were kept.
 * Each boot's tree continues that of the boot before, up to the newest. A boot that the references
 * refuse is among them, with a verdict that is not ok.
 *
 * @throws LogError `fork`, `shrunk`, `checkpoint`, `answer`, `refused`; EvidenceError where a boot
 * does not go on from the one before
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { connect, parseReferences } from '@enclaim/client';
 * import { readBoots } from '@enclaim/client/log';
 *
 * const references = parseReferences(await readFile('references.json'));
 * await using channel = await connect('intake.example:443', { references });
 * for (const { began, uncovered, checkpoint, verdict } of await readBoots(channel, { references }))
 *   console.log(began, checkpoint.size, uncovered, verdict.ok);
 * ```
 */
export async function readBoots(channel: AttestedChannel, options: BootsOptions): Promise<readonly LogBoot[]> {
  const known = knownOn(channel, options);
  const quotes = await Array.fromAsync(quotesOf(channel, known));
  const later = await linked(channel, known, quotes, 0);
  const chain = await verifyBootChain({ size: 0, root: merkleRoot([]) }, later, known.anchors, known.moment);
  options.onChain?.(chain);
  return appraised(chain, options.references);
}

/**
 * The boots after the one that wrote a proven record, up to the one that answers, the oldest first;
 * none if that is the same. Each was verified to go on from the one before, the first from the tree
 * of the proof. The references do not judge them here.
 *
 * @throws as {@link readBoots}
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { connect, parseReferences } from '@enclaim/client';
 * import { readLaterBoots } from '@enclaim/client/log';
 * import { proofFile, type ReceiptProof } from '@enclaim/client/proof';
 *
 * declare const proven: ReceiptProof; // of prove or proveRecord
 * const references = parseReferences(await readFile('references.json'));
 * await using channel = await connect('intake.example:443', { references });
 * const later = await readLaterBoots(channel, proven.record, { references });
 * console.log(proofFile(proven.record.record, proven.bytes, later).length);
 * ```
 */
export async function readLaterBoots(
  channel: AttestedChannel,
  { authenticated, checkpoint }: Pick<ProvenRecord, 'authenticated' | 'checkpoint'>,
  options: BootsOptions,
): Promise<readonly LaterBoot[]> {
  const known = knownOn(channel, options);
  const { bootId, log } = authenticated.statement as CurrentBootStatement;
  const quotes: Quoted[] = [];
  for await (const quoted of quotesOf(channel, known)) {
    if (quoted.tree.authenticated.statement.bootId === bootId) break;
    quotes.push(quoted);
    // No later boot begins there: verifying the chain names it.
    if (beganOf(quoted.tree) <= log.size) break;
  }
  const later = await linked(channel, known, quotes, checkpoint.size);
  const chain = await verifyBootChain(checkpoint, later, known.anchors, known.moment);
  options.onChain?.(chain);
  return later;
}

/** Anchors and time by which quotes are verified, and milliseconds for each question. */
interface Known {
  readonly anchors: References['anchors'];
  readonly moment: { readonly now: number };
  readonly timeout: number;
}

/** A quote of a boot, verified. */
interface Quoted {
  readonly proof: LogProof;
  readonly tree: QuotedTree;
}

/** The same of a connection, which has shown whose TPM it is. */
function knownOn(channel: AttestedChannel, { references, timeout = TIMEOUT_MS, now = Date.now }: BootsOptions): Known {
  const { ak } = channel.attestation.statement.device;
  const { anchors } = references;
  const keys = ak === null ? anchors.attestationKeys : [...anchors.attestationKeys, ak];
  return { anchors: { ...anchors, attestationKeys: keys }, moment: { now: now() }, timeout };
}

/**
 * Boots with the proofs that lead from one to the next, the oldest first.
 *
 * @param quotes the newest first
 * @param from size of the tree that the oldest goes on from
 */
async function linked(
  channel: AttestedChannel,
  { timeout }: Known,
  quotes: readonly Quoted[],
  from: number,
): Promise<LaterBoot[]> {
  if (quotes.length === 0) return [];
  const log = new LogReader(channel, { timeout });
  await log.checkpoint();
  const later: LaterBoot[] = [];
  let before = from;
  for (const { proof, tree } of quotes.toReversed()) {
    const began = beganOf(tree);
    const between = (old: number, size: number): Promise<readonly Uint8Array[]> =>
      old === 0 || old >= size ? Promise.resolve([]) : log.consistency(old, size);
    const [found, grown] = [await between(before, began), await between(began, tree.checkpoint.size)];
    later.push({ quote: encodeRecordProof(proof), found, grown });
    before = tree.checkpoint.size;
  }
  return later;
}

/** The quotes of all boots of which one was kept, the newest first. */
async function* quotesOf(channel: AttestedChannel, { anchors, moment, timeout }: Known): AsyncGenerator<Quoted> {
  const calls = new LogCalls(channel);
  const limits = { metadata: new Metadata(), timeout };
  const { log } = channel.attestation.statement;
  const verified = async ({ checkpoint, evidence }: LogProof): Promise<Quoted> => {
    const proof = create(LogProofSchema, { checkpoint, ...(evidence && { evidence }) });
    return { proof, tree: await verifyQuotedTree(encodeRecordProof(proof), anchors, moment) };
  };
  // The first record that a boot writes is its own.
  yield await verified(await calls.ask(Log.method.getProof, { index: BigInt(log.size) }, limits));
  for (let size = log.size, boots = 1; size > 0 && boots < MAX_CHAINED_BOOTS; boots++) {
    let quoted: Quoted;
    try {
      quoted = await verified(await calls.ask(Log.method.getQuote, { size: BigInt(size) }, limits));
    } catch (error) {
      if (error instanceof LogError && error.status === status.NOT_FOUND) return;
      throw error;
    }
    yield quoted;
    const began = beganOf(quoted.tree);
    // A server that does not go back would be asked for ever.
    if (began >= size) throw new LogError('answer', `a boot that began at ${began}, asked for one within ${size}`);
    size = began;
  }
}

function beganOf({ authenticated }: QuotedTree): number {
  return (authenticated.statement as CurrentBootStatement).log.size;
}
