/** `enclaim run`: boot an app bundle on the base image, and stay until it ends. */
import { join } from 'node:path';
import { ONE_WORKER } from '@enclaim/guest/worker-share';
import { readLocks } from '@enclaim/image';
import {
  type BootSource,
  type Controller,
  type DiskMachineOptions,
  describeMachine,
  MachineError,
  type MachineOptions,
  type MachinePhase,
  type RunningMachine,
  readAppBundle,
  startMachine,
} from '@enclaim/image/machine';
import { digestOfCanonical, isAttestedOnly, type Policy } from '@enclaim/policy-schema/admission';
import { admit } from '@enclaim/runtime/admission';
import { type Command, Option } from 'commander';
import { CALL_LIMITS } from './call-limits.ts';
import { IMAGE_FOLDER, type ImageFolder, readImageFolder } from './image/folder.ts';
import { readInteger } from './input.ts';
import { type NetworkFlags, networkOptions, withNetwork } from './network-words.ts';
import { UsageError } from './usage-error.ts';

interface RunFlags extends NetworkFlags {
  readonly image: string;
  readonly disk?: string;
  readonly controller: Controller;
  readonly port: string;
  readonly state?: string;
  readonly policy?: string;
  readonly accel: 'tcg' | 'kvm';
  readonly platform: 'tpm' | 'snp' | 'tdx';
  readonly firmware?: string;
  readonly memory: string;
  readonly locks?: string;
  readonly print?: boolean;
  readonly console?: boolean;
  readonly json?: boolean;
}

const PHASES: Readonly<Record<MachinePhase, string>> = {
  tools: 'finding QEMU, firmware and TPM',
  tpm: 'starting the TPM',
  firmware: 'firmware measures and starts the kernel',
  guest: 'guest measures policy and app, and starts the runtime',
  serving: 'serving',
};

type Options = MachineOptions | DiskMachineOptions;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Adds the command to the program. */
export function register(program: Command): void {
  const command = program
    .command('run [app]')
    .description('boot an app bundle (app.enclaim), or a disk that holds one, in a virtual machine')
    .option('--image <dir>', 'base image, a folder with manifest.json', IMAGE_FOLDER)
    .addOption(
      new Option('--disk <file>', 'boot this disk (enclaim image disk), raw or .vhd').conflicts([
        'image',
        'policy',
        'platform',
      ]),
    )
    .addOption(
      new Option('--controller <kind>', 'what the disk hangs on').choices(['virtio', 'nvme', 'scsi']).default('virtio'),
    )
    .option('--port <port>', 'port on 127.0.0.1 that leads to the guest; 0 picks a free one', '0')
    .option('--state <dir>', 'keep TPM and state disk here from run to run; without it they end with the machine')
    .option('--policy <digest>', "policy digest to measure at launch, instead of that of the bundle's policy")
    .addOption(new Option('--accel <how>', 'how instructions run').choices(['tcg', 'kvm']).default('tcg'))
    .addOption(new Option('--platform <kind>', 'what signs the evidence').choices(['tpm', 'snp', 'tdx']).default('tpm'))
    .option('--firmware <file>', 'with snp or tdx: the OVMF build that is measured')
    .option('--memory <MiB>', 'memory of the machine', '1024')
    .option('--locks <dir>', 'take QEMU and firmware from a lock of your own (image inputs --substitute)')
    .option('--console', 'show what firmware and guest write')
    .option('--json', 'say as JSON where it serves, and which roots certify its software TPM')
    .addOption(new Option('--print', 'print the command lines and start nothing').conflicts('json'));
  networkOptions(command).addHelpText('after', CALL_LIMITS).action(run);
}

