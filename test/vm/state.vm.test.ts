/**
 * In real boots: what a killed VM had acknowledged is there at every instant of what QEMU wrote; a value is there before its
 * end and not after it, whatever the host's clock says later; and state passes to the launch that it was handed over to.
 */

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { statSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { parseBundle } from '@enclaim/attestation/bundle';
import { launchCommandLine } from '@enclaim/attestation/measure';
import { ed25519Key } from '@enclaim/attestation/statement';
import {
  encodeSuccession,
  proposeSuccession,
  type SuccessionLaunch,
  signSuccession,
} from '@enclaim/attestation/succession';
import { connect } from '@enclaim/client';
import { SuccessionCourier } from '@enclaim/client/successions';
import { writeImage } from '@enclaim/image';
import type { RunningMachine } from '@enclaim/image/machine';
import { drawn } from '../crash/cut-disk.ts';
import { Model } from '../crash/model.ts';
import { storedOn } from '../crash/opened.ts';
import { type KeptNow, type Pairs, POLICY_FILE, pairsBundle, work } from '../crash/pairs.ts';
import { filesThatShow, newMark, shows } from '../crash/planted.ts';
import { diskAt, putTpmBack, tpmState } from '../crash/recording.ts';
import { type VmLaunch, VmMachine } from '../crash/vm-pairs.ts';
import { loggedState, writesIn } from '../crash/write-log.ts';
import { startSwtpm } from '../fakes/swtpm.ts';
import { eventually } from '../support/eventually.ts';
import { recordsOnDisk } from '../support/log-disk.ts';
import { LONG } from '../support/long.ts';
import { seed } from '../support/properties.ts';
import { shippedImage } from '../support/shipped-image.ts';
import { hostileTools } from './hostile-host.ts';
import { wrappedTools } from './wrapped-tools.ts';

const DISK_BYTES = 32 * 1024 * 1024;
/** Retention of the collection `brief`. */
const BRIEF_MS = 90_000;
const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;

const draw = drawn(seed);
const mark = newMark();
const signer = generateKeyPairSync('ed25519').privateKey;
const signerName = ed25519Key(Buffer.from(String(signer.export({ format: 'jwk' }).x), 'base64url'));
/** A text that is stored once and read at every boot. */
const KEPT = { key: `${mark}.kept`, text: `${mark} outlives boots` };

let folder: string;
let machine: VmMachine;
let old: VmLaunch;
let heir: VmLaunch;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-state-vm-'));
  machine = new VmMachine(await shippedImage(), folder);
  await writeImage(machine.image, join(folder, 'image'));
  await mkdir(machine.stateFolder, { mode: 0o700 });
  await writeFile(machine.disk, '');
  await truncate(machine.disk, DISK_BYTES);
  old = await launchOf('old', (policy) => policy);
  const isStronger = (policy: string): string =>
    policy
      .replaceAll('retention: P30D', 'retention: P20D')
      .replace('version: 1', `version: 2, succeeds: "${old.bundle.policy}"`);
  heir = { ...(await launchOf('heir', isStronger)), words: ' enclaim.ip=10.0.2.15/24,10.0.2.2' };
});
after(() => rm(folder, { recursive: true }));

async function launchOf(name: string, change: (policy: string) => string): Promise<VmLaunch> {
  const [policyFile, app] = [join(folder, `${name}.yaml`), join(folder, `${name}.enclaim`)];
  const rule = `succession: { signers: ["${signerName}"], threshold: 1, notice: PT1H }\n`;
  await writeFile(policyFile, change(await readFile(POLICY_FILE, 'utf8')) + rule);
  const bundle = await pairsBundle(policyFile);
  await writeFile(app, bundle.bytes);
  return { bundle, app };
}

test('what the registers are shown of a launch is known without a boot, so that its disk can be opened without one', () => {
  for (const launch of [old, heir]) assert.equal(machine.eventsOf(launch).get(9)?.length, 2);
});

