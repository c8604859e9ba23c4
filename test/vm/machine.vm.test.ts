/** The life cycle of real QEMU and swtpm processes. The image is none, so the firmware is as far as these machines get. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MachineOptions, startMachine, type ToolOptions } from '@enclaim/image/machine';
import { eventually, HANGS_MS } from '../support/eventually.ts';
import { writeEmptyApp } from './guest-image.ts';
import { machineProcesses } from './processes.ts';
import { wrappedTools } from './wrapped-tools.ts';

let folder: string;
let options: MachineOptions & { readonly stateFolder: string };

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-machine-'));
  const app = await writeEmptyApp(folder);
  const uki = join(folder, 'uki.efi');
  await writeFile(uki, Buffer.alloc(65_536)); // QEMU loads it, no firmware starts it
  options = {
    app,
    boot: { kind: 'uki', uki },
    commandLine: 'quiet',
    stateFolder: join(folder, 'state'),
    memoryMiB: 256,
  };
});
after(() => rm(folder, { recursive: true }));

const processes = (): number[] => machineProcesses(folder);

async function assertNothingLeft(): Promise<void> {
  assert.deepEqual(processes(), []);
  assert.deepEqual(
    (await readdir(tmpdir())).filter((name) => name.startsWith(`enclaim-run-${process.pid}-`)),
    [],
  );
  assert.deepEqual(
    (await readdir(folder, { recursive: true })).filter((name) => /\btpm-\d+-/.test(name)),
    [],
  );
}

/** When a boot is aborted that has come to a phase: after so long, or once there is something to leave. */
const MOMENTS: Readonly<Record<string, () => Promise<unknown>>> = {
  'at once': async () => {},
  '30 ms later': () => sleep(30),
  '300 ms later': () => sleep(300),
  'once both processes run': () => eventually('QEMU and swtpm', () => processes().length === 2),
};
for (const phase of ['tools', 'tpm', 'firmware'] as const) {
  for (const [when, moment] of Object.entries(MOMENTS).slice(0, phase === 'firmware' ? 4 : 3)) {
    // One that nobody hears ends with the guest's silence, by which it would look as if it had been heard.
    test(`an abort in the phase ${phase}, ${when}, leaves nothing`, { timeout: HANGS_MS }, async () => {
      await rm(options.stateFolder, { recursive: true, force: true });
      const abort = new AbortController();
      const reason = new Error('interrupted');
      const onPhase = (now: string): void => {
        if (now === phase) void moment().then(() => abort.abort(reason), abort.abort);
      };
      await assert.rejects(startMachine({ ...options, silence: 2 * HANGS_MS, onPhase, signal: abort.signal }), reason);
      await assertNothingLeft();
    });
  }
}

test('an abort before the start starts nothing', async () => {
  const phases: string[] = [];
  const started = startMachine({ ...options, onPhase: (phase) => phases.push(phase), signal: AbortSignal.abort() });
  await assert.rejects(started, { name: 'AbortError' });
  assert.deepEqual(phases, []);
});

test('a guest that says nothing and does not serve is given up', async () => {
  await assert.rejects(startMachine({ ...options, silence: 700 }), { name: 'MachineError', code: 'boot-timeout' });
  await assertNothingLeft();
});

/** Tools whose QEMU loses a timer in its first boots: so many. */
async function losingTools(boots: number): Promise<ToolOptions> {
  const place = join(folder, `loses-${boots}`);
  const line = "rcu: rcu_preempt kthread timer wakeup didn't happen for 5251 jiffies!";
  return await wrappedTools(
    place,
    `if [ "$(ls '${place}' | grep -c boot)" -lt ${boots} ]; then
      mktemp '${place}/boot-XXXXXX' >/dev/null
      for _ in 1 2 3; do echo "${line}"; done
      exec sleep 1000000
    fi`,
    [],
  );
}

