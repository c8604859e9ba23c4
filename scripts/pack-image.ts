/**
 * Builds the base image for the tests of a run: into the folder that `ENCLAIM_TEST_IMAGE` names, if
 * one is named, and its segments into the cache, from which other builds take them. Tests that
 * build an image at once would each pack them, which takes a minute of processor.
 */

import { buildImage, writeImage } from '../image/src/index.ts';

try {
  const image = await buildImage();
  const folder = process.env.ENCLAIM_TEST_IMAGE;
  if (folder !== undefined) await writeImage(image, folder);
} catch (error) {
  // A test that needs the image says why there is none.
  console.error(`the image is not packed: ${(error as Error).message}`);
}
