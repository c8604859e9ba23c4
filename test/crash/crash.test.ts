/**
 * Whatever is killed in a machine, and whatever its disk loses of what it had not acknowledged: the next boot has every
 * acknowledged change, none by halves, nothing that was deleted, and no byte that the host holds shows what was stored.
 */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { utf8 } from '@enclaim/attestation/bytes';
import { sha256 } from '@enclaim/attestation/digest';
import { launchCommandLine, launchEvents } from '@enclaim/attestation/measure';
import type { BuiltBundle } from '@enclaim/image';
import { type Swtpm, startSwtpm } from '../fakes/swtpm.ts';
import { bootAttested, PRETEND_IMAGE } from '../support/attested-runtime.ts';
import { count } from '../support/long.ts';
import { seed } from '../support/properties.ts';
import { drawn } from './cut-disk.ts';
import { type Crash, CrashMachine } from './life.ts';
import { Model } from './model.ts';
import { type Events, storedOn } from './opened.ts';
import { Pairs, pairsBundle, work } from './pairs.ts';
import { filesThatShow, formsOf, newMark, shows } from './planted.ts';
import { diskAt, putTpmBack, Recording } from './recording.ts';

type Draw = (below: number) => number;

const DISK_BYTES = 32 * 1024 * 1024;
/** Lives of one machine. */
const LIVES = 15;
/** Writes of a boot and the changes after it, about. */
const WRITES = 24;

/** Crashes by kind, one life after another. */
const KINDS: readonly ((draw: Draw) => Crash)[] = [
  (draw) => ({ kind: 'power', write: 8 + draw(WRITES), seed: draw(2 ** 31) }),
  (draw) => ({ kind: 'runtime', changes: 1 + draw(12) }),
  (draw) => ({ kind: 'worker', changes: 1 + draw(12) }),
  (draw) => ({ kind: 'error', write: 1 + draw(WRITES), seed: draw(2 ** 31) }),
  (draw) => ({ kind: 'runtime', write: 1 + draw(WRITES), seed: draw(2 ** 31) }),
  (draw) => ({ kind: 'power', write: 1 + draw(8), seed: draw(2 ** 31) }),
  (draw) => ({ kind: 'tpm', after: draw(2000) }),
];

