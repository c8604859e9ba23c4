/**
 * `enclaim release`: a public log of base images and policies, and proofs that a release is in it.
 */

import { createPublicKey, sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parseReferences } from '@enclaim/attestation';
import { equalBytes } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { appraiseLogged } from '@enclaim/attestation/logged';
import {
  encodeRelease,
  parseRelease,
  type Release,
  type ReleaseLog,
  readReleases,
  releaseKeys,
  type SeenCheckpoint,
  verifyTransparentRelease,
} from '@enclaim/attestation/release';
import {
  type Checkpoint,
  formatNoteKey,
  isNoteName,
  noteKey,
  parseCheckpoint,
  parseNoteKey,
  verifyNote,
} from '@enclaim/attestation/tlog';
import {
  appendReleases,
  createReleaseLog,
  formatManifest,
  type LogSigner,
  nameOf,
  parseManifest,
  proveContinues,
  proveRelease,
  type ReleaseDocument,
  type ReleaseFolder,
  readReleaseLog,
  stateRelease,
} from '@enclaim/image';
import { canonicalPolicy, parsePolicy } from '@enclaim/policy-schema';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import type { Command } from 'commander';
import { COSE_SIGN1 } from './claims.ts';
import { collect, readEd25519, readInput, writeOutput } from './input.ts';
import { UsageError } from './usage-error.ts';

interface SignOptions {
  readonly log: string;
  readonly key: string;
}

interface KeyOptions {
  readonly logKey: string;
  readonly witness: string[];
  readonly seen?: string;
}

/** Where a file's proof is written and looked for. */
const PROOF = '.tlog-proof';
/** Where its Transparent Statement is written. */
const STATEMENT = '.scitt';

export function register(program: Command): void {
  const release = program.command('release').description('publish base images and policies in a log that only grows');
  release
    .command('init')
    .description('begin a log; prints the key that clients verify with')
    .requiredOption('--log <folder>', 'folder of the log, to be published as it is')
    .requiredOption('--key <pem>', 'Ed25519 private key (PKCS #8) of the log')
    .requiredOption('--origin <name>', 'name of the log, such as example.com/releases')
    .action(init);
  release
    .command('add')
    .description(`add manifests and policies, and write the proof of each beside it (FILE${PROOF})`)
    .argument('<file...>', 'manifest.json of a base image, or a policy')
    .requiredOption('--log <folder>', 'folder of the log')
    .requiredOption('--key <pem>', 'private key of the log; PEM.origin and PEM.signed lie beside it')
    .action(add);
  release
    .command('state')
    .description(`write what is in the log as Transparent Statements (RFC 9943) beside the files (FILE${STATEMENT})`)
    .argument('<file...>', 'manifest.json of a base image, or a policy')
    .requiredOption('--log <folder>', 'folder of the log')
    .requiredOption('--key <pem>', 'private key of the log; PEM.origin lies beside it')
    .action(state);
  withKeys(release.command('check'))
    .description('verify a whole log, and that it continues a checkpoint seen before; lists its entries')
    .argument('<folder>', 'folder of the log')
    .option('--json', 'log and entries as JSON')
    .action(check);
  withKeys(release.command('verify'))
    .description('verify offline that a manifest or policy is in the log, by its proof')
    .argument('<file>', 'manifest.json of a base image, or a policy')
    .option('--proof <file>', `by default FILE${PROOF}; a Transparent Statement is one, too`)
    .option('--log <folder>', 'folder of the log, in whose tree the proof must be; needed with --seen')
    .option('--json', 'release and log as JSON')
    .action(verify);
  withKeys(release.command('demand'))
    .description('make references demand that everything they accept is in the log')
    .argument('<references>', 'references.json')
    .requiredOption('--log <folder>', 'folder of the log')
    .option('--only <what>', 'images or policy; by default both')
    .requiredOption('-o, --out <file>', 'where to write')
    .action(demand);
}

function withKeys(command: Command): Command {
  return command
    .requiredOption('--log-key <key>', 'verifier key of the log (name+id+key)')
    .option('--witness <key>', 'verifier key of a witness that must have cosigned; repeatable', collect, [])
    .option('--seen <file>', 'a checkpoint of this log that was seen before');
}

async function init({ log, key, origin }: SignOptions & { origin: string }): Promise<void> {
  const signer = await signerOf(key, origin);
  await createReleaseLog(log, signer);
  await writeOutput(`${key}.origin`, `${origin}\n`);
  console.log(formatNoteKey(signer.key));
}

