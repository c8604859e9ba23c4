/**
 * A note beside a state disk: the launch whose registers its state is sealed to
 * (docs/operate/machine.md, "Sealed state").
 */

import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256Digest } from '@enclaim/attestation/digest';
import * as z from 'zod';
import { MachineError } from './error.ts';

const FILE = 'sealed-to.json';
/** Bytes. A command line has at most 2048. */
const MAX_NOTE_BYTES = 16 * 1024;

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
 * Refuses a launch that could not open the state of the folder.
 *
 * **Trust**: the note is the operator's own. It saves a boot that would be refused; the TPM is what
 * keeps the state shut.
 * @throws MachineError `state-sealed` if the state is sealed to another launch, or the note is none
 */
export async function refuseOtherLaunch(stateFolder: string, launch: SealedTo): Promise<void> {
  const path = join(stateFolder, FILE);
  const noted = await readNote(path);
  if (noted === null) return;
  const differences = [
    ...(noted.image === launch.image ? [] : [`image ${noted.image} (now ${launch.image})`]),
    ...(noted.commandLine === launch.commandLine ? [] : [commandLines(noted.commandLine, launch.commandLine)]),
  ];
  if (differences.length === 0) return;
  throw new MachineError(
    'state-sealed',
    `the state in ${stateFolder} is sealed to ${differences.join(' and ')}: this launch could not open it. ` +
      'Start it as before, or take another state folder',
  );
}

/** Whether a folder has a note of a launch, readable or not. */
export async function hasNote(stateFolder: string): Promise<boolean> {
  return (await sizeOfNote(join(stateFolder, FILE))) !== null;
}

/** Notes the launch that has sealed state in the folder. */
export async function noteLaunch(stateFolder: string, launch: SealedTo): Promise<void> {
  const [path, aside] = [join(stateFolder, FILE), join(stateFolder, `${FILE}.new`)];
  await writeFile(aside, `${JSON.stringify({ enclaim: 'sealed-to/1', ...launch }, null, 2)}\n`, { mode: 0o600 });
  await rename(aside, path);
}

/** Bytes of a note; null if there is none. */
async function sizeOfNote(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
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
