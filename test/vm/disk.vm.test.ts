/** One disk, booted as clouds boot it: found by the firmware, measured as predicted, refused where it was changed. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { appendFile, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { parseReferences, type References } from '@enclaim/attestation';
import { encodeBundle, parseBundle } from '@enclaim/attestation/bundle';
import { toBase64, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { EvidenceSchema } from '@enclaim/attestation/messages';
import { extendPcr, zeroPcr } from '@enclaim/attestation/tpm';
import { type Attestation, type CheckedReceipt, connect, VerdictError } from '@enclaim/client';
import {
  type BuiltBundle,
  buildBundle,
  fetchLocked,
  findApp,
  type Image,
  projectRoot,
  readDeb,
  readLock,
} from '@enclaim/image';
import { type DiskImage, gptEvent, makeDisk, writeDisk } from '@enclaim/image/disk';
import { type DiskMachineOptions, type RunningMachine, startMachine } from '@enclaim/image/machine';
import { Client, credentials } from '@grpc/grpc-js';
import { appendSections } from '../../image/src/build/uki.ts';
import { STUB_PACKAGE } from '../../image/src/contents.ts';
import { gptExtents } from '../../image/src/disk/gpt.ts';
import { fixedVhd } from '../../image/src/disk/vhd.ts';
import { fileAt } from '../../image/src/formats/tar.ts';
import { shippedImage } from '../support/shipped-image.ts';

const APP = 'image/test/apps/echo';
let folder: string;
let image: Image;
let app: BuiltBundle;
let disk: DiskImage;
let path: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-disk-'));
  [image, app] = await Promise.all([shippedImage(), buildBundle(await findApp(join(projectRoot, APP)))]);
  disk = makeDisk({ uki: image.uki, bundle: app.bytes, gibibytes: 1 });
  path = join(folder, 'disk.img');
  await writeDisk(disk, 'qemu', path);
});
after(() => rm(folder, { recursive: true }));

/** Boots the disk; its TPM stays the same from boot to boot. */
const boot = (source: Partial<DiskMachineOptions['boot']>): Promise<RunningMachine> =>
  startMachine({
    boot: { kind: 'disk', disk: path, format: 'raw', controller: 'virtio', ...source },
    stateFolder: join(folder, 'state'),
  });

async function referencesFor(machine: RunningMachine): Promise<References> {
  const { root, issuer } = machine.tpmAuthority ?? assert.fail('no TPM');
  const [rootDer, issuerDer] = (await Promise.all([readFile(root), readFile(issuer)])).map(
    (pem) => new X509Certificate(pem).raw,
  );
  assert.ok(rootDer && issuerDer);
  const references = {
    enclaim: 'references/1',
    images: [image.manifest.references.tpm],
    policy: app.policy,
    bundles: [app.digest],
    owner: 'any',
    anchors: {
      attestationKeys: [],
      endorsementRoots: [],
      unsafeSwtpmRoots: [digestText('sha256', sha256(rootDer))],
      certificates: [rootDer, issuerDer].map(toBase64),
    },
  };
  return parseReferences(utf8(JSON.stringify(references)));
}

/** The checks that a client refuses by; none where it would have gone on. */
async function refusedBy(machine: RunningMachine, references: References): Promise<string[]> {
  const error = await connect(`127.0.0.1:${machine.port}`, { references }).then(
    (channel) => void channel.close(),
    (reason: unknown) => reason,
  );
  if (error === undefined) return [];
  if (!(error instanceof VerdictError)) throw error;
  return error.verdict.checks.filter(({ outcome }) => outcome === 'failed').map(({ id }) => id);
}

/** Puts bytes into the bundle's partition, as whoever holds the disk can. */
async function overwriteApp(bytes: Uint8Array): Promise<void> {
  const [, partition] = disk.table.partitions;
  await using file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, (partition?.first ?? 0) * 512);
}

/** What the first boot showed. */
let first: Attestation;

test('from NVMe: found, measured as predicted, verified, and a call answered with a receipt', async () => {
  await using machine = await boot({ controller: 'nvme' });
  const receipts: CheckedReceipt[] = [];
  const target = `127.0.0.1:${machine.port}`;
  const channel = await connect(target, {
    references: await referencesFor(machine),
    onReceipt: (receipt) => receipts.push(receipt),
  });
  first = channel.attestation;
  const outcomes = first.verdict.checks.filter(({ id }) => /^register\.(4|9|11|12|13|14|15)$/.test(id));
  assert.deepEqual(
    outcomes.map(({ outcome, detail }) => [outcome, detail]),
    Array(7).fill(['passed', `as predicted for image ${image.manifest.id}, started by disk`]),
  );
  const client = new Client(target, credentials.createInsecure(), { channelOverride: channel });
  const text = (value: string): Buffer => Buffer.concat([Buffer.of(0x0a, value.length), Buffer.from(value)]);
  const same = (bytes: Buffer): Buffer => bytes;
  const answer = await new Promise<Buffer | undefined>((resolve, reject) =>
    client.makeUnaryRequest('/echo.v1.Echo/Say', same, same, text('twice '), (error, response) =>
      error === null ? resolve(response) : reject(error),
    ),
  );
  assert.deepEqual(answer, text('twice twice '));
  assert.equal(receipts[0]?.body.policy, app.policy);
  channel.close();
});

