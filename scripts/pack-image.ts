/**
 * Builds the base image and keeps nothing of it but the segments that builds take from the cache.
 * Tests that build an image at once would each pack them, which takes a minute of processor.
 */

import { buildImage } from '../image/src/index.ts';

try {
  await buildImage();
} catch (error) {
  // A test that needs the image says why there is none.
  console.error(`the image is not packed: ${(error as Error).message}`);
}
