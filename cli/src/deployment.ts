/** `enclaim deployment sign`: the owner says which devices answer for a policy, and until when. */

import { createPublicKey, sign } from 'node:crypto';
import { utf8 } from '@enclaim/attestation/bytes';
import { type DeviceName, signDeployment } from '@enclaim/attestation/deployment';
import { ed25519Key } from '@enclaim/attestation/statement';
import { parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { type Command, Option } from 'commander';
import { collect, readEd25519, readInput, writeOutput } from './input.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly key: string;
  readonly policy: string;
  readonly device: string[];
  readonly notBefore: string;
  readonly notAfter: string;
  readonly out: string;
}

export function register(program: Command): void {
  program
    .command('deployment')
    .description('say which devices answer for a policy')
    .command('sign')
    .description("sign a deployment with the owner's key")
    .requiredOption('--key <pem>', 'Ed25519 private key (PKCS #8) whose public half the policy names as its owner')
    .requiredOption('--policy <file>', 'the policy')
    .requiredOption(
      '--device <name>',
      'ak:sha256:…, ek:sha256:…, chip:… or pck:sha256:…, as a verdict names it; repeatable',
      collect,
      [],
    )
    .addOption(new Option('--not-before <time>', 'from when (RFC 3339)').default(new Date().toISOString(), 'now'))
    .requiredOption('--not-after <time>', 'until when (RFC 3339)')
    .requiredOption('-o, --out <file>', 'where to write')
    .action(signFile);
}

async function signFile(options: Options): Promise<void> {
  const key = await readEd25519('--key', options.key);
  const owner = ed25519Key(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32));
  const policy = parsePolicy(Buffer.from(await readInput(options.policy)).toString('utf8'), { file: options.policy });
  if (policy.system.owner.key !== owner) {
    throw new UsageError(`${options.policy} names ${policy.system.owner.key} as its owner, the key is ${owner}`);
  }
  const [notBefore, notAfter] = [time(options.notBefore), time(options.notAfter)];
  if (notBefore >= notAfter) throw new UsageError(`${notAfter} is not after ${notBefore}`);
  const deployment = { policy: policyDigest(policy), devices: options.device as DeviceName[], notBefore, notAfter };
  const signed = usable(() => signDeployment(deployment, (message) => sign(null, message, key)));
  await writeOutput(options.out, utf8(`${JSON.stringify(signed, undefined, 2)}\n`));
  console.error(`deployment: ${options.device.length} devices under ${deployment.policy}, until ${notAfter}`);
}

function time(text: string): string {
  const value = Date.parse(text);
  if (Number.isNaN(value)) throw new UsageError(`${text} is no time: expected 2026-11-20T12:00:00Z`);
  return new Date(value).toISOString();
}

function usable<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw new UsageError(`not a deployment: ${(cause as Error).message}`, { cause });
  }
}