test('register 5 holds the partition table that was written', () => {
  const { hardware } = fromBinary(EvidenceSchema, first.evidence);
  const registers = hardware.case === 'tpm' ? hardware.value.pcrs : [];
  const events = [
    new Uint8Array(4),
    gptEvent(disk.table),
    utf8('Exit Boot Services Invocation'),
    utf8('Exit Boot Services Returned with Success'),
  ];
  const expected = events.reduce<Uint8Array>(
    (value, event) => extendPcr('sha256', value, sha256(event)),
    zeroPcr('sha256'),
  );
  assert.equal(Buffer.from(registers[5]?.sha256 ?? []).toString('hex'), expected.toHex());
});

test('other handlers on a larger disk behind SCSI: only the pinned bundle differs, or the policy too, and the log goes on', async () => {
  const sections = parseBundle(app.bytes);
  await overwriteApp(encodeBundle({ ...sections, handlers: Buffer.concat([sections.handlers, Buffer.from('\n;')]) }));
  await truncate(path, 2 * disk.size);
  await using machine = await boot({ controller: 'scsi' });
  const references = await referencesFor(machine);
  assert.deepEqual(await refusedBy(machine, references), ['bundle']);
  // Who expects another policy refuses by it, and by the register in which the guest measured the one that it found.
  const { policy } = await otherPolicy();
  assert.deepEqual(await refusedBy(machine, { ...references, policy }), ['register.15', 'policy', 'bundle']);
  const channel = await connect(`127.0.0.1:${machine.port}`, { references: { ...references, bundles: 'any' } });
  const { log } = channel.attestation.statement;
  channel.close();
  assert.equal(first.statement.log.size, 0);
  assert.ok(log.size >= 2, `${log.size} records`); // of the first boot and its call
});

test('an add-on to the command line beside the loader: the client refuses, for register 12 holds the add-on alone', async () => {
  await writeDisk(disk, 'qemu', path);
  await addOn(`enclaim.policy=${app.policy}`);
  await using machine = await boot({});
  await assert.rejects(refusedBy(machine, await referencesFor(machine)), {
    name: 'EvidenceError',
    code: 'binding',
    message: 'register 12 does not carry the given command line',
  });
});

test('a command line that names the policy, and another one on the disk, a VHD: the guest refuses', async () => {
  await overwriteApp((await otherPolicy()).bytes);
  const footer = fixedVhd(disk, utf8('test')).extents.at(-1) ?? assert.fail();
  await appendFile(path, footer.bytes);
  await assert.rejects(boot({ format: 'vpc', controller: 'scsi' }), {
    code: 'guest-refused',
    message: new RegExp(`^the bundle's policy is sha384:\\w+, launch-measured is ${app.policy}$`),
  });
});

test('a table with two partitions of one name: the guest refuses to choose', async () => {
  const [loader, application, state] = disk.table.partitions;
  assert.ok(loader && application && state);
  const partitions = [loader, application, { ...state, name: application.name }];
  const table = gptExtents({ ...disk.table, partitions });
  const others = disk.extents.filter(({ at }) => table.every((extent) => extent.at !== at));
  await writeDisk({ ...disk, extents: [...table, ...others].sort((a, b) => a.at - b.at) }, 'qemu', path);
  await assert.rejects(boot({}), { code: 'guest-refused', message: /^find disk app: EEXIST/ });
});

/** The bundle of an app whose policy is another version. */
async function otherPolicy(): Promise<BuiltBundle> {
  const policyFile = join(folder, 'policy.yaml');
  const text = await readFile(join(projectRoot, APP, 'policy.yaml'), 'utf8');
  await writeFile(policyFile, text.replace('version: 1', 'version: 2'));
  const other = await buildBundle(await findApp(join(projectRoot, APP), { policyFile }));
  assert.notEqual(other.policy, app.policy);
  return other;
}

/** Puts an add-on on the boot partition, where the stub looks for some, with the tools that anybody has. */
async function addOn(commandLine: string): Promise<void> {
  const { inputs } = await readLock(join(projectRoot, 'image/lock.json'));
  const files = await fetchLocked(inputs.filter(({ name }) => name === STUB_PACKAGE));
  const stub = fileAt(
    await readDeb(await readFile(files.get(STUB_PACKAGE) ?? '')),
    'usr/lib/systemd/boot/efi/addonx64.efi.stub',
  );
  const file = join(folder, 'host.addon.efi');
  await writeFile(file, appendSections(stub.data, [{ name: '.cmdline', data: Buffer.from(commandLine) }]));
  const [volume, place] = [`${path}@@1M`, '::EFI/BOOT/BOOTX64.EFI.extra.d'];
  await promisify(execFile)('mmd', ['-i', volume, place]);
  await promisify(execFile)('mcopy', ['-i', volume, file, place]);
}
