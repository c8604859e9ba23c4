/** The runtime on a developer's machine (`enclaim dev`): nothing of this folder is part of an image. */

export type { AuthorNote } from '../worker/realm/inside.ts';
export { confinementHere, type Layers } from './layers.ts';
export { makeDeveloperKey, readDeveloperKey, simulatedPlatform } from './platform.ts';
export { startAuthorsWorkers } from './workers.ts';
