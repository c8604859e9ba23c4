/** `enclaim image ls`: what is in the base image, and why. */
import type { Command } from 'commander';
import { IMAGE_FOLDER, readImageFolder } from './folder.ts';

export function register(image: Command): void {
  image
    .command('ls')
    .description('list everything in the base image, with its reason')
    .argument('[folder]', 'folder of the image', IMAGE_FOLDER)
    .option('--json', 'as JSON, with digests and origins')
    .action(async (folder: string, { json }: { json?: true }) => {
      const { sections, contents } = (await readImageFolder(folder)).manifest;
      if (json) {
        console.log(JSON.stringify({ sections, contents }, null, 2));
        return;
      }
      const parts = sections.map(({ name, size, reason }) => ({ mode: 'uki', size, path: name, reason }));
      const files = contents.map(({ mode, size, path, reason }) => ({ mode, size, path: `/${path}`, reason }));
      const width = Math.max(...[...parts, ...files].map(({ path }) => path.length));
      for (const { mode, size, path, reason } of [...parts, ...files]) {
        console.log(`${mode.padEnd(5)} ${String(size).padStart(9)}  ${path.padEnd(width)}  ${reason}`);
      }
    });
}
