/**
 * A machine on a software TPM that keeps keys, and machines on processors in software whose keys it keeps. Between them is a
 * forwarder, which can be cut.
 */

import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { References } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { launchCommandLine } from '@enclaim/attestation/measure';
import type { SnpReference, TdxReference } from '@enclaim/attestation/references';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import type { AttestingPlatform } from '@enclaim/runtime';
import { openAttester } from '../../guest/src/tpm/index.ts';
import { certificateTable, FakeTsmTree } from '../fakes/configfs-tsm.ts';
import { FakePsp } from '../fakes/psp.ts';
import { FakeQuotingEnclave } from '../fakes/quoting-enclave.ts';
import type { Swtpm } from '../fakes/swtpm.ts';
import { bootEvents, eventReferences, FakeTrustDomain } from '../fakes/trust-domain.ts';
import { type AttestedRuntime, type BootOptions, bootAttested, PRETEND_IMAGE } from './attested-runtime.ts';
import { type Booted, boot, now, snpLaunch } from './silicon.ts';
import { MISSING_LAYERS } from './worker-process.ts';

const APP = join(import.meta.dirname, '../sealed-app');
/** Name under which the keeper is reached. */
export const KEEPER_NAME = 'keeper.example';
/** The owner of every policy here. */
export const OWNER: string = `ed25519:${'A'.repeat(43)}`;
/** The image that machines on processors run. */
export const ASKER_IMAGE: `sha256:${string}` = digestText('sha256', sha256(utf8('image of askers')));
const COMMAND_LINE = 'quiet panic=-1';
const INITRD = digestText('sha384', sha384(utf8('initrd')));
const MRTD = sha384(utf8('mrtd'));

/** The time of every machine here: a day of the fakes' certificates. */
export const timeOf = (): { wall: number; monotonic: number } => ({
  wall: now(),
  monotonic: Number(process.hrtime.bigint()) / 1e6,
});

/** A port that stays, in front of a machine whose port changes with each boot. */
export class Forwarder {
  /** Where connections lead; null: nowhere. */
  to: number | null = null;
  /** Bytes from the machine are thrown away from now on, and connections end. */
  isCut = false;
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => this.#forward(socket));
  }

  static async listen(): Promise<Forwarder> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Forwarder(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }

  #forward(socket: Socket): void {
    socket.on('error', () => {});
    if (this.to === null) return void socket.destroy();
    const there = connectTcp(this.to, '127.0.0.1');
    for (const one of [socket, there]) this.#open.add(one);
    there.on('error', () => socket.destroy());
    there.on('data', (bytes) => (this.isCut ? socket.destroy() : socket.write(bytes)));
    socket.on('data', (bytes) => there.write(bytes));
    socket.on('close', () => there.destroy());
    there.on('close', () => socket.destroy());
  }
}

/** The app under its policy, with an owner, and with storage as it is given. */
export async function keptBundle(
  folder: string,
  storage: object,
  change: (policy: string) => string = (policy) => policy,
): Promise<BuiltBundle> {
  const base = await readFile(join(APP, 'policy.yaml'), 'utf8');
  const policy = change(base)
    .replace('contact: test@example.invalid', `contact: test@example.invalid, key: "${OWNER}"`)
    .replace('storage: { epoch: PT1M }', `storage: ${JSON.stringify({ epoch: 'PT1H', ...storage })}`);
  const policyFile = join(folder, `policy-${Math.random()}.yaml`);
  await writeFile(policyFile, policy);
  return buildBundle({ policyFile, protoDir: join(APP, 'proto'), handlersEntry: join(APP, 'handlers/index.ts') });
}

/** The processors of machines whose keys are kept. */
export const psp: FakePsp = new FakePsp();
export const enclave: FakeQuotingEnclave = new FakeQuotingEnclave();

type Machines = Partial<References> & Pick<References, 'anchors'>;

function textOf({ anchors, ...more }: Machines): string {
  return JSON.stringify({ enclaim: 'references/1', images: [], unsafeUnconfined: MISSING_LAYERS, anchors, ...more });
}

const NO_ANCHORS = { attestationKeys: [], endorsementRoots: [], unsafeSwtpmRoots: [], certificates: [] };

/** `storage.keeps` of a policy: machines on the processors above. */
export async function keepsOf(owners: readonly string[] = [OWNER]): Promise<object> {
  const { reference } = await snpLaunch({ id: ASKER_IMAGE, commandLine: COMMAND_LINE });
  const anchors = { ...NO_ANCHORS, unsafeSiliconRoots: [...psp.pins, ...enclave.pins] };
  // The registers of the policy's own records are in no reference.
  const tdx = [tdxReference(bootEvents(launchCommandLine({ commandLine: COMMAND_LINE }, SOME_POLICY), INITRD))];
  return { owners, images: [ASKER_IMAGE], references: textOf({ anchors, snp: [reference], tdx }) };
}
const SOME_POLICY = `sha384:${'00'.repeat(48)}` as const;

