/** Attacks on what only a VM puts around a worker: its root, namespaces, user and cgroup. */

/** A layer that the supervisor puts around a worker. */
export type VmLayer = 'root' | 'mount' | 'net' | 'pid' | 'user' | 'cgroup';

/** An attack: a body that answers true in the worker's process where it got what it wanted. */
export interface VmAttack {
  readonly layer: VmLayer;
  readonly body: string;
  readonly env: Readonly<Record<string, string>>;
}

const attack = (layer: VmLayer, body: string, env: Readonly<Record<string, string>> = {}): VmAttack => ({
  layer,
  body,
  env,
});
const exists = (path: string): string => `return require('node:fs').existsSync('${path}')`;

/** By name. */
export const VM_ATTACKS: Readonly<Record<string, VmAttack>> = {
  'see the disks': attack('root', exists('/dev/vda')),
  'see the TPM': attack('root', exists('/dev/tpmrm0')),
  'see the program of PID 1': attack('root', exists('/enclaim/guest.mjs')),
  'see processes': attack('root', exists('/proc/self/status')),
  "see the kernel's settings": attack('root', exists('/sys/kernel')),
  'see the folder of sockets': attack('root', exists('/run')),
  'leave a file for others': attack('root', "require('node:fs').writeFileSync('/tmp/left', 'x'); return true"),
  'have an address': attack('net', "return JSON.stringify(require('node:os').networkInterfaces()).includes('10.0.2.')"),
  'reach the host': attack(
    'net',
    "return await new Promise((r) => require('node:net').connect(9, '10.0.2.2').on('connect', () => r(true)).on('error', (e) => r(e.code !== 'ENETUNREACH')))",
  ),
  'ask a name server': attack(
    'net',
    "return await new Promise((r) => require('node:dgram').createSocket('udp4').send('x', 53, '10.0.2.3', (e) => r(!e)))",
  ),
  'have a number among all processes': attack('pid', 'return process.pid > 2'),
  'become root': attack('user', 'process.setgid(0); process.setuid(0); return process.getuid() === 0'),
  'take more memory than a worker has': attack(
    'cgroup',
    'const kept = []; for (let i = 0; i < 24; i++) kept.push(Buffer.alloc(16 << 20, 1)); return kept.length === 24',
  ),
  'start more threads than a worker has': attack(
    'cgroup',
    "await Promise.all(Array.from({ length: 64 }, () => require('node:fs').promises.stat('/').catch(() => {}))); return true",
    { UV_THREADPOOL_SIZE: '64' },
  ),
};
