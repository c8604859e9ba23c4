/** State on a disk, under the keys that a real TPM keeps: it outlives boots, and no disk of another time stands in for it. */

import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { sha256 } from '../../attestation/src/digest.ts';
import { answerTo, type Question } from '../../guest/src/runtime-link.ts';
import { TpmKeeper } from '../../guest/src/tpm/keeper.ts';
import { type Answer, askedKeeper } from '../../runtime/src/asked-keeper.ts';
import { RecordLog } from '../../runtime/src/log/record-log.ts';
import type { Keeper } from '../../runtime/src/storage/sealed/keeper.ts';
import { SealedStore } from '../../runtime/src/storage/sealed/sealed-store.ts';
import { entry, FakeDisk } from '../../runtime/test/log/support.ts';
import { MIB, put, TestClock } from '../../runtime/test/sealed/support.ts';
import type { Swtpm } from '../fakes/swtpm.ts';
import { booted, cutAfter, machine } from '../support/keeper-boots.ts';

/** The keeper of a boot, as the runtime asks for it. */
function asked(keeper: TpmKeeper): Keeper {
  const platform = { keeper: { ...bound(keeper), begun: () => keeper.begun } };
  return askedKeeper('tpm', async (_, question) => {
    const parts = { platform, stated: { useKeeper: () => {} } } as unknown as Parameters<typeof answerTo>[1];
    return (await answerTo(question(0) as Question, parts)) as Answer as never;
  });
}

const bound = (keeper: TpmKeeper) => ({
  kind: keeper.kind,
  epoch: () => keeper.epoch(),
  seal: (key: Uint8Array, epoch: number) => keeper.seal(key, epoch),
  open: (blob: Uint8Array) => keeper.open(blob),
  advance: () => keeper.advance(),
});

interface BootOptions {
  readonly disk: FakeDisk;
  /** What the boot stores under the key `a`. */
  readonly stores?: string;
  readonly policy?: Uint8Array;
}

/** A boot, until its power is cut: what it found under the key `a`. */
async function boot(t: TestContext, swtpm: Swtpm, { disk, stores, policy }: BootOptions): Promise<unknown> {
  const { tpm } = await booted(t, swtpm, policy);
  try {
    const keeper = asked(await TpmKeeper.open(tpm));
    const log = await RecordLog.open(disk.device, disk.bytes.length);
    const collections = new Map([['cases', { retention: 1000 }]]);
    const clock = new TestClock();
    const store = await SealedStore.open({ keeper, log, system: 'test', clock, collections });
    const cases = store.collections.get('cases') ?? assert.fail();
    const found = await cases.get('a')?.value;
    if (stores !== undefined) {
      const changes = [put('a', stores)];
      cases.check(changes);
      const { durable } = log.place(entry('call'));
      cases.apply(changes);
      await durable;
    }
    await store.close();
    return found === undefined ? undefined : JSON.parse(found);
  } finally {
    await tpm.close();
    await swtpm.powerCycle();
  }
}

const newDisk = (): FakeDisk => new FakeDisk(2 * MIB);

test('what one boot stored, the next ones find', async (t) => {
  const swtpm = await machine(t);
  const disk = newDisk();
  assert.equal(await boot(t, swtpm, { disk, stores: 'one' }), undefined);
  assert.equal(await boot(t, swtpm, { disk }), 'one');
  assert.equal(await boot(t, swtpm, { disk, stores: 'two' }), 'one');
  assert.equal(await boot(t, swtpm, { disk }), 'two');
});

test('a disk of yesterday, a copy that another boot went on with, and a new one are refused', async (t) => {
  const swtpm = await machine(t);
  const disk = newDisk();
  await boot(t, swtpm, { disk, stores: 'one' });
  const yesterday = disk.copy();
  await boot(t, swtpm, { disk, stores: 'two' });
  for (const other of [yesterday.copy(), newDisk()])
    await assert.rejects(boot(t, swtpm, { disk: other }), { name: 'RefusalError', code: 'state' });
  assert.equal(await boot(t, swtpm, { disk }), 'two');
});

test('no state is lost where the power is cut after any command to the TPM, in the first boot or a later one', async (t) => {
  const swtpm = await machine(t);
  const disk = newDisk();
  for (const kept of [undefined, 'one']) {
    let failure: unknown;
    let found: { value: unknown } | undefined;
    // More commands than a boot needs: an attempt that still fails was not stopped by the cut.
    for (let commands = 1; found === undefined && commands < 120; commands++) {
      found = await boot(t, cutAfter(swtpm, commands), { disk }).then(
        (value) => ({ value }),
        (error: unknown) => {
          failure = error;
          return undefined;
        },
      );
    }
    if (found === undefined) throw failure;
    assert.equal(found.value, kept);
    assert.equal(await boot(t, swtpm, { disk, stores: 'one' }), kept);
  }
});

test('another policy finds state that it cannot read, and leaves it as it is', async (t) => {
  const swtpm = await machine(t);
  const disk = newDisk();
  await boot(t, swtpm, { disk, stores: 'one' });
  const policy = sha256(Buffer.from('another policy'));
  await assert.rejects(boot(t, swtpm, { disk, policy }), { name: 'RefusalError', code: 'state' });
  assert.equal(await boot(t, swtpm, { disk }), 'one');
});

test('after the TPM was cleared the state is refused, and not begun anew over it', async (t) => {
  const swtpm = await machine(t);
  const disk = newDisk();
  await boot(t, swtpm, { disk, stores: 'one' });
  await swtpm.tool('tpm2_clear');
  await assert.rejects(boot(t, swtpm, { disk }), { name: 'RefusalError', code: 'state' });
});

test('NOT seen: TPM and disk of yesterday together (docs/security/limitations.md)', async (t) => {
  const swtpm = await machine(t);
  const disk = newDisk();
  await boot(t, swtpm, { disk, stores: 'one' });
  const [yesterday, kept] = [disk.copy(), join(swtpm.folder, 'yesterday')];
  await swtpm.powerCycle((state) => cp(state, kept, { recursive: true }));
  await boot(t, swtpm, { disk, stores: 'two' });
  await swtpm.powerCycle(async (state) => {
    await rm(state, { recursive: true });
    await cp(kept, state, { recursive: true });
  });
  assert.equal(await boot(t, swtpm, { disk: yesterday }), 'one');
});