function tdxReference(events: ReturnType<typeof bootEvents>): TdxReference {
  return {
    id: ASKER_IMAGE,
    mrtd: digestText('sha384', MRTD),
    rtmr0: eventReferences(events, 0),
    rtmr1: eventReferences(events, 1),
    initrd: INITRD,
    commandLine: COMMAND_LINE,
    commandLineEnd: '',
    rtmr3: 'policy',
  };
}

/** `storage.keeper` of a policy: the machine of a TPM, behind a port. */
export async function keeperOf(swtpm: Swtpm, port: number, policy: string): Promise<object> {
  const attester = await openAttester(await swtpm.connect());
  const attestationKeys = [digestText('sha256', sha256(attester.akPublic))];
  await attester.close();
  const references = textOf({ anchors: { ...NO_ANCHORS, attestationKeys }, images: [PRETEND_IMAGE] });
  return { address: `https://${KEEPER_NAME}:${port}`, policy, images: [PRETEND_IMAGE.id], references };
}

/** Boots the machine that keeps keys. */
export async function bootKeeper(
  bundle: BuiltBundle,
  swtpm: Swtpm,
  options: BootOptions & { readonly logFile: string },
): Promise<AttestedRuntime> {
  await swtpm.powerCycle();
  return bootAttested(bundle, { swtpm, time: timeOf(), ...options });
}

/** How a machine whose keys are kept is booted. */
export interface AskerBoot {
  readonly logFile: string;
  readonly image?: SnpReference['id'];
  readonly measurement?: Uint8Array;
  readonly tamper?: (honest: AttestingPlatform) => AttestingPlatform;
}

const resolve = async (): Promise<string[]> => ['127.0.0.1'];

/** Boots a machine on SEV-SNP whose keys a peer keeps. */
export async function bootSnp(bundle: BuiltBundle, options: AskerBoot): Promise<Booted> {
  const { measure } = await snpLaunch({ id: ASKER_IMAGE, commandLine: COMMAND_LINE });
  const commandLine = launchCommandLine({ commandLine: COMMAND_LINE }, bundle.policy);
  const measurement = options.measurement ?? (await measure(commandLine));
  const auxblob = certificateTable({ vcek: psp.leaf, ask: psp.ask, ark: psp.ark, crl: psp.crl() });
  const tree = new FakeTsmTree((reportData) => ({
    provider: 'sev_guest',
    outblob: psp.report({ reportData, measurement }),
    auxblob,
  }));
  const { logFile, tamper } = options;
  return boot(bundle, tree, { commandLine, logFile, resolve, time: timeOf(), ...(tamper && { tamper }) });
}

/** Boots a machine on TDX whose keys a peer keeps. Its evidence brings Intel's word on the platform. */
export async function bootTdx(bundle: BuiltBundle, { logFile }: AskerBoot): Promise<Booted> {
  const commandLine = launchCommandLine({ commandLine: COMMAND_LINE }, bundle.policy);
  const domain = new FakeTrustDomain(enclave, {
    ...{ mrTd: MRTD, events: bootEvents(commandLine, INITRD), logged: null },
    fields: () => ({}),
  });
  const tamper = (honest: AttestingPlatform): AttestingPlatform => ({
    ...honest,
    sign: async (root, digest) => {
      const signed = await honest.sign(root, digest);
      if (signed.case === 'tdx') Object.assign(signed.value, { collateral: enclave.collateral({}) });
      return signed;
    },
  });
  const tree = new FakeTsmTree((data) => domain.report(data));
  const options = { commandLine, measurements: domain.measurements, logFile, resolve, time: timeOf(), tamper };
  return boot(bundle, tree, options);
}

/** References for clients of a machine on SEV-SNP. */
export async function snpReferences(): Promise<Partial<References>> {
  const { reference } = await snpLaunch({ id: ASKER_IMAGE, commandLine: COMMAND_LINE });
  return { snp: [reference] };
}

/** References for clients of a machine on TDX. */
export function tdxReferences(bundle: BuiltBundle): Partial<References> {
  const commandLine = launchCommandLine({ commandLine: COMMAND_LINE }, bundle.policy);
  return { tdx: [tdxReference(bootEvents(commandLine, INITRD))] };
}
