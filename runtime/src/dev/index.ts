/** The runtime on a developer's machine (`enclaim dev`). No part of this folder is in an image. */

export type { AuthorNote } from '../worker/realm/author-notes.ts';
export { SessionKeeper } from './keeper.ts';
export { confinementHere, type Layers } from './layers.ts';
export { makeDeveloperKey, readDeveloperKey, simulatedPlatform } from './platform.ts';
export { startAuthorsWorkers } from './workers.ts';
