/** Boots of a pretended machine on one disk in memory: each continues the log, and keeps its quotes. */

import { digestText } from '@enclaim/attestation/digest';
import { recordHash } from '@enclaim/attestation/record';
import type { NamedRecord } from '@enclaim/attestation/record-proof';
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