/** With `--long` alone: each is a boot by firmware. */
const booting = (name: string, body: (t: TestContext) => Promise<void>): void => {
  if (LONG) void test(name, body);
};

booting(
  'a VM whose QEMU is killed: all that it acknowledged is in what QEMU wrote, and a value is there until its end',
  async (t) => {
    const writes = join(folder, 'writes.log');
    await writeFile(writes, '');
    const tools = await wrappedTools(join(folder, 'logged'), loggedState(machine.disk, writes), []);
    const running = await machine.boot(old, tools);
    t.after(() => running.stop());
    const tpm = await tpmState(join(machine.stateFolder, 'tpm'));
    const pairs = await machine.connect(running, old);
    await untilEnd(pairs);
    // What was stored so far is on the disk at every instant from here on.
    const served = statSync(writes).size;
    // The host's instants are offsets in the log of what QEMU wrote.
    const model = new Model(() => statSync(writes).size);
    model.begin(KEPT.key, KEPT.text)();
    let changes = 0;
    await work(
      pairs,
      {
        model,
        mark,
        draw,
        onAcknowledged: () => {
          if (++changes === 24) process.kill(running.processes[0] ?? assert.fail(), 'SIGKILL');
        },
      },
      () => true,
    );
    pairs.close();
    await machine.kill(running);
    await holdsAt(t, { model, served, tpm, log: await readFile(writes) });
    await endedInTime();
    assert.deepEqual(await filesThatShow(mark, [writes, machine.stateFolder]), []);
    assert.ok(!shows(Buffer.from(machine.console), mark));
  },
);

