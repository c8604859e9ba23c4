/** PID 1's Linux layer in a real VM: what cannot be tried on the computer that runs the tests. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { startMachine } from '@enclaim/image/machine';
import { makeBootable } from './guest-image.ts';

// biome-ignore lint/suspicious/noExplicitAny: the guest's report is whatever it printed; each test asserts its part
let report: any;

before(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-linux-'));
  try {
    const machine = await startMachine(await makeBootable(folder, 'test/vm/linux-guest.ts'));
    await machine.stop();
    const lines = await Array.fromAsync(machine.console);
    const parts = lines.filter((line) => line.startsWith('report:')).map((line) => line.slice('report:'.length));
    report = JSON.parse(parts.join(''));
  } finally {
    await rm(folder, { recursive: true });
  }
});

const EPERM = 1;
const ENOSPC = 28;

test('finds its disks and its address', () => {
  assert.deepEqual(report.addresses, ['10.0.2.15']);
  assert.deepEqual(report.disks, [
    { path: '/dev/vda', size: 4096, readOnly: true },
    { path: '/dev/vdb', size: 2 ** 30, readOnly: false },
    null,
  ]);
});

test('has no address but the leased one', () => {
  assert.deepEqual(report.interfaces.sort(), ['10.0.2.15', '127.0.0.1']);
  assert.equal(report.ipv6, '');
});

test('loads no module after the first ones', () => {
  assert.ok(report.modules >= 4);
  assert.equal(report.moreModules, 'EPERM');
});

test('keeps the console, sysrq, modules and user namespaces shut', () => {
  assert.deepEqual(report.settings, {
    'kernel/printk': '0 4 1 7',
    'kernel/sysrq': '0',
    'kernel/modules_disabled': '1',
    'user/max_user_namespaces': '0',
  });
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
    { init: 'ENOENT', tpm: 'EACCES', disk: 'EACCES', write: 'EACCES', setuid: 'EPERM' },
  );
  assert.deepEqual({ userNamespace, ioUring, bpf }, { userNamespace: ENOSPC, ioUring: EPERM, bpf: EPERM });
});

test('a confined child has a root of four entries, read-only', () => {
  const { root, write, init, tpm } = report.confined;
  assert.deepEqual(root, ['lib', 'lib64', 'usr']);
  assert.deepEqual({ write, init, tpm }, { write: 'EROFS', init: 'ENOENT', tpm: 'ENOENT' });
});

test('reaps what its children leave behind', () => {
  assert.equal(report.zombies, 0);
});
