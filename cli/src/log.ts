/** `enclaim log`: reads the log of a machine that has shown its evidence. */

import { createPublicKey, sign } from 'node:crypto';
import { fromUtf8, toHex } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import { leafHash } from '@enclaim/attestation/merkle';
import { decodeEntry } from '@enclaim/attestation/record';
import { ed25519Key } from '@enclaim/attestation/statement';
import { parseTlogPolicy } from '@enclaim/attestation/tlog';
import {
  copyLog,
  type LogBoot,
  LogReader,
  type LogReaderOptions,
  type ReaderKey,
  readBoots,
  seenIn,
  type VerifiedCheckpoint,
} from '@enclaim/client/log';
import { gatherCosignatures } from '@enclaim/client/witness';
import type { Command } from 'commander';
import { connectTarget, type TargetOptions, targetOptions } from './attested-target.ts';
import { EXIT } from './exit-status.ts';
import { readEd25519, readInput } from './input.ts';
import { registerDeletion } from './log-deletion.ts';
import { registerDisk } from './log-disk.ts';
import { registerProofs, wholeNumber } from './log-proof.ts';
import { printable } from './printable.ts';
import { readReferences } from './references-file.ts';
import { UsageError } from './usage-error.ts';

interface LogOptions extends TargetOptions {
  readonly json?: true;
  readonly seen?: string;
}
interface TilesOptions extends LogOptions {
  readonly to: string;
  readonly entries?: true;
  readonly reader?: string;
}
interface EntriesOptions extends LogOptions {
  readonly reader: string;
  readonly from: string;
  readonly count?: string;
}
interface WatchOptions extends LogOptions {
  readonly count?: string;
}
interface CourierOptions extends WatchOptions {
  readonly witnesses: string;
}

const SEEN = ['--seen <folder>', 'a copy made before (log tiles --to), which the log must continue'] as const;
const READER = 'private key (PEM) of a reader that the policy names: evidence.readers (enclaim key new)';

export function register(program: Command): void {
  const log = program.command('log').description('verify a machine, then read its log of evidence');
  targetOptions(
    log.command('checkpoint').description("the newest checkpoint, as a signed note under the boot's log key"),
  )
    .option(...SEEN)
    .option('--json', 'the checkpoint as JSON')
    .action(checkpoint);
  targetOptions(
    log
      .command('tiles')
      .description('copy the log into a folder that C2SP tlog-tiles tools read, or bring it up to date'),
  )
    .requiredOption('--to <folder>', 'where the copy is, or is to be')
    .option('--entries', 'copy the records, too; needs --reader')
    .option('--reader <pem>', READER)
    .option('--json', 'what was copied as JSON')
    .action(tiles);
  targetOptions(log.command('entries').description('print records, one a line'))
    .requiredOption('--reader <pem>', READER)
    .option('--from <index>', 'the first; by default the lowest that the machine holds', '0')
    .option('--count <number>', 'how many; by default all up to the newest checkpoint')
    .option(...SEEN)
    .option('--json', 'each as JSON with its index and leaf hash')
    .action(entries);
  targetOptions(log.command('watch').description('print each new checkpoint, until it is told to stop'))
    .option('--count <number>', 'stop after so many')
    .option(...SEEN)
    .option('--json', 'each as JSON, one a line')
    .action(watch);
  targetOptions(
    log
      .command('courier')
      .description('have witnesses cosign each new checkpoint, and hand in what they give; prints what counts'),
  )
    .requiredOption('--witnesses <file>', 'C2SP tlog-policy: addresses of witnesses, and the quorum')
    .option('--count <number>', 'stop after so many checkpoints')
    .option(...SEEN)
    .option('--json', 'each as JSON, one a line')
    .action(courier);
  registerProofs(log);
  targetOptions(
    log.command('boots').description('the boots of the log, each under its own quote and continued by the next'),
  )
    .option('--json', 'each as JSON, one a line')
    .action(boots);
  registerDisk(log);
  registerDeletion(log);
}

async function boots(target: string, options: LogOptions): Promise<void> {
  const { channel, timeout } = await connectTarget(target, options);
  try {
    const chain = await readBoots(channel, { references: await readReferences(options), timeout });
    for (const boot of chain)
      console.log(options.json ? JSON.stringify(bootDocument(boot)) : bootLines(boot).map(printable).join('\n'));
    // An earlier release may well be among them: who lets it pass names it in the references.
    if (!chain.every(({ verdict }) => verdict.ok)) process.exitCode = EXIT.refused;
  } finally {
    channel.close();
  }
}

async function checkpoint(target: string, options: LogOptions): Promise<void> {
  await reading(target, options, await seenBy(options), async (log) => {
    const found = await log.checkpoint();
    if (options.json) console.log(JSON.stringify(shown(found)));
    else process.stdout.write(found.note);
  });
}

