/** The keeper of the machine that the supervisor holds, asked over the control socket. */

import { fromBase64, toBase64 } from '@enclaim/attestation/bytes';
import type { BootMessage, FromRuntime, ToRuntime } from './control.ts';
import { RefusalError } from './errors.ts';
import {
  EPOCH_KEY_BYTES,
  type HeirKeeper,
  type Keeper,
  MAX_BLOB_BYTES,
  statedPassage,
} from './storage/sealed/keeper.ts';

/** The answers that are an answer to some question. */
export type Answer = Exclude<ToRuntime, BootMessage | { readonly kind: 'drain' }>;

/** Sends a question, and resolves with its answer of that kind. */
export type Ask = <K extends Answer['kind']>(
  kind: K,
  question: (id: number) => FromRuntime,
) => Promise<Extract<Answer, { kind: K }>>;

/**
 * A keeper behind the supervisor.
 *
 * **Leak**: keys cross the socket between the two processes, as text that the engine wipes when it
 * likes. Both are in the VM's memory, where keys lie anyway.
 */
export function askedKeeper(kind: Keeper['kind'], ask: Ask): Keeper {
  return {
    kind,
    epoch: () => refusing(async () => (await ask('epoch', (id) => ({ kind: 'epoch', id }))).epoch),
    seal: (key, epoch) =>
      refusing(async () => {
        const { blob } = await ask('sealed', (id) => ({ kind: 'seal', id, key: toBase64(key), epoch }));
        return fromBase64(blob);
      }),
    open: (blob) =>
      refusing(async () => {
        // These bytes are from the host's disk, and no message of the runtime is of any size.
        if (blob.length > MAX_BLOB_BYTES) throw new Error(`a blob of ${blob.length} bytes`);
        const { key } = await ask('opened', (id) => ({ kind: 'open', id, blob: toBase64(blob) }));
        const bytes = fromBase64(key);
        if (bytes.length !== EPOCH_KEY_BYTES) throw new Error(`a key of ${bytes.length} bytes`);
        return bytes;
      }),
    advance: () => refusing(async () => (await ask('epoch', (id) => ({ kind: 'advance', id }))).epoch),
    recover: (recovery) =>
      refusing(async () => {
        await ask('recovered', (id) => ({ kind: 'recover', id, recovery }));
      }),
    heirs: askedHeirs(ask),
  };
}

function askedHeirs(ask: Ask): HeirKeeper {
  return {
    handOver: (key, passage) =>
      refusing(async () => {
        const asked = { key: toBase64(key), passage: statedPassage(passage) };
        return fromBase64((await ask('sealed', (id) => ({ kind: 'bequeath', id, ...asked }))).blob);
      }),
    takeOver: (blob, passage) =>
      refusing(async () => {
        if (blob.length > MAX_BLOB_BYTES) throw new Error(`a blob of ${blob.length} bytes`);
        const asked = { blob: toBase64(blob), passage: statedPassage(passage) };
        const bytes = fromBase64((await ask('opened', (id) => ({ kind: 'inherit', id, ...asked }))).key);
        if (bytes.length !== EPOCH_KEY_BYTES) throw new Error(`a key of ${bytes.length} bytes`);
        return bytes;
      }),
    epochOfHeir: (passage) =>
      refusing(async () => (await ask('epoch', (id) => ({ kind: 'heir', id, passage: statedPassage(passage) }))).epoch),
    resume: (passage) =>
      refusing(async () => {
        await ask('resumed', (id) => ({ kind: 'resume', id, passage: statedPassage(passage) }));
      }),
    retire: (passage, epoch) =>
      refusing(async () => {
        await ask('retired', (id) => ({ kind: 'retire', id, passage: statedPassage(passage), epoch }));
      }),
  };
}

async function refusing<T>(use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (cause) {
    throw new RefusalError('keeper', (cause as Error).message, { cause });
  }
}
