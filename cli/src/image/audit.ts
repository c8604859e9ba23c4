/**
 * `enclaim audit`: rebuilds from source, and reports the differences to a claimed image, bundle or
 * running machine.
 */
import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Authenticated, References } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { parseDigest, sha256, sha384 } from '@enclaim/attestation/digest';
import { verifyEvidence } from '@enclaim/attestation/evidence';
import { RESULT, STATEMENT, type Subject, signEnvelope } from '@enclaim/attestation/intoto';
import { ed25519Key } from '@enclaim/attestation/statement';
import { inspect } from '@enclaim/client';
import {
  audit,
  type ClaimedImage,
  type Difference,
  DOCUMENTS,
  parseManifest,
  type RebuildStep,
  type Rebuilt,
  rebuild,
} from '@enclaim/image';
import type { Command } from 'commander';
import { EXIT } from '../exit-status.ts';
import { collect, readEd25519, readInput, writeOutput } from '../input.ts';
import { printable } from '../printable.ts';
import { readReferences } from '../references-file.ts';
import { UsageError } from '../usage-error.ts';
import { differencesOfMachine, type Machine } from './machine-differences.ts';

interface AuditOptions {
  readonly against: string[];
  readonly app?: string;
  readonly evidence?: string;
  readonly references?: string;
  readonly referencesKey?: string;
  readonly mirror?: string[];
  readonly statement?: string;
  readonly key?: string;
  readonly verifier?: string;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('audit')
    .description('rebuild from source in a clean folder, and compare with what is claimed: 0 the same, 3 not the same')
    .argument('[source]', 'folder, git revision, or REPOSITORY#REVISION', '.')
    .option('--against <what>', 'manifest.json, app bundle, or HOST:PORT of a running machine; repeatable', collect, [])
    .option(
      '--app <folder>',
      'app, for a bundle or a machine: a folder of the sources, ./FOLDER, or REPOSITORY#REVISION[:FOLDER]',
    )
    .option('--evidence <file>', 'saved evidence of a machine')
    .option('--references <file>', 'whose signatures on evidence are believed')
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM')
    .option('--mirror <url...>', "Debian mirrors to fetch from (default: this machine's apt sources)")
    .option('--statement <file>', 'write the result as a signed in-toto statement; needs --key and --verifier')
    .option('--key <pem>', 'Ed25519 private key (PKCS #8) of the auditor')
    .option('--verifier <uri>', 'who the auditor is')
    .option('--json', 'the differences as JSON')
    .action(run);
}

/** Something to hold the rebuilt against. */
interface Claim {
  /** For people, and as a property of the statement if it holds. */
  readonly name: string;
  readonly property: string;
  readonly subjects: readonly Subject[];
  readonly image: ClaimedImage | null;
  readonly bundle: Uint8Array | null;
  readonly machine: Machine | null;
}

async function run(source: string, options: AuditOptions): Promise<void> {
  const signer = await signerOf(options);
  // First, for it takes no minute to be refused.
  const claims = await Promise.all(claimsOf(options));
  if (claims.length === 0) throw new UsageError('name what to hold it --against, or --evidence');
  if (options.app === undefined && claims.some(({ bundle }) => bundle !== null))
    throw new UsageError('an app bundle needs --app: the folder or the revision that it was made of');
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  for (const signal of SIGNALS) process.on(signal, interrupt);
  const rebuilt = await rebuild({
    source,
    signal: interrupted.signal,
    ...(options.app === undefined ? {} : { app: options.app }),
    ...(options.mirror === undefined ? {} : { mirrors: options.mirror }),
    onStep: (step) => process.stderr.write(`${STEPS[step]}\n`),
  }).finally(() => {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  });
  const results = [];
  for (const claim of claims) results.push({ claim, differences: await compareClaim(claim, rebuilt) });
  report(results, rebuilt, options.json === true);
  if (signer !== null) await signer(results, rebuilt);
  if (results.some(({ differences }) => differences.length > 0)) process.exitCode = EXIT.different;
}

