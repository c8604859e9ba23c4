/** Attacks of a worker's process whose realm did not hold: each of the two layers around it stops them alone. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { HANGS_MS } from '../support/eventually.ts';
import { bundled, bundledLauncher } from '../support/worker-process.ts';
import type { Attack } from './attack.ts';

type Layer = 'seccomp' | 'permission';

const BOTH: readonly Layer[] = ['seccomp', 'permission'];
const SECCOMP: readonly Layer[] = ['seccomp'];

/** Bodies that answer true where they got what they wanted, and the layers that each stop it alone. */
const NODE_ATTACKS: Readonly<Record<string, readonly [layers: readonly Layer[], body: string]>> = {
  'read a file': [BOTH, 'return module("fs").readFileSync("/etc/passwd").length > 0'],
  'write a file': [BOTH, 'module("fs").writeFileSync("/tmp/enclaim-hostile", "x"); return true'],
  'list a folder': [BOTH, 'return module("fs").readdirSync("/").length > 0'],
  'make a link': [
    BOTH,
    'const n = "/tmp/enclaim-link" + process.pid; module("fs").symlinkSync("/etc", n); return true',
  ],
  'look at the own memory map': [BOTH, 'return module("fs").readFileSync("/proc/self/maps").length > 0'],
  'look at another process': [BOTH, 'return module("fs").readFileSync("/proc/1/status").length > 0'],
  'write its own memory by /proc': [BOTH, 'module("fs").openSync("/proc/self/mem", "r+"); return true'],
  'watch a folder': [BOTH, 'module("fs").watch("/tmp", () => {}); return true'],
  'open a TCP connection': [
    BOTH,
    'const s = module("net").connect(9, "127.0.0.1"); return await new Promise((r) => { s.on("connect", () => r(true)); s.on("error", (e) => r(e.code === "ECONNREFUSED")) })',
  ],
  'listen on a port': [
    BOTH,
    'return await new Promise((r) => module("net").createServer().on("error", () => r(false)).listen(0, "127.0.0.1", () => r(true)))',
  ],
  'connect to a unix socket': [
    BOTH,
    'const s = module("net").connect("/tmp/enclaim-none.sock"); return await new Promise((r) => s.on("error", (e) => r(e.code === "ENOENT" || e.code === "ECONNREFUSED")))',
  ],
  'send a datagram': [
    BOTH,
    'return await new Promise((r) => module("dgram").createSocket("udp4").on("error", () => r(false)).send("x", 9, "127.0.0.1", (e) => r(!e)))',
  ],
  'ask a name server': [
    BOTH,
    'const { Resolver } = module("dns"); const d = new Resolver({ timeout: 50, tries: 1 }); d.setServers(["127.0.0.1:9"]); return await new Promise((r) => d.resolve4("a.example", (e) => r(/ECONNREFUSED|ETIMEOUT/.test(e.code))))',
  ],
  'start a program': [BOTH, 'return module("child_process").spawnSync("/bin/true").status === 0'],
  'become another program': [BOTH, 'process.execve("/bin/echo", ["echo", "answer true"], {}); return false'],
  'start a thread': [
    BOTH,
    'const { Worker } = module("worker_threads"); const w = new Worker("", { eval: true }); return await new Promise((r) => { w.on("exit", () => r(true)); w.on("error", () => r(false)) })',
  ],
  'open the inspector': [
    BOTH,
    'module("inspector").open(0, "127.0.0.1"); const open = module("inspector").url() !== undefined; return open',
  ],
  'open a database': [
    BOTH,
    'new (module("node:sqlite").DatabaseSync)("/tmp/enclaim-hostile.sqlite").close(); return true',
  ],
  'call machine code by ffi': [
    ['permission'],
    'return module("node:ffi").dlopen("libc.so.6", { getpid: { arguments: [], return: "int32" } }).functions.getpid() > 0',
  ],
  'load an addon': [
    BOTH,
    'try { process.dlopen({ exports: {} }, "/lib/x86_64-linux-gnu/libresolv.so.2") } catch (e) { return /did not self-register|Module/.test(e.message) }',
  ],
  'signal the runtime': [SECCOMP, 'process.kill(process.ppid, 0); return true'],
  'become another user': [SECCOMP, 'process.setuid(process.getuid()); return true'],
  'leave its folder': [SECCOMP, 'process.chdir("/"); return true'],
  'raise its priority': [SECCOMP, 'module("os").setPriority(0); return true'],
  'learn the name of the computer': [
    SECCOMP,
    'return module("os").release().length > 0 && module("os").uptime() > 0 && module("os").networkInterfaces() !== undefined',
  ],
  'learn who started it': [SECCOMP, 'return process.ppid > 0'],
};

