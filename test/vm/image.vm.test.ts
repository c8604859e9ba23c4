/** The base image: registers as predicted in real boots. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseDigest } from '../../attestation/src/digest.ts';
import { launchCommandLine, PREDICTED_REGISTERS, predictPcrs } from '../../attestation/src/measure/index.ts';
import { buildImage, compareRegisters, writeImage } from '../../image/src/index.ts';
import { PROBE_ENTRIES, type ProbeReport, probe } from './probe.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-image-'));
after(() => rm(scratch, { recursive: true, force: true }));

const folder = join(scratch, 'probe');
const image = await buildImage({ entries: PROBE_ENTRIES });
await writeImage(image, folder);
const uki = join(folder, image.manifest.artefacts.uki.file);
const reference = image.manifest.references.tpm;

const policy = (byte: string) => `sha384:${byte.repeat(48)}` as const;
/** What a host adds to a command line, and what that moves: the stub measures the line, and the firmware as it is loaded. */
const INJECTED = 'init_on_free=0';
const MOVED = ['register 9', 'register 12'];

/** The launch without a passed command line; the guest then measures nothing into the registers of policy and bundle. */
const UNTOUCHED = { commandLine: null, policy: policy('00'), bundle: policy('00') };
const NO_POLICY = ['register 14', 'register 15'];

const asked = (of: `sha384:${string}`): string => launchCommandLine(reference, of);
const LAUNCHES: readonly {
  name: string;
  policy: `sha384:${string}`;
  commandLine: string;
  /** Registers that show that this is not the line that was asked for. */
  moved: readonly string[];
}[] = [
  { name: 'a policy', policy: policy('a1'), commandLine: asked(policy('a1')), moved: [] },
  {
    name: 'another policy, and words more on the command line, which are seen',
    policy: policy('b2'),
    commandLine: `${asked(policy('b2'))} enclaim.ip=10.0.2.15/24,10.0.2.2 ${INJECTED}`,
    moved: MOVED,
  },
];

for (const { name, moved, ...launch } of LAUNCHES) {
  test(`every predicted register is the booted one: ${name}`, async () => {
    const report = await probe({ uki, commandLine: launch.commandLine });
    assert.equal(report.commandLine, launch.commandLine);
    const bundle = `sha384:${parseDigest('sha384', launch.policy).toReversed().toHex()}` as const;
    const predicted = predictPcrs(reference, { boot: 'kernel', ...launch, bundle });
    for (const index of PREDICTED_REGISTERS)
      assert.equal(report.registers[index], predicted.get(index)?.toHex(), `register ${index}`);
    assert.deepEqual(compareRegisters(registersOf(report), reference, { ...launch, bundle }), []);
    assert.deepEqual(differing(report, { ...launch, commandLine: asked(launch.policy), bundle }), moved);
  });
}

test('the command line in the image holds where none is passed', async () => {
  const report = await probe({ uki });
  assert.equal(report.commandLine, reference.commandLine);
  assert.deepEqual(differing(report, UNTOUCHED), NO_POLICY);
});

test('a host that changes the command line by an SMBIOS string that the stub appends is seen', async () => {
  const report = await probe({ uki, oemStrings: [`io.systemd.stub.kernel-cmdline-extra=${INJECTED}`] });
  assert.ok(report.commandLine.includes(INJECTED), report.commandLine);
  assert.deepEqual(differing(report, UNTOUCHED), [...MOVED, ...NO_POLICY]);
});

/** Registers that are not those of a launch. */
function differing(report: ProbeReport, launch: Parameters<typeof compareRegisters>[2]): string[] {
  return compareRegisters(registersOf(report), reference, launch).map(({ component }) => component);
}

function registersOf({ registers }: ProbeReport): Map<number, Uint8Array> {
  return new Map(Object.entries(registers).map(([index, hex]) => [Number(index), Uint8Array.fromHex(hex)]));
}