/** They end the rebuild, which then removes its folder: hundreds of megabytes. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const STEPS: Readonly<Record<RebuildStep, string>> = {
  sources: 'taking the sources into a clean folder',
  packages: 'installing the locked packages, without their scripts',
  inputs: 'fetching locked inputs',
  image: 'building the image with the sources’ own build',
  bundle: 'making the app bundle',
};

function claimsOf({ against, evidence, references, ...options }: AuditOptions): Promise<Claim>[] {
  const trusted = async (): Promise<References> => {
    if (references === undefined) throw new UsageError('evidence needs --references: unsigned registers show nothing');
    return readReferences({ ...options, references });
  };
  return [
    ...against.map(async (what) => {
      const bytes = await readFile(what).catch(() => null);
      if (bytes !== null) return fileClaim(what, bytes);
      if (!/^[^/]+:\d{1,5}$/.test(what)) throw new UsageError(`${what} is neither a file nor HOST:PORT`);
      const accepted = await trusted();
      return machineClaim(what, (await inspect(what, accepted)).authenticated, accepted, 'now');
    }),
    ...(evidence === undefined ? [] : [savedClaim(evidence, trusted)]),
  ];
}

const NOTHING = { image: null, bundle: null, machine: null } as const;
const BUNDLE_MAGIC = utf8('ENCLAIM\0');

async function fileClaim(path: string, bytes: Uint8Array): Promise<Claim> {
  if (BUNDLE_MAGIC.every((byte, index) => bytes[index] === byte)) {
    const subjects = [subject(basename(path), 'sha384', sha384(bytes))];
    return { ...NOTHING, name: path, property: 'ENCLAIM_BUNDLE_REPRODUCED', subjects, bundle: bytes };
  }
  const manifest = parseManifest(Buffer.from(bytes).toString('utf8'));
  const read = async (file: string): Promise<Uint8Array | null> =>
    readFile(join(dirname(path), file)).catch(() => null);
  const { uki, kernel, initrd } = manifest.artefacts;
  const files = { uki: await read(uki.file), kernel: await read(kernel.file), initrd: await read(initrd.file) };
  const documents: Record<string, Uint8Array> = { 'manifest.json': bytes };
  for (const name of Object.keys(DOCUMENTS)) {
    const found = name in documents ? null : await read(name);
    if (found !== null) documents[name] = found;
  }
  const subjects = [
    subject(basename(path), 'sha256', sha256(bytes)),
    subject(uki.file, 'sha256', parseDigest('sha256', manifest.id)),
  ];
  return {
    ...NOTHING,
    name: path,
    property: 'ENCLAIM_IMAGE_REPRODUCED',
    subjects,
    image: { manifest, files, documents },
  };
}

async function savedClaim(path: string, trusted: () => Promise<References>): Promise<Claim> {
  const references = await trusted();
  const context = { now: Date.now(), channel: 'offline', activation: null } as const;
  const authenticated = await verifyEvidence(await readInput(path), references.anchors, context);
  return machineClaim(path, authenticated, references, 'saved');
}

/**
 * @param answered by the machine, for this audit; or in a file, of a time that the file does not
 *   show
 */
function machineClaim(
  name: string,
  authenticated: Authenticated,
  references: References,
  answered: 'now' | 'saved',
): Claim {
  const subjects = [subject(`boot ${authenticated.statement.bootId}`, 'sha256', authenticated.bootDigest)];
  return {
    ...NOTHING,
    name,
    property: answered === 'now' ? 'ENCLAIM_MACHINE_RUNS_SOURCE' : 'ENCLAIM_MACHINE_RAN_SOURCE',
    subjects,
    machine: { authenticated, references },
  };
}

function subject(name: string, algorithm: 'sha256' | 'sha384', digest: Uint8Array): Subject {
  return { name, digest: { [algorithm]: digest.toHex() } };
}

async function compareClaim({ image, bundle, machine }: Claim, rebuilt: Rebuilt): Promise<Difference[]> {
  return machine === null ? audit({ image, bundle, machine: null }, rebuilt) : differencesOfMachine(machine, rebuilt);
}

interface Result {
  readonly claim: Claim;
  readonly differences: readonly Difference[];
}

