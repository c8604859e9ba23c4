/** Boots of a pretended machine on one disk in memory: each continues the log, and keeps its quotes. */

import { create } from '@bufbuild/protobuf';
import type { LaterBoot } from '@enclaim/attestation/boot-chain';
import { digestText } from '@enclaim/attestation/digest';
import { LogProofSchema } from '@enclaim/attestation/log-service';
import { recordHash } from '@enclaim/attestation/record';
import { encodeRecordProof, type NamedRecord } from '@enclaim/attestation/record-proof';
import { parseCheckpoint, parseNote } from '@enclaim/attestation/tlog';
import * as whole from '../../runtime/src/log/record-log.ts';
import { entry, type FakeDisk } from '../../runtime/test/log/support.ts';
import { type Boot, bootWith } from './proven-boot.ts';

/** A boot on a disk. */
export interface DiskBoot extends Boot<whole.RecordLog> {
  /** Appends records, and has the hardware quote them. */
  write(count: number): Promise<void>;
  /** The same without a quote: what a crash leaves. */
  writeUnquoted(count: number): Promise<void>;
}

/** Boots on a disk. The first record of a boot is that of the boot. */
export async function bootOn(
  disk: FakeDisk,
  options: Parameters<typeof bootWith>[1] = {},
  { RecordLog }: typeof whole = whole,
): Promise<DiskBoot> {
  const log = await RecordLog.open(disk.device, disk.bytes.length);
  let kept: Promise<unknown> = Promise.resolve();
  const boot = bootWith(log, options, (quote) => {
    kept = log.keepQuote(quote);
    return kept as Promise<void>;
  });
  const writeUnquoted = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await log.append(entry(`record ${log.size} of ${boot.statement.bootId}`));
  };
  const write = async (count: number): Promise<void> => {
    await writeUnquoted(count);
    await boot.checkpoints.proofOf(log.size - 1);
    await kept;
  };
  await log.append(entry('boot'), 'runtime');
  return Object.assign(boot, { write, writeUnquoted });
}

/** A record as a receipt names it. */
export async function namedOn(log: whole.RecordLog, index: number): Promise<NamedRecord> {
  const [bytes] = await log.entries(index, 1);
  if (bytes === undefined) throw new RangeError(`no record ${index}`);
  return { index, record: digestText('sha256', recordHash(bytes)) };
}

/**
 * A boot as a chain has it, from what the boot proves of its last record.
 *
 * @param log a later log of the same disk, or its own
 * @param from size of the tree under the quote of the boot before
 */
export async function asLater(boot: DiskBoot, log: whole.RecordLog, from: number): Promise<LaterBoot> {
  const { checkpoint, evidence } = await boot.checkpoints.proofOf(boot.log.size - 1);
  const began = boot.log.began.size;
  const between = async (old: number, size: number): Promise<Uint8Array[]> =>
    old === 0 || old > size ? [] : log.consistency(old, size);
  return {
    quote: encodeRecordProof(create(LogProofSchema, { checkpoint, ...(evidence && { evidence }) })),
    found: await between(from, began),
    grown: await between(began, parseCheckpoint(parseNote(checkpoint).text).size),
  };
}
