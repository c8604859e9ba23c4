/** `enclaim image build`: the base image from its lock. */
import { createPublicKey, sign } from 'node:crypto';
import { relative } from 'node:path';
import { utf8 } from '@enclaim/attestation/bytes';
import { signEnvelope } from '@enclaim/attestation/intoto';
import { ed25519Key } from '@enclaim/attestation/statement';
import {
  type BuildOptions,
  buildImage,
  isPublished,
  type LockedInput,
  type Locks,
  readLocks,
  writeImage,
} from '@enclaim/image';
import type { Command } from 'commander';
import { readEd25519 } from '../input.ts';
import { IMAGE_FOLDER } from './folder.ts';

interface BuildWords {
  readonly out: string;
  readonly mirror?: string[];
  readonly key?: string;
  readonly locks?: string;
}

export function register(image: Command): void {
  image
    .command('build')
    .description('build the base image from locked inputs; the same bytes everywhere')
    .option('-o, --out <folder>', 'where to write it', IMAGE_FOLDER)
    .option('--mirror <url...>', "Debian mirrors to fetch from (default: this machine's apt sources)")
    .option('--locks <folder>', 'build from locks of your own (image inputs --substitute): another image')
    .option('--key <pem>', 'Ed25519 private key (PKCS #8) that signs the provenance')
    .action(async ({ out, mirror, key, locks }: BuildWords) => {
      const started = performance.now();
      const seal = key === undefined ? undefined : await signer(key);
      const own = locks === undefined ? undefined : await readLocks(locks);
      const built = await buildImage({ ...buildOptions(mirror), ...(own === undefined ? {} : { lock: own.image }) });
      await writeImage(built, out, seal);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const { id, artefacts } = built.manifest;
      process.stderr.write(`${relative('.', out)}: ${mebibytes(artefacts.uki.size)}, ${seconds} s\n`);
      if (own !== undefined) await warnOf(own);
      console.log(id);
    });
}

/**
 * Warns that an image is not the published one. Its digest is another, but only an operator who
 * knows the published digest would see that.
 */
async function warnOf(own: Locks): Promise<void> {
  if (!isPublished(own, await readLocks()))
    process.stderr.write('this is NOT THE PUBLISHED IMAGE: its lock is another\n');
}

/** Makes the envelope of a statement under the key of a file. */
async function signer(path: string): Promise<(statement: string) => string> {
  const key = await readEd25519('--key', path);
  const name = ed25519Key(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32));
  return (statement) =>
    `${JSON.stringify(signEnvelope(utf8(statement), name, (message) => sign(null, message, key)))}\n`;
}

/** Build options with one line on stderr for each phase and each download. */
export function buildOptions(mirrors: readonly string[] | undefined): BuildOptions {
  return {
    ...(mirrors === undefined ? {} : { mirrors }),
    onPhase: (phase) => process.stderr.write(`${PHASES[phase]}\n`),
    onDownload: (input: LockedInput) =>
      process.stderr.write(`  ${input.name} ${input.version} (${mebibytes(input.size)})\n`),
  };
}

const PHASES: Readonly<Record<Parameters<NonNullable<BuildOptions['onPhase']>>[0], string>> = {
  fetch: 'fetching locked inputs',
  unpack: 'unpacking',
  compile: 'compiling guest, runtime and worker',
  pack: 'packing the initrd (half a minute when Node or a library changed)',
  assemble: 'assembling and measuring the image',
};

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
