/** `enclaim references` for SEV-SNP: what it writes predicts the launch that QEMU would measure. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { fromHex, toHex, utf8 } from '@enclaim/attestation/bytes';
import { parseCloudReferences } from '@enclaim/attestation/cloud-references';
import { describeSnpFirmware, snpLaunchDigest } from '@enclaim/attestation/measure';
import { parseReferences } from '@enclaim/attestation/references';
import { SAMPLE } from '../image/test/manifest.ts';
import { fakeFirmware } from './fakes/firmware.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
let folder: string;
const at = (name: string): string => join(folder, name);
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-references-'));
  await writeFile(at('manifest.json'), JSON.stringify(SAMPLE));
  await writeFile(at('ovmf.fd'), fakeFirmware());
  await writeFile(at('floors.json'), '{"Milan":{"bootloader":4,"tee":0,"snp":24,"microcode":219}}');
});
after(() => rm(folder, { recursive: true }));

function references(...args: string[]): Promise<{ stderr: string }> {
  const policy = join(root, 'examples/clinic/policy.yaml');
  const always = [
    'references',
    '--manifest',
    at('manifest.json'),
    '--policy',
    policy,
    '--any-bundle',
    '-o',
    at('out.json'),
  ];
  return run(process.execPath, [join(root, 'cli/src/main.ts'), ...always, ...args]);
}

test('a launch is described by firmware, image, processors and floors', async () => {
  await references(
    '--vendor',
    'amd',
    '--snp-firmware',
    at('ovmf.fd'),
    '--vcpus',
    '4',
    '--tcb-floors',
    at('floors.json'),
  );
  const { snp = [], anchors, policy } = parseReferences(await readFile(at('out.json')));
  assert.deepEqual(anchors.vendors, ['amd']);
  const [reference, ...others] = snp;
  assert(reference !== undefined && others.length === 0);
  const { artefacts } = SAMPLE;
  const [kernel, initrd] = [artefacts.kernel, artefacts.initrd].map(({ sha256 }) => fromHex(sha256.slice(7)));
  assert(kernel !== undefined && initrd !== undefined);
  const commandLine = `${reference.commandLine} enclaim.policy=${policy}`;
  const machine = { vmm: 'qemu', cpuSignature: 0x800f12, features: 1n, vcpus: 4 } as const;
  const direct = { kernel, initrd, commandLine };
  const measured = await snpLaunchDigest(await describeSnpFirmware(fakeFirmware()), { ...machine, direct });
  const { firmware, vcpus, vmm, cpuSignature, features } = reference;
  const [count = 0] = vcpus;
  const described = {
    ...firmware,
    digest: fromHex(firmware.digest.slice(7)),
    hashesTable: firmware.hashesTable ?? undefined,
  };
  const predicted = await snpLaunchDigest(described, {
    vmm,
    cpuSignature,
    features: BigInt(features),
    vcpus: count,
    direct: { ...direct, kernel: fromHex(reference.kernel.slice(7)), initrd: fromHex(reference.initrd.slice(7)) },
  });
  assert.equal(toHex(predicted), toHex(measured));
});

test('floors are given or waived, never left out; what is no model, number or floor is refused', async () => {
  const firmware = ['--snp-firmware', at('ovmf.fd')];
  await assert.rejects(references(...firmware), { code: 2, stderr: /needs --tcb-floors/ });
  await references(...firmware, '--tcb-floors', 'any');
  assert.equal(parseReferences(await readFile(at('out.json'))).snp?.[0]?.floors, 'any');
  await assert.rejects(references(...firmware, '--tcb-floors', 'any', '--cpu', 'Pentium'), { code: 2 });
  await assert.rejects(references(...firmware, '--tcb-floors', 'any', '--vcpus', 'two'), { code: 1 });
  await assert.rejects(references(...firmware, '--tcb-floors', at('manifest.json')), { code: 1 });
  for (const floors of [
    { Milan: {} },
    { Milan: { bootloader: 4, tee: 0, snp: 24 } },
    { Milan: { fmc: 0, bootloader: 4, tee: 0, snp: 24, microcode: 219 } },
    { Turin: { bootloader: 4, tee: 0, snp: 24, microcode: 219 } },
  ]) {
    await writeFile(at('loose.json'), JSON.stringify(floors));
    const given = references(...firmware, '--tcb-floors', at('loose.json'));
    await assert.rejects(given, { code: 1, stderr: /floors/ }, JSON.stringify(floors));
  }
  await assert.rejects(references('--vendor', 'any'), { code: 1 });
});

test('what clouds stand for is taken as it is, and nothing else beside it', async () => {
  const clouds = { azureTdx: { measurements: [`sha384:${'ab'.repeat(48)}`] }, nitro: [] };
  await writeFile(at('clouds.json'), JSON.stringify(clouds));
  await references('--clouds', at('clouds.json'), '--vendor', 'aws', '--vendor', 'google');
  const { azureTdx, nitro, gcp, anchors } = parseReferences(await readFile(at('out.json')));
  assert.deepEqual([{ azureTdx, nitro }, gcp, anchors.vendors], [clouds, undefined, ['aws', 'google']]);
  await writeFile(at('clouds.json'), JSON.stringify({ ...clouds, policy: `sha384:${'00'.repeat(48)}` }));
  await assert.rejects(references('--clouds', at('clouds.json')), /policy/);
});

test('the example in the documentation is one', async () => {
  const text = await readFile(join(root, 'docs/reference/clouds.md'), 'utf8');
  const [, example = ''] = /```json\n(.*?)```/s.exec(text) ?? [];
  assert.equal(parseCloudReferences(utf8(example)).azureSnp?.signers.length, 1);
});
