/**
 * `enclaim policy succession`: which launch takes over the sealed state of a running machine, as
 * proposed, signed, handed in and shown.
 */

import { createPublicKey, sign } from 'node:crypto';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { References } from '@enclaim/attestation';
import { equalBytes, fromBase64Url, fromUtf8 } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { type ImageReference, launchCommandLine, predictPcrs, SEALING_REGISTERS } from '@enclaim/attestation/measure';
import { withoutNetwork } from '@enclaim/attestation/network-words';
import { ed25519Key } from '@enclaim/attestation/statement';
import {
  encodeSuccession,
  MAX_SUCCESSION_BYTES,
  MAX_SUCCESSION_SIGNATURES,
  proposeSuccession,
  type ReadSuccession,
  readSuccession,
  SuccessionError,
  type SuccessionFile,
  type SuccessionLaunch,
  signSuccession,
} from '@enclaim/attestation/succession';
import { inspect } from '@enclaim/client';
import { SuccessionCourier } from '@enclaim/client/successions';
import { parseManifest } from '@enclaim/image';
import { canonicalPolicy, diff, policyDigest } from '@enclaim/policy-schema';
import type { Command } from 'commander';
import { connectTarget, optionalTarget, type TargetOptions, targetOptions } from '../attested-target.ts';
import { readEd25519, readInput, readTime, writeOutput } from '../input.ts';
import { type NetworkFlags, networkOptions, withNetwork } from '../network-words.ts';
import { printable } from '../printable.ts';
import { readReferences } from '../references-file.ts';
import { UsageError } from '../usage-error.ts';
import { readPolicyOf } from './holder.ts';

interface ProposeOptions extends TargetOptions, NetworkFlags {
  readonly policy?: string;
  readonly image?: string;
  readonly notBefore?: string;
  readonly output: string;
}

interface SignOptions {
  readonly key: string;
  readonly references?: string;
  readonly referencesKey?: string;
  readonly image?: string;
}

interface ShowOptions extends TargetOptions {
  readonly file?: string;
  readonly json?: true;
}

const FILE = ['--file <file>', 'a succession (policy succession propose)'] as const;
/** Bytes of a signature in a succession, at most. */
const SIGNATURE_BYTES = 192;
/** Words of a launch's command line from the policy on. */
const POLICY_WORD = ' enclaim.policy=';

/** Adds `enclaim policy succession`. */
export function registerSuccession(policy: Command): void {
  const succession = policy
    .command('succession')
    .description('pass the sealed state of a machine to another policy, image or address');
  networkOptions(targetOptions(succession.command('propose')))
    .description('write down which launch takes over from a machine, for signers to sign')
    .option('--policy <what>', 'the new policy: a file or an app bundle; by default the policy stays')
    .option('--image <dir>', 'the new base image, a folder with manifest.json; by default the image stays')
    .option('--not-before <time>', 'nothing passes before: RFC 3339; by default as soon as the policy lets it')
    .option('-o, --output <file>', 'where the succession is written', 'succession.json')
    .action(propose);
  succession
    .command('sign')
    .description('add your signature to a succession, and show what it is over')
    .argument('<file>', FILE[1])
    .requiredOption('--key <pem>', 'private key (PEM) of a signer that the policy names: succession.signers')
    .option('--references <file>', 'references that you trust: they name the new image (this, or --image)')
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM')
    .option('--image <dir>', 'the new image, a folder with manifest.json that you have built or checked')
    .action(addSignature);
  targetOptions(succession.command('hand'))
    .description('hand a signed succession to the machine, which passes its state when the time has come')
    .requiredOption(...FILE)
    .option('--json', 'what was done as JSON')
    .action(hand);
  optionalTarget(succession.command('show'))
    .description('a succession, or what waits on a machine')
    .option(...FILE)
    .option('--json', 'as JSON')
    .action(show);
}

async function propose(target: string, options: ProposeOptions): Promise<void> {
  const { policy: named, image: folder, notBefore, output } = options;
  const references = await readReferences(options);
  const { state } = await ask(target, options, (courier) => courier.show());
  const { authenticated } = await inspect(target, references);
  const from = launchOf(authenticated.hardware, policyDigest(authenticated.policy), references);
  const policy = named === undefined ? authenticated.policy : await readPolicyOf(named);
  const image = folder === undefined ? from.image : await imageOf(folder);
  const to = heirOf(from, image, policyDigest(policy), options);
  const time = notBefore === undefined ? 0 : readTime('--not-before', notBefore);
  const file = usable(() =>
    proposeSuccession(
      { from, to },
      { from: canonicalPolicy(authenticated.policy), to: canonicalPolicy(policy) },
      { state: state as `sha256:${string}`, notBefore: new Date(time).toISOString() },
    ),
  );
  const read = usable(() => readSuccession(withRoom(file, canonicalPolicy(policy))));
  await writeOutput(output, `${JSON.stringify(file, null, 2)}\n`);
  console.error(described(read).join('\n'));
}

