/**
 * The firewall between two network namespaces of this machine's kernel, as root: every attack first succeeds without it.
 * Dropped looks like silence; refused would be an answer.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { needs } from '../../../test/support/machine-needs.ts';
import type { FirewallPlan } from '../../src/linux/firewall.ts';

const options = needs('network namespaces');

const SERVICE = 50051;
const OTHER = 50052;
const CLOSED = 50053;
const ANSWERING = 4433;
const RUNTIME = 1000;
const GUEST = { v4: '10.77.0.2', v6: 'fd77::2' } as const;
const OUTSIDE = { v4: '10.77.0.1', v6: 'fd77::1', other: '10.77.0.3' } as const;

const PLAN: FirewallPlan = { service: SERVICE, dhcp: true, ipv6: 'on', egress: null };
const RESOLVER = Uint8Array.of(10, 77, 0, 1);
const SENDING: FirewallPlan = { ...PLAN, egress: { user: RUNTIME, ports: [443, ANSWERING], resolvers: [RESOLVER] } };

/** Listens on TCP (echo) and UDP (echo), then says so; lives until it is killed. */
const LISTEN = `
  const { createServer } = require('node:net');
  const { createSocket } = require('node:dgram');
  const [tcp, udp] = JSON.parse(process.argv[1]);
  Promise.all([
    ...tcp.map((port) => new Promise((done) => createServer((it) => it.on('error', () => {}).pipe(it)).listen(port, '::', done))),
    ...udp.map((port) => new Promise((done) => {
      const socket = createSocket({ type: 'udp4', reuseAddr: true }, (bytes, { address, port: from }) => socket.send(bytes, from, address, () => {})).bind(port, done);
    })),
  ]).then(() => console.log('listening'));
`;

/** Says what came of a try: an echo, an error, or nothing within its patience. */
const TRY = `
  const [kind, address, port, local, patience] = JSON.parse(process.argv[1]);
  const end = (word) => { console.log(word); process.exit(0); };
  setTimeout(end, patience, 'silence');
  if (kind === 'tcp') {
    const socket = require('node:net').connect({ port, host: address, localPort: local });
    socket.on('connect', () => socket.write('x')).on('data', () => end('echo')).on('error', ({ code }) => end(code));
  } else {
    const socket = require('node:dgram').createSocket({ type: 'udp4', reuseAddr: true });
    socket.on('message', () => end('echo')).on('error', ({ code }) => end(code));
    const send = () => socket.send('x', port, address, (error) => error && end(error.code));
    // Again and again: another attempt may hold the port meanwhile, and take what was meant for who listens there.
    socket.bind(local, () => { send(); setInterval(send, 300); });
  }
`;

let guest: ChildProcess;
let outside: ChildProcess;
const running: ChildProcess[] = [];

function inNamespace({ pid }: ChildProcess, user = 0): string[] {
  const as = user === 0 ? [] : [`--setuid=${user}`, `--setgid=${user}`];
  return ['nsenter', `--target=${pid}`, '--net', ...as, process.execPath, '--disable-warning=ExperimentalWarning'];
}

