/** Attacks of the host by the quotes that earlier boots left on the disk of the log. */

import {
  auditLog,
  blockLength,
  type DiskBoots,
  encodeKeptQuote,
  encodeQuoteSection,
  HASH_BYTES,
  MAX_DISK_BOOTS,
  parseKeptQuote,
  QUOTE_SECTION,
  type ReadDisk,
  sealBlock,
  sectionsLength,
  sectors,
  writeBlockHead,
} from '@enclaim/attestation/log-disk';
import type { LogProof } from '@enclaim/attestation/log-service';
import * as wholeBoots from '../../attestation/src/log/boots-on-disk.ts';
import type { Looked } from '../../runtime/src/log/earlier-boots.ts';
import * as whole from '../../runtime/src/log/record-log.ts';
import { entry, FakeDisk } from '../../runtime/test/log/support.ts';
import { bootOn } from '../support/boots-on-disk.ts';
import { firstRecord, namedBootOn, quoteOf } from '../support/named-boots.ts';
import type { Attack } from './attack.ts';
import { onSource, passes } from './source-attack.ts';

const LOG = { path: 'runtime/src/log/record-log.ts' as const, whole };

type Log = typeof whole;

/** A disk that a boot left. */
async function left(): Promise<FakeDisk> {
  const disk = new FakeDisk();
  const boot = await bootOn(disk);
  await boot.write(3);
  await boot.write(1);
  return disk;
}

const opened = ({ RecordLog }: Log, disk: FakeDisk) => RecordLog.open(disk.device, disk.bytes.length);

function places(disk: FakeDisk): Buffer[] {
  const { base, length } = disk.layout.quotes;
  return [base, base + length].map((at) => disk.bytes.subarray(at, at + length));
}

/** The proof that a boot hands out, and how often it looked for it. */
async function handedOut(
  { earlier }: whole.RecordLog,
  index: number,
): Promise<{ proof: LogProof | undefined; looks: number }> {
  for (let looks = 1; ; looks++) {
    const found: Looked = await earlier.proofOf(index);
    if (found !== 'more') return { proof: found, looks };
  }
}

/** Writes a block without entries behind the end of a log, as the next one or further on. */
async function putBlock(disk: FakeDisk, section: { type: number; data: Uint8Array }, further = 0): Promise<number> {
  const journal = disk.reader.journal(4096);
  let end = { position: 0, prior: new Uint8Array(HASH_BYTES) as Uint8Array, size: 0 };
  let frontier: readonly Uint8Array[] = [];
  for (;;) {
    const block = await journal.next(end).catch(() => undefined);
    if (block === undefined) break;
    end = { position: block.position + sectors(block.length), prior: block.hash.slice(), size: block.size };
    frontier = block.frontier.map((hash) => hash.slice());
  }
  const { size, prior } = end;
  const position = end.position + further;
  const length = blockLength(size, 0, sectionsLength([section]));
  const out = Buffer.alloc(sectors(length));
  let at = writeBlockHead(out, { length, count: 0, position, first: size, size, prior, sequence: 1 }, frontier);
  at = out.writeUInt32BE(section.data.length, out.writeUInt16BE(section.type, at));
  out.set(section.data, at);
  sealBlock(out, length);
  disk.bytes.set(out, disk.layout.journal.base + position);
  return position;
}

const BOOTS = { path: 'attestation/src/log/boots-on-disk.ts' as const, whole: wholeBoots };

/** Boots that an auditor of a disk is told of. */
async function listed({ BootsOnDisk }: typeof wholeBoots, { bytes }: FakeDisk): Promise<DiskBoots<undefined>> {
  const read: ReadDisk = async (at, length) => bytes.subarray(at, at + length);
  const boots = new BootsOnDisk();
  const audit = await auditLog(read, bytes.length, [], (block) => boots.hear(block));
  return boots.list(read, bytes.length, audit);
}

