/** `enclaim log deletion`: shows offline that what a call deleted, or stored, is gone for good. */

import { open } from 'node:fs/promises';
import { fromBase64 } from '@enclaim/attestation/bytes';
import {
  demandSameLog,
  type Ended,
  type FinalWord,
  finalWordOf,
  type NamedPlace,
  type ShownEnd,
  shownEnd,
} from '@enclaim/attestation/deletion';
import { digestText } from '@enclaim/attestation/digest';
import { EvidenceError } from '@enclaim/attestation/errors';
import { policyOfEvidence, statementOfEvidence } from '@enclaim/attestation/evidence';
import { openLog } from '@enclaim/attestation/log-disk';
import { decodeEntry, recordHash } from '@enclaim/attestation/record';
import { evidenceOfProof, recordOf } from '@enclaim/attestation/record-proof';
import { parseReceiptFile, type ReceiptFile, verifyReceiptFile } from '@enclaim/client';
import { copiedEntries, copiedInclusion, type LogEntry } from '@enclaim/client/log';
import { verifyProofFile } from '@enclaim/client/proof';
import { decodePolicy, type Policy, secondsOf } from '@enclaim/policy-schema/admission';
import type { Command } from 'commander';
import { EXIT } from './exit-status.ts';
import { collect, readInput } from './input.ts';
import { diskOf } from './log-disk.ts';
import { printable, printableJson } from './printable.ts';
import { type ReferencesOptions, readReferences } from './references-file.ts';
import { UsageError } from './usage-error.ts';
import { withKeys } from './verify.ts';

interface Options extends ReferencesOptions {
  readonly ak: string[];
  readonly copy?: string;
  readonly disk?: string;
  readonly place: string[];
  readonly stored?: string;
  readonly final?: string;
  readonly json?: true;
}

/** A record from which on an end is final. */
interface Final extends FinalWord {
  readonly index: number;
  readonly record: string;
  readonly time: string;
}

/** Adds the command to `enclaim log`. */
export function registerDeletion(log: Command): void {
  log
    .command('deletion')
    .description('show by a receipt and the records that what its call deleted, or stored, is gone for good')
    .argument('<receipt>', 'the .enclaim-receipt of the call')
    .requiredOption('--references <file>', 'reference values and trust anchors')
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM')
    .option('--deployment <file>', "a deployment that the references' owner signed; repeatable", collect, [])
    .option('--ak <digest>', 'sha256:… of an attestation key to trust beside those of the references', collect, [])
    .option('--copy <folder>', 'a copy of the log with its records (log tiles --to … --entries)')
    .option('--disk <disk>', 'in place of a copy: the disk of the log')
    .option('--place <collection/key>', 'a place that the call deleted; all of them, or it is refused', collect, [])
    .option('--stored <collection>', 'in place of places: what the call stored there is past its retention')
    .option('--final <proof>', 'proof (log proof --index) of the record that makes it final')
    .option('--json', 'what was shown as JSON')
    .action(deletion);
}

async function deletion(path: string, options: Options): Promise<void> {
  const references = withKeys(await readReferences(options), options.ak);
  const file = parseReceiptFile(await readInput(path));
  const { verdict, body } = await verifyReceiptFile(file, { references });
  const ended = endedOf(options, file);
  const named = recordOf(body);
  if (named === null) throw new UsageError(`${path} names no place in the log: it is an older one`);
  const { shown, final } = await found(entriesOf(options, named.index), (entry) => shownEnd(body, entry, ended));
  const proof = options.final && (await verifyProofFile(await readInput(options.final), { references }));
  if (proof && (final === null || proof.proof.record !== final.record || proof.proof.index !== final.index))
    throw new EvidenceError('binding', `${options.final} is not of the record that makes it final`);
  const { device } = statementOfEvidence(evidenceIn(file));
  if (proof) await demandSameLog(shown, proof.proof, device, (index, size) => inclusionOf(options, index, size));
  const isQuoted = proof ? proof.verdict.ok : null;
  const document = {
    ok: verdict.ok && final !== null && isQuoted !== false,
    kind: ended.kind,
    ...(ended.kind === 'deleted' ? { places: ended.places } : { collection: ended.collection }),
    ...{ method: body.method, index: shown.index, record: shown.record, end: new Date(shown.end).toISOString() },
    final: final && { ...final, until: new Date(final.until).toISOString(), quoted: isQuoted },
  };
  if (options.json) console.log(printableJson(document));
  else console.log(linesOf(ended, shown, final, { isKnown: verdict.ok, isQuoted }).map(printable).join('\n'));
  if (!document.ok) process.exitCode = EXIT.refused;
}

