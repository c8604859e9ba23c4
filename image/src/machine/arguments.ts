/**
 * Command lines of QEMU (10.x) and swtpm (0.7) for a machine: pure functions from a description.
 */
import { MachineError } from './error.ts';
import type { MachineTools } from './tools.ts';

/**
 * `tpm`: OVMF, a UKI and a TPM. `snp`, `tdx`: confidential VMs that boot kernel and initrd
 * directly.
 */
export type Platform = 'tpm' | 'snp' | 'tdx';
export type Accelerator = 'tcg' | 'kvm';

/** The source that a machine boots from. */
export type BootSource =
  | { readonly kind: 'uki'; readonly uki: string }
  /** `firmware` is the OVMF build for the platform, which is measured with kernel and initrd. */
  | { readonly kind: 'direct'; readonly firmware: string; readonly kernel: string; readonly initrd: string };

/**
 * A disk that holds UKI, app bundle and state (docs/operate/deploy-qemu.md). The guest measures or
 * refuses everything on it.
 */
export interface DiskSource {
  readonly kind: 'disk';
  readonly disk: string;
  /** `vpc`: a fixed VHD. */
  readonly format: 'raw' | 'vpc';
  /** The controller of the disk. Clouds have NVMe and SCSI. */
  readonly controller: Controller;
}

export type Controller = 'virtio' | 'nvme' | 'scsi';

/** Everything that decides the command lines. Paths are absolute. */
export interface MachineDescription {
  readonly platform: Platform;
  readonly accelerator: Accelerator;
  readonly boot: BootSource | DiskSource;
  /** The whole kernel command line, or null if the one inside the UKI holds. */
  readonly commandLine: string | null;
  /** The app bundle, attached read-only as the disk `app`; null if it is on the disk that boots. */
  readonly app: string | null;
  /** The disk `state`; null as above. */
  readonly state: string | null;
  /** Port on 127.0.0.1 that leads to the guest's 50051. */
  readonly port: number;
  /** Default 1024; below 384 the image does not boot. */
  readonly memoryMiB?: number;
  /** Default 2. */
  readonly cpus?: number;
  /** SHA-256 of the policy's canonical bytes, 32 bytes: HOST_DATA of an SNP guest. */
  readonly policySha256: Uint8Array;
  /** The policy digest, 48 bytes: MRCONFIGID of a TDX guest. */
  readonly policySha384: Uint8Array;
  /**
   * A folder for this run only, with `variables.fd` (a copy of the firmware's variable store) and
   * the TPM's socket.
   */
  readonly runFolder: string;
  /** The TPM's state folder. */
  readonly tpmState: string;
}

/** Program and arguments of each process; `swtpm` is null on a platform whose hardware quotes. */
export interface MachineArguments {
  readonly qemu: readonly [string, ...string[]];
  readonly swtpm: readonly [string, ...string[]] | null;
}

/** The port on which the guest serves. */
export const GUEST_PORT = 50051;

/** Where the TPM listens, in the run folder. */
export const TPM_SOCKET = 'tpm.sock';

/**
 * The processor that is emulated. **Cost**: where one says that it repeats string instructions
 * fast, kernel and libraries copy and clear byte by byte, which emulated ones do slowest. A boot
 * takes an eighth of its processor time less without.
 */
export const EMULATED = 'max,erms=off,fsrm=off,fzrm=off,fsrs=off,fsrc=off';

/** The copy of the firmware's variable store, in the run folder. */
export const VARIABLES_FILE = 'variables.fd';

/**
 * The command lines for `description`.
 *
 * @throws MachineError `unsupported` for a confidential VM without KVM, or a boot source that the
 *   platform does not take.
 */
export function renderMachine(
  description: MachineDescription,
  tools: Pick<MachineTools, 'qemu' | 'qemuData' | 'firmware' | 'swtpm'>,
): MachineArguments {
  const { platform, accelerator, boot, tpmState, runFolder } = description;
  if (platform !== 'tpm' && accelerator !== 'kvm') throw new MachineError('unsupported', `${platform} needs KVM`);
  if ((platform === 'tpm') !== (boot.kind !== 'direct')) {
    throw new MachineError(
      'unsupported',
      `${platform} boots ${platform === 'tpm' ? 'a UKI or a disk' : 'kernel and initrd directly'}`,
    );
  }
  const machine = PLATFORMS[platform](description, tools);
  return {
    qemu: [
      tools.qemu,
      ...tools.qemuData.flatMap((folder) => ['-L', folder]),
      ...['-no-user-config', '-nodefaults', '-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-no-reboot'],
      ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
      ...['-smp', String(description.cpus ?? 2), '-m', String(description.memoryMiB ?? 1024)],
      ...machine,
      ...bootArguments(description),
      ...(description.app === null ? [] : disk(platform, 'app', description.app, true)),
      ...(description.state === null ? [] : disk(platform, 'state', description.state, false)),
      ...['-netdev', `user,id=net0,hostfwd=tcp:127.0.0.1:${description.port}-:${GUEST_PORT}`],
      ...device(platform, { driver: 'virtio-net-pci', netdev: 'net0', romfile: '' }),
    ],
    swtpm:
      platform === 'tpm'
        ? [
            tools.swtpm,
            'socket',
            '--tpm2',
            '--terminate',
            ...['--tpmstate', `dir=${plain(tpmState)}`],
            ...['--ctrl', `type=unixio,path=${plain(runFolder)}/${TPM_SOCKET},mode=0600`],
          ]
        : null,
  };
}

