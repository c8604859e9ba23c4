/**
 * `enclaim image measure`: reference values of an image on each platform and, with an app bundle,
 * the measurements of its launch.
 */
import { bundleDigest, parseBundle } from '@enclaim/attestation/bundle';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import { type Command, Option } from 'commander';
import { collect, readInput, writeOutput } from '../input.ts';
import { UsageError } from '../usage-error.ts';
import { type CorimOptions, launchCorim } from './corim.ts';
import { IMAGE_FOLDER } from './folder.ts';
import { type App, LAUNCHES, type LaunchOptions, type LaunchPlatform } from './launch.ts';

interface MeasureOptions extends LaunchOptions, CorimOptions {
  readonly platform: LaunchPlatform;
  readonly bundle?: string;
  readonly corim?: string;
}

/**
 * Options that mean something on one platform alone. On another platform they would be ignored, so
 * they are refused.
 */
const OWN: Readonly<Record<LaunchPlatform, readonly (keyof LaunchOptions)[]>> = {
  tpm: ['boot', 'commandLine', 'embedded'],
  snp: ['firmwareDigest', 'vcpus', 'cpu', 'vmm', 'features', 'tcbFloors', 'idKey', 'authorKey'],
  tdx: ['memory', 'acpiTables', 'initrdWord'],
};

export function register(image: Command): void {
  image
    .command('measure')
    .description('reference values of an image; with an app bundle, what its launch measures')
    .argument('[folder]', 'folder of the image', IMAGE_FOLDER)
    .addOption(new Option('--platform <name>', 'where it is launched').choices(['tpm', 'snp', 'tdx']).default('tpm'))
    .option('--uki <file>', 'measure this file instead of a folder with a manifest')
    .option('--bundle <file>', 'app bundle to launch')
    .addOption(new Option('--boot <how>', 'tpm: how the image is loaded (default: kernel)').choices(['kernel', 'disk']))
    .addOption(
      new Option(
        '--command-line <text>',
        "tpm: command line passed at launch (default: the image's own and the policy)",
      ).conflicts('embedded'),
    )
    .option('--embedded', "tpm: no command line is passed at launch: the image's own holds")
    .option('--firmware <file>', "snp, tdx: OVMF build of the launch (default: Debian's, as the manifest has it)")
    .option('--firmware-digest <digest>', 'snp: sha384:… of its pages, where a cloud publishes that and not the file')
    .option('--vcpus <number>', 'snp: processors of an accepted launch, by default 2; repeatable', collect, [])
    .option('--cpu <model>', 'snp: model of the processors in QEMU, or CPUID signature in hex (default: EPYC-v4)')
    .addOption(new Option('--vmm <name>', 'snp: hypervisor (default: qemu)').choices(['qemu', 'ec2', 'gce']))
    .option('--features <hex>', 'snp: SEV_FEATURES (default: 1)')
    .option('--tcb-floors <file>', 'snp: lowest accepted TCB versions by product line (JSON), or "any"')
    .option(
      '--id-key <digest>',
      'snp: sha384:… of an accepted key of ID blocks (default: any); repeatable',
      collect,
      [],
    )
    .option('--author-key <digest>', 'snp: sha384:… of a key that certifies it; repeatable', collect, [])
    .option('--memory <MiB>', 'tdx: memory of the machine (default: 1024)')
    .option('--acpi-tables <file>', "tdx: QEMU's etc/acpi/tables; without it three events of RTMR0 stay open")
    .addOption(
      new Option(
        '--initrd-word <where>',
        'tdx: where OVMF names the initrd; last before 2026 (default: first)',
      ).choices(['first', 'last']),
    )
    .option('--corim <file>', 'write the measurements as CoRIM; needs --bundle')
    .option('--key <pem>', 'Ed25519 private key (PKCS #8) that signs the CoRIM')
    .option('--signer <name>', 'who signs, for people', 'image')
    .option('--not-before <time>', 'from when the signature holds (RFC 3339)')
    .option('--not-after <time>', 'until when (RFC 3339)')
    .action(measure);
}

async function measure(folder: string, options: MeasureOptions): Promise<void> {
  refuseForeign(options);
  const app = options.bundle === undefined ? null : appOf(await readInput(options.bundle));
  const { document, measurements } = await LAUNCHES[options.platform](folder, options, app);
  if (options.corim !== undefined) {
    if (measurements === null) throw new UsageError('--corim needs --bundle: measurements are of a launch');
    await writeOutput(options.corim, await launchCorim(options.platform, measurements, options));
  }
  console.log(JSON.stringify(document, null, 2));
}

function refuseForeign(options: MeasureOptions): void {
  const { platform } = options;
  const foreign: (keyof LaunchOptions)[] = Object.entries(OWN).flatMap(([name, own]) => (name === platform ? [] : own));
  const given = (name: keyof MeasureOptions): boolean => {
    const value = options[name];
    return Array.isArray(value) ? value.length > 0 : value !== undefined;
  };
  const found = platform === 'tpm' && options.firmware !== undefined ? 'firmware' : foreign.find(given);
  if (found !== undefined) throw new UsageError(`--${dashed(found)} means nothing on platform ${platform}`);
  const unused = (['key', 'notBefore', 'notAfter'] as const).find(given);
  if (options.corim === undefined && unused !== undefined) throw new UsageError(`--${dashed(unused)} needs --corim`);
}

function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function appOf(bytes: Uint8Array): App {
  return { policy: digestOfCanonical(parseBundle(bytes).policy), bundle: bundleDigest(bytes) };
}
