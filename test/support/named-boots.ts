/** Boots whose first record on a disk names them, as a machine's does, and quotes of any tree of theirs. */

import { create } from '@bufbuild/protobuf';
import { utf8 } from '@enclaim/attestation/bytes';
import { LogProofSchema } from '@enclaim/attestation/log-service';
import { encodeRecordProof } from '@enclaim/attestation/record-proof';
import { type Entry, RecordLog, type TreeHead } from '../../runtime/src/log/record-log.ts';
import { entry, type FakeDisk } from '../../runtime/test/log/support.ts';
import { type Boot, bootWith } from './proven-boot.ts';

/** A boot that goes on from what is on a disk. Its first record says which boot it is. */
export async function namedBootOn(disk: FakeDisk): Promise<Boot<RecordLog>> {
  const log = await RecordLog.open(disk.device, disk.bytes.length);
  const boot = bootWith(log);
  await log.append(firstRecord(boot.statement.bootId, log.size), 'runtime');
  return boot;
}

/** The first record of a boot. */
export function firstRecord(id: string, began: number): Entry {
  return { ...entry('boot'), id, layer: 'admission', figures: { 'log.began': began } };
}

/** A quote of a boot over a tree that its log key has signed. */
export async function quoteOf(boot: Boot<RecordLog>, { size, root }: TreeHead = boot.log.durable): Promise<Uint8Array> {
  const { note, text } = boot.note(size, root);
  const evidence = boot.evidenceOf(await boot.batcher.add(utf8(text)));
  return encodeRecordProof(create(LogProofSchema, { checkpoint: note, evidence }));
}
