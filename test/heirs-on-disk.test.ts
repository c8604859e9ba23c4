/** `enclaim run` takes a launch for the heir of a state only while the disk's present epoch was handed over to it. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { noteLaunch } from '@enclaim/image/machine';
import { refuseOtherLaunch } from '../image/src/machine/sealed-to.ts';
import { RefusalError } from '../runtime/src/errors.ts';
import type { HeirKeeper } from '../runtime/src/storage/sealed/keeper.ts';
import { SealedStore } from '../runtime/src/storage/sealed/sealed-store.ts';
import { FakeDisk } from '../runtime/test/log/support.ts';
import { MIB, TestClock } from '../runtime/test/sealed/support.ts';
import { FakeKeeper } from './fakes/keeper.ts';
import { PRETEND_IMAGE } from './support/attested-runtime.ts';
import { signedSuccessions } from './support/signed-succession.ts';

const folder = await mkdtemp(join(tmpdir(), 'enclaim-heirs-'));
after(() => rm(folder, { recursive: true }));

test('an heir of an epoch that is over is none, and is told so before anything boots', async () => {
  const { policy: digest, state, launch, to: succeeding } = await signedSuccessions();
  const [from, to, succession] = [launch(), launch(7), succeeding(7)];

  let isFailing = false;
  const handOver = async () => {
    if (isFailing) throw new RefusalError('keeper', 'the TPM is busy');
    return new Uint8Array(64);
  };
  const keeper = Object.assign(new FakeKeeper(), { heirs: { handOver } as unknown as HeirKeeper });
  const disk = new FakeDisk(8 * MIB);
  const collections = new Map([['cases', { retention: 1000 }]]);
  const store = await SealedStore.open({
    ...{ log: await disk.open(), keeper, clock: new TestClock(), system: 'test', collections },
  });
  const sealedTo = ({ commandLine }: { readonly commandLine: string }) => ({ image: PRETEND_IMAGE.id, commandLine });
  const predecessor = async (): Promise<string | null> => {
    await writeFile(join(folder, 'state.img'), disk.bytes);
    return await refuseOtherLaunch(folder, sealedTo(to));
  };
  await noteLaunch(folder, sealedTo(from));
  await assert.rejects(predecessor(), { code: 'state-sealed' });
  const passage = { policy: digest, from: [], to: [] };
  await store.bequeath({ passage, digest: state, succession });
  assert.equal(await predecessor(), digest);
  isFailing = true;
  await store.advance();
  await assert.rejects(predecessor(), { code: 'state-sealed' });
  await store.close();
});