function report(results: readonly Result[], rebuilt: Rebuilt, json: boolean): void {
  const { image, source, app, isolation } = rebuilt;
  const own = { image: image.manifest.id, source, app, isolation };
  if (json) {
    const claims = results.map(({ claim, differences }) => ({
      claim: claim.name,
      ok: differences.length === 0,
      differences,
    }));
    console.log(JSON.stringify({ ...own, ok: claims.every(({ ok }) => ok), claims }, null, 2));
    return;
  }
  const alone = isolation.offline
    ? 'without a network, and without sight of this machine’s processes'
    : 'WITH this machine’s network and processes in sight: it does not let a process be without';
  const user = isolation.otherUser ? 'as another user' : 'as this user';
  if (app !== null) console.error(`app      from ${described(app)}`);
  console.error(`rebuilt  ${own.image} from ${described(source)}; its build ran ${alone}, ${user}`);
  for (const { claim, differences } of results) {
    for (const { component, claimed, rebuilt: found, because } of differences) {
      if (because.length > 0) continue;
      console.log(`differs  ${printable(component)}`);
      console.log(`  claimed ${printable(claimed ?? '(not there)')}\n  rebuilt ${printable(found ?? '(not there)')}`);
    }
    const effects = differences.filter(({ because }) => because.length > 0).map(({ component }) => component);
    if (effects.length > 0) console.log(`and with it ${effects.map(printable).join(', ')}`);
    if (differences.length === 0) console.log(`same     ${claim.name}`);
  }
}

function described({ from, commit, digest }: Rebuilt['source']): string {
  return commit === null ? `${from} as it lies there (${digest})` : `${from} at ${commit}`;
}

type SignResults = (results: readonly Result[], rebuilt: Rebuilt) => Promise<void>;

/**
 * Writes the signed statement: its subjects are the claimed artefacts, its properties the claims
 * that hold.
 */
async function signerOf({ statement, key, verifier }: AuditOptions): Promise<SignResults | null> {
  if (statement === undefined && key === undefined && verifier === undefined) return null;
  if (statement === undefined || key === undefined || verifier === undefined)
    throw new UsageError('--statement, --key and --verifier go together');
  if (!URL.canParse(verifier)) throw new UsageError(`--verifier ${verifier} is no URI`);
  const privateKey: KeyObject = await readEd25519('--key', key);
  const publicKey = ed25519Key(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32));
  return async (results, rebuilt) => {
    const payload = utf8(JSON.stringify(statementOf(results, rebuilt, verifier)));
    const envelope = signEnvelope(payload, publicKey, (message) => sign(null, message, privateKey));
    await writeOutput(statement, `${JSON.stringify(envelope)}\n`);
    console.error(`statement by ${publicKey}`);
  };
}

function statementOf(results: readonly Result[], rebuilt: Rebuilt, verifier: string): object {
  const { source, app, isolation, image } = rebuilt;
  const holds = results.filter(({ differences }) => differences.length === 0).map(({ claim }) => claim.property);
  const causes = results.flatMap(({ differences }) => differences.filter(({ because }) => because.length === 0));
  // A property speaks of all subjects. If one of two images differs, none is said to be reproduced.
  const failed = new Set(
    results.filter(({ differences }) => differences.length > 0).map(({ claim }) => claim.property),
  );
  return {
    _type: STATEMENT,
    subject: results.flatMap(({ claim }) => claim.subjects),
    predicateType: RESULT,
    predicate: {
      verifier: { id: verifier },
      timeCreated: new Date().toISOString(),
      properties: [
        ...new Set(holds.filter((property) => !failed.has(property))),
        ...(source.commit === null || app?.commit === null ? [] : ['ENCLAIM_SOURCE_IS_A_REVISION']),
        ...(isolation.offline ? ['ENCLAIM_BUILT_OFFLINE'] : []),
      ],
      enclaim_source: { digest: digestsOf(source) },
      ...(app === null ? {} : { enclaim_app: { digest: digestsOf(app) } }),
      enclaim_rebuilt: { image: image.manifest.id },
      enclaim_differences: causes.slice(0, 256),
    },
  };
}

/** Digests of the files, and of the commit that they are from. */
function digestsOf({ commit, digest }: Rebuilt['source']): object {
  const files = { sha256: digest.slice('sha256:'.length) };
  return commit === null ? files : { ...files, gitCommit: commit };
}
