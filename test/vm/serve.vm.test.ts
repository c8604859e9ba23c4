/** A machine whose guest really serves: its life from the first phase to the last, and every way to end it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { buildBundle, findApp, projectRoot } from '@enclaim/image';
import { type MachineOptions, type MachinePhase, startMachine } from '@enclaim/image/machine';
import { GUEST_PORT } from '../../image/src/machine/arguments.ts';
import { freePort } from '../../image/src/machine/port.ts';
import { makeBootable } from './guest-image.ts';
import { hostileTools, knock, OTHER_PORT } from './hostile-host.ts';
import { machineProcesses } from './processes.ts';

/** Where the guest is told to be; DHCP gives 10.0.2.15. */
const ADDRESS = '10.0.2.77';

let folder: string;
let options: MachineOptions;
/** An app that would boot: `enclaim run` starts no machine for another. */
let app: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-serve-'));
  options = await makeBootable(folder, 'test/vm/hello-guest.ts', 'kernel');
  app = join(folder, 'echo.enclaim');
  await writeFile(app, (await buildBundle(await findApp(join(projectRoot, 'image/test/apps/echo')))).bytes);
});
after(() => rm(folder, { recursive: true }));

const alive = (pid: number): boolean => existsSync(`/proc/${pid}/exe`);
const hello = async (port: number): Promise<string> => (await fetch(`http://127.0.0.1:${port}`)).text();

test('boots phase by phase, serves at the address on the command line in place of that of DHCP, and ends with nothing left', async () => {
  const phases: MachinePhase[] = [];
  const [served, unserved] = [await freePort(0), await freePort(0)];
  const forward = [
    { from: served, to: GUEST_PORT, address: ADDRESS },
    { from: unserved, to: OTHER_PORT, address: ADDRESS },
  ];
  const machine = await startMachine({
    ...options,
    commandLine: `${options.commandLine} enclaim.ip=${ADDRESS}/24,10.0.2.2`,
    tools: await hostileTools(join(folder, 'host'), { forward }, options.tools),
    onPhase: (phase) => phases.push(phase),
  });
  assert.deepEqual(phases, ['tools', 'tpm', 'firmware', 'guest', 'serving']);
  assert.equal(await hello(served), 'hello');
  // The port of the machine leads to the address that DHCP would have given: nobody is there.
  await assert.rejects(fetch(`http://127.0.0.1:${machine.port}`, { signal: AbortSignal.timeout(2000) }));
  // A control of what the image that ships does (host.vm.test.ts): this guest has no firewall.
  assert.equal(await knock(unserved), 'refused');
  assert.equal(machine.processes.filter(alive).length, 2);
  assert.ok(
    machine.tpmAuthority !== null && existsSync(machine.tpmAuthority.root) && existsSync(machine.tpmAuthority.issuer),
  );
  await machine.stop();
  await machine.stop(); // again is harmless
  assert.deepEqual(machine.processes.filter(alive), []);
  assert.ok(!existsSync(machine.tpmAuthority.root));
  const lines = await Array.fromAsync(machine.console);
  assert.ok(lines.includes('enclaim: serving'), lines.join('\n'));
  assert.equal((await machine.ended).refusal, null);
});

for (const [phase, signal, status] of [
  ['guest', 'SIGINT', 130],
  ['serving', 'SIGTERM', 143],
] as const) {
  test(`enclaim run ended by ${signal} in the phase ${phase}: exit status ${status}, nothing left`, async () => {
    const state = join(folder, phase);
    const port = await freePort(0);
    const argv = ['cli/src/main.ts', 'run', app, '--image', join(folder, 'image'), '--state', state];
    argv.push('--port', String(port));
    const env = { ...process.env, PATH: options.tools?.path };
    const run = spawn(process.execPath, argv, { cwd: projectRoot, env, stdio: ['ignore', 'ignore', 'pipe'] });
    const exit = once(run, 'exit');
    for await (const line of createInterface(run.stderr)) {
      if (!new RegExp(`s  ${phase}`).test(line)) continue;
      assert.equal(machineProcesses(state).length, 2);
      if (phase === 'serving') assert.equal(await hello(port), 'hello');
      run.kill(signal);
    }
    assert.deepEqual(await exit, [status, null]);
    assert.deepEqual(machineProcesses(state), []);
  });
}