/** System calls that machine code would make, with arguments that do no harm: the kernel must not even see them. */
const SYSTEM_CALLS: Readonly<Record<string, readonly number[]>> = {
  socket: [41, 1, 1, 0],
  socketpair: [53, 1, 1, 0, 0],
  connect: [42, 999, 0, 0],
  sendmsg: [46, 999, 0, 0],
  recvmsg: [47, 999, 0, 0],
  bind: [49, 999, 0, 0],
  fork: [57],
  clone3: [435, 0, 0],
  execve: [59, 0, 0, 0],
  kill: [62, 0x7ffffff, 0],
  tgkill: [234, 0x7ffffff, 0x7ffffff, 0],
  pidfd_open: [434, 0x7ffffff, 0],
  pidfd_getfd: [438, 999, 0, 0],
  ptrace: [101, 16, 0x7ffffff, 0, 0],
  process_vm_readv: [310, 0x7ffffff, 0, 0, 0, 0, 0],
  memfd_create: [319, 0, 0],
  open_by_handle_at: [304, 999, 0, 0],
  openat2: [437, -100, 0, 0, 0],
  open: [2, 0, 0],
  mount: [165, 0, 0, 0, 0, 0],
  unshare: [272, 0],
  setns: [308, 999, 0],
  chroot: [161, 0],
  prctl: [157, 9999],
  seccomp: [317, 9999, 0, 0],
  bpf: [321, 9999, 0, 0],
  perf_event_open: [298, 0, 0, 0, 0, 0],
  userfaultfd: [323, -1],
  io_uring_setup: [425, 0, 0],
  keyctl: [250, 9999],
  add_key: [248, 0, 0, 0, 0, 0],
  shmget: [29, 0, 0, 0],
  personality: [135, 0xffffffff],
  modify_ldt: [154, 9999],
  ioctl: [16, 999, 0, 0],
  dup: [32, 999],
  fcntl: [72, 999, 0],
  setrlimit: [160, 999, 0],
  clock_settime: [227, 999, 0],
  reboot: [169, 0, 0, 0],
};

/** Every attack on the process, once for each layer that has to stop it alone. */
export const processAttacks: readonly Attack[] = [
  ...Object.entries(NODE_ATTACKS).flatMap(([name, [layers, body]]) =>
    layers.map((layer): Attack => attackOf('owned process', name, layer, body)),
  ),
  ...Object.entries(SYSTEM_CALLS).map(
    ([name, words]): Attack => attackOf('machine code', name, 'seccomp', `native(${words.join()}); return true`),
  ),
];

function attackOf(group: string, name: string, layer: Layer, body: string): Attack {
  return { group, name, layer, attempt: () => owned(layer, body), control: () => owned('none', body) };
}

const root = join(import.meta.dirname, '../..');
const PERMISSION = ['--permission', '--allow-ffi', '--no-experimental-sqlite', `--allow-fs-read=${root}`];

/** Whether a body got what it wanted in a process of its own. */
function owned(layer: Layer | 'none', body: string): Promise<boolean> {
  const program = [bundled('owned-process', 'test/hostile/owned-process.ts'), layer, body];
  const node = [process.execPath, '--no-warnings', ...(layer === 'permission' ? PERMISSION : []), ...program];
  return new Promise((resolve) => {
    const words = ['--no-warnings', bundledLauncher(), ...node];
    execFile(process.execPath, words, { env: {}, timeout: HANGS_MS }, (_, stdout) =>
      resolve(stdout.includes('answer true')),
    );
  });
}