/** Attacks on an auditor who is given the disk. */
const auditAttacks: readonly Attack[] = [
  onSource(
    BOOTS,
    'have the quote of a fork with as many records cover those of the disk',
    'quotes on a disk are of its tree',
    async (module) => {
      const disk = new FakeDisk();
      const boot = await namedBootOn(disk);
      const fork = disk.copy();
      const other = await whole.RecordLog.open(fork.device, fork.bytes.length);
      await other.append(entry('what was said'));
      await boot.log.append(entry('what the host would like to have been said'));
      await boot.log.keepQuote(await quoteOf(boot, other.durable));
      return (await listed(module, disk)).boots.some(({ quoted }) => quoted === 2);
    },
  ),
  onSource(
    BOOTS,
    "have a boot's quote cover records that the next boot wrote",
    'quotes on a disk end where the next boot began',
    async (module) => {
      const disk = new FakeDisk();
      const first = await namedBootOn(disk);
      const next = await namedBootOn(disk);
      await next.log.keepQuote(await quoteOf(first, next.log.durable));
      return (await listed(module, disk)).boots.some(({ began, quoted }) => began === 0 && quoted > 1);
    },
  ),
  onSource(BOOTS, 'have an auditor hold a boot for each record of a disk', 'few boots are listed', async (module) => {
    const disk = new FakeDisk(16 * 1024 * 1024);
    const log = await whole.RecordLog.open(disk.device, disk.bytes.length);
    // A block for each: what begins a block can be the record of a boot.
    for (let i = 0; i < MAX_DISK_BOOTS + 8; i++)
      await log.append(firstRecord(i.toString(16).padStart(32, '0'), log.size), 'runtime');
    return (await listed(module, disk)).boots.length > MAX_DISK_BOOTS;
  }),
];

/** Attacks by quotes that earlier boots left. */
export const quoteAttacks: readonly Attack[] = [
  ...auditAttacks,
  onSource(LOG, 'put the quote of another disk in its place', 'quotes are of this tree', async (module) => {
    const [disk, other] = [await left(), await left()];
    for (const [i, place] of places(disk).entries()) place.set(places(other)[i] ?? place);
    return (await handedOut(await opened(module, disk), 1)).proof !== undefined;
  }),
  onSource(LOG, 'flip a bit in the signature of a kept quote', 'hash of a kept quote', async (module) => {
    const disk = await left();
    for (const place of places(disk)) {
      // Behind the evidence's statement and policy, so that only the hardware's part is another.
      const at = 24 + place.readUInt32BE(8) - 8;
      place[at] = (place[at] ?? 0) ^ 1;
    }
    return (await opened(module, disk)).quoted.size > 0;
  }),
  onSource(
    LOG,
    'have quotes lead in a circle, so that a question never ends',
    'quotes lead to earlier ones, of boots that do not overlap',
    async (module) => {
      const disk = await left();
      const quote = parseKeptQuote(Uint8Array.from(places(disk)[1] ?? [])).quote;
      const circle = 65_536;
      const at = await putBlock(disk, { type: QUOTE_SECTION, data: new Uint8Array(8) }, circle);
      await putBlock(disk, { type: QUOTE_SECTION, data: encodeQuoteSection({ before: at, quote }) }, circle);
      for (const place of places(disk)) place.set(encodeKeptQuote({ before: at, quote }));
      // A record before the quote's boot, if that had begun later: none is ever found.
      const log = await opened(module, disk);
      let looks = 0;
      while (looks < 100 && (await log.earlier.quoteWithin(0)) === 'more') looks++;
      return looks === 100;
    },
    ['quotes lead to earlier ones', 'boots do not overlap'],
  ),
  onSource(
    LOG,
    'have a boot go on from a section that it does not know',
    'unknown sections are refused',
    async (module) => {
      const disk = await left();
      await putBlock(disk, { type: 9, data: new Uint8Array(8) });
      return passes(() => opened(module, disk));
    },
  ),
];
