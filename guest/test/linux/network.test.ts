/**
 * Addresses by the command line and by routers, between two network namespaces of this machine, as root. What is outside is
 * hostile: it says whatever each test wants.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { eventually } from '../../../test/support/eventually.ts';
import { needs } from '../../../test/support/machine-needs.ts';
import type { Advertisement } from './router.ts';

const options = needs('network namespaces');

const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];
const ALONE = ['unshare', '--net', ...NODE, '--eval', 'console.log("there"); setInterval(() => {}, 1 << 30)'];
const SOURCE = join(import.meta.dirname, '../../src/linux');

/** Two namespaces joined by eth0: in one the guest, in the other whatever is on its link. */
class Pair implements Disposable {
  readonly #guest: ChildProcess;
  readonly #outside: ChildProcess;
  readonly #running: ChildProcess[];

  private constructor(guest: ChildProcess, outside: ChildProcess) {
    this.#guest = guest;
    this.#outside = outside;
    this.#running = [guest, outside];
    this.ip(guest, `link add eth0 type veth peer name eth0 netns ${outside.pid}`);
    for (const own of ['fe80::1/64', 'fe80::2/64', 'fd77::1/64']) this.ip(outside, `addr add ${own} dev eth0 nodad`);
    this.ip(outside, 'link set eth0 up');
  }

  static async make(): Promise<Pair> {
    return new Pair(await start(ALONE), await start(ALONE));
  }

