/** Guests on processors in software: the guest's platform over a report tree, the runtime, and the makers' services. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { References } from '@enclaim/attestation';
import { parseBundle } from '@enclaim/attestation/bundle';
import { toBase64, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { describeSnpFirmware, snpLaunchDigest } from '@enclaim/attestation/measure';
import { parseReferences, type SnpReference } from '@enclaim/attestation/references';
import { type ConnectOptions, connect, VerdictError } from '@enclaim/client';
import { VendorCollateral } from '@enclaim/client/network';
import type { BuiltBundle } from '@enclaim/image';
import { type AttestingPlatform, platformOn, type Runtime, type RuntimeOptions, startRuntime } from '@enclaim/runtime';
import { openTsmPlatform, type TdxMeasurements } from '../../guest/src/platform/tsm.ts';
import { knownOf, StatedBoot } from '../../guest/src/stated-boot.ts';
import { TsmDevice, type TsmTree } from '../../guest/src/tsm/index.ts';
import { openDevice } from '../../runtime/src/log/device.ts';
import { EPOCH, pemOf } from '../fakes/certificates.ts';
import { fakeFirmware } from '../fakes/firmware.ts';
import type { FakeCollateral, FakeQuotingEnclave } from '../fakes/quoting-enclave.ts';
import { failing } from './refused.ts';
import { CAPACITY, MISSING_LAYERS, startWorkers } from './worker-process.ts';

const DAY = 86_400_000;

/** A day after the fakes' certificates begin. */
export const now = (): number => EPOCH + DAY;

/** A runtime over a report tree. */
export interface Booted {
  readonly runtime: Runtime;
  readonly target: string;
  stop(): Promise<void>;
}

/** How a guest is booted. */
export interface SiliconBoot {
  /** As the kernel has it. */
  readonly commandLine: string;
  readonly measurements?: TdxMeasurements;
  /** Stands between runtime and hardware. */
  readonly tamper?: (honest: AttestingPlatform) => AttestingPlatform;
  /** The file that stands for the disk; by default a new one. */
  readonly logFile?: string;
  readonly resolve?: RuntimeOptions['resolve'];
  readonly time?: RuntimeOptions['time'];
}

/** Bytes of the disk. */
const CAPACITY_BYTES = 4 * 1024 * 1024;

/** What a processor without registers of its own has. */
const NO_MEASUREMENTS: TdxMeasurements = {
  rtmr3: null,
  ownReport: () => Promise.reject(new Error('not a TD')),
  eventLogArea: async () => null,
};

/** The guest's platform over a report tree, measured as the supervisor does it, and the runtime over that. */
export async function boot(bundle: BuiltBundle, tree: TsmTree, options: SiliconBoot): Promise<Booted> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-silicon-'));
  cleanup.defer(() => rm(folder, { recursive: true }));
  const { logFile = join(folder, 'log'), resolve, time } = options;
  await writeFile(logFile, '', { flag: 'a' });
  const records = cleanup.adopt(await openDevice(logFile), (file) => file.close());
  const device = cleanup.adopt(await TsmDevice.open('enclaim', tree), (it) => it.close());
  const { commandLine, measurements = NO_MEASUREMENTS, tamper } = options;
  const guest = await openTsmPlatform(device, measurements, commandLine);
  const parts = parseBundle(bundle.bytes);
  await guest.measure({ policy: parts.policy, policyDigest: bundle.policy, digest: bundle.digest });
  const { policy, descriptors, handlers } = parts;
  const [policyText, descriptorText, handlerText] = [policy, descriptors, handlers].map(toBase64) as [
    string,
    string,
    string,
  ];
  const stated = new StatedBoot({
    ...knownOf({
      image: 'enclaim-test',
      bundle: {
        ...{ policy: policyText, descriptors: descriptorText, handlers: handlerText },
        ...{ policyDigest: bundle.policy, digest: bundle.digest },
      },
      hardware: guest.hardware(),
      keeper: null,
    }),
    unconfined: MISSING_LAYERS,
  });
  // As the supervisor does it: the runtime says the root alone.
  const honest = platformOn(guest.hardware(), guest.commandLine, {
    state: async (statement) => stated.state(statement),
    quote: (data) => guest.quote(stated.covered(data.subarray(0, 32))),
    activate: (blob, secret) => guest.activate(blob, secret),
  });
  const runtime = await startRuntime({
    platform: tamper?.(honest) ?? honest,
    bundle: { ...parts, policyDigest: bundle.policy, digest: bundle.digest },
    image: 'enclaim-test',
    log: { device: records, capacity: CAPACITY_BYTES },
    workers: { factory: startWorkers(), size: 1, missing: MISSING_LAYERS, capacity: CAPACITY },
    listen: { host: '127.0.0.1', port: 0 },
    ...(resolve && { resolve }),
    ...(time && { time }),
  });
  cleanup.defer(() => runtime.close());
  const running = cleanup.move();
  return { runtime, target: `127.0.0.1:${runtime.port}`, stop: () => running.disposeAsync() };
}

