/**
 * The boots of a log, read back from the newest: each under its own quote, each continued by the
 * next.
 */

import { create } from '@bufbuild/protobuf';
import { appraise, type References, type Verdict } from '@enclaim/attestation';
import { type ChainedBoot, type LaterBoot, MAX_CHAINED_BOOTS, verifyBootChain } from '@enclaim/attestation/boot-chain';
import { Log, type LogProof, LogProofSchema } from '@enclaim/attestation/log-service';
import { merkleRoot } from '@enclaim/attestation/merkle';
import { encodeRecordProof, type QuotedTree, verifyQuotedTree } from '@enclaim/attestation/record-proof';
import type { CurrentBootStatement } from '@enclaim/attestation/statement';
import { Metadata, status } from '@grpc/grpc-js';
import type { AttestedChannel } from '../channel.ts';
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
}

/** A boot of a log, with the verdict on its evidence. */
export interface LogBoot extends ChainedBoot {
  readonly verdict: Verdict;
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
export async function readBoots(channel: AttestedChannel, options: BootsOptions): Promise<LogBoot[]> {
  const { references, timeout = TIMEOUT_MS, now = Date.now } = options;
  // Whose TPM it is was shown on this connection.
  const { ak } = channel.attestation.statement.device;
  const { anchors: known } = references;
  const anchors = ak === null ? known : { ...known, attestationKeys: [...known.attestationKeys, ak] };
  const moment = { now: now() };
  const verify = (proof: LogProof): Promise<QuotedTree> => verifyQuotedTree(encodeRecordProof(proof), anchors, moment);
  const quotes = await quotesOf(channel, timeout, verify);
  const log = new LogReader(channel, { timeout });
  await log.checkpoint();
  const later: LaterBoot[] = [];
  let before = 0;
  for (const { proof, tree } of quotes.toReversed()) {
    const began = beganOf(tree);
    const between = (old: number, size: number): Promise<readonly Uint8Array[]> =>
      old === 0 || old >= size ? Promise.resolve([]) : log.consistency(old, size);
    const [found, grown] = [await between(before, began), await between(began, tree.checkpoint.size)];
    later.push({ quote: encodeRecordProof(proof), found, grown });
    before = tree.checkpoint.size;
  }
  const chain = await verifyBootChain({ size: 0, root: merkleRoot([]) }, later, anchors, moment);
  return Promise.all(
    chain.map(async (boot) => ({ ...boot, verdict: await appraise(boot.authenticated, references, []) })),
  );
}

/** The quotes of all boots of which one was kept, the newest first. */
async function quotesOf(
  channel: AttestedChannel,
  timeout: number,
  verify: (proof: LogProof) => Promise<QuotedTree>,
): Promise<{ readonly proof: LogProof; readonly tree: QuotedTree }[]> {
  const calls = new LogCalls(channel);
  const limits = { metadata: new Metadata(), timeout };
  const { log } = channel.attestation.statement;
  const quotes: { proof: LogProof; tree: QuotedTree }[] = [];
  const take = async ({ checkpoint, evidence }: LogProof): Promise<void> => {
    const proof = create(LogProofSchema, { checkpoint, ...(evidence && { evidence }) });
    quotes.push({ proof, tree: await verify(proof) });
  };
  // The first record that a boot writes is its own.
  await take(await calls.ask(Log.method.getProof, { index: BigInt(log.size) }, limits));
  for (let size = log.size; size > 0 && quotes.length < MAX_CHAINED_BOOTS; ) {
    try {
      await take(await calls.ask(Log.method.getQuote, { size: BigInt(size) }, limits));
    } catch (error) {
      if (error instanceof LogError && error.status === status.NOT_FOUND) break;
      throw error;
    }
    const last = quotes.at(-1)?.tree;
    const began = last === undefined ? 0 : beganOf(last);
    // A server that does not go back would be asked for ever.
    if (began >= size) throw new LogError('answer', `a boot that began at ${began}, asked for one within ${size}`);
    size = began;
  }
  return quotes;
}

function beganOf({ authenticated }: QuotedTree): number {
  return (authenticated.statement as CurrentBootStatement).log.size;
}
