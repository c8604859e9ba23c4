/** A guest that tries what PID 1's Linux layer must forbid, and prints what came of it. */
import { dlopen, getInt32 } from 'node:ffi';
import { closeSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { SETTINGS, STATES } from '../../guest/src/linux/hardening.ts';
import {
  type FirewallPlan,
  findDisk,
  installFirewall,
  loadModules,
  mountBase,
  neverExit,
  readCommandLine,
  reapOrphans,
  restrictForGood,
  socketPair,
  spawnConfined,
  verifyHardening,
} from '../../guest/src/linux/index.ts';
import { configureNetwork } from '../../guest/src/linux/network.ts';
import { anchorTime, BootClock } from '../../runtime/src/clock.ts';

const NODE = '/usr/bin/node';
const RUNTIME = 1000;
const WORKER = 2000;
const CONFINED = ['mount', 'net', 'pid', 'ipc', 'uts', 'cgroup'] as const;
const YEAR_SECONDS = 365n * 86_400n;

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
    write: ['/x', '/usr/x', '/run/x'].map((path) => attempt(() => writeFileSync(path, ''))),
    root: readdirSync('/').sort(),
    setuid: attempt(() => process.setuid(0)),
    userNamespace: errno(libc.syscall(56n, 0x10000011n, null, 0n)), // clone(CLONE_NEWUSER | SIGCHLD)
    ioUring: errno(libc.syscall(425n, 1n, Buffer.alloc(120), 0n)),
    bpf: errno(libc.syscall(321n, 0n, Buffer.from(Uint32Array.of(2, 4, 4, 1).buffer), 16n)), // an array of one word
  }));
`;

/** Runs in a child: whether a connection is answered. */
const TRY = `
  const { writeSync } = require('node:fs');
  const [host, port, patience] = JSON.parse(process.argv[1]);
  const end = (word) => { writeSync(3, JSON.stringify(word)); process.exit(0); };
  setTimeout(end, patience, 'silence');
  const socket = require('node:net').connect({ host, port });
  socket.on('connect', () => socket.write('x')).on('data', () => end('echo')).on('error', ({ code }) => end(code));