/** References that accept a bundle on silicon under these roots. */
export function referencesFor(
  bundle: BuiltBundle,
  pins: readonly `sha256:${string}`[],
  more: Partial<References>,
): References {
  const references: References = {
    enclaim: 'references/1',
    images: [],
    policy: bundle.policy,
    bundles: [bundle.digest],
    owner: 'any',
    unsafeUnconfined: MISSING_LAYERS,
    anchors: {
      attestationKeys: [],
      endorsementRoots: [],
      unsafeSwtpmRoots: [],
      certificates: [],
      unsafeSiliconRoots: pins,
    },
    ...more,
  };
  return parseReferences(utf8(JSON.stringify(references)));
}

/** Connects; the required checks that did not pass, or none. */
export async function failed(target: string, options: ConnectOptions): Promise<string[]> {
  try {
    (await connect(target, { now, ...options })).close();
    return [];
  } catch (error) {
    if (!(error instanceof VerdictError)) throw error;
    return failing(error.verdict.checks);
  }
}

/** A service that has these bodies; what it was asked for is kept. */
export function serviceOf(bodies: Readonly<Record<string, Response>>): typeof fetch & { readonly asked: string[] } {
  const asked: string[] = [];
  const serve = (async (url: string) => {
    asked.push(url);
    return bodies[url]?.clone() ?? new Response('', { status: 404 });
  }) as unknown as typeof fetch;
  return Object.assign(serve, { asked });
}

/** Intel's services for the platform of this enclave, saying this. */
export function intelServices(enclave: FakeQuotingEnclave, content: FakeCollateral = {}): VendorCollateral {
  return new VendorCollateral({ fetch: serviceOf(answersOf(enclave, content)), now });
}

function answersOf(enclave: FakeQuotingEnclave, content: FakeCollateral): Record<string, Response> {
  const collateral = enclave.collateral(content);
  const signed = (
    name: string,
    text: Uint8Array,
    signature: Uint8Array,
    chain: readonly Uint8Array[],
    header: string,
  ) =>
    new Response(`{"${name}":${Buffer.from(text)},"signature":"${Buffer.from(signature).toString('hex')}"}`, {
      headers: { [header]: encodeURIComponent(pemOf(...chain)) },
    });
  const { tcbInfo, tcbInfoSignature, tcbInfoChain, qeIdentity, qeIdentitySignature, qeIdentityChain } = collateral;
  const base = 'https://api.trustedservices.intel.com';
  return {
    [`${base}/tdx/certification/v4/tcb?fmspc=009061050000`]: signed(
      'tcbInfo',
      tcbInfo,
      tcbInfoSignature,
      tcbInfoChain,
      'TCB-Info-Issuer-Chain',
    ),
    [`${base}/tdx/certification/v4/qe/identity`]: signed(
      'enclaveIdentity',
      qeIdentity,
      qeIdentitySignature,
      qeIdentityChain,
      'SGX-Enclave-Identity-Issuer-Chain',
    ),
    [`${base}/sgx/certification/v4/pckcrl?ca=platform&encoding=der`]: new Response(Buffer.from(collateral.pckCrl)),
    'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der': new Response(Buffer.from(collateral.rootCrl)),
  };
}

/** A pretended launch by QEMU under SEV-SNP: what references say of it, and what a command line makes of its digest. */
export async function snpLaunch(
  image: Pick<SnpReference, 'id' | 'commandLine'>,
): Promise<{ reference: SnpReference; measure: (commandLine: string) => Promise<Uint8Array> }> {
  const firmware = await describeSnpFirmware(fakeFirmware());
  const { digest, sections, resetEip, hashesTable = null } = firmware;
  const [kernel, initrd] = [sha256(utf8('kernel')), sha256(utf8('initrd'))];
  const processor = { vmm: 'qemu', cpuSignature: 0x800f12 } as const;
  const reference: SnpReference = {
    ...image,
    firmware: { digest: digestText('sha384', digest), sections, resetEip, hashesTable },
    kernel: digestText('sha256', kernel),
    initrd: digestText('sha256', initrd),
    ...processor,
    features: 1,
    vcpus: [2],
    floors: { Milan: { bootloader: 4, tee: 0, snp: 24, microcode: 219 } },
    idKeys: 'any',
    authorKeys: 'any',
  };
  const machine = { ...processor, features: 1n, vcpus: 2 };
  const measure = (commandLine: string): Promise<Uint8Array> =>
    snpLaunchDigest(firmware, { ...machine, direct: { kernel, initrd, commandLine } });
  return { reference, measure };
}