async function run(app: string | undefined, flags: RunFlags): Promise<void> {
  const options = await optionsOf(app, flags);
  if (flags.print) return print(options);
  const abort = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void => abort.abort(new Interrupted(signal));
  for (const signal of SIGNALS) process.on(signal, interrupt);
  try {
    await serve({ ...options, signal: abort.signal }, flags, await answersPlainly(app));
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    process.exitCode = error.exitCode;
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}

async function serve(options: Options, { console: showConsole, json }: RunFlags, plainSentence: string): Promise<void> {
  const begun = performance.now();
  const seconds = (): string => `${((performance.now() - begun) / 1000).toFixed(1)} s`.padStart(8);
  const onPhase = (phase: MachinePhase): void => console.error(`${seconds()}  ${PHASES[phase]}`);
  const onHeir = (predecessor: string): void =>
    console.error(`takes over the state that was handed over under policy ${predecessor}`);
  const onAgain = (reason: string): void => console.error(`${seconds()}  ${reason}: booting again`);
  await using machine = await startMachine({ ...options, onPhase, onHeir, onAgain });
  console.log(json ? servingDocument(machine) : `127.0.0.1:${machine.port}`);
  console.error(plainSentence);
  if (machine.tpmAuthority !== null) {
    const { root, issuer } = machine.tpmAuthority;
    console.error(`for enclaim references: --unsafe-swtpm-root ${root} --certificate ${issuer}`);
  }
  for await (const line of machine.console) if (showConsole === true) console.error(`| ${line}`);
  const { code, refusal } = await machine.ended;
  options.signal?.throwIfAborted();
  if (refusal !== null) throw new MachineError('guest-refused', refusal);
  if (code !== 0) throw new MachineError('exited', `QEMU ended with ${code}`);
}

/** Where a machine serves, as JSON in one line; the software TPM's roots are files. */
export function servingDocument({ port, tpmAuthority }: Pick<RunningMachine, 'port' | 'tpmAuthority'>): string {
  return JSON.stringify({ address: `127.0.0.1:${port}`, softwareTpm: tpmAuthority });
}

/**
 * Says on which protocols the calls of an app bundle are answered. A caller on plain h2, who asks
 * for no evidence, is given none.
 */
export async function answersPlainly(app: string | undefined): Promise<string> {
  const warning = 'a caller that asks for no evidence has checked nothing (docs/client/command-line.md)';
  if (app === undefined)
    return `calls are answered on enclaim-h2, and on plain h2 where the policy lets them: ${warning}`;
  const { policy, descriptors } = await readAppBundle(app);
  const { exposed, policy: read } = admit(policy, descriptors, digestOfCanonical(policy));
  const plain = exposed.filter(({ id }) => !isAttestedOnly(read, id)).map(({ id }) => id);
  if (plain.length === 0) return 'calls are answered on enclaim-h2 alone: the policy refuses them on plain h2';
  if (plain.length === exposed.length) return `plain h2 is answered, too: ${warning}`;
  return `plain h2 is answered by ${plain.join(', ')} alone: ${warning}`;
}

async function print(options: Options): Promise<void> {
  const { qemu, swtpm } = await describeMachine(options);
  if (swtpm !== null) console.log(`${swtpm.map(quote).join(' ')} &`);
  console.log(qemu.map(quote).join(' '));
}

/** An argument as a shell reads it. */
function quote(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

async function optionsOf(app: string | undefined, flags: RunFlags): Promise<Options> {
  if ((app === undefined) === (flags.disk === undefined)) throw new UsageError('name an app bundle, or a --disk');
  const common = {
    accelerator: flags.accel,
    port: readInteger('--port', flags.port, 65_535),
    memoryMiB: readInteger('--memory', flags.memory, 1 << 20),
    ...(flags.state === undefined ? {} : { stateFolder: flags.state }),
    ...(flags.locks === undefined ? {} : { tools: { lock: (await readLocks(flags.locks)).machine } }),
  };
  if (app === undefined) {
    if (withNetwork('', flags) !== '') throw new UsageError("a disk starts with the image's own command line");
    return { ...common, boot: diskSource(flags) };
  }
  const image = await readImageFolder(flags.image);
  const isSealed = hasSealedState(await refuseUnservable(app));
  return {
    ...common,
    app,
    boot: bootSource(flags, image),
    commandLine: withNetwork(image.manifest.references.tpm.commandLine, flags),
    platform: flags.platform,
    isSealed,
    // `startMachine` checks the form of the digest.
    ...(flags.policy === undefined ? {} : { policy: flags.policy as `sha384:${string}` }),
  };
}

/**
 * Asks what admission asks in the guest, before a minute of booting.
 * @returns the policy
 * @throws RefusalError with every reason
 */
async function refuseUnservable(app: string): Promise<Policy> {
  const { policy, descriptors } = await readAppBundle(app);
  return admit(policy, descriptors, digestOfCanonical(policy), ONE_WORKER).policy;
}

function hasSealedState({ collections }: Policy): boolean {
  return Object.values(collections).some(({ storage }) => storage === 'sealed');
}

function diskSource({ disk = '', controller }: RunFlags): DiskMachineOptions['boot'] {
  return { kind: 'disk', disk, format: disk.endsWith('.vhd') ? 'vpc' : 'raw', controller };
}

function bootSource({ platform, firmware }: RunFlags, { folder, manifest: { artefacts } }: ImageFolder): BootSource {
  if (platform === 'tpm') return { kind: 'uki', uki: join(folder, artefacts.uki.file) };
  if (firmware === undefined)
    throw new UsageError(`--platform ${platform} needs --firmware, the OVMF build to measure`);
  const [kernel, initrd] = [join(folder, artefacts.kernel.file), join(folder, artefacts.initrd.file)];
  return { kind: 'direct', firmware, kernel, initrd };
}

/** A signal ended the run: not an error to report, only an exit status. */
class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly exitCode: number;

  constructor(signal: NodeJS.Signals) {
    super(signal);
    this.exitCode = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal as (typeof SIGNALS)[number]];
  }
}
