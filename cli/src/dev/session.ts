/**
 * An app on its author's machine: built as for a VM, served by the real runtime, and built again
 * when a file changes.
 */

import { lookup } from 'node:dns/promises';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { References } from '@enclaim/attestation';
import { parseBundle } from '@enclaim/attestation/bundle';
import { capacityOf, ONE_WORKER, WORKER_HEAP } from '@enclaim/guest/worker-share';
import { type AppSource, type BuiltBundle, buildBundle, mapApp } from '@enclaim/image';
import { type Runtime, startRuntime } from '@enclaim/runtime';
import {
  type AuthorNote,
  type Layers,
  makeDeveloperKey,
  readDeveloperKey,
  SessionKeeper,
  simulatedPlatform,
  startAuthorsWorkers,
} from '@enclaim/runtime/dev';
import { openDevice } from '@enclaim/runtime/device';
import { hindrancesTo } from '@enclaim/runtime/hindrances';
import { tryHandlers } from '../image/handler-trial.ts';
import { writeOutput } from '../input.ts';
import { SourcePlaces, shownFailure, shownNote } from './author.ts';

/** Bytes of the log, which begins anew with each session. */
const LOG_CAPACITY = 256 * 1024 * 1024;

/** Files that a session keeps in its folder. */
export interface SessionFiles {
  readonly key: string;
  readonly references: string;
  readonly log: string;
}

/**
 * Makes the folder, with a key of its own if there is none yet. Nothing of it belongs into a
 * repository.
 */
export async function openFolder(folder: string): Promise<SessionFiles> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  const [key, references, log, ignore] = ['key.pem', 'references.json', 'log', '.gitignore'].map((name) =>
    join(folder, name),
  ) as [string, string, string, string];
  await writeFile(ignore, '*\n');
  await writeFile(key, makeDeveloperKey(), { flag: 'wx', mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await writeFile(log, '');
  return { key, references, log };
}

/** State of a session, for one policy at a time: as in a VM, another finds it sealed. */
export class SessionState {
  readonly #log: string;
  readonly #tell: (line: string) => void;
  #policy: string | undefined;
  #keeper = new SessionKeeper();

  /** @param log the session's log, which is empty */
  constructor(log: string, tell: (line: string) => void) {
    this.#log = log;
    this.#tell = tell;
  }

  /** The keeper of a policy's state, which begins anew if another policy was served before. */
  async under(policy: string): Promise<SessionKeeper> {
    if (this.#policy !== undefined && this.#policy !== policy) {
      this.#tell('state      begins anew: what is sealed under one policy opens under no other');
      await writeFile(this.#log, '');
      this.#keeper = new SessionKeeper();
    }
    this.#policy = policy;
    return this.#keeper;
  }
}

/** An app that was built, and can be served. */
export interface BuiltApp {
  readonly bundle: BuiltBundle;
  readonly places: SourcePlaces;
}

/**
 * Builds an app with all checks of `enclaim bundle`.
 * @throws PolicyError, ImageError, HandlersError
 */
export async function buildApp(app: AppSource): Promise<BuiltApp> {
  const bundle = await buildBundle(app, (read, matched) => hindrancesTo(read, matched, ONE_WORKER));
  await tryHandlers(parseBundle(bundle.bytes).handlers, bundle.match);
  return { bundle, places: new SourcePlaces(await mapApp(app)) };
}

/** How a built app is served here. */
export interface ServeOptions {
  readonly files: SessionFiles;
  readonly state: SessionState;
  readonly layers: Layers;
  readonly port: number;
  readonly tell: (line: string) => void;
}

/** Tells an author about the handlers' notes, and once in a session that the VM has no console. */
function heardBy(tell: (line: string) => void, places: SourcePlaces): (note: AuthorNote) => void {
  let warned = false;
  return (note) => {
    if (note.kind === 'console' && note.level !== 'worker' && !warned) {
      warned = true;
      tell('console    is there in development alone: in the VM, a call that reaches it ends in INTERNAL');
    }
    tell(shownNote(note, places));
  };
}

/**
 * Serves an app until it is closed, and writes the references that accept this very boot's policy,
 * bundle and key.
 */
export async function serveApp({ bundle, places }: BuiltApp, options: ServeOptions): Promise<Runtime> {
  const { files, state, layers, port, tell } = options;
  const { platform, name } = simulatedPlatform(readDeveloperKey(await readFile(files.key, 'utf8')));
  await using cleanup = new AsyncDisposableStack();
  const device = cleanup.adopt(await openDevice(files.log), (file) => file.close());
  const runtime = await startRuntime({
    platform,
    keeper: await state.under(bundle.policy),
    bundle: { ...parseBundle(bundle.bytes), policyDigest: bundle.policy, digest: bundle.digest },
    image: 'enclaim-dev',
    log: { device, capacity: LOG_CAPACITY },
    workers: {
      factory: startAuthorsWorkers({ layers, heap: WORKER_HEAP, note: heardBy(tell, places) }),
      size: 1,
      missing: layers.missing,
      capacity: capacityOf(1),
    },
    listen: { host: '127.0.0.1', port },
    resolve: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
    onFailure: (method, error, id) => tell(shownFailure(method, error, id)),
  });
  cleanup.defer(() => runtime.close());
  const references: References = {
    enclaim: 'references/1',
    images: [],
    policy: bundle.policy,
    bundles: [bundle.digest],
    owner: 'any',
    unsafeUnconfined: layers.missing,
    anchors: {
      ...{ attestationKeys: [], endorsementRoots: [], unsafeSwtpmRoots: [], certificates: [] },
      unsafeSimulatedKeys: [name],
    },
  };
  await writeOutput(files.references, `${JSON.stringify(references, undefined, 2)}\n`);
  const parts = cleanup.move();
  return { ...runtime, close: () => parts.disposeAsync() };
}
