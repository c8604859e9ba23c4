/** An image whose PID 1 is a program of the tests, and an app bundle of nothing for it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { buildImage, writeImage } from '@enclaim/image';
import type { MachineOptions } from '@enclaim/image/machine';

/** Writes both into `folder` (the image as `image/`) and returns what boots them. `source` is below the project's root. */
export async function makeBootable(folder: string, source: string): Promise<MachineOptions> {
  const guest = { source, path: 'enclaim/guest.mjs', reason: 'test', executable: true };
  const image = await buildImage({ entries: [guest] });
  await writeImage(image, join(folder, 'image'));
  const { artefacts, references } = image.manifest;
  return {
    app: await writeEmptyApp(folder),
    boot: { kind: 'uki', uki: join(folder, 'image', artefacts.uki.file) },
    commandLine: references.tpm.commandLine,
  };
}

/** Writes a well-formed bundle with an empty policy, and returns its path. */
export async function writeEmptyApp(folder: string): Promise<string> {
  const app = join(folder, 'app.enclaim');
  const bundle = { policy: Buffer.from('{}'), descriptors: new Uint8Array(), handlers: new Uint8Array() };
  await writeFile(app, encodeBundle(bundle));
  return app;
}
