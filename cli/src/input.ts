/** Files that commands read and write. */

import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { type Demand, type Policy, parseDemand, parsePolicy } from '@enclaim/policy-schema';
import { type Duration, secondsOf } from '@enclaim/policy-schema/admission';
import { UsageError } from './usage-error.ts';

/** Bytes that standard input may have. */
const MAX_STDIN_BYTES = 64 * 1024 * 1024;

/**
 * A file's bytes; `-` is standard input.
 * @throws UsageError if it cannot be read, or is too long for standard input
 */
export async function readInput(path: string): Promise<Uint8Array> {
  try {
    if (path !== '-') return await readFile(path);
    given ??= standardInput();
    return await given;
  } catch (cause) {
    throw new UsageError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** Read once, however often a command looks at its input. */
let given: Promise<Uint8Array> | undefined;
async function standardInput(): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of process.stdin) {
    parts.push(part);
    length += part.length;
    if (length > MAX_STDIN_BYTES) throw new RangeError(`standard input has more than ${MAX_STDIN_BYTES} bytes`);
  }
  return Buffer.concat(parts);
}

/** Writes a file whole or not at all; `-` is standard output. */
export async function writeOutput(path: string, content: Uint8Array | string): Promise<void> {
  if (path === '-') {
    process.stdout.write(content);
    return;
  }
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, content);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new UsageError(`${path} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** A whole number up to `max` that an option gives. @throws UsageError naming the option */
export function readInteger(option: string, text: string, max: number): number {
  const value = Number(text);
  if (/^\d{1,7}$/.test(text) && value <= max) return value;
  throw new UsageError(`${option} takes a number up to ${max}, not ${text}`);
}

/** An Ed25519 private key (PKCS #8, PEM). @throws UsageError naming the option */
export async function readEd25519(option: string, path: string): Promise<KeyObject> {
  try {
    const key = createPrivateKey(Buffer.from(await readInput(path)));
    if (key.asymmetricKeyType === 'ed25519') return key;
    throw new TypeError(`a key of type ${key.asymmetricKeyType}`);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`${option} is no Ed25519 private key: ${(cause as Error).message}`, { cause });
  }
}

/** Milliseconds since 1970 of a time that an option gives. @throws UsageError naming the option */
export function readTime(option: string, text: string | undefined): number {
  const value = Date.parse(text ?? '');
  if (Number.isNaN(value)) throw new UsageError(`${option} ${text ?? 'is missing'}: expected 2026-11-20T12:00:00Z`);
  return value;
}

/**
 * The earliest accepted start of a boot, milliseconds since 1970: a time, or how long before now
 * (`P7D`).
 * @throws UsageError
 */
export function readNewerThan(text: string | undefined, now: number = Date.now()): number | undefined {
  if (text === undefined) return undefined;
  if (!text.startsWith('P')) return readTime('--newer-than', text);
  try {
    return now - secondsOf(text as Duration) * 1000;
  } catch (cause) {
    throw new UsageError(`--newer-than ${text}: expected a time, or a duration such as P7D`, { cause });
  }
}

/** Demands from the command line. @throws UsageError */
export function readDemands(texts: readonly string[]): Demand[] {
  return texts.map((text) => {
    try {
      return parseDemand(text);
    } catch (cause) {
      throw new UsageError(`--require ${text}: ${(cause as Error).message}`, { cause });
    }
  });
}

/**
 * Policies that a demand may compare with, as files for people or in canonical form.
 * @throws PolicyError, UsageError
 */
export async function readPolicies(files: readonly string[]): Promise<Policy[]> {
  return Promise.all(files.map(async (file) => parsePolicy(await readInput(file), { file })));
}

/** For commander: collects a repeatable option. */
export function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}
