/** A launch that could not open the sealed state of a folder is refused before it boots, and told what differs. */

import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { startMachine } from '../../src/machine/machine.ts';
import { launchOf, noteLaunch, refuseOtherLaunch } from '../../src/machine/sealed-to.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-sealed-'));
  for (const image of ['one', 'two']) await writeFile(join(folder, image), image);
});
after(() => rm(folder, { recursive: true }));

const launch = (image = 'one', words = 'quiet enclaim.ip=10.0.0.2/24 enclaim.policy=sha384:aa') =>
  launchOf(join(folder, image), words);
const refusal = (message: RegExp) => ({ name: 'MachineError', code: 'state-sealed', message });

test('a folder without a note takes any launch, and then that one alone', async () => {
  const state = await mkdtemp(join(folder, 'state-'));
  await refuseOtherLaunch(state, await launch());
  await noteLaunch(state, await launch());
  assert.deepEqual(await readdir(state), ['sealed-to.json']);
  await refuseOtherLaunch(state, await launch());
  await assert.rejects(refuseOtherLaunch(state, await launch('two')), refusal(/sealed to image sha256:/));
  await assert.rejects(
    refuseOtherLaunch(state, await launch('one', 'quiet enclaim.ip=10.0.0.3/24 enclaim.policy=sha384:aa')),
    refusal(/with enclaim\.ip=10\.0\.0\.2\/24 \(now enclaim\.ip=10\.0\.0\.3\/24\): this launch could not open it/),
  );
  await assert.rejects(
    refuseOtherLaunch(state, await launch('two', 'quiet enclaim.policy=sha384:aa')),
    refusal(/image .* and a command line with enclaim\.ip=10\.0\.0\.2\/24 \(now without\)/),
  );
  await assert.rejects(
    refuseOtherLaunch(state, await launch('one', 'enclaim.ip=10.0.0.2/24 quiet enclaim.policy=sha384:aa')),
    refusal(/other words/),
  );
});

test('a note that says nothing is not passed over', async () => {
  const state = await mkdtemp(join(folder, 'state-'));
  for (const text of ['', '{}', 'x'.repeat(20_000), '{"enclaim":"sealed-to/1","image":"sha256:1","commandLine":""}']) {
    await writeFile(join(state, 'sealed-to.json'), text);
    await assert.rejects(refuseOtherLaunch(state, await launch()), refusal(/does not say/));
  }
});

for (const isSealed of [true, false]) {
  test(`a machine with sealed state is not started with another command line, ${isSealed ? 'for' : 'nor for'} a policy that seals ${isSealed ? 'some' : 'none'}`, async () => {
    const stateFolder = await mkdtemp(join(folder, 'state-'));
    await noteLaunch(stateFolder, await launch());
    const app = join(folder, 'app');
    const empty = new Uint8Array();
    await writeFile(app, encodeBundle({ policy: Buffer.from('{"enclaim":1}'), descriptors: empty, handlers: empty }));
    const phases: string[] = [];
    const start = startMachine({
      ...{ app, boot: { kind: 'uki', uki: join(folder, 'one') }, commandLine: 'quiet', stateFolder, isSealed },
      onPhase: (phase) => phases.push(phase),
    });
    await assert.rejects(start, refusal(/enclaim\.ip/));
    assert.deepEqual([phases, await readdir(stateFolder)], [['tools'], ['sealed-to.json']]);
  });
}