/** Stores something for {@link BRIEF_MS}, reads it until it is gone, and again. */
async function untilEnd(pairs: Pairs): Promise<void> {
  // A machine that is short of processor gives calls up, which then have stored nothing.
  await eventually('a change', () => pairs.call('Put', KEPT));
  for (let gone = 0; gone < 3; ) {
    const { left, brief } = await eventually('an answer', () => pairs.get(KEPT.key));
    assert.equal(left, KEPT.text);
    assert.ok(brief === KEPT.text || brief === '');
    reads.push(brief !== '');
    if (brief === '') gone++;
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
}
/** Whether each read of the first boot found the value that ends, in order. */
const reads: boolean[] = [];

/** Holds the reads against the times that the machine itself recorded. */
async function endedInTime(): Promise<void> {
  const records = await recordsOnDisk(machine.disk);
  const times = (method: string): number[] =>
    records
      .filter((record) => record.method === `kept.v1.Pairs/${method}` && record.decision === 'allow')
      .map(({ time }) => Date.parse(time));
  const [stored = Number.NaN] = times('Put');
  // The call began behind the record before its own.
  const asked = Date.parse(records[records.findIndex(({ method }) => method === 'kept.v1.Pairs/Put') - 1]?.time ?? '');
  const at = times('Get');
  assert.ok(reads.length >= 3 && at.length >= reads.length, `${at.length} records of ${reads.length} reads`);
  for (const [i, isThere] of reads.entries()) {
    // A read comes before its record, and behind that of the read before.
    if (isThere) assert.ok((at[i - 1] ?? 0) <= stored + BRIEF_MS, `read ${i} found what had ended`);
    else assert.ok((at[i] ?? 0) >= asked + BRIEF_MS, `read ${i} missed what had not ended`);
  }
  assert.ok(!reads.slice(reads.indexOf(false)).includes(true), 'what had ended came back');
}

/** Opens the disk as it would have been left at instants of what QEMU wrote, without a VM. */
async function holdsAt(
  t: TestContext,
  { model, served, tpm, log }: { model: Model; served: number; tpm: Buffer; log: Buffer },
): Promise<void> {
  const written = writesIn(log);
  const instants = written.map(({ begun }) => begun).filter((begun) => begun > served);
  assert.ok(instants.length > 6, `${instants.length} writes`);
  const swtpm = await startSwtpm();
  t.after(() => swtpm.stop());
  const path = join(folder, 'cut');
  const [cuts, last] = [100, instants.at(-1) ?? 0];
  for (let cut = 0; cut < cuts; cut++) {
    const at = cut === 0 ? last : (instants[draw(instants.length)] ?? last);
    await writeFile(path, diskAt(written, { at, bytes: DISK_BYTES }, draw));
    await swtpm.powerCycle((state) => putTpmBack(state, tpm));
    model.check(await storedOn(path, DISK_BYTES, swtpm, machine.eventsOf(old)), at);
  }
  t.diagnostic(`${cuts} cuts of the power in ${instants.length} writes of a VM`);
}

/** Boots with the host's clock moved. */
async function bootAt(launch: VmLaunch, move: number): Promise<RunningMachine> {
  const base = new Date(Date.now() + move).toISOString().slice(0, 19);
  return machine.boot(launch, await hostileTools(join(folder, `clock${move}`), { append: ['-rtc', `base=${base}`] }));
}

async function keptBy(pairs: Pairs): Promise<KeptNow> {
  const kept = await eventually('an answer', () => pairs.get(KEPT.key));
  assert.equal(kept.lasting, KEPT.text);
  return kept;
}

booting(
  'an hour back: what had ended is gone, what was acknowledged is there, and the state is handed over',
  async (t) => {
    const running = await bootAt(old, -HOUR_MS);
    t.after(() => running.stop());
    const pairs = await machine.connect(running, old);
    const { left, brief } = await keptBy(pairs);
    assert.deepEqual([left, brief], [KEPT.text, '']);
    await handOver(running);
    pairs.close();
    await machine.kill(running);
  },
);

booting(
  'a year on, at another address and under a stronger policy: the heir has what lasts, and nothing that ended',
  async (t) => {
    const running = await bootAt(heir, YEAR_MS);
    t.after(() => running.stop());
    const pairs = await machine.connect(running, heir);
    const { left, right, brief } = await keptBy(pairs);
    assert.deepEqual([left, right, brief], ['', '', '']);
    pairs.close();
    await machine.kill(running);
  },
);

booting('the launch before opens the state no more: neither by its own note, nor without it by the TPM', async () => {
  await assert.rejects(machine.boot(old), { code: 'state-sealed' });
  await rm(join(machine.stateFolder, 'sealed-to.json'));
  await assert.rejects(machine.boot(old), { code: 'guest-refused', message: /state|keeper/ });
});

booting('a year back again: nothing that ended comes back', async (t) => {
  const running = await bootAt(heir, 0);
  t.after(() => running.stop());
  const pairs = await machine.connect(running, heir);
  const { left, right, brief } = await keptBy(pairs);
  assert.deepEqual([left, right, brief], ['', '', '']);
  pairs.close();
  await machine.kill(running);
  assert.deepEqual(await filesThatShow(mark, [machine.stateFolder]), []);
  assert.ok(!shows(Buffer.from(machine.console), mark));
});

/** Has the machine that runs pass its state to the heir. */
async function handOver(running: RunningMachine): Promise<void> {
  const references = await machine.referencesOf(running, old);
  await using channel = await connect(`127.0.0.1:${running.port}`, { references });
  const courier = new SuccessionCourier(channel);
  const { state } = await courier.show();
  const [from, to] = [old, heir].map(
    (launch): SuccessionLaunch => ({
      policy: launch.bundle.policy,
      image: machine.image.manifest.references.tpm,
      boot: 'kernel',
      commandLine: launchCommandLine({ commandLine: machine.commandLineOf(launch) }, launch.bundle.policy),
    }),
  );
  const policies = { from: parseBundle(old.bundle.bytes).policy, to: parseBundle(heir.bundle.bytes).policy };
  const times = { state: state as `sha256:${string}`, notBefore: new Date(0).toISOString() };
  const file = proposeSuccession({ from: from ?? assert.fail(), to: to ?? assert.fail() }, policies, times);
  const signed = signSuccession(file, signerName, (message) => sign(null, message, signer));
  assert.equal((await courier.hand(encodeSuccession(signed))).handed, true);
}
