/** A guest that starts workers' programs under the layers that only a VM has, whole and with one off, and prints what came of it. */

import { closeSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  type ConfinedOptions,
  configureNetwork,
  loadModules,
  makeCgroup,
  mountBase,
  neverExit,
  powerOff,
  readCommandLine,
  reapOrphans,
  removeCgroup,
  restrictForGood,
  socketPair,
  spawnConfined,
} from '../../guest/src/linux/index.ts';
import { VM_ATTACKS, type VmLayer } from './hostile-attacks.ts';

const NODE = '/usr/bin/node';
const ROOT = [NODE, '/lib/x86_64-linux-gnu', '/lib64'].map((from) => ({ from }));
const NAMESPACES = ['mount', 'net', 'ipc', 'uts', 'pid', 'cgroup'] as const;
const LIMITS = { memory: 256 * 1024 * 1024, cpu: 100, tasks: 32 };

neverExit((reason) => `enclaim: refused: ${reason instanceof Error ? reason.stack?.replaceAll('\n', ' ') : reason}`);
mountBase();
restrictForGood();
reapOrphans();
loadModules(JSON.parse(readFileSync('/enclaim/modules.json', 'utf8')));
await configureNetwork(readCommandLine().network);

let started = 0;
for (const [name, { layer, body, env }] of Object.entries(VM_ATTACKS)) {
  const whole = await succeeds(body, env, undefined);
  const off = await succeeds(body, env, layer);
  process.stdout.write(`report:${JSON.stringify({ name, layer, whole, off })}\n`);
}
process.stdout.write('enclaim: serving\n');
setTimeout(powerOff, 1000);

/** Whether a body answers true in a worker's process without one of its layers. */
async function succeeds(
  body: string,
  env: Readonly<Record<string, string>>,
  off: VmLayer | undefined,
): Promise<boolean> {
  const [ours, theirs] = socketPair();
  const cgroup = off === 'cgroup' ? undefined : makeCgroup(`worker-${started++}`, LIMITS);
  const uid = off === 'user' ? 0 : 2000;
  // It exits by itself: a worker is PID 1 of its namespace, where the kernel ignores what it sends to itself.
  const program = `(async () => { ${body} })().then((it) => require('node:fs').writeSync(3, 'answer ' + it), () => {}).finally(() => process.exit())`;
  const options: ConfinedOptions = {
    argv: [NODE, '--no-warnings', '--eval', program],
    uid,
    gid: uid,
    namespaces: NAMESPACES.filter((name) => name !== off),
    fds: [null, null, null, theirs],
    env,
    ...(off === 'root' || off === 'mount' ? {} : { root: ROOT }),
    ...(cgroup === undefined ? {} : { cgroup }),
  };
  const child = await spawnConfined(options);
  closeSync(theirs);
  const socket = new Socket({ fd: ours, readable: true, writable: true });
  const said = text(socket).catch(() => '');
  const timer = setTimeout(() => child.kill(), 200_000);
  await child.exit;
  clearTimeout(timer);
  if (cgroup !== undefined) removeCgroup(cgroup);
  return (await said) === 'answer true';
}
