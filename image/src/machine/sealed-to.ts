/**
 * A note beside a state disk: the launch whose registers its state is sealed to
 * (docs/operate/machine.md, "Sealed state").
 */

import { open, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256Digest } from '@enclaim/attestation/digest';
import { epochsOn, heirsOn, LogDisk } from '@enclaim/attestation/log-disk';
import { readSuccession } from '@enclaim/attestation/succession';
import * as z from 'zod';
import { MachineError } from './error.ts';

const FILE = 'sealed-to.json';
/** The disk in a state folder. */
export const STATE_DISK = 'state.img';
/** Bytes. A command line has at most 2048. */
const MAX_NOTE_BYTES = 16 * 1024;

/** The shape of a {@link SealedTo}. */
export const sealedTo: z.ZodType<SealedTo> = z.strictObject({
  image: z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]),
  commandLine: z.string().regex(/^[ -~]{1,2048}$/),
});
const schema = z.strictObject({
  enclaim: z.literal('sealed-to/1'),
  image: z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]),
  commandLine: z.string(),
});

/** A launch, as far as it decides whether sealed state opens. */
export interface SealedTo {
  /** SHA-256 of the unified kernel image. */
  readonly image: `sha256:${string}`;
  /** The whole command line, with the policy's digest. */
  readonly commandLine: string;
}

/** The launch of a unified kernel image. */
export async function launchOf(uki: string, commandLine: string): Promise<SealedTo> {
  return { image: sha256Digest(await readFile(uki)), commandLine };
}

/**
 * Refuses a launch that could not open the state of the folder: neither the one that has it, nor
 * one that it was handed over to.
 *
 * @returns the policy that hands the state over; null where none does
 *
 * **Trust**: the note is the operator's own. It saves a boot that would be refused; the TPM is what
 * keeps the state shut.
 * @throws MachineError `state-sealed` if the state is sealed to another launch, or the note is none
 */
export async function refuseOtherLaunch(stateFolder: string, launch: SealedTo): Promise<string | null> {
  const path = join(stateFolder, FILE);
  const noted = await readNote(path);
  if (noted === null) return null;
  const differences = [
    ...(noted.image === launch.image ? [] : [`image ${noted.image} (now ${launch.image})`]),
    ...(noted.commandLine === launch.commandLine ? [] : [commandLines(noted.commandLine, launch.commandLine)]),
  ];
  if (differences.length === 0) return null;
  const predecessor = await predecessorOf(stateFolder, launch);
  if (predecessor !== null) return predecessor;
  throw new MachineError(
    'state-sealed',
    `the state in ${stateFolder} is sealed to ${differences.join(' and ')}: this launch could not open it. ` +
      'Start it as before, pass the state on first (enclaim policy succession), or take another state folder',
  );
}

/**
 * The launch that the state of a folder is sealed to, by its note; null without one.
 * @throws MachineError `state-sealed` if the note is none
 */
export async function launchNote(stateFolder: string): Promise<SealedTo | null> {
  const noted = await readNote(join(stateFolder, FILE));
  return noted === null ? null : { image: noted.image, commandLine: noted.commandLine };
}

/** Whether a folder has a note of a launch, readable or not. */
export async function hasNote(stateFolder: string): Promise<boolean> {
  return (await sizeOfNote(join(stateFolder, FILE))) !== null;
}

/** The policy under which a disk's state was handed over to a launch; null where it was not. */
async function predecessorOf(stateFolder: string, { image, commandLine }: SealedTo): Promise<string | null> {
  try {
    await using file = await open(join(stateFolder, STATE_DISK), 'r');
    const { size } = await file.stat();
    const read = async (at: number, length: number): Promise<Uint8Array> => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
      return buffer.subarray(0, bytesRead);
    };
    const disk = new LogDisk(read, size);
    const epochs = await epochsOn(disk);
    for (const { epoch, slot, succession } of await heirsOn(disk)) {
      // One that a later index was written over, or that belongs to none.
      if (epochs[slot] !== epoch || epochs.some((other) => other !== null && other > epoch)) continue;
      const { from, to } = readSuccession(succession).file.document;
      if (to.image.id === image && to.commandLine === commandLine) return from.policy;
    }
  } catch {
    // A disk that cannot be read hands nothing over.
  }
  return null;
}

/** Notes the launch that has sealed state in the folder. */
export async function noteLaunch(stateFolder: string, launch: SealedTo): Promise<void> {
  const [path, aside] = [join(stateFolder, FILE), join(stateFolder, `${FILE}.new`)];
  const text = `${JSON.stringify({ enclaim: 'sealed-to/1', ...launch }, null, 2)}\n`;
  await writeFile(aside, text, { mode: 0o600, flush: true });
  await rename(aside, path);
}

/** Bytes of a note; null if there is none. */
async function sizeOfNote(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new MachineError('disk-missing', `${path} cannot be read: ${message}`, { cause: error });
  }
}

async function readNote(path: string): Promise<SealedTo | null> {
  const size = await sizeOfNote(path);
  if (size === null) return null;
  try {
    if (size > MAX_NOTE_BYTES) throw new RangeError(`${size} bytes`);
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw new MachineError('state-sealed', `${path} does not say what the state is sealed to`, { cause });
  }
}

/** The words of two command lines that the other does not have. */
function commandLines(noted: string, now: string): string {
  const [before, after] = [noted.split(' '), now.split(' ')];
  const gone = before.filter((word) => !after.includes(word)).join(' ');
  const come = after.filter((word) => !before.includes(word)).join(' ');
  return `a command line with ${gone || 'fewer or other words'} (now ${come || 'without'})`;
}
