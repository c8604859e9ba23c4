/** PID 1's Linux layer in a real VM: what cannot be tried on the computer that runs the tests. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { startMachine } from '@enclaim/image/machine';
import { COMMAND_LINE, SETTINGS, STATES } from '../../guest/src/linux/hardening.ts';
import { makeBootable } from './guest-image.ts';

const STATE_BYTES = 2 ** 30;

// biome-ignore lint/suspicious/noExplicitAny: the guest's report is whatever it printed; each test asserts its part
let report: any;

before(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-linux-'));
  const server = createServer((socket) => void socket.on('error', () => {}).pipe(socket)).listen(0, '::');
  try {
    await once(server, 'listening');
    const stateFolder = join(folder, 'state');
    await writePort(stateFolder, (server.address() as AddressInfo).port);
    const bootable = await makeBootable(folder, 'test/vm/linux-guest.ts', 'kernel');
    const commandLine = `${bootable.commandLine} enclaim.ip6=auto`;
    const machine = await startMachine({ ...bootable, commandLine, stateFolder });
    await machine.stop();
    const lines = await Array.fromAsync(machine.console);
    const parts = lines.filter((line) => line.startsWith('report:')).map((line) => line.slice('report:'.length));
    report = JSON.parse(parts.join(''));
  } finally {
    server.close();
    await rm(folder, { recursive: true });
  }
});

/** A state disk that begins with a port: the only word that the guest gets from here. */
async function writePort(folder: string, port: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await using disk = await open(join(folder, 'state.img'), 'w');
  await disk.truncate(STATE_BYTES);
  await disk.write(Uint8Array.of(port >> 8, port & 255), 0, 2, 0);
}

const EPERM = 1;
const ENODEV = 19;
const ENOSPC = 28;

test('finds its disks', () => {
  assert.deepEqual(report.disks, [
    { path: '/dev/vda', size: 4096, readOnly: true },
    { path: '/dev/vdb', size: STATE_BYTES, readOnly: false },
    null,
  ]);
});

test('has the leased address, the one that the first router gave, and no other', () => {
  const own = /^fec0::5054:ff:fe[0-9a-f:]+$/;
  assert.equal(report.addresses[0], '10.0.2.15');
  assert.match(report.addresses[1], own);
  assert.equal(report.addresses.length, 2);
  // As the kernel has them: for good (flag 80), the link's own (scope 20) beside it.
  assert.match(report.ipv6, /^(?:fe80[0-9a-f]{28} 02 40 20 80 +eth0\n|fec0[0-9a-f]{28} 02 40 40 80 +eth0\n){2}$/);
  assert.deepEqual(report.dns, ['10.0.2.3']);
});

test('loads no module after the first ones', () => {
  assert.ok(report.modules >= 7);
  assert.equal(report.moreModules, 'EPERM');
});

test('reads every row of the table back from the kernel that it is', () => {
  assert.equal(report.hardening, COMMAND_LINE.length + SETTINGS.length + STATES.length);
  const line = (what: string): string =>
    report.states[what].split('\n').find((text: string) => text.startsWith(what.slice(what.indexOf(' ') + 1)));
  assert.equal(report.states['/sys/kernel/security/lockdown'], 'none integrity [confidentiality]\n');
  assert.equal(report.states['/proc/sys/kernel/modules_disabled'], '1\n');
  assert.equal(report.states['/sys/kernel/debug'], 'ENOENT');
  assert.equal(report.states['/proc/swaps'].split('\n').length, 2);
  assert.match(line('/proc/self/limits Max core file size'), /\s0\s+0\s/);
  assert.match(line('/proc/self/status CapBnd:'), /\t0000000000000000$/);
});

/** Settings that not even PID 1 can take back until the next boot. */
const FOR_GOOD: readonly string[] = [
  'vm/mmap_rnd_bits',
  'kernel/yama/ptrace_scope',
  'kernel/unprivileged_bpf_disabled',
  'kernel/kexec_load_disabled',
  'kernel/usermodehelper/bset',
  'kernel/usermodehelper/inheritable',
  'net/ipv4/ip_local_port_range',
];

for (const [what] of SETTINGS) {
  test(`${what}: set to something else, it is found; or it cannot be`, () => {
    const [found] = report.weakened[what];
    assert.equal(found, FOR_GOOD.includes(what) ? 'not changed' : 'EPROTO');
  });
}

test('lockdown holds against PID 1 itself', () => {
  assert.deepEqual(report.locked, {
    memory: 'EPERM',
    kernelMemory: 'EPERM',
    hibernation: 'EPERM',
    debugfs: ENODEV,
    tracefs: 0, // it mounts, and has nothing in it
    traced: 0,
    kexec: EPERM,
    module: EPERM,
    ports: EPERM,
  });
});

test('nothing leaves but what is named', () => {
  const silent = 'silence';
  // Whoever is let out is answered over IPv4 and over IPv6; the other two are not, who are answered when it is their turn.
  const one = ['echo', 'echo', silent, silent];
  assert.deepEqual(report.network, { nobody: [silent, silent, silent], runtime: one, root: one, worker: one });
});

test('time goes on where the clock is set back by a year', () => {
  const { set, date, clock } = report.clock;
  assert.equal(set, 0);
  assert.ok(date < -364 * 86_400_000, `Date went by ${date}`);
  assert.ok(clock >= 0 && clock < 60_000, `the clock went by ${clock}`);
});

test('gives no capability away, now or later', () => {
  assert.equal(report.ownStatus, '0000000000000000');
  const none = '0000000000000000';
  const { status } = report.sameRoot;
  assert.deepEqual(status, {
    Groups: '',
    CapInh: none,
    CapPrm: none,
    CapEff: none,
    CapBnd: none,
    CapAmb: none,
    NoNewPrivs: '1',
  });
});

test("a child with the parent's root reaches neither init, TPM, disks nor the kernel's wide doors", () => {
  const { init, tpm, disk, write, setuid, userNamespace, ioUring, bpf } = report.sameRoot;
  assert.deepEqual(
    { init, tpm, disk, write, setuid },
    { init: 'ENOENT', tpm: 'EACCES', disk: 'EACCES', write: ['EROFS', 'EROFS', 'EACCES'], setuid: 'EPERM' },
  );
  assert.deepEqual({ userNamespace, ioUring, bpf }, { userNamespace: ENOSPC, ioUring: EPERM, bpf: EPERM });
});

test('a confined child has a root of four entries, read-only', () => {
  const { root, write, init, tpm } = report.confined;
  assert.deepEqual(root, ['lib', 'lib64', 'usr']);
  assert.deepEqual({ write, init, tpm }, { write: ['EROFS', 'EROFS', 'ENOENT'], init: 'ENOENT', tpm: 'ENOENT' });
});

test('reaps what its children leave behind', () => {
  assert.equal(report.zombies, 0);
});
