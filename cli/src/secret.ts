/** `enclaim secret`: the owner brings a machine secrets for subprocessors, and takes them away. */

import { sign } from 'node:crypto';
import { certificateFault, isPem, secretFault } from '@enclaim/attestation/secrets';
import { OwnerSecrets } from '@enclaim/client/secrets';
import type { Command } from 'commander';
import { connectTarget, type TargetOptions, targetOptions } from './attested-target.ts';
import { readEd25519, readInput } from './input.ts';
import { UsageError } from './usage-error.ts';

interface SecretOptions extends TargetOptions {
  readonly key: string;
  readonly json?: true;
}

const KEY = ['--key <pem>', 'private key (PEM) of the owner that the policy names: system.owner.key'] as const;
const NAME = ['<name>', 'as the policy names it: subprocessors.*.credential.secret or .certificate'] as const;

export function register(program: Command): void {
  const secret = program.command('secret').description('verify a machine, then bring it secrets for subprocessors');
  targetOptions(
    secret.command('put').description('bring the value of a secret, in the place of the one that was there'),
  )
    .argument(...NAME)
    .requiredOption(...KEY)
    .option('--file <file>', 'where the value is; without the end of its last line', '-')
    .option('--json', 'what was done as JSON')
    .action(put);
  targetOptions(secret.command('remove').description('have the machine forget the value of a secret'))
    .argument(...NAME)
    .requiredOption(...KEY)
    .option('--json', 'what was done as JSON')
    .action(remove);
  targetOptions(secret.command('list').description('secrets that the policy names, and whether their values are there'))
    .requiredOption(...KEY)
    .option('--json', 'as JSON')
    .action(list);
}

async function put(target: string, name: string, options: SecretOptions & { readonly file: string }): Promise<void> {
  const value = withoutLastEnd(await readInput(options.file));
  const fault = isPem(value) ? certificateFault(value) : secretFault(value);
  if (fault !== undefined) throw new UsageError(`${options.file}: ${fault}`);
  const { rotated } = await asOwner(target, options, (secrets) => secrets.put(name, value));
  if (options.json) console.log(JSON.stringify({ name, rotated }));
  else console.log(`${name}: ${rotated ? 'is there in the place of another value' : 'is there'}`);
}

async function remove(target: string, name: string, options: SecretOptions): Promise<void> {
  const { removed } = await asOwner(target, options, (secrets) => secrets.remove(name));
  if (options.json) console.log(JSON.stringify({ name, removed }));
  else console.log(`${name}: ${removed ? 'is gone' : 'was not there'}`);
}

async function list(target: string, options: SecretOptions): Promise<void> {
  const secrets = await asOwner(target, options, (all) => all.list());
  if (options.json) console.log(JSON.stringify({ secrets }));
  else
    for (const { name, since } of secrets) console.log(`${name}  ${since === null ? 'not there' : `since ${since}`}`);
}

/** Does something as the owner on a machine that was verified, and leaves it. */
async function asOwner<T>(
  target: string,
  options: SecretOptions,
  work: (secrets: OwnerSecrets) => Promise<T>,
): Promise<T> {
  const key = await readEd25519('--key', options.key);
  const { channel, timeout } = await connectTarget(target, options);
  try {
    return await work(new OwnerSecrets(channel, { sign: (message) => sign(null, message, key) }, { timeout }));
  } finally {
    channel.close();
  }
}

/** A text as it was meant: editors and `echo` end it with a line's end, which no header carries. */
function withoutLastEnd(bytes: Uint8Array): Uint8Array {
  const LF = 0x0a;
  const CR = 0x0d;
  if (bytes.at(-1) !== LF) return bytes;
  return bytes.subarray(0, bytes.at(-2) === CR ? -2 : -1);
}
