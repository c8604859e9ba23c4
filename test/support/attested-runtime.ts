/** A runtime over a software TPM, without a VM: the registers are extended as a boot of an image would have. */

import { deepEqual } from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { References } from '@enclaim/attestation';
import { tpmExtraData } from '@enclaim/attestation/batch';
import { parseBundle } from '@enclaim/attestation/bundle';
import { toBase64, utf8 } from '@enclaim/attestation/bytes';
import { type DigestText, digestText, type Sha256, sha256 } from '@enclaim/attestation/digest';
import { type ImageReference, launchCommandLine, launchEvents, registerOf } from '@enclaim/attestation/measure';
import type { BuiltBundle } from '@enclaim/image';
import { type AttestingPlatform, type Runtime, type RuntimeOptions, startRuntime } from '@enclaim/runtime';
import { answerTo, type Question } from '../../guest/src/runtime-link.ts';
import type { StatedBoot } from '../../guest/src/stated-boot.ts';
import { type Attester, openAttester, TpmKeeper } from '../../guest/src/tpm/index.ts';
import { askedKeeper } from '../../runtime/src/asked-keeper.ts';
import { parseFromRuntime } from '../../runtime/src/control.ts';
import { type Device, openDevice } from '../../runtime/src/log/device.ts';
import type { Keeper } from '../../runtime/src/storage/sealed/keeper.ts';
import { type Swtpm, startSwtpm } from '../fakes/swtpm.ts';
import { CAPACITY, MISSING_LAYERS, startWorkers } from './worker-process.ts';

/** A base image that was never built: its digests are of words. */
export const PRETEND_IMAGE: ImageReference = {
  id: digestText('sha256', sha256(utf8('image'))),
  uki: digestText('sha256', sha256(utf8('uki'))),
  kernel: digestText('sha256', sha256(utf8('kernel'))),
  initrd: digestText('sha256', sha256(utf8('initrd'))),
  sections: digestText('sha256', registerOf(sha256(utf8('sections')))),
  commandLine: 'quiet panic=-1',
};

/** What firmware extends last into each of its registers. */
export const SEPARATOR: Sha256 = sha256(new Uint8Array(4));

/** A server as a client meets it. */
export interface AttestedRuntime {
  readonly runtime: Runtime;
  readonly target: string;
  readonly attester: Attester;
  /** The file that stands for the log's disk. */
  readonly logFile: string;
  /** References that accept it: by credential activation under the software TPM's authority. */
  readonly references: References;
  stop(): Promise<void>;
}

/** What may differ from an honest boot. */
export interface BootOptions {
  /** Stands between runtime and TPM. */
  readonly platform?: (honest: AttestingPlatform) => AttestingPlatform;
  /** The command line as launched; by default the image's with the policy. */
  readonly commandLine?: string;
  /** What the names of subprocessors lead to; by default nowhere. */
  readonly resolve?: RuntimeOptions['resolve'];
  /** The base image; by default {@link PRETEND_IMAGE}. */
  readonly image?: ImageReference;
  /** The file that stands for the log's disk; by default a new one. */
  readonly logFile?: string;
  /** Bytes of the log's disk; by default 16 MiB. */
  readonly logBytes?: number;
  /** When the boot began; by default now. */
  readonly time?: RuntimeOptions['time'];
  /** Stands between runtime and the disk of its log. */
  readonly device?: (honest: Device) => Device;
  /** The machine's TPM, which the caller resets and stops; by default a new one. */
  readonly swtpm?: Pick<Swtpm, 'folder' | 'connect'>;
}

/** A bundle, as far as a boot has it. */
export type BootedBundle = Pick<BuiltBundle, 'bytes' | 'digest' | 'policy'>;

