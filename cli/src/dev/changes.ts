/** Watches the files of an app. Files that change together are reported together. */

import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AppSource } from '@enclaim/image';

/** An editor writes several files, and some more than once. */
const SETTLES_MS = 150;

/** Watches an app from the moment it is made. */
export class Changes implements Disposable {
  readonly #watchers: readonly FSWatcher[];
  readonly #seen = new Set<string>();
  #wake: PromiseWithResolvers<void> = Promise.withResolvers();
  #over = false;

  constructor({ policyFile, protoDir, handlersEntry }: AppSource) {
    const policy = basename(policyFile);
    this.#watchers = [
      // The folder and not the file: an editor may put another file in its place.
      this.#watch(dirname(policyFile), false, (name) => name === policy),
      this.#watch(protoDir, true, (name) => name.endsWith('.proto')),
      this.#watch(dirname(handlersEntry), true, () => true),
    ];
  }

  /** The next files that changed; undefined at the end. */
  async next(): Promise<readonly string[] | undefined> {
    await this.#wake.promise;
    if (!this.#over) await sleep(SETTLES_MS);
    if (this.#over) return undefined;
    this.#wake = Promise.withResolvers();
    const files = [...this.#seen].sort();
    this.#seen.clear();
    return files;
  }

  [Symbol.dispose](): void {
    this.#over = true;
    for (const watcher of this.#watchers) watcher.close();
    this.#wake.resolve();
  }

  #watch(folder: string, recursive: boolean, concerns: (name: string) => boolean): FSWatcher {
    return watch(folder, { recursive }, (_, name) => {
      if (name === null || !concerns(name)) return;
      this.#seen.add(join(folder, name));
      this.#wake.resolve();
    });
  }
}
