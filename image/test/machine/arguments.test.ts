/**
 * No file name or command line adds an option of QEMU, and what cannot boot measured is refused.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../../test/support/properties.ts';
import { EMULATED, type MachineDescription, renderMachine } from '../../src/machine/arguments.ts';

const TOOLS = {
  qemu: '/q/qemu-system-x86_64',
  qemuData: ['/q/data'],
  firmware: { code: '/f/code.fd', variables: '/f/vars.fd' },
  swtpm: '/usr/bin/swtpm',
};

const COMMAND_LINE = 'console=ttyS0 quiet enclaim.policy=sha384:00';
const TPM: MachineDescription = {
  platform: 'tpm',
  accelerator: 'tcg',
  boot: { kind: 'uki', uki: '/i/uki.efi' },
  commandLine: COMMAND_LINE,
  app: '/a/app.enclaim',
  state: '/s/state.img',
  port: 40001,
  memoryMiB: 1024,
  cpus: 2,
  policySha256: new Uint8Array(32).fill(1),
  policySha384: new Uint8Array(48).fill(2),
  runFolder: '/run/x',
  tpmState: '/s/tpm',
};

const DIRECT = { kind: 'direct', firmware: '/f/amdsev.fd', kernel: '/i/vmlinuz', initrd: '/i/initrd' } as const;

const COMMON_HEAD = [
  ...['/q/qemu-system-x86_64', '-L', '/q/data', '-no-user-config', '-nodefaults', '-display', 'none'],
  ...['-monitor', 'none', '-serial', 'stdio', '-no-reboot'],
  ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny', '-smp', '2', '-m', '1024'],
];

/** Disks and network, the same on every platform but for bounce buffers. */
const commonTail = (shared: boolean): string[] => [
  ...[
    '-blockdev',
    '{"driver":"raw","node-name":"app","read-only":true,"file":{"driver":"file","filename":"/a/app.enclaim"}}',
  ],
  ...[
    '-device',
    `{"driver":"virtio-blk-pci","drive":"app","serial":"app","disable-legacy":"on","iommu_platform":${shared}}`,
  ],
  ...[
    '-blockdev',
    '{"driver":"raw","node-name":"state","read-only":false,"file":{"driver":"file","filename":"/s/state.img"}}',
  ],
  ...[
    '-device',
    `{"driver":"virtio-blk-pci","drive":"state","serial":"state","disable-legacy":"on","iommu_platform":${shared}}`,
  ],
  ...['-netdev', 'user,id=net0,hostfwd=tcp:127.0.0.1:40001-:50051'],
  ...[
    '-device',
    `{"driver":"virtio-net-pci","netdev":"net0","romfile":"","disable-legacy":"on","iommu_platform":${shared}}`,
  ],
];

const tpmBase = (...accelerator: string[]): string[] => [
  ...['-machine', 'q35,pflash0=code,pflash1=variables', ...accelerator],
  ...[
    '-blockdev',
    '{"driver":"raw","node-name":"code","read-only":true,"file":{"driver":"file","filename":"/f/code.fd"}}',
  ],
  ...[
    '-blockdev',
    '{"driver":"raw","node-name":"variables","read-only":false,"file":{"driver":"file","filename":"/run/x/variables.fd"}}',
  ],
  ...[
    '-chardev',
    'socket,id=tpm0,path=/run/x/tpm.sock',
    '-tpmdev',
    'emulator,id=tpm0,chardev=tpm0',
    '-device',
    'tpm-crb,tpmdev=tpm0',
  ],
];
const tpmPart = (...accelerator: string[]): string[] => [
  ...tpmBase(...accelerator),
  ...['-kernel', '/i/uki.efi', '-append', COMMAND_LINE],
];

/** A machine with one disk, and nothing else that the host says. */
const disk = (format: 'raw' | 'vpc', controller: 'virtio' | 'nvme' | 'scsi', ...devices: string[]) => ({
  name: `a ${format} disk behind ${controller}`,
  description: {
    ...TPM,
    boot: { kind: 'disk', disk: '/d/x.img', format, controller } as const,
    ...{ commandLine: null, app: null, state: null },
  },
  qemu: [
    ...COMMON_HEAD,
    ...tpmBase('-accel', 'tcg,thread=multi', '-cpu', EMULATED),
    ...[
      '-blockdev',
      `{"driver":"${format}","node-name":"boot","read-only":false,"file":{"driver":"file","filename":"/d/x.img"}}`,
    ],
    ...devices.flatMap((device) => ['-device', device]),
    ...commonTail(false).slice(8),
  ],
  swtpm: SWTPM,
});

const directBoot = ['-bios', '/f/amdsev.fd', '-kernel', '/i/vmlinuz', '-initrd', '/i/initrd', '-append', COMMAND_LINE];
const memory = [
  '-object',
  '{"qom-type":"memory-backend-memfd","id":"ram0","size":1073741824,"share":true,"prealloc":false}',
];

