/** `enclaim image build`: the base image from its lock. */
import { relative } from 'node:path';
import { type BuildOptions, buildImage, type LockedInput, writeImage } from '@enclaim/image';
import type { Command } from 'commander';
import { IMAGE_FOLDER } from './folder.ts';

export function register(image: Command): void {
  image
    .command('build')
    .description('build the base image from locked inputs; the same bytes everywhere')
    .option('-o, --out <folder>', 'where to write it', IMAGE_FOLDER)
    .option('--mirror <url...>', "Debian mirrors to fetch from (default: this machine's apt sources)")
    .action(async ({ out, mirror }: { out: string; mirror?: string[] }) => {
      const started = performance.now();
      const built = await buildImage(buildOptions(mirror));
      await writeImage(built, out);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const { id, artefacts } = built.manifest;
      process.stderr.write(`${relative('.', out)}: ${mebibytes(artefacts.uki.size)}, ${seconds} s\n`);
      console.log(id);
    });
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