/** The signer of a log that was begun. @throws UsageError */
async function ownerOf(key: string): Promise<LogSigner> {
  const origin = await readFile(`${key}.origin`, 'utf8').catch((cause) => {
    throw new UsageError(`${key}.origin cannot be read: enclaim release init writes it`, { cause });
  });
  return signerOf(key, origin.trimEnd());
}

async function state(files: readonly string[], { log, key }: SignOptions): Promise<void> {
  const signer = await ownerOf(key);
  const folder = await readReleaseLog(log, [signer.key]);
  for (const file of files) {
    const { release } = await readDocument(file);
    await writeOutput(`${file}${STATEMENT}`, stateRelease(folder, release, signer));
    console.log(`${file}: ${nameOf(release)}`);
  }
}

async function add(files: readonly string[], { log, key }: SignOptions): Promise<void> {
  const signer = await ownerOf(key);
  const documents = await Promise.all(files.map(readDocument));
  for (const [index, file] of files.entries()) refuseOtherForm(file, documents[index] as ReleaseDocument);
  const folder = await appendReleases(log, documents, signer);
  for (const [index, file] of files.entries()) {
    const { release } = documents[index] as ReleaseDocument;
    await writeOutput(`${file}${PROOF}`, proveRelease(folder, release));
    console.log(`${file}: ${nameOf(release)}`);
  }
  console.error(`release: ${folder.checkpoint.size} entries in ${folder.checkpoint.origin}`);
}

/**
 * Refuses a manifest in another form than a build writes. Without this, its bytes could be read as
 * another manifest than the one whose reference is logged.
 */
function refuseOtherForm(file: string, { release, document }: ReleaseDocument): void {
  if (release.kind !== 'image') return;
  const own = formatManifest(parseManifest(Buffer.from(document).toString('utf8')));
  if (!equalBytes(document, Buffer.from(own))) throw new UsageError(`${file} is not as a build writes a manifest`);
}

async function check(folder: string, options: KeyOptions & { readonly json?: true }): Promise<void> {
  const log = await readReleaseLog(folder, releaseKeys(anchorOf(options)));
  const seen = await readSeen(options);
  if (seen !== null) await proveContinues(log, seen);
  const releases = log.entries.map((entry) => nameOf(parseRelease(entry)));
  const { origin, size } = log.checkpoint;
  if (options.json) console.log(JSON.stringify({ origin, size, continues: seen?.size ?? null, releases }, null, 2));
  else for (const release of releases) console.log(release);
  const known = seen === null ? 'no earlier checkpoint was given' : `continues the ${seen.size} seen before`;
  console.error(`release: ${log.checkpoint.size} entries in ${log.checkpoint.origin}; ${known}`);
}

async function verify(
  file: string,
  options: KeyOptions & { proof?: string; log?: string; json?: true },
): Promise<void> {
  const { release } = await readDocument(file);
  const { releases, checkpoint } = await provenBy(await readInput(options.proof ?? `${file}${PROOF}`), options);
  if (!releases.some((one) => equalBytes(encodeRelease(one), encodeRelease(release)))) {
    throw new UsageError(`${file} is ${nameOf(release)}; the proof is for ${releases.map(nameOf).join()}`);
  }
  const seen = await readSeen(options);
  if (seen !== null && options.log === undefined) {
    throw new UsageError('--seen needs --log: the proof that the log was continued');
  }
  if (options.log !== undefined) {
    const log = await readReleaseLog(options.log, releaseKeys(anchorOf(options)));
    await requireContinued(log, checkpoint, seen);
  }
  const { origin, size } = checkpoint;
  if (options.json) console.log(JSON.stringify({ release: nameOf(release), origin, size }, null, 2));
  else console.log(`${nameOf(release)} is in ${origin}, at ${size} entries`);
}

/** Releases that a tlog-proof or a Transparent Statement shows, and the tree they are in. */
async function provenBy(
  proof: Uint8Array,
  options: KeyOptions,
): Promise<{ readonly releases: readonly Release[]; readonly checkpoint: Checkpoint }> {
  if (proof[0] !== COSE_SIGN1) {
    const proofs = [Buffer.from(proof).toString('utf8')];
    return readReleases({ ...anchorOf(options), seen: null, consistency: [], proofs });
  }
  // A statement carries no cosignature: without this, a demand for one would be dropped unsaid.
  if (options.witness.length > 0) throw new UsageError('--witness: a statement has no cosignatures, a tlog-proof has');
  const key = parseNoteKey(options.logKey);
  const { release, size, root } = await verifyTransparentRelease(proof, key);
  return { releases: [release], checkpoint: { origin: key.name, size, root, extensions: [] } };
}