/**
 * Canonical bytes of a succession that its signatures fit in, too.
 * @throws UsageError beforehand, and not once all have signed
 */
function withRoom(file: SuccessionFile, policy: Uint8Array): Uint8Array {
  const most = MAX_SUCCESSION_BYTES - MAX_SUCCESSION_SIGNATURES * SIGNATURE_BYTES;
  const { length } = JSON.stringify(file);
  if (length <= most) return encodeSuccession(file);
  throw new UsageError(
    `a succession of ${length} bytes, the new policy has ${policy.length} of them: at most ${most} leave room for signatures`,
  );
}

/** The launch of an image and a policy where another one runs. @throws UsageError */
function heirOf(
  from: SuccessionLaunch,
  image: ImageReference,
  policy: SuccessionLaunch['policy'],
  network: NetworkFlags,
): SuccessionLaunch {
  const isMoved = [network.ip, network.ip6, network.dns].some((flag) => flag !== undefined);
  if (from.commandLine === null && isMoved)
    throw new UsageError('a machine that boots its disk has no command line for --ip, --ip6 and --dns');
  const words = isMoved ? withNetwork('', network) : wordsOf(from);
  const passed = launchCommandLine({ commandLine: image.commandLine + words.trimEnd() }, policy);
  return { image, boot: from.boot, policy, commandLine: from.commandLine === null ? null : passed };
}

async function addSignature(path: string, options: SignOptions): Promise<void> {
  const { key: pem } = options;
  const key = await readEd25519('--key', pem);
  const read = await readFileOf(path);
  console.log(described(read).join('\n'));
  await refuseUnknownImage(read, options);
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' });
  const name = ed25519Key(fromBase64Url(x));
  const { succession } = read.from;
  if (succession === 'none' || !succession.signers.includes(name))
    throw new UsageError(`--key ${pem}: ${name} is no signer of the policy (succession.signers)`);
  const signed = signSuccession(read.file, name, (message) => sign(null, message, key));
  await writeOutput(path, `${JSON.stringify(signed, null, 2)}\n`);
  console.log(`signature of ${name}`);
}

/**
 * Refuses a new image whose digests the signer has from the proposer alone: an image of a
 * known name and with another kernel would have the state.
 * @throws UsageError
 */
async function refuseUnknownImage({ file }: ReadSuccession, options: SignOptions): Promise<void> {
  const { references, referencesKey, image: folder } = options;
  if ((references === undefined) === (folder === undefined))
    throw new UsageError('name the new image by --references that you trust, or by --image');
  const known =
    references === undefined
      ? [await imageOf(folder ?? '')]
      : (await readReferences({ references, ...(referencesKey && { referencesKey }) })).images;
  const { image } = file.document.to;
  const isIt = (each: ImageReference): boolean => isDeepStrictEqual(image, withoutWords(each, ''));
  // layer: images that a signer knows
  if (!known.some(isIt)) throw new UsageError(`the new image ${image.id} is none of those that you name, as a whole`);
}

async function hand(target: string, options: ShowOptions): Promise<void> {
  const { file } = await readFileOf(options.file ?? '');
  const { due, handed } = await ask(target, options, (courier) => courier.hand(encodeSuccession(file)));
  if (options.json) console.log(JSON.stringify({ due, handed }));
  else console.log(handed ? HANDED : `the succession waits until ${due}; the machine goes on meanwhile`);
}

const HANDED = 'the state is handed over: the new launch opens it, once this machine has stopped';

async function show(target: string | undefined, options: ShowOptions): Promise<void> {
  if ((target === undefined) === (options.file === undefined)) throw new UsageError('name HOST:PORT, or a --file');
  if (target === undefined) {
    const read = await readFileOf(options.file ?? '');
    console.log(options.json ? JSON.stringify(read.file) : described(read).join('\n'));
    return;
  }
  const { state, succession, due, handed } = await ask(target, options, (courier) => courier.show());
  const read = succession === null ? null : usable(() => readSuccession(succession));
  if (options.json) {
    console.log(JSON.stringify({ state, due, handed, succession: read?.file ?? null }));
    return;
  }
  console.log(printable(`state      ${state}`));
  if (read === null) return console.log('no succession waits');
  console.log([...described(read), handed ? HANDED : printable(`waits until ${due}`)].join('\n'));
}

