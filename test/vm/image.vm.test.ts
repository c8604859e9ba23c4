/** The base image: registers as predicted in real boots. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseDigest } from '../../attestation/src/digest.ts';
import { launchCommandLine, PREDICTED_REGISTERS, predictPcrs } from '../../attestation/src/measure/index.ts';
import { buildImage, compareRegisters, writeImage } from '../../image/src/index.ts';
import { PROBE_ENTRIES, type ProbeLaunch, type ProbeReport, probe } from './probe.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-image-'));
after(() => rm(scratch, { recursive: true, force: true }));

const folder = join(scratch, 'probe');
const image = await buildImage({ entries: PROBE_ENTRIES });
await writeImage(image, folder);
const uki = join(folder, image.manifest.artefacts.uki.file);
const reference = image.manifest.references.tpm;

const policy = (byte: string) => `sha384:${byte.repeat(48)}` as const;
const withAddress = (of: `sha384:${string}`): string =>
  `${launchCommandLine(reference, of)} enclaim.ip=10.0.2.15/24,10.0.2.2`;

const LAUNCHES: readonly { name: string; policy: `sha384:${string}`; commandLine: string }[] = [
  { name: 'a policy', policy: policy('a1'), commandLine: launchCommandLine(reference, policy('a1')) },
  { name: 'another policy and another command line', policy: policy('b2'), commandLine: withAddress(policy('b2')) },
];

for (const launch of LAUNCHES) {
  test(`every predicted register is the booted one: ${launch.name}`, async () => {
    const report = await probe({ uki, commandLine: launch.commandLine });
    assert.equal(report.commandLine, launch.commandLine);
    const bundle = `sha384:${parseDigest('sha384', launch.policy).toReversed().toHex()}` as const;
    const predicted = predictPcrs(reference, {
      boot: 'kernel',
      commandLine: launch.commandLine,
      policy: launch.policy,
      bundle,
    });
    for (const index of PREDICTED_REGISTERS)
      assert.equal(report.registers[index], predicted.get(index)?.toHex(), `register ${index}`);
    assert.deepEqual(compareRegisters(registersOf(report), reference, { ...launch, bundle }), []);
  });
}

test('the command line in the image holds where none is passed', async () => {
  const report = await probe({ uki });
  assert.equal(report.commandLine, reference.commandLine);
  assert.deepEqual(differing(report), ['register 14', 'register 15']); // nothing was measured into them
});

const INJECTIONS: readonly (ProbeLaunch & { name: string; moved: readonly string[] })[] = [
  {
    name: 'a passed command line',
    commandLine: `${reference.commandLine} init_on_free=0`,
    moved: ['register 9', 'register 12'],
  },
  {
    name: 'an SMBIOS string that the stub appends',
    oemStrings: ['io.systemd.stub.kernel-cmdline-extra=init_on_free=0'],
    moved: ['register 9', 'register 12'],
  },
];

for (const { name, moved, ...launch } of INJECTIONS) {
  test(`a host that changes the command line by ${name} is seen`, async () => {
    const report = await probe({ uki, ...launch });
    assert.match(report.commandLine, /init_on_free=0/);
    assert.deepEqual(differing(report), [...moved, 'register 14', 'register 15']);
  });
}

/** Registers that are not those of an untouched launch without a passed command line. */
function differing(report: ProbeReport): string[] {
  const none = policy('00');
  return compareRegisters(registersOf(report), reference, { commandLine: null, policy: none, bundle: none }).map(
    (d) => d.component,
  );
}

function registersOf({ registers }: ProbeReport): Map<number, Uint8Array> {
  return new Map(Object.entries(registers).map(([index, hex]) => [Number(index), Uint8Array.fromHex(hex)]));
}
