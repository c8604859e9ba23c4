/**
 * `enclaim log proof` and `enclaim log receipt`: the way of a record to the machine that wrote it,
 * as a file that `enclaim verify` reads.
 */

import { open } from 'node:fs/promises';
import type { ChainedBoot } from '@enclaim/attestation/boot-chain';
import { equalBytes, fromBase64 } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { EvidenceError } from '@enclaim/attestation/errors';
import { openLog } from '@enclaim/attestation/log-disk';
import { leafHash } from '@enclaim/attestation/merkle';
import { parseReceipt } from '@enclaim/attestation/receipt';
import { type NamedRecord, recordOf } from '@enclaim/attestation/record-proof';
import { hashesOf, TILE_WIDTH } from '@enclaim/attestation/tlog';
import { type AttestedChannel, parseReceiptFile } from '@enclaim/client';
import { LogReader, type ReceiptOf, type ReceiptSource, readLaterBoots, receiptFrom } from '@enclaim/client/log';
import { proofFile, provenReceiptFile, proveRecord } from '@enclaim/client/proof';
import type { Command } from 'commander';
import { connectTarget, optionalTarget, type TargetOptions, targetOptions } from './attested-target.ts';
import { readDemands, readInput, readNewerThan, writeOutput } from './input.ts';
import { diskOf } from './log-disk.ts';
import { printable } from './printable.ts';
import { readReferences } from './references-file.ts';
import { UsageError } from './usage-error.ts';

interface RecordOptions extends TargetOptions {
  readonly index?: string;
  readonly receipt?: string;
  readonly out: string;
}
interface ProofOptions extends RecordOptions {
  readonly boots?: true;
}
interface ReceiptOptions extends Omit<RecordOptions, 'references'> {
  readonly references?: string;
  readonly since?: string;
  readonly copy?: string;
  readonly disk?: string;
}

const INDEX = ['--index <number>', 'the record, by the index of its leaf'] as const;
const RECEIPT = ['--receipt <file>', 'the record, by its .enclaim-receipt'] as const;
const OUT = ['-o, --out <file>', 'where to write'] as const;

/** Adds the commands to `enclaim log`. */
export function registerProofs(log: Command): void {
  targetOptions(
    log
      .command('proof')
      .description('wait until a quote covers a record, and write its proof; of a receipt, both in one file'),
  )
    .option(...INDEX)
    .option(...RECEIPT)
    .option('--boots', 'keep the boots since with it, up to the one that answers: enclaim verify walks over them')
    .requiredOption(...OUT)
    .action(proof);
  optionalTarget(
    log
      .command('receipt')
      .description('write a COSE receipt (RFC 9942): of a record, or that the log continues an older tree'),
  )
    .option(...INDEX)
    .option(...RECEIPT)
    .option('--since <size>', 'in place of a record: that the first so many entries are those of an older tree')
    .option('--copy <folder>', 'in place of a target: a copy of the log (log tiles --to), whose newest tree it is of')
    .option('--disk <disk>', 'with --copy: take the hashes from the disk of the log, not from tiles in the folder')
    .requiredOption(...OUT)
    .action(receipt);
}

async function proof(target: string, options: ProofOptions): Promise<void> {
  const { file, record, index } = await recordNamed(options);
  const { channel, timeout } = await connectTarget(target, options);
  try {
    const named = record ?? (await recordAt(channel, index, timeout));
    const references = await readReferences(options);
    const { bytes, record: proven } = await proveRecord(
      channel,
      named,
      channel.attestation,
      {
        references,
        demands: readDemands(options.require),
        newerThan: readNewerThan(options.newerThan),
        timeout,
      },
      file && fromBase64(file.receipt),
    );
    let chain: readonly ChainedBoot[] = [];
    const onChain = (verified: readonly ChainedBoot[]): void => {
      chain = verified;
    };
    const later = options.boots ? await readLaterBoots(channel, proven, { references, timeout, onChain }) : [];
    await writeOutput(
      options.out,
      file === undefined ? proofFile(named.record, bytes, later) : provenReceiptFile(file, bytes, later),
    );
    console.error(`record ${named.index} ${named.record}`);
    if (options.boots) console.error(walked(chain));
    sayLater(options.out, options.references, channel);
  } finally {
    channel.close();
  }
}

/** The boots that a proof keeps, and the records between them that no quote in it covers. */
function walked(chain: readonly ChainedBoot[]): string {
  const gaps = chain.flatMap(({ began, uncovered }) =>
    uncovered === 0 ? [] : [`${began - uncovered} to ${began - 1}`],
  );
  const between = gaps.length === 0 ? 'no record between them' : `records ${gaps.join(', ')} between them`;
  return `boots  ${chain.length} later ones are kept with it; ${between} without a quote`;
}