async function folderFor(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-crash-'));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

test('the search finds a mark in each of its forms, wherever it stands', () => {
  const mark = newMark();
  for (const [i, form] of formsOf(mark).entries())
    assert.ok(shows(Buffer.concat([Buffer.alloc(i + 1), form, Buffer.alloc(3)]), mark));
  for (const before of ['', 'a', 'ab', 'abc'])
    assert.ok(shows(Buffer.from(Buffer.from(`${before}${mark} and more`).toString('base64')), mark));
  assert.ok(!shows(Buffer.from(newMark()), mark));
});

test('lives that end in a crash of runtime, worker, TPM, power or disk', async (t) => {
  const draw = drawn(seed);
  const bundle = await pairsBundle();
  const total = count(4, 112, 1);
  const counts: Record<string, number> = {};
  let acknowledged = 0;
  for (let run = 0; run < total; ) {
    const folder = await folderFor(t);
    const machine = await CrashMachine.make(folder, bundle, draw);
    try {
      for (let life = 0; life < LIVES && run < total; life++, run++) {
        const crash = (KINDS[run % KINDS.length] ?? assert.fail())(draw);
        const { served, refusal } = await machine.life(crash);
        if (refusal !== null) refusedAsSaid(crash, refusal);
        const what = `${crash.kind}${served ? '' : ', at boot'}`;
        counts[what] = (counts[what] ?? 0) + 1;
        assert.deepEqual(await machine.leaks(), []);
      }
      const before = await machine.keepCopy();
      // This boot holds what the last crash left against the model, and begins an epoch.
      assert.ok((await machine.life({ kind: 'runtime', changes: 6 })).served);
      assert.match(await machine.bootOn(before), /^state: .* and the keeper is at epoch/);
      assert.ok((await readFile(machine.disk)).includes('kept.v1.Pairs/Put'), 'what is not sealed is found');
      acknowledged += machine.model.begun;
    } finally {
      await machine.end();
    }
  }
  t.diagnostic(`${total} crashes: ${JSON.stringify(counts)}; ${acknowledged} changes`);
});

/** A boot refuses for nothing but a disk or a TPM that fails. */
function refusedAsSaid({ kind }: Crash, refusal: string): void {
  if (kind === 'error') assert.match(refusal, /^log: .*the state disk cannot be written: EIO$/);
  else assert.equal(kind, 'tpm', refusal);
}

/** Two boots of a runtime in this process, and all that they wrote. */
async function recordBoots(
  bundle: BuiltBundle,
  swtpm: Swtpm,
  logFile: string,
  draw: Draw,
): Promise<{ model: Model; recording: Recording; mark: string; ends: readonly number[] }> {
  const [model, mark] = [new Model(), newMark()];
  const recording = new Recording(model, join(swtpm.folder, 'state'));
  const ends: number[] = [];
  for (let boot = 0; boot < 2; boot++) {
    const server = await bootAttested(bundle, {
      ...{ swtpm, logFile, logBytes: DISK_BYTES },
      device: (disk) => recording.over(disk),
    });
    const pairs = await Pairs.connect(server.target, server.references);
    let changes = 0;
    const onAcknowledged = () => void changes++;
    assert.deepEqual(await work(pairs, { model, mark, draw, onAcknowledged }, () => changes < 16), []);
    pairs.close();
    await server.stop();
    await recording.look();
    ends.push(model.tick());
    await swtpm.powerCycle();
  }
  return { model, recording, mark, ends };
}

test('the power is cut while any write of a boot is under way', async (t) => {
  const draw = drawn(seed + 1);
  const bundle = await pairsBundle();
  const [recordings, cuts] = [count(1, 6, 1), count(12, 40, 3)];
  let [total, taken] = [0, 0];
  for (let i = 0; i < recordings; i++) {
    const folder = await folderFor(t);
    const swtpm = await startSwtpm({ certified: true });
    t.after(() => swtpm.stop());
    const { model, recording, mark, ends } = await recordBoots(bundle, swtpm, join(folder, 'log'), draw);
    const path = join(folder, 'disk');
    const stored = async (at: number, tpmAt = at) => {
      await writeFile(path, diskAt(recording.writes, { at, bytes: DISK_BYTES }, draw));
      await swtpm.powerCycle((state) => putTpmBack(state, recording.tpmAt(tpmAt)));
      return storedOn(path, DISK_BYTES, swtpm, eventsOf(bundle));
    };
    for (let cut = 0; cut < cuts; cut++, total++) {
      const { begun } = recording.writes[draw(recording.writes.length)] ?? assert.fail();
      taken += model.check(await stored(begun), begun).length;
    }
    const [first = 0, last = 0] = ends;
    // Deletion is final: a disk of an epoch before, however whole, opens no more.
    await assert.rejects(stored(first, last), { name: 'RefusalError', code: 'state' });
    // A disk that lied about its last acknowledged writes is found out, so that this test can fail.
    const lied = recording.writes.filter(({ begun }) => begun <= first).slice(0, -8);
    recording.writes.splice(0, Number.POSITIVE_INFINITY, ...lied);
    const content = await stored(first);
    assert.throws(() => model.check(content, first), assert.AssertionError);
    assert.deepEqual(await filesThatShow(mark, [folder, join(swtpm.folder, 'state')]), []);
  }
  t.diagnostic(`${total} cuts of the power; ${taken} changes were there before they were acknowledged`);
});

/** What the software TPM is shown of a boot by {@link bootAttested}. */
function eventsOf({ policy, digest }: BuiltBundle): Events {
  const commandLine = launchCommandLine(PRETEND_IMAGE, policy);
  const events = launchEvents(PRETEND_IMAGE, { boot: 'kernel', commandLine, policy, bundle: digest });
  return new Map([...events, [11, [sha256(utf8('sections'))]]]);
}
