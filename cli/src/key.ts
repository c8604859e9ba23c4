/**
 * `enclaim key`: keys of owners, reviewers, signers and auditors, and the words that policies have
 * for them.
 */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { ed25519Key } from '@enclaim/attestation/statement';
import type { Command } from 'commander';
import { readInput } from './input.ts';
import { UsageError } from './usage-error.ts';

export function register(program: Command): void {
  const key = program.command('key').description('make Ed25519 keys, and write them as policies do');
  key
    .command('new')
    .description('make a key: its private half into a file for its user alone, its name in policies on stdout')
    .argument('<file>', 'where to write the private key (PKCS #8, PEM); it must not be there')
    .option('--public <file>', 'write the public key (PEM) for those who verify')
    .option('--json', 'the name as JSON')
    .action(make);
  key
    .command('show')
    .description('the name that policies and references have for a key')
    .argument('<file>', 'private or public key (PEM)')
    .option('--json', 'the name as JSON')
    .action(async (file: string, { json }: JsonFlag) => sayName(await readKey(file), json));
}

interface JsonFlag {
  readonly json?: true;
}

function sayName(key: KeyObject, json?: true): void {
  console.log(json ? JSON.stringify({ key: nameOf(key) }) : nameOf(key));
}

async function make(file: string, options: JsonFlag & { readonly public?: string }): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  await writeNew(file, privateKey.export({ format: 'pem', type: 'pkcs8' }), 0o600);
  if (options.public !== undefined)
    // A private key whose public half is nowhere is still a key: it stays.
    await writeNew(options.public, publicKey.export({ format: 'pem', type: 'spki' }), 0o644);
  sayName(publicKey, options.json);
}

/** Writes over nothing: what was signed with a key cannot be signed without it. */
export async function writeNew(file: string, content: string | Buffer, mode: number): Promise<void> {
  try {
    await writeFile(file, content, { flag: 'wx', mode, flush: true });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw new UsageError(`${file} is there already; nothing was written`, { cause });
    await rm(file, { force: true });
    throw new UsageError(`${file} cannot be written: ${message}`, { cause });
  }
}

async function readKey(file: string): Promise<KeyObject> {
  const pem = Buffer.from(await readInput(file)).toString('latin1');
  try {
    const isPrivate = /^\s*-----BEGIN PRIVATE KEY-----/.test(pem);
    const key = isPrivate ? createPublicKey(createPrivateKey(pem)) : createPublicKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
    throw new TypeError(`a key of type ${key.asymmetricKeyType}, not Ed25519`);
  } catch (cause) {
    throw new UsageError(`${file} is no key that a policy can name: ${(cause as Error).message}`, { cause });
  }
}

function nameOf(publicKey: KeyObject): string {
  return ed25519Key(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
}