async function receipt(target: string | undefined, options: ReceiptOptions): Promise<void> {
  const { copy, disk, out, references } = options;
  const of = await receiptOf(options);
  if ((target === undefined) === (copy === undefined)) throw new UsageError('either a target or --copy is needed');
  if (disk !== undefined && copy === undefined) throw new UsageError('--disk needs --copy');
  if (copy !== undefined) return writeOutput(out, await within(copiedReceipt(copy, of, disk)));
  if (references === undefined) throw new UsageError('a target needs --references');
  const { channel, timeout } = await connectTarget(target as string, { ...options, references });
  try {
    await writeOutput(out, await within(new LogReader(channel, { timeout }).receipt(of)));
    sayLater(out, references, channel);
  } finally {
    channel.close();
  }
}

/** Says how the file is verified. Whose TPM it is was shown on this connection alone. */
function sayLater(file: string, references: string, { attestation }: AttestedChannel): void {
  const { ak } = attestation.statement.device;
  const pin = ak === null ? '' : ` --ak ${ak}`;
  console.error(`later  enclaim verify ${printable(file)} --references ${printable(references)}${pin}`);
}

/** The outcome. @throws UsageError for a record or a tree that the log does not have */
async function within<T>(making: Promise<T>): Promise<T> {
  try {
    return await making;
  } catch (cause) {
    if (cause instanceof RangeError) throw new UsageError(cause.message, { cause });
    throw cause;
  }
}

async function copiedReceipt(copy: string, of: ReceiptOf, disk: string | undefined): Promise<Uint8Array> {
  if (disk === undefined) return receiptFrom(copy, of);
  await using file = await open(disk, 'r');
  const { read, capacity } = await diskOf(disk, file);
  const { stored, head } = await openLog(read, capacity);
  // Awaited here, because the disk is closed when this function ends.
  return await receiptFrom(copy, of, async ({ size, root }): Promise<ReceiptSource> => {
    if (size > head.size) throw new EvidenceError('log', `the disk has ${head.size} records, the signed tree ${size}`);
    if (!equalBytes(await stored.rootAt(size), root))
      throw new EvidenceError('log', `the disk has another tree of ${size} records than was signed`);
    return {
      leaf: async (index) => leafHash((await stored.entries(index, 1))[0] ?? new Uint8Array()),
      inclusion: (index) => stored.inclusion(index, size),
      rootAt: (old) => stored.rootAt(old),
      consistency: (old) => stored.consistency(old, size),
    };
  });
}

/** The record at an index, as the tiles of the log have it. */
async function recordAt(channel: AttestedChannel, index: number, timeout: number): Promise<NamedRecord> {
  const log = new LogReader(channel, { timeout });
  const { size } = await log.checkpoint();
  if (index >= size) throw new UsageError(`--index ${index}: the log has ${size} entries`);
  const hashes = hashesOf(await log.tile(0, Math.floor(index / TILE_WIDTH)));
  return { index, record: digestText('sha256', hashes[index % TILE_WIDTH] ?? new Uint8Array()) };
}

async function receiptOf({ since, ...options }: ReceiptOptions): Promise<ReceiptOf> {
  if (since === undefined) return { index: (await recordNamed(options)).index };
  if (options.index !== undefined || options.receipt !== undefined)
    throw new UsageError('--since takes neither --index nor --receipt');
  return { old: wholeNumber('--since', since) };
}

/** The record that the options name, with its receipt file if that names it. @throws UsageError */
async function recordNamed({ index, receipt: path }: Pick<RecordOptions, 'index' | 'receipt'>): Promise<{
  readonly index: number;
  readonly record?: NamedRecord;
  readonly file?: ReturnType<typeof parseReceiptFile>;
}> {
  if ((index === undefined) === (path === undefined)) throw new UsageError('either --index or --receipt is needed');
  if (path === undefined) return { index: wholeNumber('--index', index ?? '') };
  const file = parseReceiptFile(await readInput(path));
  const record = recordOf(parseReceipt(fromBase64(file.receipt)).body);
  if (record === null) throw new UsageError(`--receipt ${path} names no place in the log: it is an older one`);
  return { index: record.index, record, file };
}

/** A number of entries, or an index. @throws UsageError naming the option */
export function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new UsageError(`${option} takes a whole number, not ${text}`);
}
