/**
 * `enclaim references`: reference values that a client compares evidence with, from the files that
 * an operator or auditor has.
 */

import { X509Certificate } from 'node:crypto';
import { parseReferences, type References } from '@enclaim/attestation';
import { bundleDigest, policyFrame } from '@enclaim/attestation/bundle';
import { toBase64, utf8 } from '@enclaim/attestation/bytes';
import { parseCloudReferences } from '@enclaim/attestation/cloud-references';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { type Manifest, parseManifest } from '@enclaim/image';
import { type Policy, parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { decodePolicy } from '@enclaim/policy-schema/admission';
import type { Command } from 'commander';
import { collect, readInput, writeOutput } from './input.ts';
import { type NetworkFlags, networkOptions, withNetwork } from './network-words.ts';
import { type RolloutFlags, rolloutOf, rolloutOptions } from './rollout.ts';
import { snpReferences } from './snp-references.ts';
import { UsageError } from './usage-error.ts';

interface Options extends NetworkFlags, RolloutFlags {
  readonly manifest: string[];
  readonly policy?: string;
  readonly bundle: string[];
  readonly anyBundle?: true;
  readonly owner?: string;
  readonly anyMachine?: true;
  readonly ak: string[];
  readonly ekRoot: string[];
  readonly akRoot: string[];
  readonly unsafeSwtpmRoot: string[];
  readonly certificate: string[];
  readonly vendor: string[];
  readonly measured: string[];
  readonly snpFirmware: string[];
  readonly vcpus: string[];
  readonly cpu: string;
  readonly tcbFloors?: string;
  readonly clouds?: string;
  readonly idKey: string[];
  readonly authorKey: string[];
  readonly out: string;
}

export function register(program: Command): void {
  const command = program
    .command('references')
    .description('write the reference values and trust anchors that clients verify with')
    .option('--manifest <file>', 'manifest.json of an accepted base image; repeatable', collect, [])
    .option('--policy <file>', 'the policy; by default the one of the first bundle')
    .option('--bundle <file>', 'an accepted app bundle; repeatable', collect, [])
    .option('--any-bundle', 'accept every bundle under the policy: handlers are confined')
    .option('--owner <key>', 'ed25519:… key that the policy must name; by default the one that it names')
    .option('--any-machine', "accept everybody's machines under a policy that names an owner, deployed or not")
    .option('--ak <digest>', 'sha256:… of a trusted attestation key; repeatable', collect, [])
    .option('--ek-root <pem>', 'root certificate of a TPM maker, for endorsement keys; repeatable', collect, [])
    .option('--ak-root <pem>', 'root certificate of who certifies attestation keys; repeatable', collect, [])
    .option(
      '--unsafe-swtpm-root <pem>',
      'root certificate of a software TPM, which proves nothing of hardware; repeatable',
      collect,
      [],
    )
    .option('--certificate <pem>', 'further certificates to build paths with; repeatable', collect, [])
    .option('--vendor <maker>', 'amd, intel, aws or google: trust its own roots; repeatable', collect, [])
    .option('--measured <file>', 'accepted launches, as enclaim image measure prints them; repeatable', collect, [])
    .option('--snp-firmware <file>', 'OVMF build of an accepted SEV-SNP launch; repeatable', collect, [])
    .option('--vcpus <number>', 'processors of an accepted SEV-SNP launch, by default 2; repeatable', collect, [])
    .option('--cpu <model>', 'its processor model in QEMU', 'EPYC-v4')
    .option('--tcb-floors <file>', 'lowest accepted TCB versions by product line (JSON), or "any"')
    .option(
      '--id-key <digest>',
      'sha384:… of a key whose ID block is accepted; by default any; repeatable',
      collect,
      [],
    )
    .option('--author-key <digest>', 'sha384:… of a key that certifies it; by default any; repeatable', collect, [])
    .option('--clouds <file>', 'accepted paravisors, firmware and enclaves of clouds (JSON)')
    .requiredOption('-o, --out <file>', 'where to write');
  rolloutOptions(networkOptions(command)).action(write);
}

async function write(options: Options): Promise<void> {
  if (options.bundle.length === 0 && !options.anyBundle)
    throw new UsageError('name an accepted --bundle, or --any-bundle');
  const bundles = await Promise.all(options.bundle.map(readInput));
  const policy = await policyOf(options, bundles);
  const manifests = await Promise.all(options.manifest.map(async (path) => launched(await text(path), options)));
  const vcpus = options.vcpus.length === 0 ? ['2'] : options.vcpus;
  const measured = await Promise.all(options.measured.map(readMeasured));
  const snp = [
    ...(await snpReferences({ ...options, vcpus }, manifests)),
    ...measured.flatMap((launch) => launch.snp ?? []),
  ];
  const tdx = measured.flatMap((launch) => launch.tdx ?? []);
  const [ekRoots, akRoots, swtpmRoots, others] = await Promise.all(
    [options.ekRoot, options.akRoot, options.unsafeSwtpmRoot, options.certificate].map(async (paths) =>
      (await Promise.all(paths.map(certificatesIn))).flat(),
    ),
  );
  const pins = (certificates: readonly Uint8Array[] = []): string[] =>
    certificates.map((der) => digestText('sha256', sha256(der)));
  const owner = ownerOf(options, policy);
  const rollout = await rolloutOf(options, { anyBundle: options.anyBundle === true, owner });
  const references = {
    enclaim: 'references/1',
    images: manifests.map(({ references: { tpm } }) => tpm),
    policy: policyDigest(policy),
    bundles: options.anyBundle ? 'any' : bundles.map(bundleDigest),
    ...(rollout.length === 0 ? {} : { rollout }),
    owner,
    anchors: {
      attestationKeys: options.ak,
      endorsementRoots: pins(ekRoots),
      unsafeSwtpmRoots: pins(swtpmRoots),
      ...(options.akRoot.length === 0 ? {} : { attestationRoots: pins(akRoots) }),
      ...(options.vendor.length === 0 ? {} : { vendors: options.vendor }),
      certificates: [ekRoots, akRoots, swtpmRoots, others].flatMap((each) => each ?? []).map(toBase64),
    },
    ...(snp.length === 0 ? {} : { snp }),
    ...(tdx.length === 0 ? {} : { tdx }),
    ...(options.clouds === undefined ? {} : parseCloudReferences(await readInput(options.clouds))),
  };
  const bytes = utf8(`${JSON.stringify(references, undefined, 2)}\n`);
  const checked: References = parseReferences(bytes);
  await writeOutput(options.out, bytes);
  if (owner === 'any' && !options.anyMachine)
    console.error('owner any: the policy names no key, so everybody’s machines under it are accepted, deployed or not');
  console.error(`references: ${checked.images.length} images, policy ${checked.policy}`);
  for (const { policy, notBefore, notAfter } of checked.rollout ?? [])
    console.error(`beside it, from ${notBefore} to ${notAfter}: ${policy}`);
}

/** A manifest of an image that is started with the words of the options. */
function launched(json: string, flags: NetworkFlags): Manifest {
  const manifest = parseManifest(json);
  const { tpm, ...others } = manifest.references;
  const commandLine = withNetwork(tpm.commandLine, flags);
  return { ...manifest, references: { ...others, tpm: { ...tpm, commandLine } } };
}

/** Sections as they stand; the references are checked as a whole once they are put together. */
async function readMeasured(path: string): Promise<{ snp?: unknown; tdx?: unknown }> {
  try {
    const launch: unknown = JSON.parse(await text(path));
    if (typeof launch === 'object' && launch !== null && ('snp' in launch || 'tdx' in launch)) return launch;
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
  }
  throw new UsageError(`${path} holds no launch under SEV-SNP or TDX: enclaim image measure --platform prints them`);
}

async function policyOf({ policy }: Options, [bundle]: readonly Uint8Array[]): Promise<Policy> {
  if (policy !== undefined) return parsePolicy(await text(policy), { file: policy });
  if (bundle === undefined) throw new UsageError('name the --policy, or a --bundle that holds it');
  return decodePolicy(policyFrame(bundle));
}

/**
 * The owner whose machines are accepted. It is the policy's owner, unless the caller names another
 * one or asks for any machine. If the policy's owner has no key, any machine is accepted.
 */
function ownerOf({ owner, anyMachine }: Options, { system }: Policy): string {
  if (owner !== undefined && anyMachine) throw new UsageError('--owner and --any-machine exclude each other');
  if (anyMachine || (owner === undefined && system.owner.key === 'none')) return 'any';
  return owner ?? system.owner.key;
}

async function text(path: string): Promise<string> {
  return Buffer.from(await readInput(path)).toString('utf8');
}

/** DER of every certificate in a PEM file. */
async function certificatesIn(path: string): Promise<Uint8Array[]> {
  const blocks = (await text(path)).match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  if (blocks === null) throw new UsageError(`${path} holds no PEM certificate`);
  return blocks.map((pem) => new X509Certificate(pem).raw);
}
