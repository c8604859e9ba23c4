/** `enclaim image firmware`: the firmware that reference values of confidential VMs are for. */
import { join } from 'node:path';
import { fetchFirmware, projectRoot, readLock, type SiliconPlatform } from '@enclaim/image';
import { type Command, Option } from 'commander';
import { writeOutput } from '../input.ts';

interface FirmwareOptions {
  readonly platform: SiliconPlatform;
  readonly out: string;
  readonly mirror?: string[];
}

export function register(image: Command): void {
  image
    .command('firmware')
    .description("write Debian's firmware for a confidential VM, as the image starts on it")
    .addOption(new Option('--platform <name>', 'where it is launched').choices(['snp', 'tdx']).makeOptionMandatory())
    .option('--mirror <url...>', "Debian mirrors to fetch from (default: this machine's apt sources)")
    .requiredOption('-o, --out <file>', 'where to write')
    .action(async ({ platform, out, mirror }: FirmwareOptions) => {
      const lock = await readLock(join(projectRoot, 'image/lock.json'));
      await writeOutput(out, await fetchFirmware(platform, lock, mirror === undefined ? {} : { mirrors: mirror }));
    });
}