const SWTPM = [
  ...['/usr/bin/swtpm', 'socket', '--tpm2', '--terminate', '--tpmstate', 'dir=/s/tpm'],
  ...['--ctrl', 'type=unixio,path=/run/x/tpm.sock,mode=0600'],
];

const RENDERED: readonly { name: string; description: MachineDescription; qemu: string[]; swtpm: string[] | null }[] = [
  {
    name: 'tpm under TCG',
    description: TPM,
    qemu: [...COMMON_HEAD, ...tpmPart('-accel', 'tcg,thread=multi', '-cpu', EMULATED), ...commonTail(false)],
    swtpm: SWTPM,
  },
  {
    name: 'tpm under KVM',
    description: { ...TPM, accelerator: 'kvm' },
    qemu: [...COMMON_HEAD, ...tpmPart('-accel', 'kvm', '-cpu', 'host'), ...commonTail(false)],
    swtpm: SWTPM,
  },
  disk('raw', 'virtio', '{"driver":"virtio-blk-pci","drive":"boot","bootindex":0}'),
  disk('vpc', 'nvme', '{"driver":"nvme","serial":"boot","drive":"boot","bootindex":0}'),
  disk('raw', 'scsi', '{"driver":"virtio-scsi-pci"}', '{"driver":"scsi-hd","drive":"boot","bootindex":0}'),
  {
    name: 'snp',
    description: { ...TPM, platform: 'snp', accelerator: 'kvm', boot: DIRECT },
    qemu: [
      ...COMMON_HEAD,
      ...['-machine', 'q35,confidential-guest-support=snp0,memory-backend=ram0', '-accel', 'kvm', '-cpu', 'EPYC-v4'],
      ...memory,
      '-object',
      `{"qom-type":"sev-snp-guest","id":"snp0","cbitpos":51,"reduced-phys-bits":1,"policy":196608,"kernel-hashes":true,"host-data":"${'AQEB'.repeat(10)}AQE="}`,
      ...directBoot,
      ...commonTail(true),
    ],
    swtpm: null,
  },
  {
    name: 'tdx',
    description: { ...TPM, platform: 'tdx', accelerator: 'kvm', boot: DIRECT },
    qemu: [
      ...COMMON_HEAD,
      ...['-machine', 'q35,kernel-irqchip=split,hpet=off,confidential-guest-support=tdx0,memory-backend=ram0'],
      ...['-accel', 'kvm', '-cpu', 'host'],
      ...memory,
      '-object',
      `{"qom-type":"tdx-guest","id":"tdx0","mrconfigid":"${'AgIC'.repeat(16)}","quote-generation-socket":{"type":"vsock","cid":"2","port":"4050"}}`,
      ...directBoot,
      ...commonTail(true),
    ],
    swtpm: null,
  },
];

for (const { name, description, qemu, swtpm } of RENDERED) {
  test(`renders ${name}`, () => {
    assert.deepEqual(renderMachine(description, TOOLS), { qemu, swtpm });
  });
}

test('refuses a combination that cannot boot or would not be measured', () => {
  const refused = (change: Partial<MachineDescription>): void =>
    assert.throws(() => renderMachine({ ...TPM, ...change }, TOOLS), { name: 'MachineError', code: 'unsupported' });
  refused({ platform: 'snp', boot: DIRECT }); // TCG
  refused({ platform: 'tdx', boot: DIRECT });
  refused({ platform: 'snp', accelerator: 'kvm' }); // a UKI
  refused({ boot: DIRECT });
  refused({
    platform: 'snp',
    accelerator: 'kvm',
    boot: { kind: 'disk', disk: '/d/x.img', format: 'raw', controller: 'nvme' },
  });
  refused({ tpmState: '/s/a,b' });
  refused({ runFolder: '/run/a,b' });
});

test('no file name or command line adds or changes an option', () => {
  const text = fc.string({ unit: 'binary', minLength: 1 }).filter((s) => !s.includes('\0'));
  const shape = (qemu: readonly string[]): readonly string[] =>
    qemu.filter((argument) => argument.startsWith('-') && argument.length < 16);
  fc.assert(
    fc.property(text, text, text, (app, state, append) => {
      const { qemu } = renderMachine({ ...TPM, app: `/${app}`, state: `/${state}`, commandLine: `x ${append}` }, TOOLS);
      assert.deepEqual(shape(qemu), shape(renderMachine(TPM, TOOLS).qemu));
      const disks = qemu.filter((_, index) => qemu[index - 1] === '-blockdev').map((json) => JSON.parse(json));
      assert.deepEqual(disks.map((disk) => disk.file.filename).slice(2), [`/${app}`, `/${state}`]);
      assert.equal(qemu[qemu.indexOf('-append') + 1], `x ${append}`);
    }),
  );
});