async function tiles(target: string, options: TilesOptions): Promise<void> {
  if (options.entries && options.reader === undefined) throw new UsageError('--entries needs --reader');
  const known = { ...(await seenBy({ seen: options.to })), ...(await readerOf(options.reader)) };
  await reading(target, options, known, async (log) => {
    const { checkpoint: found, written } = await copyLog(log, options.to, { withEntries: options.entries ?? false });
    if (options.json) console.log(JSON.stringify({ ...shown(found), written }));
    else console.log(`${found.key}\n${found.size} entries, ${written} files written`);
  });
}

async function entries(target: string, options: EntriesOptions): Promise<void> {
  const [from, count] = [wholeNumber('--from', options.from), countOf(options)];
  const known = { ...(await seenBy(options)), ...(await readerOf(options.reader)) };
  await reading(target, options, known, async (log) => {
    const { size, minimum } = await log.checkpoint();
    const first = Math.max(from, from === 0 ? minimum : 0);
    if (first > size) throw new UsageError(`--from ${from}: the log has ${size} entries`);
    for await (const { index, data } of log.entries(first, Math.min(size, first + count))) {
      const record = textOf(data, index);
      console.log(options.json ? `{"index":${index},"leaf":"${toHex(leafHash(data))}","record":${record}}` : record);
    }
  });
}

async function watch(target: string, options: WatchOptions): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort());
  let left = countOf(options);
  await reading(target, options, await seenBy(options), async (log) => {
    for await (const found of log.watch({ signal: stop.signal })) {
      console.log(options.json ? JSON.stringify(shown(found)) : `${found.size} ${toHex(found.root)}`);
      if (--left <= 0) break;
    }
  });
}

async function courier(target: string, options: CourierOptions): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort());
  const witnesses = parseTlogPolicy(await readInput(options.witnesses));
  const sizes = new Map<string, number>();
  let left = countOf(options);
  await reading(target, options, await seenBy(options), async (log) => {
    for await (const { size, note } of log.watch({ signal: stop.signal })) {
      const gathered = await gatherCosignatures(
        witnesses,
        { note, consistency: (old) => log.consistency(old) },
        { sizes },
      );
      for (const { code, message } of gathered.failures) console.error(`witness: ${code}: ${message}`);
      const counted = gathered.reached ? await log.addCosignatures(gathered.note) : undefined;
      if (options.json) console.log(JSON.stringify({ size, reached: gathered.reached, ...counted }));
      else console.log(`${size} ${counted === undefined ? 'no quorum' : `cosigned up to ${counted.cosigned}`}`);
      if (--left <= 0) break;
    }
  });
}

/** Reads the log of a machine that was verified, and leaves it. */
async function reading(
  target: string,
  options: TargetOptions,
  known: LogReaderOptions,
  read: (log: LogReader) => Promise<void>,
): Promise<void> {
  const { channel, timeout } = await connectTarget(target, options);
  try {
    await read(new LogReader(channel, { ...known, timeout }));
  } finally {
    channel.close();
  }
}

async function seenBy({ seen }: Pick<LogOptions, 'seen'>): Promise<LogReaderOptions> {
  const found = seen === undefined ? undefined : await seenIn(seen);
  return found === undefined ? {} : { seen: found };
}

async function readerOf(file: string | undefined): Promise<{ readonly reader?: ReaderKey }> {
  if (file === undefined) return {};
  const key = await readEd25519('--reader', file);
  const raw = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
  return { reader: { key: ed25519Key(raw), sign: (message) => sign(null, message, key) } };
}

function countOf({ count }: { readonly count?: string }): number {
  return count === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--count', count);
}

/** A record's canonical JSON. @throws DecodeError if the entry is none */
function textOf(entry: Uint8Array, index: number): string {
  try {
    decodeEntry(entry);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new DecodeError(cause.code, `entry ${index} is no record: ${cause.message}`, cause.at, { cause });
  }
  return fromUtf8(entry.subarray(entry.indexOf(0) + 1));
}

function shown({ origin, size, root, key, began, minimum, note }: VerifiedCheckpoint): object {
  return { origin, size, root: toHex(root), key, began, minimum, note };
}

/** A boot, for people. */
function bootLines({ began, uncovered, checkpoint, verdict }: LogBoot): string[] {
  const gap = `records ${began - uncovered} to ${began - 1} are under no quote of the boot that wrote them`;
  return [
    ...(uncovered === 0 ? [] : [gap]),
    `boot ${verdict.bootId}  records ${began} to ${checkpoint.size - 1}  root ${toHex(checkpoint.root)}`,
    `  quote ${verdict.platform}, policy ${verdict.policy}: ${verdict.ok ? 'as expected' : 'REFUSED by the references'}`,
  ];
}

function bootDocument({ began, uncovered, checkpoint, verdict, note }: LogBoot): object {
  const { origin, size, root } = checkpoint;
  const { bootId, policy, platform, ok } = verdict;
  return { boot: bootId, origin, began, size, root: toHex(root), uncovered, platform, policy, ok, note };
}
