/** The supervisor in a real boot on pretended processors: reports instead of a TPM, from the launch to a verified call. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import type { References, Verdict } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { TdxCollateralSchema } from '@enclaim/attestation/evidence';
import { describeSnpFirmware, launchCommandLine } from '@enclaim/attestation/measure';
import { parseReferences } from '@enclaim/attestation/references';
import { connect, verifySaved } from '@enclaim/client';
import { type CollateralSource, describeServices } from '@enclaim/client/network';
import { type BuiltBundle, buildImage, writeImage } from '@enclaim/image';
import { type MachineOptions, type RunningMachine, startMachine } from '@enclaim/image/machine';
import { ENTRIES } from '../../image/src/programs/entries.ts';
import { EPOCH } from '../fakes/certificates.ts';
import { fakeFirmware } from '../fakes/firmware.ts';
import { bootEvents, eventReferences } from '../fakes/trust-domain.ts';
import { clinicBundle } from '../support/app.ts';
import { HANGS_MS } from '../support/eventually.ts';
import { withoutFirmware } from './guest-image.ts';
import { INITRD, KERNEL, MRTD, PROCESSOR } from './silicon-launch.ts';

const now = (): number => EPOCH + 86_400_000;
const id = digestText('sha256', sha256(utf8('image')));
let folder: string;
let bundle: BuiltBundle;
let app: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-silicon-vm-'));
  bundle = await clinicBundle();
  app = join(folder, 'app.enclaim');
  await writeFile(app, bundle.bytes);
});
after(() => rm(folder, { recursive: true }));

/** The image, with the pretended processor in it. */
async function bootable(kind: 'snp' | 'tdx'): Promise<MachineOptions> {
  const [guest, ...others] = ENTRIES;
  assert(guest !== undefined);
  const image = await buildImage({ entries: [{ ...guest, source: `test/vm/${kind}-guest.ts` }, ...others] });
  const own = join(folder, kind);
  await writeImage(image, join(own, 'image'));
  const { artefacts, references } = image.manifest;
  const uki = join(own, 'image', artefacts.uki.file);
  // What was measured is pretended, too.
  const tools = await withoutFirmware(own, artefacts);
  return { app, boot: { kind: 'uki', uki }, commandLine: references.tpm.commandLine, tools };
}

/** What the guest says of its maker. */
interface Maker {
  readonly pins: readonly `sha256:${string}`[];
  readonly collateral?: Readonly<Record<string, string | readonly string[]>>;
}

async function makerOf(machine: RunningMachine): Promise<Maker> {
  let said = '';
  for await (const line of machine.console) {
    if (line === 'silicon:end') return JSON.parse(said) as Maker;
    if (line.startsWith('silicon:')) said += line.slice('silicon:'.length);
  }
  throw new Error('the guest ended');
}

function referencesFor({ pins }: Maker, launch: Partial<References>): References {
  const anchors = { attestationKeys: [], endorsementRoots: [], unsafeSwtpmRoots: [], certificates: [] };
  const references: References = {
    enclaim: 'references/1',
    images: [],
    policy: bundle.policy,
    bundles: [bundle.digest],
    owner: 'any',
    anchors: { ...anchors, unsafeSiliconRoots: pins },
    ...launch,
  };
  return parseReferences(utf8(JSON.stringify(references)));
}

/** Boots, connects, calls; the verdict of the connection and of the evidence that it left. */
async function verified(
  kind: 'snp' | 'tdx',
  launch: (commandLine: string) => Promise<Partial<References>>,
): Promise<Verdict> {
  const options = await bootable(kind);
  await using machine = await startMachine(options);
  const maker = await makerOf(machine);
  const collateral: CollateralSource = {
    complete: async ({ hardware }) => {
      if (hardware.case !== 'tdx' || maker.collateral === undefined) return;
      const bytes = Object.entries(maker.collateral).map(([name, value]) => [
        name,
        typeof value === 'string' ? Buffer.from(value, 'base64') : value.map((each) => Buffer.from(each, 'base64')),
      ]);
      hardware.value.collateral = create(TdxCollateralSchema, Object.fromEntries(bytes));
    },
  };
  const references = referencesFor(maker, await launch(options.commandLine));
  const channel = await connect(`127.0.0.1:${machine.port}`, { references, now, collateral });
  try {
    assert.deepEqual((await describeServices(channel, { deadline: Date.now() + HANGS_MS })).services, [
      'clinic.v1.Intake',
    ]);
    const { verdict, evidence } = channel.attestation;
    assert.equal((await verifySaved(evidence, { references, now })).verdict.ok, true);
    return verdict;
  } finally {
    channel.close();
  }
}

test('SEV-SNP: the supervisor takes the processor before the TPM beside it, and a client verifies its report', async () => {
  const verdict = await verified('snp', async (commandLine) => {
    const { digest, sections, resetEip, hashesTable } = await describeSnpFirmware(fakeFirmware());
    const firmware = { digest: digestText('sha384', digest), sections, resetEip, hashesTable: hashesTable ?? null };
    const kernel = digestText('sha256', KERNEL);
    const initrd = digestText('sha256', INITRD.sha256);
    const floors = { Milan: { bootloader: 4, tee: 0, snp: 24, microcode: 219 } };
    const keys = { idKeys: 'any', authorKeys: 'any' } as const;
    return {
      snp: [{ id, firmware, kernel, initrd, commandLine, ...PROCESSOR, features: 1, vcpus: [2], floors, ...keys }],
    };
  });
  assert.equal(verdict.platform, 'snp');
  assert.ok(verdict.ok);
});

test('TDX: policy and bundle are in RTMR3 before the runtime starts, and the event log says so', async () => {
  const verdict = await verified('tdx', async (commandLine) => {
    const events = bootEvents(launchCommandLine({ commandLine }, bundle.policy), INITRD.sha384);
    const [rtmr0, rtmr1] = [eventReferences(events, 0), eventReferences(events, 1)];
    const line = { commandLine, commandLineEnd: '', rtmr3: 'policy' } as const;
    return { tdx: [{ id, mrtd: digestText('sha384', MRTD), rtmr0, rtmr1, initrd: INITRD.sha384, ...line }] };
  });
  assert.ok(verdict.ok);
  assert.equal(verdict.checks.find(({ id: check }) => check === 'tdx.rtmr3.event.2')?.outcome, 'passed');
});
