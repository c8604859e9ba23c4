/** The image as it ships, built once for all test files of a run. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { buildImage } from '../../image/src/build/build.ts';
import type { Image } from '../../image/src/index.ts';
import { readImage } from '../reproduce/checkout.ts';

/** As scripts/pack-image.ts wrote it at the beginning of this run; built here where nobody did. */
export async function shippedImage(): Promise<Image> {
  const folder = process.env.ENCLAIM_TEST_IMAGE;
  const isThere = folder !== undefined && existsSync(join(folder, 'manifest.json'));
  return isThere ? readImage(folder) : buildImage();
}
