/**
 * Addresses by the command line and by routers, between two network namespaces of this machine, as root. What is outside is
 * hostile: it says whatever each test wants.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Advertisement } from './router.ts';

const missing = ['/usr/sbin/ip', '/sbin/ip'].some(existsSync) ? '' : 'needs iproute2';
const options = { skip: process.getuid?.() === 0 ? missing || false : 'needs root' };

const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];
const ALONE = ['unshare', '--net', ...NODE, '--eval', 'console.log("there"); setInterval(() => {}, 1 << 30)'];
const SOURCE = join(import.meta.dirname, '../../src/linux');

let guest: ChildProcess;
let outside: ChildProcess;
let running: ChildProcess[] = [];

async function start([program = '', ...args]: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  running.push(child);
  const ended = once(child, 'exit').then(() => assert.fail(`${program} ${args.join(' ')} ended`));
  ended.catch(() => {});
  await Promise.race([once(child.stdout as NodeJS.ReadableStream, 'data'), ended]);
  return child;
}

function inside({ pid }: ChildProcess, ...command: readonly string[]): string[] {
  return ['nsenter', `--target=${pid}`, '--net', ...command];
}

function ip(where: ChildProcess, line: string): string {
  const [program = '', ...args] = inside(where, 'ip', ...line.split(' '));
  return execFileSync(program, args, { encoding: 'latin1' });
}

beforeEach(async () => {
  if (options.skip) return;
  guest = await start(ALONE);
  outside = await start(ALONE);
  ip(guest, `link add eth0 type veth peer name eth0 netns ${outside.pid}`);
  for (const own of ['fe80::1/64', 'fe80::2/64', 'fd77::1/64']) ip(outside, `addr add ${own} dev eth0 nodad`);
  ip(outside, 'link set eth0 up');
});

afterEach(() => {
  for (const child of running.reverse()) child.kill('SIGKILL');
  running = [];
});

function advertise(how: Advertisement): Promise<ChildProcess> {
  return start(inside(outside, ...NODE, join(import.meta.dirname, 'router.ts'), JSON.stringify(how)));
}

/**
 * Applies the IPv6 settings of the table, then what the command line says: the addresses, the error's code, or nothing within
 * the test's own patience.
 */
async function join6(commandLine: string, patience = 30_000): Promise<unknown> {
  const script = `
    import { readdirSync, writeFileSync } from 'node:fs';
    const { SETTINGS } = await import('${SOURCE}/hardening.ts');
    const { configureNetwork } = await import('${SOURCE}/network.ts');
    const { parseCommandLine } = await import('${SOURCE}/command-line.ts');
    for (const [what, value] of SETTINGS.filter(([it]) => it.startsWith('net/ipv6/')))
      for (const name of what.includes('*') ? readdirSync('/proc/sys/net/ipv6/conf') : [''])
        writeFileSync('/proc/sys/' + what.replace('*', name), value);
    const joined = configureNetwork(parseCommandLine(${JSON.stringify(commandLine)}).network)
      .then(({ addresses }) => addresses, ({ code, message }) => code ?? message);
    const said = await Promise.race([joined, new Promise((end) => setTimeout(end, ${patience}, 'nothing'))]);
    console.log(JSON.stringify(said));
    process.exit(0);
  `;
  const [program = '', ...args] = inside(guest, ...NODE, '--input-type=module', '--eval', script);
  return JSON.parse((await promisify(execFile)(program, args)).stdout);
}

/** What the kernel has beside the link's own address: addresses, those that run out marked, default routes, and packet size. */
function shown(): { addresses: string[]; routes: string[]; mtu: string | undefined } {
  const addresses = ip(guest, '-6 addr show dev eth0').matchAll(/inet6 (\S+) scope (?!link)\S+(.*)/g);
  return {
    addresses: [...addresses].map(([, address, rest]) => `${address}${rest?.includes('dynamic') ? ' runs out' : ''}`),
    routes: [...ip(guest, '-6 route show default').matchAll(/via (\S+) dev eth0/g)].map(([, via = '']) => via),
    mtu: /mtu (\d+)/.exec(ip(guest, '-6 route show default'))?.[1],
  };
}

/** How far the guest's packets go. */
function reach(): string {
  const [program = '', ...args] = inside(guest, 'cat', '/proc/sys/net/ipv6/conf/eth0/hop_limit');
  return execFileSync(program, args, { encoding: 'latin1' }).trim();
}