/** The end that the options ask for. @throws UsageError */
function endedOf({ place, stored }: Options, file: ReceiptFile): Ended {
  if ((stored === undefined) === (place.length === 0)) throw new UsageError('either --place or --stored is needed');
  if (stored === undefined) return { kind: 'deleted', places: place.map(placeOf) };
  const collection = policyIn(file).collections[stored];
  if (collection?.storage !== 'sealed') throw new UsageError(`--stored ${stored}: no sealed collection of the policy`);
  const { retention } = collection;
  const milliseconds = retention === 'unlimited' ? Number.POSITIVE_INFINITY : secondsOf(retention) * 1000;
  return { kind: 'past retention', collection: stored, retention: milliseconds };
}

/** @throws UsageError */
function placeOf(text: string): NamedPlace {
  const at = text.indexOf('/');
  if (at < 1 || at === text.length - 1) throw new UsageError(`--place ${text}: expected a collection, / and a key`);
  return { collection: text.slice(0, at), key: text.slice(at + 1) };
}

/** The policy in the evidence of a receipt file. **Trust**: the file was verified. */
function policyIn(file: ReceiptFile): Policy {
  return decodePolicy(policyOfEvidence(evidenceIn(file)));
}

function evidenceIn(file: ReceiptFile): Uint8Array {
  return file.enclaim === 'receipt/1' ? fromBase64(file.evidence) : evidenceOfProof(fromBase64(file.proof));
}

async function* entriesOf({ copy, disk }: Options, first: number): AsyncGenerator<LogEntry> {
  if ((copy === undefined) === (disk === undefined)) throw new UsageError('either --copy or --disk is needed');
  if (copy !== undefined) return yield* copiedEntries(copy, first);
  if (disk === undefined) return;
  await using file = await open(disk, 'r');
  const { read, capacity } = await diskOf(disk, file);
  let index = first;
  for await (const data of (await openLog(read, capacity)).entries(first)) yield { index: index++, data };
}

/** The path of a record in the tree of the first `size` records of the copy or disk. */
async function inclusionOf({ copy, disk = '' }: Options, index: number, size: number): Promise<readonly Uint8Array[]> {
  if (copy !== undefined) return copiedInclusion(copy, index, size);
  await using file = await open(disk, 'r');
  const { read, capacity } = await diskOf(disk, file);
  const { head, stored } = await openLog(read, capacity);
  if (size > head.size)
    throw new EvidenceError('log', `the disk has ${head.size} records, the final record's checkpoint ${size}`);
  return await stored.inclusion(index, size);
}

/**
 * The end that the first entry shows, and the first record that makes it final; null if none does.
 */
async function found(
  entries: AsyncIterable<LogEntry>,
  show: (entry: Uint8Array) => ShownEnd,
): Promise<{ readonly shown: ShownEnd; readonly final: Final | null }> {
  let shown: ShownEnd | undefined;
  for await (const { index, data } of entries) {
    shown ??= show(data);
    const record = decodeEntry(data);
    const word = finalWordOf(record);
    if (word !== null && index > shown.index && shown.covers(word))
      return { shown, final: { ...word, index, record: digestText('sha256', recordHash(data)), time: record.time } };
  }
  if (shown === undefined) throw new UsageError('the record of the receipt is not among these');
  return { shown, final: null };
}

function linesOf(
  ended: Ended,
  { index, record, end }: ShownEnd,
  final: Final | null,
  { isKnown, isQuoted }: { readonly isKnown: boolean; readonly isQuoted: boolean | null },
): string[] {
  const at = new Date(end).toISOString();
  const what =
    ended.kind === 'deleted'
      ? ended.places.map(
          ({ collection, key }) => `deleted  ${collection}/${key}, by the call of record ${index} at ${at}`,
        )
      : [`past retention  what the call of record ${index} stored in ${ended.collection}, at ${at} at the latest`];
  const quote = isQuoted === null ? 'on the word of who holds these records' : 'under a quote of the hardware';
  return [
    ...(isKnown ? [] : ['REFUSED: the receipt is of a boot that the references refuse']),
    ...(isQuoted === false ? ['REFUSED: the final record is of a boot that the references refuse'] : []),
    ...what,
    `  record       ${record}, which the receipt names`,
    final === null
      ? '  NOT FINAL    no epoch has begun since, as far as these records go'
      : `  final        with epoch ${final.epoch}, record ${final.index} at ${final.time}, ${quote}`,
    ...(final === null || isQuoted !== null
      ? []
      : [`  to prove it  enclaim log proof HOST:PORT --index ${final.index}`]),
  ];
}
