/** The last checkpoint of each log that a witness has cosigned, on the disk. */

import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { equalBytes } from '@enclaim/attestation/bytes';
import { type Checkpoint, parseCheckpoint, verifyNote, witnessedPath } from '@enclaim/attestation/tlog';
import { UsageError } from '../usage-error.ts';
import type { CosigningKey } from './signer.ts';

/** A checkpoint that this witness has cosigned. */
export interface Witnessed {
  readonly checkpoint: Checkpoint;
  /** With the signatures of the log and of this witness. */
  readonly note: string;
}

/**
 * The last checkpoints, in memory and in a folder, one file each.
 *
 * **Trust**: the folder is the operator's. A file that this witness did not sign is refused at
 * start; an older one of its own cannot be told from the last one.
 */
export class WitnessStore {
  readonly #folder: string;
  readonly #last = new Map<string, Witnessed>();

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Reads what was cosigned before.
   * @throws UsageError for a file that is no checkpoint of its log under one of these keys. To
   * begin anew would allow a fork.
   */
  static async open(folder: string, origins: Iterable<string>, keys: readonly CosigningKey[]): Promise<WitnessStore> {
    const store = new WitnessStore(folder);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const origin of origins) {
      const file = store.#file(origin);
      const note = await readOrNull(file);
      if (note !== null) store.#last.set(origin, await readWitnessed(file, note, origin, keys));
    }
    return store;
  }

  last(origin: string): Witnessed | undefined {
    return this.#last.get(origin);
  }

  /**
   * Makes a checkpoint the last one; when it resolves, no loss of power takes it back.
   * @throws Error if the file is not as this store left it: another process writes there
   */
  async keep(witnessed: Witnessed): Promise<void> {
    const { origin } = witnessed.checkpoint;
    const file = this.#file(origin);
    if ((await readOrNull(file)) !== (this.#last.get(origin)?.note ?? null)) {
      throw new Error(`${file} was changed by another process`);
    }
    await writeDurably(file, witnessed.note);
    this.#last.set(origin, witnessed);
  }

  /** Keeps the first checkpoint that contradicts a cosigned one, as evidence against its log. */
  async keepFork({ checkpoint, note }: Witnessed): Promise<string | undefined> {
    const file = join(dirname(this.#file(checkpoint.origin)), 'fork');
    if ((await readOrNull(file)) !== null) return undefined;
    await writeDurably(file, note);
    return file;
  }

  #file(origin: string): string {
    return join(this.#folder, witnessedPath(origin));
  }
}

async function readWitnessed(
  file: string,
  note: string,
  origin: string,
  keys: readonly CosigningKey[],
): Promise<Witnessed> {
  try {
    const { text } = await verifyNote(
      note,
      keys.map(({ key }) => key),
    );
    const checkpoint = parseCheckpoint(text);
    if (checkpoint.origin === origin) return { checkpoint, note };
    throw new TypeError(`a checkpoint of ${checkpoint.origin}`);
  } catch (cause) {
    throw new UsageError(`${file} is not what this witness cosigned last: ${(cause as Error).message}`, { cause });
  }
}

/** Writes content, then its name, then the folder's entry: each on the disk before the next. */
async function writeDurably(file: string, content: string): Promise<void> {
  const folder = dirname(file);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = `${file}.tmp`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  await syncFolder(folder);
  await syncFolder(dirname(folder));
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Whether two checkpoints are of one tree: the same size, the same root. */
export function isSameTree(one: Checkpoint, other: Checkpoint): boolean {
  return one.size === other.size && equalBytes(one.root, other.root);
}
