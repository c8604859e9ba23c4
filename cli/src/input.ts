/** Files that commands read and write. */

import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { parseReferences, type References } from '@enclaim/attestation';
import { type Demand, parseDemand } from '@enclaim/policy-schema';
import { UsageError } from './usage-error.ts';

/** A file's bytes. @throws UsageError where it cannot be read */
export async function readInput(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new UsageError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** Writes a file whole or not at all. */
export async function writeOutput(path: string, content: Uint8Array | string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, content);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new UsageError(`${path} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** References from a file. @throws UsageError, AppraisalError */
export async function readReferences(path: string): Promise<References> {
  return parseReferences(await readInput(path));
}

/** Demands from the command line. @throws DemandError */
export function readDemands(texts: readonly string[]): Demand[] {
  return texts.map((text) => parseDemand(text));
}

/** For commander: collects a repeatable option. */
export function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}
