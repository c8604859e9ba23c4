/** `enclaim image disk`: base image and app bundle as a disk that a cloud imports. */
import { join } from 'node:path';
import { bundleDigest, policyFrame } from '@enclaim/attestation/bundle';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { artefactOf, ImageError } from '@enclaim/image';
import { DISK_TARGETS, type DiskTarget, gptEvent, makeDisk, SECTOR, writeDisk } from '@enclaim/image/disk';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import { type Command, Option } from 'commander';
import { readInput } from '../input.ts';
import { UsageError } from '../usage-error.ts';
import { IMAGE_FOLDER, readImageFolder } from './folder.ts';

interface DiskOptions {
  readonly for: DiskTarget;
  readonly image: string;
  readonly out?: string;
  readonly size: string;
}

export function register(image: Command): void {
  image
    .command('disk')
    .description('write a disk with base image, app bundle and room for state; the same bytes everywhere')
    .argument('<app>', 'app bundle (app.enclaim)')
    .addOption(
      new Option('--for <where>', 'where it is to boot').choices(Object.keys(DISK_TARGETS)).makeOptionMandatory(),
    )
    .option('--image <folder>', 'base image, a folder with manifest.json', IMAGE_FOLDER)
    .option('-o, --out <file>', 'where to write it (default: out/enclaim with the usual end)')
    .option('--size <GiB>', 'size of the disk, a whole number of GiB; what the image leaves is for state', '2')
    .action(write);
}

async function write(app: string, options: DiskOptions): Promise<void> {
  if (!/^[1-9]\d{0,3}$/.test(options.size))
    throw new UsageError(`--size takes a whole number of GiB, not ${options.size}`);
  const target = options.for;
  const { folder, manifest } = await readImageFolder(options.image);
  const { uki: expected } = manifest.artefacts;
  const [uki, bundle] = await Promise.all([readInput(join(folder, expected.file)), readInput(app)]);
  const { sha256: found } = artefactOf(expected.file, uki);
  if (found !== expected.sha256)
    throw new ImageError('hash-mismatch', `${expected.file} is ${found}, its manifest says ${expected.sha256}`);
  const disk = makeDisk({ uki, bundle, gibibytes: Number(options.size) });
  const out = options.out ?? `out/enclaim${DISK_TARGETS[target].extension}`;
  await writeDisk(disk, target, out);
  const event = gptEvent(disk.table);
  const told = {
    file: out,
    size: disk.size,
    image: manifest.id,
    policy: digestOfCanonical(policyFrame(bundle)),
    bundle: bundleDigest(bundle),
    // What firmware measures of the table: an event of register 5, and of RTMR1 under TDX.
    gpt: [digestText('sha256', sha256(event)), digestText('sha384', sha384(event))],
    partitions: disk.table.partitions.map(({ name, type, id, first, sectors }) => ({
      ...{ name, type, id },
      ...{ offset: first * SECTOR, size: sectors * SECTOR },
    })),
  };
  console.log(JSON.stringify(told, null, 2));
}
