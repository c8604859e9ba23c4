/** Logs that grow, fork and sign, and witnesses over them, for tests. */

import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8 } from '../../attestation/src/bytes.ts';
import { consistencyPath, leafHash, merkleRoot } from '../../attestation/src/merkle.ts';
import {
  formatAddCheckpoint,
  formatCheckpoint,
  formatNote,
  type NoteKey,
  noteKey,
  signatureLine,
} from '../../attestation/src/tlog/index.ts';
import { type ServedWitness, serveWitness } from '../../cli/src/witness/server.ts';
import { type CosigningKey, cosigningKey } from '../../cli/src/witness/signer.ts';
import { WitnessStore } from '../../cli/src/witness/store.ts';
import { Witness } from '../../cli/src/witness/witness.ts';

/** A log under one key that signs any tree: `branch` names the tree, whose leaves differ from `forkAt` on. */
export class TestLog {
  readonly origin: string;
  readonly key: NoteKey;
  readonly #privateKey;

  constructor(origin = 'example.com/log') {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    this.origin = origin;
    this.#privateKey = privateKey;
    const spki = publicKey.export({ format: 'der', type: 'spki' });
    this.key = noteKey(origin, 'ed25519', Uint8Array.from(spki.subarray(-32)));
  }

  leaves(size: number, branch = '', forkAt = 0): Uint8Array[] {
    return Array.from({ length: size }, (_, i) => leafHash(utf8(`${i < forkAt ? '' : branch}leaf ${i}`)));
  }

  note(size: number, branch = '', forkAt = 0): string {
    const root = merkleRoot(this.leaves(size, branch, forkAt));
    return this.signed(formatCheckpoint({ origin: this.origin, size, root, extensions: [] }));
  }

  signed(text: string): string {
    return formatNote(text, [signatureLine(this.key, sign(null, utf8(text), this.#privateKey))]);
  }

  proof(old: number, size: number, branch = '', forkAt = 0): Uint8Array[] {
    return old === 0 ? [] : consistencyPath(this.leaves(size, branch, forkAt), old);
  }

  request(old: number, size: number, branch = '', forkAt = 0): string {
    return formatAddCheckpoint({
      old,
      proof: this.proof(old, size, branch, forkAt),
      note: this.note(size, branch, forkAt),
    });
  }
}

/** Keys of a witness, of both kinds. */
export function witnessKeys(name = 'example.com/witness'): CosigningKey[] {
  return [generateKeyPairSync('ed25519'), generateKeyPairSync('ml-dsa-44')].map(({ privateKey }) =>
    cosigningKey(name, privateKey),
  );
}

/** A served witness with what tests look at. */
export interface TestWitness extends ServedWitness, AsyncDisposable {
  readonly keys: readonly CosigningKey[];
  readonly folder: string;
  readonly said: string[];
}

/** Serves a witness of some logs on loopback. A folder that it made goes with it. */
export async function openWitness(
  logs: readonly Pick<TestLog, 'origin' | 'key'>[],
  options: { readonly keys?: readonly CosigningKey[]; readonly folder?: string; readonly now?: () => number } = {},
): Promise<TestWitness> {
  const { keys = witnessKeys(), now = () => Math.floor(Date.now() / 1000) } = options;
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'enclaim-witness-')));
  const known = new Map(logs.map((log) => [log.origin, [log.key]]));
  const store = await WitnessStore.open(folder, known.keys(), keys);
  const said: string[] = [];
  const witness = new Witness({ keys, logs: known, store, now, say: (line) => said.push(line) });
  const served = await serveWitness(witness, store, known.keys(), { host: '127.0.0.1', port: 0 });
  const end = async (): Promise<void> => {
    await served.close();
    if (options.folder === undefined) await rm(folder, { recursive: true });
  };
  return { ...served, keys, folder, said, [Symbol.asyncDispose]: end };
}
