/** Guests on clouds in software: each cloud's evidence as a platform, and the runtime over that. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseBundle } from '@enclaim/attestation/bundle';
import { concat, fromHex } from '@enclaim/attestation/bytes';
import { type Sha384, sha384 } from '@enclaim/attestation/digest';
import { nitroRegisters, predictPcrs, registerOf } from '@enclaim/attestation/measure';
import type { PcrValues } from '@enclaim/attestation/tpm';
import type { BuiltBundle } from '@enclaim/image';
import { type AttestingPlatform, type HardwareEvidence, startRuntime } from '@enclaim/runtime';
import { openDevice } from '../../runtime/src/log/device.ts';
import { FakeGce, type FakeKeyCertificate } from '../fakes/gce.ts';
import { FakeNitroHypervisor } from '../fakes/nitro-hypervisor.ts';
import { FakeParavisor } from '../fakes/paravisor.ts';
import { FakePsp, type FakeReport } from '../fakes/psp.ts';
import { FakeQuotingEnclave, type FakeTd } from '../fakes/quoting-enclave.ts';
import { FakeVtpm } from '../fakes/vtpm.ts';
import { PRETEND_IMAGE, SEPARATOR } from './attested-runtime.ts';
import { now } from './silicon.ts';
import { CAPACITY, MISSING_LAYERS, startWorkers } from './worker-process.ts';

/** A platform of a runtime, and how it may be made to lie. */
export interface Cloud {
  readonly kind: AttestingPlatform['kind'];
  /** The key that the boot statement names, or null on platforms without one. */
  readonly ak: Uint8Array | null;
  readonly pins: readonly `sha256:${string}`[];
  sign(root: Uint8Array, bootDigest: Uint8Array): Promise<HardwareEvidence>;
}

/** A runtime on a cloud. */
export interface CloudServer {
  readonly target: string;
  stop(): Promise<void>;
}

/** Starts the runtime on a cloud. */
export async function serveOn(cloud: Cloud, bundle: BuiltBundle): Promise<CloudServer> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-cloud-'));
  cleanup.defer(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'log'), '');
  const device = cleanup.adopt(await openDevice(join(folder, 'log')), (file) => file.close());
  const runtime = await startRuntime({
    platform: {
      kind: cloud.kind,
      device: { ak: cloud.ak, ek: null, ekCertificate: null },
      sign: (root, bootDigest) => cloud.sign(root, bootDigest),
      activate: () => Promise.reject(new Error('a cloud has no key to activate')),
    },
    bundle: { ...parseBundle(bundle.bytes), policyDigest: bundle.policy, digest: bundle.digest },
    image: 'enclaim-test',
    log: { device, capacity: 1 << 20 },
    workers: { factory: startWorkers(), size: 1, missing: MISSING_LAYERS, capacity: CAPACITY },
    listen: { host: '127.0.0.1', port: 0 },
  });
  cleanup.defer(() => runtime.close());
  const running = cleanup.move();
  return { target: `127.0.0.1:${runtime.port}`, stop: () => running.disposeAsync() };
}

/** Registers after the pretend image was started from disk with this bundle. */
export function registersAsBooted({ policy, digest }: BuiltBundle): PcrValues {
  const predicted = predictPcrs(PRETEND_IMAGE, { boot: 'disk', commandLine: null, policy, bundle: digest });
  return new Map(Array.from({ length: 16 }, (_, index) => [index, predicted.get(index) ?? registerOf(SEPARATOR)]));
}

/** What Microsoft signs its paravisor as. */
export const PARAVISOR: Required<
  Pick<FakeReport, 'idKeyDigest' | 'familyId' | 'imageId' | 'guestSvn' | 'measurement'>
> = {
  idKeyDigest: sha384(fromHex('01')),
  familyId: fromHex('01232000000000000000000000000000'),
  imageId: fromHex('02000000000000000000000000000000'),
  guestSvn: 11,
  measurement: sha384(fromHex('02')),
};

/** Azure on SEV-SNP. */
export class AzureSnpCloud implements Cloud {
  readonly kind = 'azure-snp';
  readonly psp: FakePsp = new FakePsp();
  readonly paravisor: FakeParavisor = new FakeParavisor();
  report: FakeReport = {};
  /** Without them, they are the maker's service's to give. */
  endorsed = true;
  commandLine = '';
  /** Stands in for what the paravisor's vTPM would sign. */
  vtpm: FakeVtpm = this.paravisor.vtpm;

  get ak(): Uint8Array {
    return this.paravisor.vtpm.spki;
  }

  get pins(): `sha256:${string}`[] {
    return this.psp.pins;
  }

  async sign(root: Uint8Array, bootDigest: Uint8Array): Promise<HardwareEvidence> {
    const { psp, paravisor } = this;
    const hardwareReport = psp.report({ ...PARAVISOR, reportData: paravisor.reportData(), ...this.report });
    const snp = this.endorsed ? { certificates: [psp.leaf, psp.ask, psp.ark], crl: psp.crl() } : {};
    return {
      case: 'azure',
      value: {
        hclReport: paravisor.hclReport({ platform: 'snp', hardwareReport }),
        vtpm: this.vtpm.evidence(root, bootDigest, this.commandLine),
        silicon: { case: 'snp', value: snp },
      },
    };
  }
}