  [Symbol.dispose](): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }

  async advertise(how: Advertisement): Promise<ChildProcess> {
    const program = join(import.meta.dirname, 'router.ts');
    const router = await start(inside(this.#outside, ...NODE, program, JSON.stringify(how)));
    this.#running.push(router);
    return router;
  }

  ip(where: ChildProcess, line: string): string {
    const [program = '', ...args] = inside(where, 'ip', ...line.split(' '));
    return execFileSync(program, args, { encoding: 'latin1' });
  }

  /** `ip` in the guest. */
  own(line: string): string {
    return this.ip(this.#guest, line);
  }

  /** Applies the IPv6 settings of the table, then what the command line says: the addresses, or the error's code. */
  async join(commandLine: string): Promise<unknown> {
    const script = `
      import { readdirSync, writeFileSync } from 'node:fs';
      const { SETTINGS } = await import('${SOURCE}/hardening.ts');
      const { configureNetwork } = await import('${SOURCE}/network.ts');
      const { parseCommandLine } = await import('${SOURCE}/command-line.ts');
      for (const [what, value] of SETTINGS.filter(([it]) => it.startsWith('net/ipv6/')))
        for (const name of what.includes('*') ? readdirSync('/proc/sys/net/ipv6/conf') : [''])
          writeFileSync('/proc/sys/' + what.replace('*', name), value);
      const said = await configureNetwork(parseCommandLine(${JSON.stringify(commandLine)}).network)
        .then(({ addresses }) => addresses, ({ code, message }) => code ?? message);
      console.log(JSON.stringify(said));
      process.exit(0);
    `;
    const [program = '', ...args] = inside(this.#guest, ...NODE, '--input-type=module', '--eval', script);
    return JSON.parse((await promisify(execFile)(program, args)).stdout);
  }

  /** What the kernel has beside the link's own address: addresses, those that run out marked, default routes, packet size. */
  shown(): { addresses: string[]; routes: string[]; mtu: string | undefined } {
    const addresses = this.own('-6 addr show dev eth0').matchAll(/inet6 (\S+) scope (?!link)\S+(.*)/g);
    const routes = this.own('-6 route show default');
    return {
      addresses: [...addresses].map(([, address, rest]) => `${address}${rest?.includes('dynamic') ? ' runs out' : ''}`),
      routes: [...routes.matchAll(/via (\S+) dev eth0/g)].map(([, via = '']) => via),
      mtu: /mtu (\d+)/.exec(routes)?.[1],
    };
  }

  /** How far the guest's packets go. */
  reach(): string {
    const [program = '', ...args] = inside(this.#guest, 'cat', '/proc/sys/net/ipv6/conf/eth0/hop_limit');
    return execFileSync(program, args, { encoding: 'latin1' }).trim();
  }
}

async function start([program = '', ...args]: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit').then(() => assert.fail(`${program} ${args.join(' ')} ended`));
  ended.catch(() => {});
  await Promise.race([once(child.stdout as NodeJS.ReadableStream, 'data'), ended]);
  return child;
}

function inside({ pid }: ChildProcess, ...command: readonly string[]): string[] {
  return ['nsenter', `--target=${pid}`, '--net', ...command];
}

/** Most of the time is spent waiting for what must not come: several wait at once. */
const cases: [name: string, run: (pair: Pair) => Promise<void>][] = [];

const stated = { routes: ['fe80::1'], mtu: undefined };

cases.push([
  'an address and a gateway of the link, by the command line',
  async (pair) => {
    assert.deepEqual(await pair.join('enclaim.ip=off enclaim.ip6=fd77::15/64,fe80::1'), ['fd77::15']);
    assert.deepEqual(pair.shown(), { addresses: ['fd77::15/64'], ...stated });
    assert.match(pair.own('-6 route get fd99::1'), /via fe80::1 dev eth0/);
  },
]);

cases.push([
  'a gateway outside the network, and both families',
  async (pair) => {
    assert.deepEqual(await pair.join('enclaim.ip=10.77.0.2/24 enclaim.ip6=fd88::15/128,fd77::1'), [
      '10.77.0.2',
      'fd88::15',
    ]);
    assert.deepEqual(pair.shown(), { addresses: ['fd88::15/128'], routes: ['fd77::1'], mtu: undefined });
  },
]);

cases.push([
  'a gateway that is the guest itself is refused',
  async (pair) => {
    assert.equal(await pair.join('enclaim.ip=off enclaim.ip6=fd77::15/64,fd77::15'), 'EADDRNOTAVAIL');
  },
]);

cases.push([
  'no router is heard where an address is stated, or IPv6 is off',
  async (pair) => {
    await pair.advertise({ from: 'fe80::1', prefix: 'fd99::' });
    await pair.join('enclaim.ip=off enclaim.ip6=fd77::15/64,fe80::2');
    await sleep(600);
    assert.deepEqual(pair.shown(), { addresses: ['fd77::15/64'], routes: ['fe80::2'], mtu: undefined });
  },
]);

cases.push([
  'IPv6 stays off where nothing asks for it',
  async (pair) => {
    await pair.advertise({ from: 'fe80::1' });
    await pair.join('enclaim.ip=10.77.0.2/24');
    await sleep(600);
    assert.deepEqual(pair.shown(), { addresses: [], routes: [], mtu: undefined });
    assert.doesNotMatch(pair.own('-6 addr show dev eth0'), /inet6/);
  },
]);

cases.push([
  'by the first router: for good, whatever it and others say later',
  async (pair) => {
    const first = await pair.advertise({ from: 'fe80::1', valid: 7200, lifetime: 60, reach: 1 });
    const [address, ...more] = (await pair.join('enclaim.ip=off enclaim.ip6=auto')) as string[];
    assert.match(address ?? '', /^fd77::/);
    assert.deepEqual(more, []);
    assert.equal(pair.reach(), '64');
    const given = { addresses: [`${address}/64`], ...stated }; // neither runs out, and packets are not of 1280 bytes
    assert.deepEqual(pair.shown(), given);
    first.kill();
    await pair.advertise({ from: 'fe80::1', lifetime: 0, valid: 0 }); // it takes back what it gave
    await pair.advertise({ from: 'fe80::2', prefix: 'fd99::' }); // another offers more
    await sleep(1000);
    assert.deepEqual(pair.shown(), given);
  },
]);

cases.push([
  'the same kernel would have believed all of that',
  async (pair) => {
    pair.own('link set eth0 up');
    await pair.advertise({ from: 'fe80::1', reach: 1 });
    await pair.advertise({ from: 'fe80::2', prefix: 'fd99::', reach: 1 });
    const { addresses, routes, mtu } = await eventually('two addresses', () => {
      const shown = pair.shown();
      return shown.addresses.length === 2 && shown.routes.length === 2 && shown;
    });
    assert.ok(addresses.every((each) => each.endsWith(' runs out')));
    assert.deepEqual(routes.sort(), ['fe80::1', 'fe80::2']);
    assert.deepEqual([mtu, pair.reach()], ['1280', '1']);
  },
]);

/** What one router says first, and what comes of it once another one, which is honest, offers fd99::/64. */
for (const [name, how, ends] of [
  ['has come from elsewhere: nothing of it is taken', { hops: 254 }, /^fd99::/],
  ['gives multicast addresses: the next one gives one', { prefix: 'ff05::' }, /^fd99::/],
  ['gives addresses of the link: the next one gives one', { prefix: 'fe80::' }, /^fd99::/],
  ['gives addresses that were good once: the next one gives one', { valid: 0 }, /^fd99::/],
  ['is of no router: its addresses wait for one', { lifetime: 0 }, /^fd77::/],
  ['gives addresses that no host has: there is room for no other', { prefix: '::' }, /^ETIMEDOUT$/],
] as const) {
  cases.push([
    `an advertisement that ${name}`,
    async (pair) => {
      const joined = pair.join('enclaim.ip=off enclaim.ip6=auto');
      await pair.advertise({ from: 'fe80::1', ...how });
      assert.equal(await Promise.race([joined, sleep(2000, 'nothing')]), 'nothing');
      await pair.advertise({ from: 'fe80::2', prefix: 'fd99::' });
      assert.match(String(await joined), ends);
    },
  ]);
}

cases.push([
  'where no router gives an address, that is an error, and IPv6 is off again',
  async (pair) => {
    assert.equal(await pair.join('enclaim.ip=off enclaim.ip6=auto'), 'ETIMEDOUT');
    assert.doesNotMatch(pair.own('-6 addr show dev eth0'), /inet6/);
  },
]);

test('addresses by the command line and by routers', { ...options, concurrency: 4 }, async (t) => {
  const all = cases.map(([name, run]) =>
    t.test(name, async () => {
      using pair = await Pair.make();
      await run(pair);
    }),
  );
  await Promise.all(all);
});