`;

neverExit((reason) => `enclaim: refused: ${reason instanceof Error ? reason.stack?.replaceAll('\n', ' ') : reason}`);
const clock = new BootClock(anchorTime());
mountBase();
restrictForGood();
reapOrphans();
const modules = loadModules(JSON.parse(readFileSync('/enclaim/modules.json', 'utf8')));
const commandLine = readCommandLine();
const plan: FirewallPlan = { service: 50051, dhcp: true, ipv6: 'routers', egress: null };
const rules = installFirewall(plan);
const { addresses, dns } = await configureNetwork(commandLine.network);
const hostPort = answeringPort();

const report = {
  addresses,
  dns: dns.map((server) => server.join('.')),
  rules,
  modules: modules.length,
  disks: [findDisk('app'), findDisk('state'), findDisk('other')],
  ipv6: readFileSync('/proc/net/if_inet6', 'latin1'),
  moreModules: attempt(() =>
    loadModules([{ path: '/lib/modules/virtio_net.ko' }, { path: '/lib/modules/failover.ko' }]),
  ),
  ownStatus: /^CapBnd:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1],
  hardening: verifyHardening(),
  states: Object.fromEntries(STATES.map(([what]) => [what, shown(what.split(' ')[0] ?? '')])),
  sameRoot: await child({}),
  locked: lockedTries(),
  confined: await child({
    namespaces: CONFINED,
    root: [NODE, '/lib/x86_64-linux-gnu', '/lib64'].map((from) => ({ from })),
  }),
  network: await networkTries(),
  clock: clockJump(),
  zombies: await zombies(),
  weakened: weakenEach(), // after the network: it turns IPv6 on and off everywhere
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

function shown(path: string): unknown {
  return attempt(() => readFileSync(path, 'latin1').slice(0, 2000));
}

/** Sets each setting to something else, as only PID 1 could, and says what then came of reading all of them back. */
function weakenEach(): Record<string, unknown> {
  return Object.fromEntries(
    SETTINGS.map(([what]) => {
      const path = `/proc/sys/${what.replace('*', 'eth0')}`;
      const before = readFileSync(path, 'latin1').trim();
      const other = before === '' ? '/x' : before.replace(/-?\d+/, (value) => (value === '0' ? '1' : '0'));
      const write = attempt(() => writeFileSync(path, `${other}\n`));
      const changed = readFileSync(path, 'latin1').trim() !== before;
      const read = attempt(() => void verifyHardening());
      const restored = attempt(() => writeFileSync(path, `${before}\n`));
      return [what, changed ? [read, restored] : ['not changed', write]];
    }),
  );
}

/** The port of the host that answers, which the test wrote on the state disk. */
function answeringPort(): number {
  const disk = openSync(findDisk('state')?.path ?? '', 'r');
  const sector = Buffer.alloc(512);
  readSync(disk, sector);
  closeSync(disk);
  return sector.readUInt16BE(0);
}

/**
 * Out to the host's own port: under a firewall that lets nobody out, and under those that let one user out. Who should be
 * answered is given a minute; who should not, a little more than an answer took.
 */
async function networkTries(): Promise<Record<string, readonly unknown[]>> {
  const to = (host: string, uid: number, patience: number): Promise<unknown> =>
    child({
      argv: [NODE, '--no-warnings', '--eval', TRY, JSON.stringify([host, hostPort, patience])],
      uid,
      gid: uid,
    });
  const users = [RUNTIME, 0, WORKER];
  const answers = async (user: number | null): Promise<unknown[]> => {
    const egress = user === null ? null : { user, ports: [hostPort], resolvers: dns };
    installFirewall({ ...plan, ipv6: 'on', egress });
    const said: unknown[] = [];
    const began = performance.now();
    for (const host of ['10.0.2.2', 'fec0::2']) if (user !== null) said.push(await to(host, user, 60_000));
    const patience = Math.max(3000, performance.now() - began);
    const others = users.filter((uid) => uid !== user).map((uid) => to('10.0.2.2', uid, patience));
    return [...said, ...(await Promise.all(others))];
  };
  return {
    nobody: await answers(null),
    runtime: await answers(RUNTIME),
    root: await answers(0),
    worker: await answers(WORKER),
  };
}

/** What PID 1 tries with every privilege there is: only lockdown stands against it. */
function lockedTries(): Record<string, unknown> {
  const { functions } = dlopen('libc.so.6', {
    __errno_location: { arguments: [], return: 'pointer' },
    mount: { arguments: ['string', 'string', 'string', 'uint64', 'string'], return: 'int32' },
    syscall: { arguments: ['int64', 'int64', 'buffer', 'int64', 'int64'], return: 'int64' },
  });
  const errno = (result: number | bigint): number =>
    Number(result) === -1 ? getInt32(functions.__errno_location()) : 0;
  return {
    memory: attempt(() => readFileSync('/dev/mem').length),
    kernelMemory: attempt(() => openSync('/proc/kcore', 'r')),
    hibernation: attempt(() => openSync('/dev/snapshot', 'r')),
    debugfs: errno(functions.mount('none', '/tmp', 'debugfs', 0n, '')),
    tracefs: errno(functions.mount('none', '/sys/kernel/tracing', 'tracefs', 0n, '')),
    traced: attempt(() => readdirSync('/sys/kernel/tracing').length),
    kexec: errno(functions.syscall(246n, 0n, Buffer.alloc(8), 0n, 0n)),
    module: errno(functions.syscall(175n, 0n, Buffer.alloc(8), 0n, 0n)),
    ports: errno(functions.syscall(172n, 3n, Buffer.alloc(8), 0n, 0n)), // iopl
  };
}

/** Sets the machine's clock back by a year, as whoever is root could, and reads both. */
function clockJump(): Record<string, number> {
  const before = { date: Date.now(), clock: clock.now() };
  const seconds = BigInt(Math.floor(before.date / 1000)) - YEAR_SECONDS;
  const { functions } = dlopen('libc.so.6', { clock_settime: { arguments: ['int32', 'buffer'], return: 'int32' } });
  const time = Buffer.alloc(16);
  time.writeBigInt64LE(seconds);
  const set = functions.clock_settime(0, time);
  const jumped = { set, date: Date.now() - before.date, clock: clock.now() - before.clock };
  time.writeBigInt64LE(seconds + YEAR_SECONDS);
  functions.clock_settime(0, time);
  return jumped;
}

async function child(options: Partial<Parameters<typeof spawnConfined>[0]>): Promise<unknown> {
  const [ours, theirs] = socketPair();
  const started = await spawnConfined({
    argv: [NODE, '--no-warnings', '--eval', CHILD],
    uid: RUNTIME,
    gid: RUNTIME,
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
  const parent = await spawnConfined({ argv: [NODE, '--eval', script], uid: RUNTIME, gid: RUNTIME, fds: [null, 1, 1] });
  await parent.exit;
  await sleep(5000);
  const state = (pid: string): unknown =>
    attempt(() => / ([A-Z]) /.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1]);
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && state(pid) === 'Z').length;
}