async function start(command: readonly string[]): Promise<ChildProcess> {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  running.push(child);
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

interface Attempt {
  readonly kind?: 'tcp' | 'udp';
  readonly to: string;
  readonly port: number;
  readonly user?: number;
  readonly from?: number;
}

/** What comes of an attempt. An answer that is expected has long to come on a busy machine; silence has to be waited for. */
async function attempt(
  where: ChildProcess,
  { kind = 'tcp', to, port, user, from = 0 }: Attempt,
  expected: string,
): Promise<string> {
  const [program = '', ...args] = inNamespace(where, user);
  const what = JSON.stringify([kind, to, port, from, expected === 'silence' ? 1500 : 15_000]);
  return (await promisify(execFile)(program, [...args, '--eval', TRY, what])).stdout.trim();
}

async function inGuest(code: string): Promise<string> {
  const [program = '', ...args] = inNamespace(guest);
  const source = join(import.meta.dirname, '../../src/linux');
  const script = `const { installFirewall } = await import('${source}/firewall.ts'); ${code}`;
  return (await promisify(execFile)(program, [...args, '--input-type=module', '--eval', script])).stdout.trim();
}

function install({ egress, ...plan }: FirewallPlan): Promise<string> {
  const resolvers = egress?.resolvers.map((address) => `Uint8Array.of(${address})`);
  const sending = egress === null ? 'null' : `{ ...${JSON.stringify(egress)}, resolvers: [${resolvers}] }`;
  return inGuest(`console.log(installFirewall({ ...${JSON.stringify(plan)}, egress: ${sending} }))`);
}

before(async () => {
  if (options.skip) return;
  const alone = [
    'unshare',
    '--net',
    process.execPath,
    '--eval',
    'console.log("there"); setInterval(() => {}, 1 << 30)',
  ];
  guest = await start(alone);
  outside = await start(alone);
  const ip = (where: ChildProcess, line: string): void =>
    void execFileSync('nsenter', [`--target=${where.pid}`, '--net', 'ip', ...line.split(' ')]);
  ip(guest, `link add eth0 type veth peer name eth0 netns ${outside.pid}`);
  for (const [where, addresses] of [
    [guest, [`${GUEST.v4}/24`, `${GUEST.v6}/64`]],
    [outside, [`${OUTSIDE.v4}/24`, `${OUTSIDE.other}/24`, `${OUTSIDE.v6}/64`]],
  ] as const) {
    ip(where, 'link set lo up');
    ip(where, 'link set eth0 up');
    for (const address of addresses) ip(where, `addr add ${address} dev eth0${address.includes(':') ? ' nodad' : ''}`);
  }
  await start([...inNamespace(guest, RUNTIME), '--eval', LISTEN, JSON.stringify([[SERVICE], []])]);
  await start([...inNamespace(guest), '--eval', LISTEN, JSON.stringify([[OTHER], [OTHER, 68]])]);
  await start([
    ...inNamespace(outside),
    '--eval',
    LISTEN,
    JSON.stringify([
      [443, 80, 53],
      [53, 67, 443],
    ]),
  ]);
});

after(() => {
  for (const child of running.reverse()) child.kill('SIGKILL');
});

/** What each attempt ends in: without a firewall, with one, and with one for a policy that names somebody at port 443. */
const ATTEMPTS: readonly (readonly [string, 'in' | 'out', Attempt, string, string, string])[] = [
  ['the service', 'in', { to: GUEST.v4, port: SERVICE }, 'echo', 'echo', 'echo'],
  ['the service over IPv6', 'in', { to: GUEST.v6, port: SERVICE }, 'echo', 'echo', 'echo'],
  ['another open port', 'in', { to: GUEST.v4, port: OTHER }, 'echo', 'silence', 'silence'],
  ['another open port over IPv6', 'in', { to: GUEST.v6, port: OTHER }, 'echo', 'silence', 'silence'],
  ['a closed port', 'in', { to: GUEST.v4, port: CLOSED }, 'ECONNREFUSED', 'silence', 'silence'],
  [
    'another open port, from one that answers come from',
    'in',
    { to: GUEST.v4, port: OTHER, from: ANSWERING },
    'echo',
    'silence',
    'silence',
  ],
  ['an open UDP port', 'in', { kind: 'udp', to: GUEST.v4, port: OTHER }, 'echo', 'silence', 'silence'],
  ['the DHCP client from another port', 'in', { kind: 'udp', to: GUEST.v4, port: 68 }, 'echo', 'silence', 'silence'],
  ['a DHCP server', 'out', { kind: 'udp', to: OUTSIDE.v4, port: 67, from: 68 }, 'echo', 'echo', 'echo'],
  ['a DHCP server, from another port', 'out', { kind: 'udp', to: OUTSIDE.v4, port: 67 }, 'echo', 'EPERM', 'EPERM'],
  ['out by the runtime', 'out', { to: OUTSIDE.v4, port: 443, user: RUNTIME }, 'echo', 'silence', 'echo'],
  ['out by the runtime over IPv6', 'out', { to: OUTSIDE.v6, port: 443, user: RUNTIME }, 'echo', 'silence', 'echo'],
  ['out by root', 'out', { to: OUTSIDE.v4, port: 443 }, 'echo', 'silence', 'silence'],
  ['out by a worker', 'out', { to: OUTSIDE.v4, port: 443, user: 2000 }, 'echo', 'silence', 'silence'],
  [
    'out by the runtime to a port of nobody',
    'out',
    { to: OUTSIDE.v4, port: 80, user: RUNTIME },
    'echo',
    'silence',
    'silence',
  ],
  [
    'out by the runtime over UDP',
    'out',
    { kind: 'udp', to: OUTSIDE.v4, port: 443, user: RUNTIME },
    'echo',
    'EPERM',
    'EPERM',
  ],
  [
    'a name server, by the runtime',
    'out',
    { kind: 'udp', to: OUTSIDE.v4, port: 53, user: RUNTIME },
    'echo',
    'EPERM',
    'echo',
  ],
  [
    'a name server over TCP, by the runtime',
    'out',
    { to: OUTSIDE.v4, port: 53, user: RUNTIME },
    'echo',
    'silence',
    'echo',
  ],
  ['a name server, by root', 'out', { kind: 'udp', to: OUTSIDE.v4, port: 53 }, 'echo', 'EPERM', 'EPERM'],
  [
    'another name server, by the runtime',
    'out',
    { kind: 'udp', to: OUTSIDE.other, port: 53, user: RUNTIME },
    'echo',
    'EPERM',
    'EPERM',
  ],
];

for (const [column, plan] of [null, PLAN, SENDING].entries()) {
  const name = ['without a firewall', 'with a firewall', 'with a policy that names somebody'][column];
  test(name ?? '', { ...options, concurrency: 4 }, async (t) => {
    if (plan !== null) assert.ok(Number(await install(plan)) > 5);
    const all = ATTEMPTS.map(([what, direction, how, ...ends]) =>
      t.test(`${what}: ${ends[column]}`, async () => {
        const expected = ends[column] ?? '';
        assert.equal(await attempt(direction === 'in' ? outside : guest, how, expected), expected);
      }),
    );
    await Promise.all(all);
  });
}

test('the port of the service, by the runtime once nobody listens there, begins no connection', options, async () => {
  const from = SERVICE + 10;
  await install({ ...SENDING, egress: null, service: from });
  const out = { to: OUTSIDE.v4, port: 443, user: RUNTIME, from };
  assert.equal(await attempt(guest, out, 'silence'), 'silence');
  await install({ ...SENDING, service: from });
  assert.equal(await attempt(guest, out, 'echo'), 'echo'); // so that it is the firewall that was silent
});

test('a connection goes on, and ends, while the plan changes', options, async () => {
  const [program = '', ...args] = inNamespace(outside);
  const script = `
    const socket = require('node:net').connect(${SERVICE}, '${GUEST.v4}', () => console.log('open'));
    let bytes = 0;
    socket.on('data', (chunk) => { bytes += chunk.length; if (bytes === 1 << 24) socket.end(); });
    socket.on('close', (failed) => console.log(failed ? 'failed' : 'closed ' + bytes));
    process.stdin.once('data', () => { socket.write(Buffer.alloc(1 << 24)); });
  `;
  await install(PLAN);
  const child = spawn(program, [...args, '--eval', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  running.push(child);
  let said = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  await once(child.stdout, 'data');
  await install(SENDING);
  child.stdin.end('go');
  await once(child, 'exit');
  assert.equal(said, `open\nclosed ${1 << 24}\n`);
});

test('the kernel shows it: what was changed behind its back is found', options, async () => {
  const check = `
    const { firewallRules } = await import('${join(import.meta.dirname, '../../src/linux')}/firewall.ts');
    const { verifyTable, replaceTable, compare, meta } = await import('${join(import.meta.dirname, '../../src/linux')}/nftables.ts');
    const { attribute } = await import('${join(import.meta.dirname, '../../src/linux')}/netlink.ts');
    const rules = firewallRules(${JSON.stringify(PLAN)});
    const chains = ['input', 'forward', 'output'].map((hook) => ({ hook, rules: rules.filter((it) => it.hook === hook).map((it) => it.when) }));
    const tries = {
      same: () => verifyTable('enclaim', chains),
      'a rule less': () => verifyTable('enclaim', chains.with(0, { ...chains[0], rules: chains[0].rules.slice(1) })),
      'a rule more': () => verifyTable('enclaim', chains.with(0, { ...chains[0], rules: [...chains[0].rules, []] })),
      order: () => verifyTable('enclaim', chains.with(0, { ...chains[0], rules: chains[0].rules.toReversed() })),
      value: () => verifyTable('enclaim', chains.with(2, { ...chains[2], rules: chains[2].rules.with(0, [meta('outputName'), compare('equal', new Uint8Array(16).fill(1))]) })),
      'a chain less': () => verifyTable('enclaim', chains.slice(1)),
      'another name': () => verifyTable('other', chains),
      'a second table': () => replaceTable('second', chains),
      'a step that the kernel does not know': () => replaceTable('second', [{ hook: 'input', rules: [[attribute(1, attribute(1, Buffer.from('none\\0')))]] }]),
    };
    const found = Object.entries(tries).map(([name, run]) => { try { run(); return name + ': same'; } catch (error) { return name + ': ' + error.code; } });
    console.log(JSON.stringify(found));
  `;
  await install(PLAN);
  const names = ['a rule less', 'a rule more', 'order', 'value', 'a chain less', 'another name', 'a second table'];
  assert.deepEqual(JSON.parse(await inGuest(check)), [
    'same: same',
    ...names.map((name) => `${name}: EPROTO`),
    'a step that the kernel does not know: ENOENT',
  ]);
});

test('without the right to do so, nothing is installed and that is an error', options, async () => {
  const script = `
    const { installFirewall } = await import('${join(import.meta.dirname, '../../src/linux')}/firewall.ts');
    try { installFirewall(${JSON.stringify(PLAN)}); console.log('installed'); } catch ({ code }) { console.log(code); }
  `;
  const [program = '', ...args] = inNamespace(guest, RUNTIME);
  const { stdout } = await promisify(execFile)(program, [...args, '--input-type=module', '--eval', script]);
  assert.equal(stdout.trim(), 'EPERM');
});
