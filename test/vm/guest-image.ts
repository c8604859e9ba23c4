/** An image whose PID 1 is a program of the tests, and an app bundle of nothing for it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { buildImage, type Manifest, writeImage } from '@enclaim/image';
import type { MachineOptions, ToolOptions } from '@enclaim/image/machine';
import { wrappedTools } from './wrapped-tools.ts';

/**
 * Writes both into `folder` (the image as `image/`) and returns what boots them: by firmware and stub, or from the kernel on.
 * `source` is below the project's root.
 */
export async function makeBootable(
  folder: string,
  source: string,
  from: 'firmware' | 'kernel',
): Promise<MachineOptions> {
  const guest = { source, path: 'enclaim/guest.mjs', reason: 'test', executable: true };
  const image = await buildImage({ entries: [guest] });
  await writeImage(image, join(folder, 'image'));
  const { artefacts, references } = image.manifest;
  return {
    app: await writeEmptyApp(folder),
    boot: { kind: 'uki', uki: join(folder, 'image', artefacts.uki.file) },
    commandLine: references.tpm.commandLine,
    ...(from === 'kernel' && { tools: await withoutFirmware(folder, artefacts) }),
  };
}

/**
 * Tools that start the kernel and initrd of an image by themselves, without the firmware and the stub that would measure them.
 * That saves a part of the boot, and is for guests in which nothing depends on what was measured.
 * @param folder Where the image is, as `image/`, and where the tools are put.
 */
export function withoutFirmware(folder: string, { kernel, initrd }: Manifest['artefacts']): Promise<ToolOptions> {
  const [vmlinuz, disk] = [kernel, initrd].map(({ file }) => join(folder, 'image', file));
  return wrappedTools(
    join(folder, 'tools'),
    `case $argument in
        q35,pflash0=*) argument=q35 ;;
        *.efi) argument='${vmlinuz}' ;;
      esac`,
    ['-initrd', `${disk}`],
  );
}

/** Writes a well-formed bundle with an empty policy, and returns its path. */
export async function writeEmptyApp(folder: string): Promise<string> {
  const app = join(folder, 'app.enclaim');
  const bundle = { policy: Buffer.from('{}'), descriptors: new Uint8Array(), handlers: new Uint8Array() };
  await writeFile(app, encodeBundle(bundle));
  return app;
}