/** Azure on TDX. */
export class AzureTdxCloud implements Cloud {
  readonly kind = 'azure-tdx';
  readonly enclave: FakeQuotingEnclave = new FakeQuotingEnclave();
  readonly paravisor: FakeParavisor = new FakeParavisor();
  td: FakeTd = {};

  get ak(): Uint8Array {
    return this.paravisor.vtpm.spki;
  }

  get pins(): `sha256:${string}`[] {
    return this.enclave.pins;
  }

  async sign(root: Uint8Array, bootDigest: Uint8Array): Promise<HardwareEvidence> {
    const { enclave, paravisor } = this;
    const reportData = paravisor.reportData();
    const td: FakeTd = { mrTd: PARAVISOR.measurement, tdAttributes: 0n, reportData, ...this.td };
    return {
      case: 'azure',
      value: {
        hclReport: paravisor.hclReport({ platform: 'tdx', hardwareReport: new Uint8Array(1024) }),
        vtpm: paravisor.vtpm.evidence(root, bootDigest),
        silicon: { case: 'tdx', value: { quote: enclave.quote(td) } },
      },
    };
  }
}

/** GCE on either processor. */
export class GcpCloud implements Cloud {
  readonly kind = 'gcp';
  readonly psp: FakePsp = new FakePsp();
  readonly enclave: FakeQuotingEnclave = new FakeQuotingEnclave();
  readonly gce: FakeGce = new FakeGce();
  readonly vtpm: FakeVtpm = new FakeVtpm();
  silicon: 'snp' | 'tdx' = 'snp';
  report: FakeReport = {};
  certificate: FakeKeyCertificate = {};
  /** The key that Google certifies; by default the one that signs. */
  certified: Uint8Array = this.vtpm.spki;
  endorsement: Uint8Array = new Uint8Array();
  reportData: Uint8Array | null = null;

  get ak(): Uint8Array {
    return this.vtpm.spki;
  }

  get pins(): `sha256:${string}`[] {
    return [...this.psp.pins, ...this.enclave.pins, ...this.gce.pins];
  }

  async sign(root: Uint8Array, bootDigest: Uint8Array): Promise<HardwareEvidence> {
    const { psp, enclave, gce, vtpm, report } = this;
    const reportData = this.reportData ?? concat(root, bootDigest);
    const collateral = { certificates: [psp.leaf, psp.ask, psp.ark], crl: psp.crl() };
    const quoted = { quote: enclave.quote({ mrTd: FIRMWARE.mrTd, reportData }), collateral: collateralOf(enclave) };
    return {
      case: 'gcp',
      value: {
        vtpm: vtpm.evidence(root, bootDigest),
        akCertificates: gce.certificates(this.certified, this.certificate),
        endorsement: this.endorsement,
        endorsementCertificates: this.endorsement.length === 0 ? [] : [gce.firmwareRootDer],
        silicon:
          this.silicon === 'tdx'
            ? { case: 'tdx', value: quoted }
            : {
                case: 'snp',
                value: { report: psp.report({ measurement: FIRMWARE.launch, reportData, ...report }), collateral },
              },
      },
    };
  }
}

/** Measurements of Google's firmware. */
export const FIRMWARE: Readonly<Record<'digest' | 'launch' | 'mrTd', Sha384>> = {
  digest: sha384(fromHex('10')),
  launch: sha384(fromHex('11')),
  mrTd: sha384(fromHex('12')),
};

/** Collateral as messages hold it. */
function collateralOf(enclave: FakeQuotingEnclave) {
  const { tcbInfoChain, qeIdentityChain, ...rest } = enclave.collateral();
  return { ...rest, tcbInfoChain: [...tcbInfoChain], qeIdentityChain: [...qeIdentityChain] };
}

/** A Nitro enclave. */
export class NitroCloud implements Cloud {
  readonly kind = 'nitro';
  readonly ak = null;
  readonly hypervisor: FakeNitroHypervisor = new FakeNitroHypervisor(now());
  /** Registers 0 to 2 and those of policy and bundle. */
  registers: Map<number, Uint8Array>;
  fields: Parameters<FakeNitroHypervisor['document']>[0] = {};

  constructor({ policy, digest }: BuiltBundle) {
    const image = [0, 1, 2].map((index) => [index, sha384(Uint8Array.of(index))] as const);
    const own = nitroRegisters(policy, digest).map(({ register, value }) => [register, value] as const);
    this.registers = new Map<number, Uint8Array>([...image, [4, sha384(Uint8Array.of(4))], ...own]);
  }

  get pins(): `sha256:${string}`[] {
    return this.hypervisor.pins;
  }

  async sign(root: Uint8Array, bootDigest: Uint8Array): Promise<HardwareEvidence> {
    const userData = concat(root, bootDigest);
    const fields = { pcrs: this.registers, user_data: userData, timestamp: now(), ...this.fields };
    return { case: 'nitro', value: { document: await this.hypervisor.document(fields) } };
  }
}