/**
 * Verifies that a proof's checkpoint is in the log's tree and itself continues the checkpoint seen
 * before. Without this, a fork's proof could lie beside an honest folder: the folder's own
 * checkpoint says nothing about the proof.
 * @throws EvidenceError `log`
 */
async function requireContinued(log: ReleaseFolder, proven: Checkpoint, seen: SeenCheckpoint | null): Promise<void> {
  await proveContinues(log, seenOf(proven));
  if (seen === null) return;
  const entries = log.entries.slice(0, proven.size);
  await proveContinues({ ...log, checkpoint: proven, entries }, seen);
}

async function demand(file: string, options: KeyOptions & { log: string; only?: string; out: string }): Promise<void> {
  if (options.only !== undefined && options.only !== 'images' && options.only !== 'policy') {
    throw new UsageError(`--only ${options.only}: images or policy`);
  }
  const references = parseReferences(await readInput(file));
  const log = await readReleaseLog(options.log, releaseKeys(anchorOf(options)));
  const seen = await readSeen(options);
  const releases = log.entries.map(parseRelease);
  const demanded = (accepted: (release: Release) => boolean): ReleaseLog => ({
    ...anchorOf(options),
    seen,
    consistency: [],
    proofs: releases.filter(accepted).map((release) => proveRelease(log, release)),
  });
  const ids = new Set([references.images, references.snp ?? [], references.tdx ?? []].flat().map(({ id }) => id));
  const policies = new Set([references.policy, ...(references.rollout ?? []).map(({ policy }) => policy)]);
  const consistency = seen === null ? [] : await proveContinues(log, seen);
  const logged = {
    images: { ...demanded((one) => one.kind === 'image' && ids.has(one.reference.id)), consistency },
    policy: { ...demanded((one) => one.kind === 'policy' && policies.has(one.policy)), consistency },
  };
  const only = options.only === undefined ? logged : { [options.only]: logged[options.only] };
  const text = `${JSON.stringify({ ...references, logged: only }, undefined, 2)}\n`;
  for (const { outcome, detail } of await appraiseLogged(parseReferences(Buffer.from(text)), { now: Date.now() })) {
    if (outcome === 'failed') throw new UsageError(`nobody would be accepted: ${detail}`);
  }
  await writeOutput(options.out, text);
}

/**
 * Reads a manifest as it stands in its file, or a policy's canonical bytes.
 * @throws ImageError, PolicyError
 */
async function readDocument(file: string): Promise<ReleaseDocument> {
  const bytes = await readInput(file);
  const source = Buffer.from(bytes).toString('utf8');
  if (!/^\s*\{\s*"enclaim"\s*:\s*"image\//.test(source)) {
    const document = canonicalPolicy(parsePolicy(source, { file }));
    return { release: { enclaim: 'release/1', kind: 'policy', policy: digestOfCanonical(document) }, document };
  }
  const { references, artefacts } = parseManifest(source);
  const release = {
    enclaim: 'release/1',
    kind: 'image',
    manifest: digestText('sha256', sha256(bytes)),
    reference: references.tpm,
    kernelFile: artefacts.kernel.sha256,
    tdx: { kernel: references.tdx.kernel, initrd: references.tdx.initrd },
  } as const;
  return { release, document: bytes };
}

async function signerOf(pem: string, origin: string): Promise<LogSigner> {
  const privateKey = await readEd25519('--key', pem);
  const raw = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
  if (!isNoteName(origin) || origin.length > 128) throw new UsageError(`--origin ${origin}: no spaces and no +`);
  return {
    key: noteKey(origin, 'ed25519', Uint8Array.from(raw)),
    sign: (message) => sign(null, message, privateKey),
    signedFile: `${pem}.signed`,
  };
}

function anchorOf({ logKey, witness }: KeyOptions): Pick<ReleaseLog, 'key' | 'witnesses'> {
  return { key: logKey, witnesses: witness };
}

/**
 * Reads a checkpoint from before, if it is signed by the same log. Another log's checkpoint would
 * prove nothing.
 */
async function readSeen({ seen, ...options }: KeyOptions): Promise<SeenCheckpoint | null> {
  if (seen === undefined) return null;
  const [log] = releaseKeys(anchorOf(options));
  const { text } = await verifyNote(
    Buffer.from(await readInput(seen)).toString('utf8'),
    log === undefined ? [] : [log],
  );
  return seenOf(parseCheckpoint(text));
}

function seenOf({ size, root }: Checkpoint): SeenCheckpoint {
  return { size, root: digestText('sha256', root) };
}
