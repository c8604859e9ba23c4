/** A guest that tries what PID 1's Linux layer must forbid, and prints what came of it. */
import { closeSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  configureNetwork,
  findDisk,
  loadModules,
  mountBase,
  neverExit,
  readCommandLine,
  reapOrphans,
  restrictForGood,
  socketPair,
  spawnConfined,
} from '../../guest/src/linux/index.ts';

const NODE = '/usr/bin/node';
const CONFINED = ['mount', 'net', 'pid', 'ipc', 'uts', 'cgroup'] as const;

/** Runs in a child of uid 1000: what it sees and may do. */
const CHILD = `
  const { readdirSync, readFileSync, writeFileSync, writeSync } = require('node:fs');
  const attempt = (f) => { try { return f() ?? 'done'; } catch ({ code }) { return code; } };
  const { dlopen, getInt32 } = require('node:ffi');
  const libc = dlopen('libc.so.6', {
    __errno_location: { arguments: [], return: 'pointer' },
    syscall: { arguments: ['int64', 'int64', 'buffer', 'int64'], return: 'int64' },
  }).functions;
  const errno = (result) => (Number(result) === -1 ? getInt32(libc.__errno_location()) : 0);
  writeSync(3, JSON.stringify({
    status: attempt(() => Object.fromEntries(readFileSync('/proc/self/status', 'latin1').match(/^(Cap\\w+|NoNewPrivs|Groups):.*/gm).map((l) => l.split(/:\\s*/)))),
    init: attempt(() => readFileSync('/proc/1/cmdline')),
    tpm: attempt(() => readFileSync('/dev/tpmrm0')),
    disk: attempt(() => readFileSync('/dev/vda')),
    write: attempt(() => writeFileSync('/usr/x', '')),
    root: readdirSync('/').sort(),
    setuid: attempt(() => process.setuid(0)),
    userNamespace: errno(libc.syscall(56n, 0x10000011n, null, 0n)), // clone(CLONE_NEWUSER | SIGCHLD)
    ioUring: errno(libc.syscall(425n, 1n, Buffer.alloc(120), 0n)),
    bpf: errno(libc.syscall(321n, 0n, Buffer.from(Uint32Array.of(2, 4, 4, 1).buffer), 16n)), // an array of one word
  }));
`;

neverExit((reason) => `enclaim: refused: ${reason instanceof Error ? reason.stack?.replaceAll('\n', ' ') : reason}`);
mountBase();
restrictForGood();
reapOrphans();
const modules = loadModules(JSON.parse(readFileSync('/enclaim/modules.json', 'utf8')));
const { addresses } = await configureNetwork(readCommandLine().network);

const report = {
  addresses,
  modules: modules.length,
  disks: [findDisk('app'), findDisk('state'), findDisk('other')],
  ipv6: existsSync('/proc/net/if_inet6') ? readFileSync('/proc/net/if_inet6', 'latin1') : '',
  moreModules: attempt(() =>
    loadModules([{ path: '/lib/modules/virtio_net.ko' }, { path: '/lib/modules/failover.ko' }]),
  ),
  ownStatus: /^CapBnd:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1],
  settings: Object.fromEntries(
    ['kernel/printk', 'kernel/sysrq', 'kernel/modules_disabled', 'user/max_user_namespaces'].map((path) => [
      path,
      readFileSync(`/proc/sys/${path}`, 'latin1').trim().replaceAll('\t', ' '),
    ]),
  ),
  sameRoot: await child({}),
  confined: await child({
    namespaces: CONFINED,
    root: [NODE, '/lib/x86_64-linux-gnu', '/lib64'].map((from) => ({ from })),
  }),
  zombies: await zombies(),
  interfaces: Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address: each }) => each)),
};
for (const part of JSON.stringify(report).match(/.{1,500}/g) ?? []) console.log(`report:${part}`);
console.log('enclaim: serving');
setInterval(() => {}, 1 << 30);

function attempt(action: () => unknown): unknown {
  try {
    return action() ?? 'done';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

async function child(options: Partial<Parameters<typeof spawnConfined>[0]>): Promise<unknown> {
  const [ours, theirs] = socketPair();
  const started = await spawnConfined({
    argv: [NODE, '--no-warnings', '--eval', CHILD],
    uid: 1000,
    gid: 1000,
    fds: [null, 1, 1, theirs],
    ...options,
  });
  closeSync(theirs);
  const said = await text(new Socket({ fd: ours }));
  const { code } = await started.exit;
  return code === 0 ? JSON.parse(said) : `ended with ${code}`;
}

/** Starts a child that leaves a grandchild behind, and counts what is dead and not reaped. */
async function zombies(): Promise<number> {
  const script =
    "require('node:child_process').spawn(process.execPath, ['--eval', 'setTimeout(() => {}, 200)'], { detached: true, stdio: 'ignore' }).unref()";
  const parent = await spawnConfined({ argv: [NODE, '--eval', script], uid: 1000, gid: 1000, fds: [null, 1, 1] });
  await parent.exit;
  await sleep(5000);
  const state = (pid: string): unknown =>
    attempt(() => / ([A-Z]) /.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1]);
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && state(pid) === 'Z').length;
}