const stated = { routes: ['fe80::1'], mtu: undefined };

test('an address and a gateway of the link, by the command line', options, async () => {
  assert.deepEqual(await join6('enclaim.ip=off enclaim.ip6=fd77::15/64,fe80::1'), ['fd77::15']);
  assert.deepEqual(shown(), { addresses: ['fd77::15/64'], ...stated });
  assert.match(ip(guest, '-6 route get fd99::1'), /via fe80::1 dev eth0/);
});

test('a gateway outside the network, and both families', options, async () => {
  assert.deepEqual(await join6('enclaim.ip=10.77.0.2/24 enclaim.ip6=fd88::15/128,fd77::1'), ['10.77.0.2', 'fd88::15']);
  assert.deepEqual(shown(), { addresses: ['fd88::15/128'], routes: ['fd77::1'], mtu: undefined });
});

test('a gateway that is the guest itself is refused', options, async () => {
  assert.equal(await join6('enclaim.ip=off enclaim.ip6=fd77::15/64,fd77::15'), 'EADDRNOTAVAIL');
});

test('no router is heard where an address is stated, or IPv6 is off', options, async () => {
  await advertise({ from: 'fe80::1', prefix: 'fd99::' });
  await join6('enclaim.ip=off enclaim.ip6=fd77::15/64,fe80::2');
  await sleep(600);
  assert.deepEqual(shown(), { addresses: ['fd77::15/64'], routes: ['fe80::2'], mtu: undefined });
});

test('IPv6 stays off where nothing asks for it', options, async () => {
  await advertise({ from: 'fe80::1' });
  await join6('enclaim.ip=10.77.0.2/24');
  await sleep(600);
  assert.deepEqual(shown(), { addresses: [], routes: [], mtu: undefined });
  assert.doesNotMatch(ip(guest, '-6 addr show dev eth0'), /inet6/);
});

test('by the first router: for good, whatever it and others say later', options, async () => {
  const first = await advertise({ from: 'fe80::1', valid: 7200, lifetime: 60, reach: 1 });
  const [address, ...more] = (await join6('enclaim.ip=off enclaim.ip6=auto')) as string[];
  assert.match(address ?? '', /^fd77::/);
  assert.deepEqual(more, []);
  assert.equal(reach(), '64');
  const given = { addresses: [`${address}/64`], ...stated }; // neither runs out, and packets are not of 1280 bytes
  assert.deepEqual(shown(), given);
  first.kill();
  await advertise({ from: 'fe80::1', lifetime: 0, valid: 0 }); // it takes back what it gave
  await advertise({ from: 'fe80::2', prefix: 'fd99::' }); // another offers more
  await sleep(1000);
  assert.deepEqual(shown(), given);
});

test('the same kernel would have believed all of that', options, async () => {
  ip(guest, 'link set eth0 up');
  await advertise({ from: 'fe80::1', reach: 1 });
  await advertise({ from: 'fe80::2', prefix: 'fd99::', reach: 1 });
  await sleep(3500); // it waits a moment before it uses an address
  const { addresses, routes, mtu } = shown();
  assert.equal(addresses.length, 2);
  assert.ok(addresses.every((each) => each.endsWith(' runs out')));
  assert.deepEqual(routes.sort(), ['fe80::1', 'fe80::2']);
  assert.deepEqual([mtu, reach()], ['1280', '1']);
});

for (const [name, how] of [
  ['has come from elsewhere', { hops: 254 }],
  ['is of no router', { lifetime: 0 }],
  ['gives multicast addresses', { prefix: 'ff05::' }],
  ['gives addresses of the link', { prefix: 'fe80::' }],
  ['gives addresses that were good once', { valid: 0 }],
  ['gives mapped addresses', { prefix: '::ffff:0:0' }],
] as const) {
  test(`an advertisement that ${name} gives no network`, options, async () => {
    await advertise({ from: 'fe80::1', ...how });
    assert.equal(await join6('enclaim.ip=off enclaim.ip6=auto', 1500), 'nothing');
  });
}

test('where no router gives an address, that is an error, and IPv6 is off again', options, async () => {
  assert.equal(await join6('enclaim.ip=off enclaim.ip6=auto'), 'ETIMEDOUT');
  assert.doesNotMatch(ip(guest, '-6 addr show dev eth0'), /inet6/);
});
