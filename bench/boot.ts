/**
 * `node bench/boot.ts [--image FOLDER] [--app FILE] [--runs N]`: from nothing to the first verified answer of an app, against
 * the same kernel, firmware and TPM with a Node that only says hello. Runs alternate, so that a busy computer slows both.
 */
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseReferences, type References } from '@enclaim/attestation';
import { bundleDigest, policyFrame } from '@enclaim/attestation/bundle';
import { connect, describeServices } from '@enclaim/client';
import { buildImage, type Manifest, parseManifest, writeImage } from '@enclaim/image';
import { type RunningMachine, startMachine } from '@enclaim/image/machine';
import { digestOfCanonical } from '@enclaim/policy-schema';

const { values } = parseArgs({
  options: {
    image: { type: 'string', default: 'out/image' },
    app: { type: 'string', default: 'out/clinic.enclaim' },
    runs: { type: 'string', default: '3' },
  },
});
const HELLO = { source: 'test/vm/hello-guest.ts', path: 'enclaim/guest.mjs', reason: 'bench', executable: true };
const { app } = values;

/** Milliseconds from the start to each phase, and to the answer. */
type Times = Readonly<Record<string, number>>;

const bundle = await readFile(app);
const folder = await mkdtemp(join(tmpdir(), 'enclaim-bench-'));
try {
  const hello = await buildImage({ entries: [HELLO] });
  await writeImage(hello, join(folder, 'hello'));
  const manifest = parseManifest(await readFile(join(values.image, 'manifest.json'), 'utf8'));
  const rows: { enclaim: Times; hello: Times }[] = [];
  for (let run = 0; run < Number(values.runs); run++) {
    rows.push({
      hello: await boot(join(folder, 'hello'), hello.manifest, sayHello),
      enclaim: await boot(values.image, manifest, (machine) => verifiedAnswer(machine, manifest)),
    });
  }
  report(rows);
} finally {
  await rm(folder, { recursive: true });
}

async function boot(
  image: string,
  { artefacts, references }: Manifest,
  ask: (machine: RunningMachine) => Promise<void>,
): Promise<Times> {
  const times: Record<string, number> = {};
  const began = performance.now();
  const mark = (name: string): void => {
    times[name] = performance.now() - began;
  };
  const uki = { kind: 'uki', uki: join(image, artefacts.uki.file) } as const;
  await using machine = await startMachine({ app, boot: uki, commandLine: references.tpm.commandLine, onPhase: mark });
  await ask(machine);
  mark('answer');
  return times;
}

async function sayHello({ port }: RunningMachine): Promise<void> {
  const answer = await (await fetch(`http://127.0.0.1:${port}`)).text();
  if (answer !== 'hello') throw new Error(`unexpected answer: ${answer}`);
}

/** A verdict, and the answer to a first call over the channel that earned it. */
async function verifiedAnswer({ port, tpmAuthority }: RunningMachine, { references }: Manifest): Promise<void> {
  const certificates = await Promise.all([tpmAuthority?.root, tpmAuthority?.issuer].map(readCertificate));
  const expected: References = {
    enclaim: 'references/1',
    images: [references.tpm],
    policy: digestOfCanonical(policyFrame(bundle)),
    bundles: [bundleDigest(bundle)],
    owner: 'any',
    anchors: {
      attestationKeys: [],
      endorsementRoots: [],
      unsafeSwtpmRoots: certificates
        .slice(0, 1)
        .map(({ fingerprint256 }) => `sha256:${fingerprint256.replaceAll(':', '').toLowerCase()}` as const),
      certificates: certificates.map(({ raw }) => raw.toString('base64')),
    },
  };
  const channel = await connect(`127.0.0.1:${port}`, {
    references: parseReferences(Buffer.from(JSON.stringify(expected))),
  });
  try {
    await describeServices(channel);
  } finally {
    channel.close();
  }
}

async function readCertificate(path = ''): Promise<X509Certificate> {
  return new X509Certificate(await readFile(path));
}

function report(rows: readonly { enclaim: Times; hello: Times }[]): void {
  const seconds = (which: 'enclaim' | 'hello', name: string): string => {
    const sorted = rows.map((row) => row[which][name] ?? Number.NaN).sort((a, b) => a - b);
    return ((sorted[Math.floor(sorted.length / 2)] ?? 0) / 1000).toFixed(2).padStart(12);
  };
  console.log(`seconds, median of ${rows.length}${'hello'.padStart(11)}${'enclaim'.padStart(12)}`);
  for (const name of ['tpm', 'firmware', 'guest', 'serving', 'answer']) {
    console.log(`${name.padEnd(22)}${seconds('hello', name)}${seconds('enclaim', name)}`);
  }
}
