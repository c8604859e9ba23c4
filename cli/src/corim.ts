/** `enclaim corim`: references that travel signed, as CoRIM. */

import { sign } from 'node:crypto';
import { parseReferences } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { signReferences, verifyReferences } from '@enclaim/attestation/rats';
import { type Command, Option } from 'commander';
import { readEd25519, readInput, readTime, writeOutput } from './input.ts';
import { ALGORITHMS, readPublicKey } from './references-file.ts';
import { UsageError } from './usage-error.ts';

interface SignOptions {
  readonly key: string;
  readonly signer: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly out: string;
}

interface ReadOptions {
  readonly key: string;
  readonly asOf: string;
  readonly out: string;
}

export function register(program: Command): void {
  const corim = program.command('corim').description('references that travel signed, as CoRIM');
  corim
    .command('sign')
    .description('write references as a signed CoRIM')
    .argument('<references>', 'references (JSON)')
    .requiredOption('--key <pem>', 'Ed25519 private key (PKCS #8) that signs')
    .requiredOption('--signer <name>', 'who signs, for people')
    .addOption(
      new Option('--not-before <time>', 'from when it is to be read (RFC 3339)').default(
        new Date().toISOString(),
        'now',
      ),
    )
    .requiredOption('--not-after <time>', 'until when')
    .requiredOption('-o, --out <file>', 'where to write')
    .action(signFile);
  corim
    .command('read')
    .description('verify a signed CoRIM and write its references')
    .argument('<corim>', 'signed CoRIM')
    .requiredOption('--key <pem>', 'public key that must have signed it: Ed25519, P-256 or P-384')
    .addOption(
      new Option('--as-of <time>', 'when it must be valid (RFC 3339)').default(new Date().toISOString(), 'now'),
    )
    .requiredOption('-o, --out <file>', 'where to write the references (JSON)')
    .action(readFile);
}

async function signFile(path: string, options: SignOptions): Promise<void> {
  const references = parseReferences(await readInput(path));
  const key = await readEd25519('--key', options.key);
  const validity = {
    from: readTime('--not-before', options.notBefore),
    until: readTime('--not-after', options.notAfter),
  };
  if (validity.from >= validity.until) throw new UsageError(`${options.notAfter} is not after ${options.notBefore}`);
  const signer = async (message: Uint8Array): Promise<Uint8Array> => sign(null, message, key);
  await writeOutput(
    options.out,
    await signReferences(references, options.signer, validity, ALGORITHMS.ed25519, signer),
  );
}

async function readFile(path: string, options: ReadOptions): Promise<void> {
  const { spki, algorithm } = await readPublicKey('--key', options.key);
  const now = readTime('--as-of', options.asOf);
  const references = await verifyReferences(await readInput(path), spki, algorithm, { now });
  await writeOutput(options.out, utf8(`${JSON.stringify(references, undefined, 2)}\n`));
  console.error(`references: policy ${references.policy}`);
}
