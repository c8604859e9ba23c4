/**
 * `node bench/boot.ts [--image FOLDER] [--app FILE] [--runs N] [--debian UKI]`: time from nothing
 * to the first verified answer of an app.
 *
 * It is compared with the same kernel, firmware and TPM with a Node that only says hello, and with
 * a Debian image with that Node (`bench/mkosi.ts`). Runs alternate, so that a busy computer slows
 * both.
 */
import { X509Certificate } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseReferences, type References } from '@enclaim/attestation';
import { bundleDigest, policyFrame } from '@enclaim/attestation/bundle';
import { connect } from '@enclaim/client';
import { describeServices } from '@enclaim/client/network';
import { buildImage, type Manifest, parseManifest, writeImage } from '@enclaim/image';
import { type RunningMachine, startMachine } from '@enclaim/image/machine';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import { scratchFolder } from './scratch.ts';

const { values } = parseArgs({
  options: {
    image: { type: 'string', default: 'out/image' },
    app: { type: 'string', default: 'out/clinic.enclaim' },
    runs: { type: 'string', default: '3' },
    debian: { type: 'string' },
  },
});
const HELLO = { source: 'test/vm/hello-guest.ts', path: 'enclaim/guest.mjs', reason: 'bench', executable: true };
const { app } = values;

/**
 * No operator answers its questions, and a login prompt would stand before the line that is waited
 * for.
 */
const DEBIAN = {
  commandLine: 'console=ttyS0 quiet systemd.firstboot=off systemd.mask=serial-getty@ttyS0.service',
  memoryMiB: 2048,
};

/** Milliseconds from the start to each phase, and to the answer. */
type Times = Readonly<Record<string, number>>;

const bundle = await readFile(app);
const folder = await scratchFolder();
try {
  const hello = await buildImage({ entries: [HELLO] });
  await writeImage(hello, join(folder, 'hello'));
  const manifest = parseManifest(await readFile(join(values.image, 'manifest.json'), 'utf8'));
  const rows: Row[] = [];
  for (let run = 0; run < Number(values.runs); run++) {
    rows.push({
      hello: await boot(launchOf(join(folder, 'hello'), hello.manifest), sayHello),
      enclaim: await boot(launchOf(values.image, manifest), (machine) => verifiedAnswer(machine, manifest)),
      ...(values.debian === undefined ? {} : { debian: await boot({ uki: values.debian, ...DEBIAN }, sayHello) }),
    });
  }
  report(rows);
} finally {
  await rm(folder, { recursive: true });
}

interface Row {
  readonly hello: Times;
  readonly enclaim: Times;
  readonly debian?: Times;
}

interface Launch {
  readonly uki: string;
  readonly commandLine: string;
  readonly memoryMiB?: number;
}

function launchOf(folder: string, { artefacts, references }: Manifest): Launch {
  return { uki: join(folder, artefacts.uki.file), commandLine: references.tpm.commandLine };
}

async function boot({ uki, ...launch }: Launch, ask: (machine: RunningMachine) => Promise<void>): Promise<Times> {
  const times: Record<string, number> = {};
  const began = performance.now();
  const mark = (name: string): void => {
    times[name] = performance.now() - began;
  };
  await using machine = await startMachine({
    app,
    boot: { kind: 'uki', uki },
    ...launch,
    onPhase: mark,
  });
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
    await describeServices(channel, { deadline: Date.now() + 20_000 });
  } finally {
    channel.close();
  }
}

async function readCertificate(path = ''): Promise<X509Certificate> {
  return new X509Certificate(await readFile(path));
}

function report(rows: readonly Row[]): void {
  const columns = (['hello', 'enclaim', 'debian'] as const).filter((which) => rows[0]?.[which] !== undefined);
  const seconds = (which: keyof Row, name: string): string => {
    const sorted = rows.map((row) => row[which]?.[name] ?? Number.NaN).sort((a, b) => a - b);
    const median = (sorted[Math.floor(sorted.length / 2)] ?? 0) / 1000;
    return (Number.isNaN(median) ? '' : median.toFixed(2)).padStart(12);
  };
  console.log(`seconds, median of ${rows.length}`.padEnd(22) + columns.map((which) => which.padStart(12)).join(''));
  for (const name of ['tpm', 'firmware', 'guest', 'serving', 'answer']) {
    console.log(`${name.padEnd(22)}${columns.map((which) => seconds(which, name)).join('')}`);
  }
}
