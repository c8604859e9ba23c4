/** `enclaim state recovery`: a statement of signers that a system goes on with an older copy. */

import { createPublicKey, sign } from 'node:crypto';
import { fromBase64Url } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import {
  encodeRecovery,
  MAX_RECOVERY_SIGNATURES,
  RecoveryError,
  type RecoveryFile,
  readRecovery,
  recoveryDigest,
  signRecovery,
  verifyRecovery,
} from '@enclaim/attestation/recovery';
import { ed25519Key } from '@enclaim/attestation/statement';
import { policyDigest } from '@enclaim/policy-schema';
import type { Command } from 'commander';
import { readEd25519, readInput, writeOutput } from '../input.ts';
import { wholeNumber } from '../log-proof.ts';
import { readPolicyOf } from '../policy/holder.ts';
import { printable } from '../printable.ts';
import { UsageError } from '../usage-error.ts';
import { StateError } from './error.ts';
import { epochOf, type StateHeader } from './file.ts';
import { openState } from './import.ts';

/** Adds `enclaim state recovery`. */
export function registerRecovery(state: Command): void {
  const recovery = state
    .command('recovery')
    .description('state, as signers of the policy, that a system goes on with an older copy of its state');
  recovery
    .command('propose')
    .description('write down which exported state is gone on with, for signers to sign')
    .argument('<file>', 'an exported state (state export)')
    .option('--epoch <number>', 'the epoch that the TPM is at; by default the newest of the state')
    .option('-o, --output <file>', 'where the recovery is written', 'recovery.json')
    .action(propose);
  recovery
    .command('sign')
    .description('add your signature to a recovery, and show what it gives up')
    .argument('<recovery>', 'a recovery (state recovery propose)')
    .requiredOption('--key <pem>', 'private key (PEM) of a signer that the policy names: succession.signers')
    .requiredOption('--state <file>', 'the exported state that it has to be of')
    .requiredOption('--policy <what>', 'the policy of the system: a file or an app bundle')
    .action(addSignature);
}

interface ProposeOptions {
  readonly output: string;
  readonly epoch?: string;
}

async function propose(path: string, options: ProposeOptions): Promise<void> {
  const { output } = options;
  const header = await headerOf(path);
  const epoch = options.epoch === undefined ? epochOf(header) : wholeNumber('--epoch', options.epoch);
  if (header.newest === null || epoch === null)
    throw new UsageError(`${path} has no sealed state: nothing has to be recovered`);
  if (!header.epochs.includes(epoch))
    throw new UsageError(
      `--epoch ${epoch}: ${path} has epochs ${header.epochs.filter((each) => each !== null).join(', ')}`,
    );
  const { policy } = header.newest;
  const { size, root } = header.log;
  const file: RecoveryFile = {
    enclaim: 'recovery/1',
    document: { policy, epoch, log: { size, root } },
    signatures: [],
  };
  await writeOutput(output, `${JSON.stringify(file, null, 2)}\n`);
  console.error(described(file, header).join('\n'));
}

interface SignOptions {
  readonly key: string;
  readonly state: string;
  readonly policy: string;
}

async function addSignature(path: string, { key: pem, state, policy: named }: SignOptions): Promise<void> {
  const key = await readEd25519('--key', pem);
  const file = await readFileOf(path);
  const header = await headerOf(state);
  refuseOther(file, header);
  console.log(described(file, header).join('\n'));
  const policy = await readPolicyOf(named);
  if (policyDigest(policy) !== file.document.policy)
    throw new UsageError(`--policy ${named} is ${policyDigest(policy)}, and the recovery is under another`);
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' });
  const name = ed25519Key(fromBase64Url(x));
  const { succession } = policy;
  if (succession === 'none' || !succession.signers.includes(name))
    throw new UsageError(`--key ${pem}: ${name} is no signer of the policy (succession.signers)`);
  if (succession.threshold > MAX_RECOVERY_SIGNATURES)
    throw new UsageError(`a recovery has room for ${MAX_RECOVERY_SIGNATURES} signatures, not ${succession.threshold}`);
  const signed = signRecovery(file, name, (message) => sign(null, message, key));
  await writeOutput(path, `${JSON.stringify(signed, null, 2)}\n`);
  console.log(`signature of ${name}; ${signed.signatures.length} of ${succession.threshold}`);
}

/**
 * The recovery of an exported state, as canonical bytes for its disk.
 *
 * @param policy a file or an app bundle, whose signers have to have signed
 * @throws UsageError; StateError `recovery` if it does not hold, or is of another state
 */
export async function recoveryOf(path: string, policy: string, header: StateHeader): Promise<Uint8Array> {
  const file = await readFileOf(path);
  refuseOther(file, header);
  const read = await readPolicyOf(policy);
  const bytes = encodeRecovery(file);
  await verifyRecovery(bytes, policyDigest(read), read).catch((cause: Error) => {
    throw new StateError('recovery', cause.message, { cause });
  });
  return bytes;
}

/** @throws StateError `recovery` */
function refuseOther({ document }: RecoveryFile, header: StateHeader): void {
  const { size, root } = header.log;
  if (document.log.size !== size || document.log.root !== root || !header.epochs.includes(document.epoch))
    throw new StateError('recovery', 'the recovery is of another state than this one');
}

async function headerOf(path: string): Promise<StateHeader> {
  const { file, state } = await openState(path);
  await file.close();
  return state.header;
}

async function readFileOf(path: string): Promise<RecoveryFile> {
  const bytes = await readInput(path);
  try {
    return readRecovery(bytes);
  } catch (cause) {
    if (cause instanceof RecoveryError) throw new UsageError(`${path}: ${cause.message}`, { cause });
    throw cause;
  }
}

/** A recovery, for those who are to sign it. */
function described({ document, signatures }: RecoveryFile, { newest }: StateHeader): string[] {
  const { policy, epoch, log } = document;
  return [
    `recovery   ${digestText('sha256', recoveryDigest(document))}`,
    `policy     ${policy}`,
    `epoch      ${epoch}: it opens while the TPM is at that epoch, and no more once a boot has begun another`,
    `log        ${log.size} records, root ${log.root}`,
    `given up   every record and every change behind these${newest === null ? '' : `, after ${newest.time} by the word of the file`}`,
    ...signatures.map(({ key }) => `signature of ${key}`),
  ].map(printable);
}
