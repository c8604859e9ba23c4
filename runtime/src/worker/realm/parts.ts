/**
 * The parts of the realm. Each is evaluated there by its source text, so it refers to nothing
 * around it: what it needs of another part is handed to it by the bridge.
 */

import { authorNotes } from './author-notes.ts';
import { boundBuffers } from './bound-buffers.ts';
import { bundleInstances } from './bundle-instances.ts';
import { chacha20 } from './chacha20.ts';
import { freezeRealm } from './freeze.ts';
import { handlerContext } from './handler-context.ts';
import { handlerRun } from './handler-run.ts';
import { liveMap } from './live-map.ts';
import { openCalls } from './open-calls.ts';
import { realmOutbox } from './outbox.ts';
import { pendingOperations } from './pending-operations.ts';
import { removeState } from './remove-state.ts';
import { statuses } from './status-error.ts';
import { stillClock } from './still-clock.ts';
import { textCodec } from './text-codec.ts';

/** The parts, for the bridge. */
export interface RealmParts {
  readonly authorNotes: typeof authorNotes;
  readonly boundBuffers: typeof boundBuffers;
  readonly bundleInstances: typeof bundleInstances;
  readonly chacha20: typeof chacha20;
  readonly freezeRealm: typeof freezeRealm;
  readonly handlerContext: typeof handlerContext;
  readonly handlerRun: typeof handlerRun;
  readonly liveMap: typeof liveMap;
  readonly openCalls: typeof openCalls;
  readonly pendingOperations: typeof pendingOperations;
  readonly realmOutbox: typeof realmOutbox;
  readonly removeState: typeof removeState;
  readonly statuses: typeof statuses;
  readonly stillClock: typeof stillClock;
  readonly textCodec: typeof textCodec;
}

const PARTS: RealmParts = {
  authorNotes,
  boundBuffers,
  bundleInstances,
  chacha20,
  freezeRealm,
  handlerContext,
  handlerRun,
  liveMap,
  openCalls,
  pendingOperations,
  realmOutbox,
  removeState,
  statuses,
  stillClock,
  textCodec,
};

/** An expression of all parts, by their names. */
export function partsText(): string {
  const members = Object.entries(PARTS).map(([name, part]) => `${name}: ${part}`);
  return `{ ${members.join(',\n')} }`;
}
