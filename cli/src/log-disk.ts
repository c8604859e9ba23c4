/** `enclaim log disk`: audits the disk of a log, for who holds the disk itself. */

import { type FileHandle, open, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { appraise, type References, type Verdict } from '@enclaim/attestation';
import { fromUtf8, toHex } from '@enclaim/attestation/bytes';
import { auditLog, BootsOnDisk, type LogAudit, openLog, type ReadDisk } from '@enclaim/attestation/log-disk';
import { verifyQuotedTree } from '@enclaim/attestation/record-proof';
import { seenIn } from '@enclaim/client/log';
import type { Command } from 'commander';
import { EXIT } from './exit-status.ts';
import { collect } from './input.ts';
import { bootsDocument, bootsLines, isRefused } from './log-disk-boots.ts';
import { printable } from './printable.ts';
import { type ReferencesOptions, readReferences } from './references-file.ts';
import { UsageError } from './usage-error.ts';

interface DiskOptions extends Partial<ReferencesOptions> {
  readonly seen?: string;
  readonly entries?: true;
  readonly json?: true;
}

/** Adds the command to `enclaim log`. */
export function registerDisk(log: Command): void {
  log
    .command('disk')
    .description('audit the disk of a log: every block, hash and tile that it holds, and its boots by their quotes')
    .argument('<disk>', 'the raw disk, a copy of it, or a machine’s state.img')
    .option(
      '--references <file>',
      'reference values and trust anchors, by which kept quotes are verified and appraised',
    )
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM')
    .option('--deployment <file>', "a deployment that the references' owner signed; repeatable", collect, [])
    .option('--seen <folder>', 'a copy of the log (log tiles --to), whose tree must be in it')
    .option('--entries', 'print the records instead, one a line')
    .option('--json', 'what was found as JSON')
    .action(disk);
}

async function disk(path: string, options: DiskOptions): Promise<void> {
  const { references: named, referencesKey, deployment = [] } = options;
  if (options.entries && (options.json || options.seen !== undefined || named !== undefined))
    throw new UsageError('--entries takes neither --json nor --seen nor --references');
  if (named === undefined && (referencesKey !== undefined || deployment.length > 0))
    throw new UsageError('--references-key and --deployment need --references');
  const references = named === undefined ? undefined : await readReferences({ ...options, references: named });
  await using file = await open(path, 'r');
  const { read, capacity } = await diskOf(path, file);
  if (options.entries) {
    for await (const entry of (await openLog(read, capacity)).entries())
      console.log(fromUtf8(entry.subarray(entry.indexOf(0) + 1)));
    return;
  }
  const seen = options.seen === undefined ? undefined : await seenIn(options.seen);
  if (options.seen !== undefined && seen === undefined)
    throw new UsageError(`--seen ${options.seen}: there is no checkpoint in it`);
  const heard = new BootsOnDisk();
  const audit = await auditLog(read, capacity, seen === undefined ? [] : [seen], (block) => heard.hear(block));
  const boots = await heard.list(read, capacity, audit, references && judgeBy(references));
  const appraised = references !== undefined;
  if (options.json) console.log(JSON.stringify({ ...shown(audit), appraised, ...bootsDocument(boots, audit) }));
  else console.log(told(audit, bootsLines(boots, audit, appraised)));
  if (audit.faults.length + audit.uncompared.length > 0 || isRefused(boots)) process.exitCode = EXIT.refused;
}

/** Verifies quotes by references, as of now. */
export function judgeBy(references: References): (quote: Uint8Array) => Promise<Verdict> {
  const moment = { now: Date.now() };
  return async (quote) =>
    appraise((await verifyQuotedTree(quote, references.anchors, moment)).authenticated, references, []);
}

/** A disk, as `openLog` and `auditLog` read it, and its size in bytes. */
export async function diskOf(path: string, file: FileHandle): Promise<{ read: ReadDisk; capacity: number }> {
  const read: ReadDisk = async (at, length) => {
    const { bytesRead, buffer } = await file.read(new Uint8Array(length), 0, length, at);
    return buffer.subarray(0, bytesRead);
  };
  return { read, capacity: await sizeOf(path, file) };
}

/** Bytes of a file or of a block device, of which `stat` says 0. */
async function sizeOf(path: string, file: FileHandle): Promise<number> {
  const stat = await file.stat();
  if (!stat.isBlockDevice()) return stat.size;
  return 512 * Number(await readFile(`/sys/class/block/${basename(path)}/size`, 'utf8'));
}

function shown({ head, first, uncompared, faults }: LogAudit): object {
  return { size: head.size, root: toHex(head.root), first, uncompared, faults };
}

function told({ head, first, uncompared, faults }: LogAudit, boots: readonly string[]): string {
  return [
    `${head.size} records, root ${toHex(head.root)}`,
    ...(first === 0 ? [] : [`records below ${first} are no longer held`]),
    ...boots.map(printable),
    ...uncompared.map((size) => `NOT COMPARED: the tree of ${size} records, which are no longer held`),
    ...faults.map(({ part, message }) => `FAULT ${part}: ${message}`),
    faults.length === 0 ? 'no fault' : `${faults.length} faults`,
  ].join('\n');
}