const PLATFORMS: Readonly<
  Record<Platform, (d: MachineDescription, tools: Pick<MachineTools, 'firmware'>) => string[]>
> = {
  tpm: ({ accelerator, runFolder }, { firmware }) => [
    ...['-machine', 'q35,pflash0=code,pflash1=variables', '-accel', accelerator === 'tcg' ? 'tcg,thread=multi' : 'kvm'],
    ...['-cpu', accelerator === 'tcg' ? EMULATED : 'host'],
    ...file('code', firmware.code, true),
    ...file('variables', `${runFolder}/${VARIABLES_FILE}`, false),
    ...['-chardev', `socket,id=tpm0,path=${comma(runFolder)}/${TPM_SOCKET}`],
    ...['-tpmdev', 'emulator,id=tpm0,chardev=tpm0', '-device', 'tpm-crb,tpmdev=tpm0'],
  ],
  // EPYC-v4 fixes the CPUID page and VMSA that the launch digest covers, whatever the host's model.
  // Policy bit 17 is always one and 16 allows SMT. Debug and migration bits stay zero.
  snp: ({ memoryMiB = 1024, policySha256 }) => [
    ...['-machine', 'q35,confidential-guest-support=snp0,memory-backend=ram0', '-accel', 'kvm', '-cpu', 'EPYC-v4'],
    ...object({
      'qom-type': 'memory-backend-memfd',
      id: 'ram0',
      size: memoryMiB * 2 ** 20,
      share: true,
      prealloc: false,
    }),
    ...object({
      'qom-type': 'sev-snp-guest',
      id: 'snp0',
      cbitpos: 51,
      'reduced-phys-bits': 1,
      policy: 0x30000,
      'kernel-hashes': true,
      'host-data': policySha256.toBase64(),
    }),
  ],
  tdx: ({ memoryMiB = 1024, policySha384 }) => [
    ...['-machine', 'q35,kernel-irqchip=split,hpet=off,confidential-guest-support=tdx0,memory-backend=ram0'],
    ...['-accel', 'kvm', '-cpu', 'host'],
    ...object({
      'qom-type': 'memory-backend-memfd',
      id: 'ram0',
      size: memoryMiB * 2 ** 20,
      share: true,
      prealloc: false,
    }),
    ...object({
      'qom-type': 'tdx-guest',
      id: 'tdx0',
      mrconfigid: policySha384.toBase64(),
      'quote-generation-socket': { type: 'vsock', cid: '2', port: '4050' },
    }),
  ],
};

/** Devices from the controller to the disk. */
const CONTROLLERS: Readonly<Record<Controller, readonly Readonly<Record<string, string>>[]>> = {
  virtio: [{ driver: 'virtio-blk-pci' }],
  nvme: [{ driver: 'nvme', serial: 'boot' }],
  scsi: [{ driver: 'virtio-scsi-pci' }, { driver: 'scsi-hd' }],
};

function bootArguments({ boot, commandLine }: MachineDescription): string[] {
  if (boot.kind === 'disk') {
    const devices = CONTROLLERS[boot.controller].map((device, index, { length }) =>
      index < length - 1 ? device : { ...device, drive: 'boot', bootindex: 0 },
    );
    return [
      ...file('boot', boot.disk, false, boot.format),
      ...devices.flatMap((device) => ['-device', JSON.stringify(device)]),
    ];
  }
  const append = commandLine === null ? [] : ['-append', commandLine];
  if (boot.kind === 'uki') return ['-kernel', boot.uki, ...append];
  return ['-bios', boot.firmware, '-kernel', boot.kernel, '-initrd', boot.initrd, ...append];
}

function disk(platform: Platform, serial: string, filename: string, readOnly: boolean): string[] {
  return [
    ...file(serial, filename, readOnly),
    ...device(platform, { driver: 'virtio-blk-pci', drive: serial, serial }),
  ];
}

/** JSON, so that no file name can add an option. */
function file(name: string, filename: string, readOnly: boolean, driver: 'raw' | 'vpc' = 'raw'): string[] {
  const node = { driver, 'node-name': name, 'read-only': readOnly, file: { driver: 'file', filename } };
  return ['-blockdev', JSON.stringify(node)];
}

/**
 * A confidential guest shares only bounce buffers with the host, which virtio calls
 * `iommu_platform`.
 */
function device(platform: Platform, properties: Readonly<Record<string, string>>): string[] {
  const all = { ...properties, 'disable-legacy': 'on', iommu_platform: platform !== 'tpm' };
  return ['-device', JSON.stringify(all)];
}

function object(properties: object): string[] {
  return ['-object', JSON.stringify(properties)];
}

/** QEMU's escape for a comma in a value. */
function comma(value: string): string {
  return value.replaceAll(',', ',,');
}

/** swtpm has no escape for a comma. */
function plain(path: string): string {
  if (path.includes(',')) throw new MachineError('unsupported', `swtpm takes no comma in a path: ${path}`);
  return path;
}
