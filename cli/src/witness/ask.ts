/** `enclaim witness ask`: cosignatures for the checkpoint of a log in a folder of tiles. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EvidenceError } from '@enclaim/attestation';
import {
  formatNote,
  linesOfKeys,
  noteFromBytes,
  parseCheckpoint,
  parseNoteKey,
  parseTlogPolicy,
  type Tile,
  TileTree,
  tilePath,
  verifyNote,
} from '@enclaim/attestation/tlog';
import { type CourierCheckpoint, gatherCosignatures } from '@enclaim/client/witness';
import { readInput, writeOutput } from '../input.ts';
import { UsageError } from '../usage-error.ts';

/** Options of the command. */
export interface AskCommand {
  readonly logKey: string;
  readonly policy: string;
  readonly out?: string;
  readonly json?: true;
}

/**
 * Has the witnesses of a policy cosign a folder's checkpoint, and writes it with their signatures.
 * @throws EvidenceError `chain` if they do not reach the quorum; what they gave is written all the
 * same
 */
export async function ask(folder: string, { logKey, policy, out, json }: AskCommand): Promise<void> {
  if (json && out === '-') throw new UsageError('--json and --out - both write standard output');
  const file = join(folder, 'checkpoint');
  const checkpoint = await readSigned(folder, file, logKey);
  const witnesses = parseTlogPolicy(await readInput(policy));
  const { note, reached, failures } = await gatherCosignatures(witnesses, checkpoint);
  const told = failures.map(({ code, message }) => ({ code, message }));
  if (!json) for (const { code, message } of told) console.error(`witness: ${code}: ${message}`);
  await writeOutput(out ?? file, note);
  if (json) console.log(JSON.stringify({ reached, quorum: witnesses.quorum, failures: told }));
  if (!reached) throw new EvidenceError('chain', `the cosignatures do not reach the quorum ${witnesses.quorum}`);
}

/** The checkpoint under the log's key, without the cosignatures of before, and its proofs. */
async function readSigned(folder: string, file: string, logKey: string): Promise<CourierCheckpoint> {
  const key = parseNoteKey(logKey);
  const signed = noteFromBytes(await readInput(file));
  const { text } = await verifyNote(signed, [key]);
  const { origin, size } = parseCheckpoint(text);
  if (origin !== key.name) throw new UsageError(`${file} is of ${origin}, the key of ${key.name}`);
  const tree = new TileTree(size, (tile) => readTile(folder, tile));
  const note = formatNote(text, linesOfKeys(signed, [key]));
  return { note, consistency: (old) => tree.consistency(old) };
}

/** A tile's bytes. A partial tile may have been deleted once the full one was there. */
async function readTile(folder: string, tile: Tile): Promise<Uint8Array> {
  try {
    return await readFile(join(folder, tilePath(tile)));
  } catch (cause) {
    const whole = await readFile(join(folder, tilePath({ ...tile, width: 256 }))).catch(() => undefined);
    if (whole === undefined) throw new UsageError(`${folder} has no ${tilePath(tile)}`, { cause });
    return whole.subarray(0, tile.width * 32);
  }
}