/** Boots `bundle` on a software TPM. */
export async function bootAttested(bundle: BootedBundle, options: BootOptions = {}): Promise<AttestedRuntime> {
  await using cleanup = new AsyncDisposableStack();
  const swtpm = options.swtpm ?? cleanup.adopt(await startSwtpm({ certified: true }), (tpm) => tpm.stop());
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-log-'));
  cleanup.defer(() => rm(folder, { recursive: true }));
  const attester = cleanup.adopt(await openAttester(await swtpm.connect()), (open) => open.close());
  const { image = PRETEND_IMAGE } = options;
  const commandLine = options.commandLine ?? launchCommandLine(image, bundle.policy);
  await extendAsBooted(attester, bundle, commandLine, image);
  const { logFile = join(folder, 'log') } = options;
  await writeFile(logFile, '', { flag: 'a' });
  const disk = cleanup.adopt(await openDevice(logFile), (file) => file.close());
  const device = options.device?.(disk) ?? disk;
  const honest = platformOf(attester, commandLine);
  const keeper = await TpmKeeper.open(attester.tpm);
  const runtime = await startRuntime({
    platform: options.platform?.(honest) ?? honest,
    bundle: { ...parseBundle(bundle.bytes), policyDigest: bundle.policy, digest: bundle.digest },
    image: 'enclaim-test',
    log: { device, capacity: options.logBytes ?? 16 * 1024 * 1024 },
    workers: { factory: startWorkers(), size: 1, missing: MISSING_LAYERS, capacity: CAPACITY },
    listen: { host: '127.0.0.1', port: 0 },
    ...(options.resolve && { resolve: options.resolve }),
    ...(options.time && { time: options.time }),
    keeper: supervised(keeper),
  });
  cleanup.defer(() => runtime.close());
  // The supervisor of a VM would not have taken the statement.
  deepEqual(runtime.statement.storage ?? null, runtime.statement.storage === undefined ? null : keeper.begun);
  const roots = await certificatesOf(swtpm.folder);
  const parts = cleanup.move();
  return {
    runtime,
    target: `127.0.0.1:${runtime.port}`,
    attester,
    logFile,
    references: {
      enclaim: 'references/1',
      images: [image],
      policy: bundle.policy,
      bundles: [bundle.digest],
      owner: 'any',
      unsafeUnconfined: MISSING_LAYERS,
      anchors: {
        attestationKeys: [],
        endorsementRoots: [],
        unsafeSwtpmRoots: [digestText('sha256', sha256(roots[0] ?? new Uint8Array()))],
        certificates: roots.map(toBase64),
      },
    },
    stop: () => parts.disposeAsync(),
  };
}

async function extendAsBooted(
  attester: Attester,
  { policy, digest }: BootedBundle,
  commandLine: string,
  image: ImageReference,
): Promise<void> {
  const launch = { boot: 'kernel', commandLine, policy, bundle: digest } as const;
  for (const [register, events] of launchEvents(image, launch)) {
    for (const event of events) await attester.extend(register, event);
  }
  await attester.extend(11, sha256(utf8('sections')));
  for (const register of [0, 1, 2, 3, 5, 6, 7]) await attester.extend(register, SEPARATOR);
}

function platformOf(attester: Attester, commandLine: string): AttestingPlatform {
  const { akPublic, ekPublic, ekCertificate } = attester;
  return {
    kind: 'tpm',
    device: { ak: akPublic, ek: ekPublic, ekCertificate: ekCertificate ?? null },
    sign: async (root, boot) => {
      const { attest, signature, pcrs } = await attester.quote(tpmExtraData(root, boot));
      const values = [...pcrs].map(([index, value]) => ({ index, sha256: value }));
      const ek = { ekPublic, ekCertificate: ekCertificate ?? new Uint8Array() };
      return { case: 'tpm', value: { attest, signature, akPublic, ...ek, pcrs: values, commandLine } };
    },
    activate: (blob, secret) => attester.activate(blob, secret),
  };
}

/** The software TPM's root certificate, then the one that issued the endorsement certificates. */
async function certificatesOf(folder: string): Promise<Uint8Array[]> {
  const names = ['swtpm-localca-rootca-cert.pem', 'issuercert.pem'];
  return Promise.all(names.map(async (name) => new X509Certificate(await readFile(join(folder, name))).raw));
}

/** The keeper as the runtime of a VM has it: asked through the messages of the control socket. */
function supervised(keeper: TpmKeeper): Keeper {
  const { heirs } = keeper;
  const platform = {
    quote: () => Promise.reject(new Error('no quote')),
    activate: () => Promise.reject(new Error('no activation')),
    keeper: {
      kind: 'tpm',
      heirs,
      begun: () => keeper.begun,
      epoch: () => keeper.epoch(),
      seal: (key: Uint8Array, epoch: number) => keeper.seal(key, epoch),
      open: (blob: Uint8Array) => keeper.open(blob),
      advance: () => keeper.advance(),
      recover: (recovery: DigestText<'sha256'>) => keeper.recover(recovery),
    },
  } as const;
  const stated = { useKeeper: () => {} } as unknown as StatedBoot;
  return askedKeeper('tpm', async (kind, question) => {
    const asked = parseFromRuntime(JSON.stringify(question(0))) as Question;
    const answer = await answerTo(asked, { platform, stated });
    if (answer.kind !== kind) throw new Error(`answer ${answer.kind}, expected ${kind}`);
    return answer as never;
  });
}
