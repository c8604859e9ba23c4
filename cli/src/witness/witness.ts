/** The decision of a witness: which checkpoints it cosigns. */

import { DecodeError, EvidenceError } from '@enclaim/attestation';
import { equalBytes } from '@enclaim/attestation/bytes';
import { rootFromConsistency } from '@enclaim/attestation/merkle';
import {
  type AddCheckpoint,
  type Checkpoint,
  formatNote,
  linesOfKeys,
  type NoteKey,
  parseAddCheckpoint,
  parseCheckpoint,
  parseNote,
  verifyNote,
  WITNESSED_SIZE_TYPE,
} from '@enclaim/attestation/tlog';
import { type CosigningKey, cosign } from './signer.ts';
import { isSameTree, type WitnessStore } from './store.ts';

/** An answer over HTTP. */
export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422 | 500;
  readonly body: string;
  readonly type?: string;
}

/** The parts of a witness. */
export interface WitnessParts {
  readonly keys: readonly CosigningKey[];
  /** Keys of each log, by origin. */
  readonly logs: ReadonlyMap<string, readonly NoteKey[]>;
  readonly store: WitnessStore;
  /** Seconds since 1970. */
  readonly now: () => number;
  /** Told of what an operator should know. */
  readonly say: (line: string) => void;
}

/** 2020: a clock before it was never set. A cosignature of the second 0 would say nothing. */
const MIN_TIME_SECONDS = 1_577_836_800;

/**
 * Cosigns each checkpoint that continues the last one of its log.
 *
 * **Spec**: C2SP tlog-witness 1.0.0. Requests for one log are answered one after another, so that
 * what is compared is what is stored.
 */
export class Witness {
  readonly #parts: WitnessParts;
  /** The end of the last request for each log. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(parts: WitnessParts) {
    this.#parts = parts;
  }

  /** Answers add-checkpoint. Whatever it answers with 200 is on the disk. */
  async add(body: string): Promise<WitnessAnswer> {
    try {
      const request = parseAddCheckpoint(body);
      const checkpoint = parseCheckpoint(parseNote(request.note).text);
      const keys = this.#parts.logs.get(checkpoint.origin);
      if (keys === undefined) return answer(404, 'unknown origin');
      const signed = await verifyNote(request.note, keys);
      if (request.old > checkpoint.size) return answer(400, 'old size above the size of the checkpoint');
      const lines = linesOfKeys(
        request.note,
        signed.verified.map(({ key }) => key),
      );
      return await this.#inTurn(checkpoint.origin, () => this.#judge(request, checkpoint, signed.text, lines));
    } catch (error) {
      if (error instanceof EvidenceError) return answer(403, error.message);
      // Of a checkpoint, only an empty tree with another root is `canonical`.
      if (error instanceof DecodeError) return answer(error.code === 'canonical' ? 422 : 400, error.message);
      throw error;
    }
  }

  async #judge(
    { old, proof }: AddCheckpoint,
    checkpoint: Checkpoint,
    text: string,
    logLines: readonly string[],
  ): Promise<WitnessAnswer> {
    const { store, keys, now, say } = this.#parts;
    const last = store.last(checkpoint.origin);
    const size = last?.checkpoint.size ?? 0;
    if (old !== size) return { status: 409, body: `${size}\n`, type: WITNESSED_SIZE_TYPE };
    // layer: one history
    if (!continues(last?.checkpoint, checkpoint, proof)) {
      await this.#tellFork(last?.checkpoint, checkpoint, formatNote(text, logLines));
      return answer(422, 'the proof does not lead from the last cosigned checkpoint to this one');
    }
    const time = now();
    if (!(time >= MIN_TIME_SECONDS)) {
      say('the clock is not set: nothing is cosigned');
      return answer(500, 'no clock');
    }
    const lines = cosign(keys, text, BigInt(time));
    // layer: stored before it is answered
    await store.keep({ checkpoint, note: formatNote(text, [...logLines, ...lines]) });
    return { status: 200, body: lines.join('') };
  }

  /** Two roots of one size under one key are proof that the log forked. */
  async #tellFork(last: Checkpoint | undefined, checkpoint: Checkpoint, note: string): Promise<void> {
    if (last === undefined || last.size !== checkpoint.size || isSameTree(last, checkpoint)) return;
    const file = await this.#parts.store.keepFork({ checkpoint, note });
    if (file !== undefined) this.#parts.say(`${checkpoint.origin} signed two trees of size ${last.size}: ${file}`);
  }

  async #inTurn<T>(origin: string, run: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(origin);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turns.set(origin, promise);
    // layer: one request for a log at a time
    await before;
    try {
      return await run();
    } finally {
      resolve();
    }
  }
}

/** Whether a proof leads from the last checkpoint to the next. Nothing is a tree of size 0. */
function continues(last: Checkpoint | undefined, next: Checkpoint, proof: readonly Uint8Array[]): boolean {
  if (last === undefined || last.size === 0) return proof.length === 0;
  if (last.size === next.size) return proof.length === 0 && isSameTree(last, next);
  const root = rootFromConsistency(last.root, last.size, next.size, proof);
  return root !== undefined && equalBytes(root, next.root);
}

function answer(status: WitnessAnswer['status'], body: string): WitnessAnswer {
  return { status, body: `${body}\n` };
}
