/**
 * `enclaim statement verify`: compares a signed result of an audit with its key, its subjects and
 * what it must say.
 */

import { createPublicKey } from 'node:crypto';
import { EvidenceError } from '@enclaim/attestation';
import { toHex } from '@enclaim/attestation/bytes';
import { sha256, sha384 } from '@enclaim/attestation/digest';
import {
  openEnvelope,
  parseEnvelope,
  parseVerification,
  type VerificationStatement,
} from '@enclaim/attestation/intoto';
import { parsePart } from '@enclaim/attestation/part';
import { type Ed25519Text, ed25519Key } from '@enclaim/attestation/statement';
import type { Command } from 'commander';
import { collect, readInput } from './input.ts';
import { printable } from './printable.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly key: string;
  readonly verifier?: string;
  readonly subject: string[];
  readonly property: string[];
  readonly newerThan?: string;
}

export function register(program: Command): void {
  program
    .command('statement')
    .description('signed statements of auditors')
    .command('verify')
    .description('verify a signed result of an audit; prints what it says to hold')
    .argument('<file>', 'what enclaim audit --statement wrote')
    .requiredOption('--key <key>', "ed25519:… or a PEM file with the auditor's public key")
    .option('--verifier <uri>', 'whose it must be')
    .option('--subject <file>', 'a file that it must speak of; repeatable', collect, [])
    .option('--property <name>', 'what it must say to hold, such as ENCLAIM_IMAGE_REPRODUCED; repeatable', collect, [])
    .option('--newer-than <time>', 'when it must have been made at the earliest (RFC 3339)')
    .action(verify);
}

async function verify(file: string, options: Options): Promise<void> {
  const envelope = parsePart('format', 'envelope', await readInput(file), parseEnvelope);
  const payload = await openEnvelope(envelope, await keyOf(options.key));
  const statement = parsePart('format', 'statement', payload, parseVerification);
  await refuseOther(statement, options);
  const { verifier, timeCreated, properties } = statement.predicate;
  console.error(`statement of ${printable(verifier.id)} at ${timeCreated}`);
  for (const { name, digest } of statement.subject) {
    console.log(
      `subject  ${printable(name)} ${printable(
        Object.entries(digest)
          .map((pair) => pair.join(':'))
          .join(' '),
      )}`,
    );
  }
  for (const property of properties) console.log(`holds    ${printable(property)}`);
}

async function refuseOther({ subject, predicate }: VerificationStatement, options: Options): Promise<void> {
  const { verifier, timeCreated, properties } = predicate;
  const fail = (what: string): EvidenceError => new EvidenceError('binding', `the statement ${what}`);
  if (options.verifier !== undefined && verifier.id !== options.verifier) throw fail(`is of ${verifier.id}`);
  for (const property of options.property) {
    if (!properties.includes(property)) throw fail(`does not say ${property}`);
  }
  for (const path of options.subject) {
    const bytes = await readInput(path);
    const digests = { sha256: toHex(sha256(bytes)), sha384: toHex(sha384(bytes)) };
    const spoken = subject.some(({ digest }) => digest.sha256 === digests.sha256 || digest.sha384 === digests.sha384);
    if (!spoken) throw fail(`does not speak of ${path}`);
  }
  if (options.newerThan === undefined) return;
  const earliest = Date.parse(options.newerThan);
  if (Number.isNaN(earliest)) throw new UsageError(`--newer-than ${options.newerThan}: expected 2026-11-20T12:00:00Z`);
  if (Date.parse(timeCreated) < earliest) throw fail(`is of ${timeCreated}, older than ${options.newerThan}`);
}

async function keyOf(text: string): Promise<Ed25519Text> {
  if (/^ed25519:[A-Za-z0-9_-]{43}$/.test(text)) return text as Ed25519Text;
  try {
    const key = createPublicKey(Buffer.from(await readInput(text)));
    if (key.asymmetricKeyType === 'ed25519')
      return ed25519Key(key.export({ format: 'der', type: 'spki' }).subarray(-32));
    throw new TypeError(`a key of type ${key.asymmetricKeyType}`);
  } catch (cause) {
    throw new UsageError(`--key is no Ed25519 public key: ${(cause as Error).message}`, { cause });
  }
}