test('a boot whose emulator loses a timer is begun anew, and said so', async () => {
  const reasons: string[] = [];
  const onAgain = (reason: string): void => void reasons.push(reason);
  const silence = 700;
  const tools = await losingTools(2);
  await assert.rejects(startMachine({ ...options, tools, silence, onAgain }), { code: 'boot-timeout' });
  assert.equal(reasons.length, 2);
  assert.match(reasons[0] ?? '', /lost a timer/);
  await assertNothingLeft();
});

test('an emulator that loses a timer in every boot is given up', async () => {
  await assert.rejects(startMachine({ ...options, tools: await losingTools(99) }), { code: 'timer-lost' });
  await assertNothingLeft();
});

test('a port in use is named', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as { port: number };
  await assert.rejects(startMachine({ ...options, port }), { code: 'port-taken', message: new RegExp(`${port}`) });
  holder.close();
  await assertNothingLeft();
});

test('an image that is gone is named', async () => {
  await assert.rejects(startMachine({ ...options, boot: { kind: 'uki', uki: '/absent.efi' } }), {
    code: 'disk-missing',
  });
  await assertNothingLeft();
});

test('a TPM whose state is damaged is not replaced in silence', async () => {
  const stateFolder = join(folder, 'damaged');
  await assert.rejects(startMachine({ ...options, stateFolder, silence: 500 }), { code: 'boot-timeout' });
  await truncate(join(stateFolder, 'tpm/tpm2-00.permall'), 100);
  await assert.rejects(startMachine({ ...options, stateFolder }), { name: 'MachineError', code: /tpm-failed|exited/ });
  await rm(join(stateFolder, 'tpm/tpm2-00.permall'));
  await assert.rejects(startMachine({ ...options, stateFolder }), { name: 'MachineError', code: 'tpm-failed' });
  await assertNothingLeft();
});

test('a state folder that cannot be written is named', async () => {
  const stateFolder = join(options.app, 'below-a-file');
  await assert.rejects(startMachine({ ...options, stateFolder }), {
    code: 'disk-missing',
    message: new RegExp(stateFolder),
  });
  await assertNothingLeft();
});

test('a state folder keeps its TPM, and the authority that certified it', async () => {
  const identity = (): string => readFileSync(join(options.stateFolder, 'authority/issuercert.pem'), 'latin1');
  await assert.rejects(startMachine({ ...options, silence: 300 }), { code: 'boot-timeout' });
  const first = identity();
  await assert.rejects(startMachine({ ...options, silence: 300 }), { code: 'boot-timeout' });
  assert.equal(identity(), first);
});

test('two machines do not share a state folder, nor its TPM', async () => {
  const abort = new AbortController();
  const { promise: booting, resolve } = Promise.withResolvers<void>();
  const onPhase = (phase: string): void => {
    if (phase === 'firmware') resolve(); // by now its TPM runs
  };
  const first = startMachine({ ...options, onPhase, signal: abort.signal });
  await booting;
  await assert.rejects(startMachine(options), { name: 'MachineError', code: 'state-held' });
  abort.abort();
  await assert.rejects(first, { name: 'AbortError' });
  await assertNothingLeft();
});

test('a machine dies with the process that started it, and the next run clears its folder', async () => {
  const script = `
    import { startMachine } from '@enclaim/image/machine';
    const onPhase = (phase) => phase === 'firmware' && setTimeout(() => process.kill(process.pid, 'SIGKILL'), 300);
    await startMachine({ ...${JSON.stringify(options)}, onPhase });`;
  const parent = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: import.meta.dirname,
    stdio: 'inherit',
  });
  const [, signal] = await once(parent, 'exit');
  assert.equal(signal, 'SIGKILL');
  await eventually('the end of its processes', () => processes().length === 0);
  const left = async (): Promise<string[]> =>
    (await readdir(tmpdir())).filter((name) => name.startsWith(`enclaim-run-${parent.pid}-`));
  assert.equal((await left()).length, 1);
  await assert.rejects(startMachine({ ...options, silence: 200 }), { code: 'boot-timeout' });
  assert.deepEqual(await left(), []);
});
