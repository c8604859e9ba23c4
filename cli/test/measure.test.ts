/**
 * `enclaim image measure` predicts launches that references then accept, and refuses what it
 * cannot predict.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { launchCommandLine, launchRtmrEvents, rtmrOf } from '@enclaim/attestation/measure';
import { parseCorim, verifyCorim } from '@enclaim/attestation/rats';
import { parseReferences } from '@enclaim/attestation/references';
import {
  formatManifest,
  projectRoot,
  snpFirmwareReference,
  snpLaunchDigests,
  snpParts,
  tdxReference,
} from '@enclaim/image';
import { canonicalPolicy, parsePolicy } from '@enclaim/policy-schema';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import { SAMPLE } from '../../image/test/manifest.ts';
import { tinyPe } from '../../image/test/tiny-pe.ts';
import { fakeFirmware } from '../../test/fakes/firmware.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-measure-'));
after(() => rm(scratch, { recursive: true, force: true }));
await mkdir(join(scratch, 'image'));
await writeFile(join(scratch, 'image/manifest.json'), formatManifest(SAMPLE));
const firmware = fakeFirmware();
await writeFile(join(scratch, 'OVMF.fd'), firmware);
const policyBytes = canonicalPolicy(
  parsePolicy(await readFile(join(import.meta.dirname, '../../examples/clinic/policy.yaml'), 'utf8')),
);
const bundle = encodeBundle({ policy: policyBytes, descriptors: new Uint8Array(), handlers: new Uint8Array() });
await writeFile(join(scratch, 'app.enclaim'), bundle);
const policy = digestOfCanonical(policyBytes);
const { publicKey, privateKey } = generateKeyPairSync('ed25519');
await writeFile(join(scratch, 'key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));

function enclaim(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const main = join(projectRoot, 'cli/src/main.ts');
  return spawnSync(process.execPath, [main, ...args], { cwd: scratch, encoding: 'utf8' });
}

function measure(...args: readonly string[]): Readonly<Record<string, Readonly<Record<string, unknown>>>> {
  const { status, stdout, stderr } = enclaim('image', 'measure', 'image', ...args);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}

const QEMU = { vmm: 'qemu', cpuSignature: 0x800f12, features: 1 } as const;

test('SEV-SNP: launch digests for each number of processors, of the policy of the app', async () => {
  const { snp } = SAMPLE.references;
  const { launchDigests, commandLine } = measure(
    '--platform',
    'snp',
    '--bundle',
    'app.enclaim',
    '--vcpus',
    '1',
    '--vcpus',
    '8',
  );
  assert.deepEqual(launchDigests, await snpLaunchDigests(snp, { ...QEMU, vcpus: [1, 8] }, policy));
  assert.equal(commandLine, launchCommandLine(snp, policy));
});

test('SEV-SNP: firmware by file, by digest over the layout of a file, and another machine', async () => {
  const described = await snpFirmwareReference(firmware);
  const digest = `sha384:${'77'.repeat(48)}` as const;
  const machine = { vcpus: [2], vmm: 'qemu', cpuSignature: 0xa10f10, features: 0x21 } as const;
  for (const [args, expected] of [
    [['--firmware', 'OVMF.fd'], described],
    [['--firmware', 'OVMF.fd', '--firmware-digest', digest], { ...described, digest }],
    [['--firmware-digest', digest], { ...SAMPLE.references.snp.firmware, digest }],
  ] as const) {
    const options = ['--cpu', 'EPYC-Genoa', '--features', '0x21', '--bundle', 'app.enclaim'];
    const parts = { ...SAMPLE.references.snp, firmware: expected };
    const { snp, launchDigests } = measure('--platform', 'snp', ...args, ...options);
    assert.deepEqual(snp, [{ ...parts, ...machine, idKeys: 'any', authorKeys: 'any' }]);
    assert.deepEqual(launchDigests, await snpLaunchDigests(parts, machine, policy));
  }
});

test('SEV-SNP in a cloud: firmware and processors alone, for a disk is booted', async () => {
  for (const vmm of ['ec2', 'gce'] as const) {
    const { launchDigests } = measure('--platform', 'snp', '--vmm', vmm, '--vcpus', '4', '--cpu', 'a00f11');
    const machine = { vcpus: [4], vmm, cpuSignature: 0xa00f11, features: 1 } as const;
    assert.deepEqual(launchDigests, await snpLaunchDigests(SAMPLE.references.snp, machine, null));
    assert.notDeepEqual(launchDigests, await snpLaunchDigests(SAMPLE.references.snp, machine, policy));
  }
});

test('TDX: registers of a launch; RTMR0 stays a list of events without ACPI tables', () => {
  const { tdx: parts } = SAMPLE.references;
  const { tdx, registers, commandLine } = measure('--platform', 'tdx', '--memory', '4096', '--bundle', 'app.enclaim');
  const reference = tdxReference(parts, { memoryMiB: 4096, acpiTables: null, initrdWord: 'first' });
  assert.deepEqual(tdx, [reference]);
  const line = `initrd=initrd ${launchCommandLine(parts, policy)}`;
  assert.equal(commandLine, line);
  assert.deepEqual(registers, {
    mrtd: parts.firmware.mrtd,
    rtmr0: null,
    rtmr1: reference.rtmr1,
    rtmr2: `sha384:${rtmrOf(launchRtmrEvents(line, parts.initrd)).toHex()}`,
    rtmr3: `sha384:${'00'.repeat(48)}`,
  });
  const older = measure('--platform', 'tdx', '--bundle', 'app.enclaim', '--initrd-word', 'last');
  assert.equal(older.commandLine, `${launchCommandLine(parts, policy)} initrd=initrd`);
});

test('measured launches become references that parse; one without floors does not', async () => {
  const files: string[] = [];
  for (const [platform, ...options] of [['snp', '--tcb-floors', 'any'], ['tdx'], ['snp']] as const) {
    files.push(`launch${files.length}.json`);
    const text = JSON.stringify(measure('--platform', platform, ...options));
    await writeFile(join(scratch, files.at(-1) ?? ''), text);
  }
  const [first = '', second = '', third = ''] = files;
  const common = ['--bundle', 'app.enclaim', '--vendor', 'amd', '--vendor', 'intel'];
  const made = enclaim('references', '--measured', first, '--measured', second, ...common, '-o', 'references.json');
  assert.equal(made.status, 0, made.stderr);
  const references = parseReferences(await readFile(join(scratch, 'references.json')));
  assert.deepEqual(references.snp, [
    { ...SAMPLE.references.snp, ...QEMU, vcpus: [2], floors: 'any', idKeys: 'any', authorKeys: 'any' },
  ]);
  assert.deepEqual(references.tdx, [
    tdxReference(SAMPLE.references.tdx, { memoryMiB: 1024, acpiTables: null, initrdWord: 'first' }),
  ]);
  for (const [file, message] of [
    [third, /floors/],
    ['app.enclaim', /no launch/],
  ] as const) {
    const refused = enclaim('references', '--measured', file, ...common, '-o', 'none.json');
    assert.equal(refused.status === 0, false);
    assert.match(refused.stderr, message);
  }
});

test('measurements as CoRIM: unsigned, and signed by a key for a time; the same bytes every time', async () => {
  const launch = ['--platform', 'snp', '--bundle', 'app.enclaim'];
  const { launchDigests } = measure(...launch, '--corim', 'plain.cbor');
  const { profile, comids } = parseCorim(await readFile(join(scratch, 'plain.cbor')));
  assert.equal(profile, 'urn:enclaim:corim:launch:1');
  const [measured] = comids[0]?.references[0]?.measurements ?? [];
  assert.equal(measured?.key, 'launch-digest vcpus=2');
  const [algorithm, value] = (measured?.values.get(2) as [number, Uint8Array][] | undefined)?.[0] ?? [];
  assert.deepEqual([algorithm, `sha384:${value?.toHex()}`], [7, launchDigests?.['2']]);

  const signed = ['--key', 'key.pem', '--not-before', '2026-01-01T00:00:00Z', '--not-after', '2027-01-01T00:00:00Z'];
  const files = ['one.cbor', 'two.cbor'];
  for (const file of files) measure(...launch, '--corim', file, ...signed);
  const [one, two] = await Promise.all(files.map((file) => readFile(join(scratch, file))));
  assert.deepEqual(one, two);
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const at = (time: string) => verifyCorim(one ?? new Uint8Array(), spki, -8, { now: Date.parse(time) });
  assert.deepEqual((await at('2026-06-01T00:00:00Z')).comids, comids);
  await assert.rejects(at('2027-06-01T00:00:00Z'), { name: 'EvidenceError', code: 'validity' });
});

const BAD: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['an option of another platform', ['--platform', 'tdx', '--vcpus', '2'], /--vcpus means nothing on platform tdx/],
  ['firmware on a TPM', ['--firmware', 'OVMF.fd'], /--firmware means nothing on platform tpm/],
  ['a command line on SEV-SNP', ['--platform', 'snp', '--command-line', 'x'], /--command-line means nothing/],
  ['an app where a disk is booted', ['--platform', 'snp', '--vmm', 'gce', '--bundle', 'app.enclaim'], /boots a disk/],
  ['no processors', ['--platform', 'snp', '--vcpus', '0'], /--vcpus 0: expected a whole number/],
  [
    'more processors than there are',
    ['--platform', 'snp', '--vcpus', '5000', '--bundle', 'app.enclaim'],
    /5000 virtual/,
  ],
  ['a processor that nobody makes', ['--platform', 'snp', '--cpu', 'Pentium'], /--cpu Pentium/],
  ['a processor whose name every object has', ['--platform', 'snp', '--cpu', 'constructor'], /--cpu constructor/],
  ['a digest of another algorithm', ['--platform', 'snp', '--firmware-digest', 'sha256:00'], /not a digest/],
  ['firmware that is none', ['--platform', 'snp', '--firmware', 'app.enclaim'], /magic|range/],
  ['firmware of another platform', ['--platform', 'tdx', '--firmware', 'OVMF.fd'], /magic|reserved|zero/],
  ['ACPI tables that are none', ['--platform', 'tdx', '--acpi-tables', 'OVMF.fd'], /ACPI/],
  ['a UKI without firmware', ['--platform', 'snp', '--uki', 'OVMF.fd'], /magic|--firmware/],
  ['a CoRIM of nothing', ['--platform', 'snp', '--corim', 'none.cbor'], /needs --bundle/],
  ['a CoRIM with a hole', ['--platform', 'tdx', '--bundle', 'app.enclaim', '--corim', 'none.cbor'], /--acpi-tables/],
  ['a key that signs nothing', ['--platform', 'snp', '--key', 'key.pem'], /--key needs --corim/],
  [
    'a signature without an end',
    ['--bundle', 'app.enclaim', '--corim', 'none.cbor', '--key', 'key.pem', '--not-before', '2026-01-01'],
    /--not-after is missing/,
  ],
];

for (const [what, args, message] of BAD) {
  test(`refused: ${what}`, () => {
    const { status, stdout, stderr } = enclaim('image', 'measure', 'image', ...args);
    assert.ok(status === 1 || status === 2 || status === 4, stderr);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /^ +at /m);
    assert.equal(stdout, '');
  });
}

test('parts of a launch hold the digests of the files that a launcher hands over', async () => {
  const [kernel, initrd] = [tinyPe(), Buffer.from('initrd')];
  const parts = await snpParts({ id: SAMPLE.id, commandLine: 'quiet' }, { kernel, initrd }, firmware);
  const digest = (bytes: Uint8Array) => crypto.subtle.digest('SHA-256', Uint8Array.from(bytes));
  assert.equal(parts.kernel, `sha256:${Buffer.from(await digest(kernel)).toString('hex')}`);
  assert.equal(parts.initrd, `sha256:${Buffer.from(await digest(initrd)).toString('hex')}`);
});
