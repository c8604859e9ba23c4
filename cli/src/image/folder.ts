/** The folder of a built image, as `enclaim image build` writes it and other commands find it. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ImageError, type Manifest, parseManifest } from '@enclaim/image';

/** Where an image is written and looked for by default, below the working directory. */
export const IMAGE_FOLDER = 'out/image';

/** A manifest with the folder that its artefacts are in. */
export interface ImageFolder {
  readonly folder: string;
  readonly manifest: Manifest;
}

/** @throws ImageError `file-missing`, `manifest-invalid` */
export async function readImageFolder(folder: string): Promise<ImageFolder> {
  return readManifestFile(join(folder, 'manifest.json'));
}

/** @throws ImageError `file-missing`, `manifest-invalid` */
export async function readManifestFile(file: string): Promise<ImageFolder> {
  const text = await readFile(file, 'utf8').catch((cause) => {
    throw new ImageError('file-missing', `cannot read ${file}; enclaim image build makes one`, { cause });
  });
  return { folder: dirname(file), manifest: parseManifest(text) };
}
