/** The image as it ships, under a host that sets clocks, adds words and knocks at ports. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { buildBundle, findApp, projectRoot, writeImage } from '@enclaim/image';
import { type MachineOptions, startMachine } from '@enclaim/image/machine';
import { COMMAND_LINE, SETTINGS, STATES } from '../../guest/src/linux/hardening.ts';
import { freePort } from '../../image/src/machine/port.ts';
import { recordsOnDisk } from '../support/log-disk.ts';
import { shippedImage } from '../support/shipped-image.ts';
import { withoutFirmware } from './guest-image.ts';
import { hostileTools, knock, OTHER_PORT } from './hostile-host.ts';
import { machineProcesses } from './processes.ts';

let folder: string;
let honest: MachineOptions;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-host-'));
  const [image, app] = await Promise.all([
    shippedImage(),
    buildBundle(await findApp(join(projectRoot, 'image/test/apps/echo'))),
  ]);
  await writeImage(image, join(folder, 'shipped/image'));
  const { artefacts, references } = image.manifest;
  const path = join(folder, 'echo.enclaim');
  await writeFile(path, app.bytes);
  honest = {
    app: path,
    boot: { kind: 'uki', uki: join(folder, 'shipped/image', artefacts.uki.file) },
    commandLine: references.tpm.commandLine,
    stateFolder: join(folder, 'state'),
    // Nothing here depends on what was measured: what does is in disk.vm.test.ts and proof.vm.test.ts.
    tools: await withoutFirmware(join(folder, 'shipped'), artefacts),
  };
});
after(() => rm(folder, { recursive: true }));

/** The port that is served answers a TLS client. */
async function handshake(port: number): Promise<void> {
  const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['enclaim-h2'] });
  await once(socket, 'secureConnect');
  socket.destroy();
}

test('the image that ships: no answer at another port, IPv6 by the first router, everything counted in the log', async () => {
  const other = await freePort(0);
  const tools = await hostileTools(join(folder, 'host'), { forward: [{ from: other, to: OTHER_PORT }] }, honest.tools);
  const commandLine = `${honest.commandLine} enclaim.ip6=auto`;
  const machine = await startMachine({ ...honest, commandLine, tools });
  {
    await using _ = machine;
    assert.equal(await knock(other), 'silence'); // refused where there is no firewall: serve.vm.test.ts
    await handshake(machine.port);
  }
  const lines = await Array.fromAsync(machine.console);
  assert.ok(
    lines.some((line) => /^enclaim: guest: network 10\.0\.2\.15 fec0::5054:ff:fe[0-9a-f:]+$/.test(line)),
    lines.join('\n'),
  );
  const [first] = await recordsOnDisk(join(honest.stateFolder ?? '', 'state.img'));
  assert.equal(first?.figures['kernel.settings'], COMMAND_LINE.length + SETTINGS.length + STATES.length);
  // Loopback 2, service 2, path 1, DHCP 2, ICMPv6 7: nobody is named in this policy, and routers are no longer heard.
  assert.equal(first?.figures['kernel.rules'], 14);
});

test('a clock set back between two boots does not set the log back', async () => {
  const before = (await recordsOnDisk(join(honest.stateFolder ?? '', 'state.img'))).at(-1);
  assert.ok(before !== undefined);
  // An hour: back for the log, and after the kernel was built, whose day moves with each lock of the image.
  const back = new Date(Date.parse(before.time) - 3_600_000).toISOString().slice(0, 19);
  const tools = await hostileTools(join(folder, 'host'), { append: ['-rtc', `base=${back}`] }, honest.tools);
  await using machine = await startMachine({ ...honest, tools });
  await sleep(100);
  const records = await recordsOnDisk(join(honest.stateFolder ?? '', 'state.img'));
  assert.ok(records.length > 1);
  const times = records.map(({ time }) => Date.parse(time));
  assert.ok(
    times.every((time, index) => index === 0 || time >= (times[index - 1] ?? 0)),
    records.map(({ time }) => time).join(' '),
  );
  await machine.stop();
});

const REFUSALS: readonly (readonly [string, readonly string[], string, RegExp])[] = [
  [
    'a clock before the image was made',
    ['-rtc', 'base=2020-01-01T00:00:00'],
    '',
    /clock says 2020-01-01.*before the kernel was built on \d{4}-/,
  ],
  [
    'a word that is an environment for PID 1',
    [],
    ' NODE_OPTIONS=--max-http-header-size=9',
    /NODE_OPTIONS=\S+ is not a word of this system/,
  ],
];
for (const [name, append, words, reason] of REFUSALS) {
  test(`refused by the guest, which turns the machine off: ${name}`, async () => {
    const tools = await hostileTools(join(folder, 'host'), { append }, honest.tools);
    const started = startMachine({ ...honest, tools, commandLine: `${honest.commandLine}${words}` });
    await assert.rejects(started, (error: { code?: string; message: string }) => {
      assert.equal(error.code, 'guest-refused', error.message);
      assert.match(error.message, reason);
      return true;
    });
    assert.deepEqual(machineProcesses(folder), []);
  });
}
