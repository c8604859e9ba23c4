/** What a confined child can reach, on this machine's kernel. Needs root, and a `/` that is a mount, as PID 1 has them. */
import assert from 'node:assert/strict';
import { mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { needs } from '../../../test/support/machine-needs.ts';
import { type ConfinedOptions, type Namespace, spawnConfined } from '../../src/linux/spawn.ts';
import { socketPair } from '../../src/linux/unix-socket.ts';

const options = needs('root', 'namespaces of a build');
const mounts = needs('root', 'a root that is a mount', 'namespaces of a build');
const ALL: readonly Namespace[] = ['mount', 'net', 'pid', 'ipc', 'uts', 'cgroup'];
const LIBRARIES = ['/lib', '/lib64', '/usr/lib'].map((from) => ({ from }));
const PROGRAM = '/node';
const ROOT = [...LIBRARIES, { from: process.execPath, to: PROGRAM }];
const NOBODY = { uid: 65534, gid: 65534 };

const folder = mkdtempSync(join(tmpdir(), 'enclaim-spawn-'));
after(() => {
  rmSync(folder, { recursive: true });
  rmSync('/run/jail', { recursive: true, force: true });
});

/** Runs a script in a confined child; what it writes to descriptor 3, a socket. */
async function run(script: string, change: Partial<ConfinedOptions> = {}): Promise<string> {
  const [ours, theirs] = socketPair();
  const socket = new Socket({ fd: ours });
  const writer = "const out = (value) => require('node:fs').writeSync(3, JSON.stringify(value) ?? 'undefined');";
  const attempt = 'const attempt = (f) => { try { return f(); } catch (error) { return error.code; } };';
  using _ = { [Symbol.dispose]: () => socket.destroy() };
  const child = await spawnConfined({
    argv: [change.root ? PROGRAM : process.execPath, '--eval', `${writer} ${attempt} ${script}`],
    ...NOBODY,
    fds: [null, null, 2, theirs],
    ...change,
  });
  new Socket({ fd: theirs }).destroy();
  const said = await text(socket);
  assert.deepEqual(await child.exit, { code: 0, signal: null });
  return said;
}

const ownNamespaces = (): string[] =>
  ['mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup'].map((name) => readlinkSync(`/proc/thread-self/ns/${name}`));

test('a child in its own namespaces sees no host, and this thread is back in its own', mounts, async () => {
  const before = ownNamespaces();
  const seen = JSON.parse(
    await run(
      `const fs = require('node:fs'), os = require('node:os');
      out({
        pid: process.pid, uid: process.getuid(), gid: process.getgid(), groups: process.getgroups(), environment: process.env,
        root: fs.readdirSync('/').sort(), write: attempt(() => fs.writeFileSync('/x', '')),
        overwrite: attempt(() => fs.writeFileSync('${PROGRAM}', '')), up: fs.readdirSync('/..').length,
        passwd: attempt(() => fs.readFileSync('/etc/passwd')), networks: os.networkInterfaces(),
        kill: attempt(() => process.kill(${process.pid}, 0)),
      });`,
      { namespaces: ALL, root: ROOT },
    ),
  );
  assert.deepEqual(seen, {
    pid: 1,
    ...NOBODY,
    groups: [NOBODY.gid],
    environment: {},
    root: ['lib', 'lib64', 'node', 'usr'],
    write: 'EROFS',
    overwrite: 'EROFS',
    up: 4,
    passwd: 'ENOENT',
    networks: {},
    kill: 'ESRCH',
  });
  assert.deepEqual(ownNamespaces(), before);
});

test('a child has no network at all', options, async () => {
  const script = `require('node:net').connect(53, '10.0.0.1').on('error', ({ code }) => { out(code); process.exit(0); });`;
  assert.equal(await run(script, { namespaces: ['net'] }), '"ENETUNREACH"');
});

test("without the net namespace, the same script has the host's interfaces", options, async () => {
  const script = `out(Object.keys(require('node:os').networkInterfaces()).includes('lo'))`;
  assert.equal(await run(script), 'true');
  assert.equal(await run(script, { namespaces: ['net'] }), 'false');
});

test('a child has no capabilities, and root inside cannot become root outside', mounts, async () => {
  const script = `out(attempt(() => process.setuid(0)))`;
  assert.equal(await run(script, { namespaces: ALL, root: ROOT }), '"EPERM"');
});

test('the environment is what is stated', options, async () => {
  assert.equal(await run('out(process.env)', { env: { A: 'b' } }), '{"A":"b"}');
});

test('a program that is not there, or not in the root, is an error, and this thread is back', mounts, async () => {
  const before = ownNamespaces();
  const absent = { ...NOBODY, fds: [], namespaces: ALL };
  await assert.rejects(spawnConfined({ ...absent, argv: ['/absent'] }), { code: 'ENOENT' });
  await assert.rejects(spawnConfined({ ...absent, argv: [process.execPath], root: LIBRARIES }), { code: 'ENOENT' });
  await assert.rejects(spawnConfined({ ...absent, argv: ['/node'], root: [{ from: '/absent' }] }), { code: 'ENOENT' });
  await assert.rejects(spawnConfined({ argv: ['/bin/true'], ...NOBODY, fds: [], root: LIBRARIES }), TypeError);
  assert.deepEqual(ownNamespaces(), before);
});

test('a child that cannot join its cgroup does not run', options, async () => {
  const marker = join(folder, 'ran');
  const script = `setTimeout(() => require('node:fs').writeFileSync(${JSON.stringify(marker)}, ''), 300)`;
  const argv = [process.execPath, '--eval', script] as const;
  await assert.rejects(spawnConfined({ argv, uid: 0, gid: 0, fds: [], cgroup: '/absent' }), { code: 'ENOENT' });
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.throws(() => readlinkSync(marker), { code: 'ENOENT' });
});

test('a child can be ended', mounts, async () => {
  const child = await spawnConfined({ argv: ['/bin/sleep', '60'], ...NOBODY, fds: [], namespaces: ALL });
  child.kill();
  assert.deepEqual(await child.exit, { code: null, signal: 'SIGKILL' });
});
