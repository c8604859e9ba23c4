/** `enclaim image measure`: reference values of an image, and the registers of a launch. */
import { bundleDigest, parseBundle } from '@enclaim/attestation/bundle';
import { launchCommandLine, predictPcrs, readUki } from '@enclaim/attestation/measure';
import type { ImageReference } from '@enclaim/attestation/references';
import { digestOfCanonical } from '@enclaim/policy-schema';
import { type Command, Option } from 'commander';
import { readInput } from '../input.ts';
import { IMAGE_FOLDER, readImageFolder } from './folder.ts';

interface MeasureOptions {
  readonly uki?: string;
  readonly bundle?: string;
  readonly boot: 'kernel' | 'disk';
  readonly commandLine?: string;
  readonly embedded?: true;
}

export function register(image: Command): void {
  image
    .command('measure')
    .description('reference values of an image; with an app bundle, the registers of its launch')
    .argument('[folder]', 'folder of the image', IMAGE_FOLDER)
    .option('--uki <file>', 'measure this file instead of a folder with a manifest')
    .option('--bundle <file>', 'app bundle to launch')
    .addOption(new Option('--boot <how>', 'how the image is loaded').choices(['kernel', 'disk']).default('kernel'))
    .addOption(
      new Option(
        '--command-line <text>',
        "command line passed at launch (default: the image's own and the policy)",
      ).conflicts('embedded'),
    )
    .option('--embedded', "no command line is passed at launch: the image's own holds")
    .action(async (folder: string, options: MeasureOptions) => {
      const reference =
        options.uki === undefined
          ? (await readImageFolder(folder)).manifest.references.tpm
          : await readUki(await readInput(options.uki));
      const launch = options.bundle === undefined ? {} : launchOf(reference, await readInput(options.bundle), options);
      console.log(JSON.stringify({ image: reference, ...launch }, null, 2));
    });
}

function launchOf(
  reference: ImageReference,
  bytes: Uint8Array,
  { boot, commandLine: given, embedded }: MeasureOptions,
): object {
  const policy = digestOfCanonical(parseBundle(bytes).policy);
  const bundle = bundleDigest(bytes);
  const commandLine = embedded ? null : (given ?? launchCommandLine(reference, policy));
  const registers = predictPcrs(reference, { boot, commandLine, policy, bundle });
  const texts = [...registers].map(([index, value]) => [index, `sha256:${value.toHex()}`]);
  return { boot, commandLine, policy, bundle, registers: Object.fromEntries(texts) };
}