/** The reference of an image in a folder. @throws UsageError, ImageError */
async function imageOf(folder: string): Promise<ImageReference> {
  return parseManifest(fromUtf8(await readInput(join(folder, 'manifest.json')))).references.tpm;
}

/** Asks a machine that was verified, and leaves it. */
async function ask<T>(
  target: string,
  options: TargetOptions,
  question: (courier: SuccessionCourier) => Promise<T>,
): Promise<T> {
  const { references } = options;
  if (references === undefined) throw new UsageError('HOST:PORT needs --references');
  const { channel, timeout } = await connectTarget(target, options);
  try {
    return await question(new SuccessionCourier(channel, { timeout }));
  } finally {
    channel.close();
  }
}

/** The launch that a machine shows. @throws UsageError */
function launchOf(
  hardware: Awaited<ReturnType<typeof inspect>>['authenticated']['hardware'],
  policy: SuccessionLaunch['policy'],
  { images }: References,
): SuccessionLaunch {
  if (hardware.kind !== 'tpm') throw new UsageError(`state of a machine with ${hardware.kind} passes to no other`);
  const { commandLine, registers } = hardware;
  const bundle: `sha384:${string}` = `sha384:${'00'.repeat(48)}`;
  for (const given of images)
    for (const boot of ['kernel', 'disk'] as const) {
      const image = withoutWords(given, commandLine);
      const predicted = predictPcrs(image, { boot, commandLine, policy, bundle });
      const isIt = (index: number): boolean =>
        equalBytes(predicted.get(index) ?? new Uint8Array(), registers.get(index) ?? new Uint8Array(1));
      if (SEALING_REGISTERS.every(isIt)) return { policy, image, boot, commandLine };
    }
  throw new UsageError('the machine runs no image of the references');
}

/** An image as it was released: references of a machine have the words of its network, too. */
function withoutWords(image: ImageReference, commandLine: string | null): ImageReference {
  return commandLine === null ? image : { ...image, commandLine: withoutNetwork(image.commandLine) };
}

/** Words of the network on a launch's command line. */
function wordsOf({ image, commandLine }: SuccessionLaunch): string {
  const [before = ''] = (commandLine ?? image.commandLine).split(POLICY_WORD);
  return before.slice(image.commandLine.length);
}

async function readFileOf(path: string): Promise<ReadSuccession> {
  const bytes = await readInput(path);
  return usable(() => readSuccession(bytes));
}

function usable<T>(use: () => T): T {
  try {
    return use();
  } catch (cause) {
    if (cause instanceof SuccessionError) throw new UsageError(`the succession: ${cause.message}`, { cause });
    throw cause;
  }
}

/** A succession, for those who are to sign it. */
function described({ file, digest, kind, from, to, demands, registers }: ReadSuccession): string[] {
  const { document, signatures } = file;
  const { changes, verdict } = diff(from, to);
  const lines = [
    `succession ${digestText('sha256', digest)}`,
    `state      ${document.state}`,
    ...(['from', 'to'] as const).flatMap((side) => [
      `${side.padEnd(10)} ${document[side].policy}`,
      `           image ${document[side].image.id}, booted by ${document[side].boot}`,
      ...(['uki', 'kernel', 'initrd', 'sections'] as const).map(
        (part) => `           ${part.padEnd(8)} ${document[side].image[part]}`,
      ),
      `           its command line: ${document[side].image.commandLine}`,
      `           ${document[side].commandLine ?? 'the image’s own command line'}`,
      ...SEALING_REGISTERS.map(
        (index, i) => `           register ${index}: ${digestText('sha256', registers[side][i] ?? new Uint8Array())}`,
      ),
    ]),
    ...changes.map((change) => `${change.verdict.padEnd(12)} ${change.sentence}`),
    `the new policy is ${verdict}; as a whole: ${KINDS[kind]}`,
    `needs ${demands.signatures} signatures and a notice of ${demands.noticeSeconds} s; not before ${document.notBefore}`,
    ...signatures.map(({ key }) => `signature of ${key}`),
  ];
  return [...lines, ...(signatures.length === 0 ? ['nobody has signed it'] : [])].map(printable);
}

const KINDS = {
  place: 'another place of the same policy and image',
  stronger: 'a policy that promises as much, on the same image',
  weaker: 'another image, or a policy that promises less',
} as const;
