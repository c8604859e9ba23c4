/** SNP launch digests of small images, against values that another implementation computed. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { type FakeFirmware, fakeFirmware } from '../../../test/fakes/firmware.ts';
import { fc } from '../../../test/support/properties.ts';
import { undecodable } from '../../../test/support/refused.ts';
import { toHex } from '../../src/bytes.ts';
import { AppraisalError, DecodeError, type DecodeErrorCode } from '../../src/errors.ts';
import { parseFirmware, sevSections } from '../../src/measure/ovmf.ts';
import { describeSnpFirmware, type SnpLaunch, snpLaunchDigest } from '../../src/measure/snp.ts';
import { qemuCpuSignature, vmsaPage } from '../../src/measure/snp-vmsa.ts';

const sha256 = (text: string): Uint8Array => createHash('sha256').update(text).digest();
const direct = { kernel: sha256('kernel'), initrd: sha256('initrd'), commandLine: 'console=ttyS0' };
const launch: SnpLaunch = { vmm: 'qemu', vcpus: 3, cpuSignature: 0xa00f11, features: 0x21n, direct };
const firmware = await describeSnpFirmware(fakeFirmware());

/** Computed with Python's hashlib from the same image, page by page. */
const KNOWN = {
  firmware: 'a6a36c46d814224d78d1b3b37cd6977b90025de518b0894dacac4ff88981962b67b4e63d9f4251e8f9f28ff0375d06ac',
  qemu: '246d7221d5d5a0c7d39ad6579f719bd93924706d59e5deb865dd24dd4208dc0bef612f268b631e41336b8c7d87a2a48f',
  ec2: '48e8e1eba103ca244464e37d2d30ecfb6be0b59221d1f6537ed2e3e42e3b5f861972299bc0143b1a62de688ca10a62c1',
  gce: '609f8f83555d8062fc669d10f9e950ee0368e6ff6d42216880eac64a1a6da92010386b770c43ef75cf7a587cebcc7f07',
} as const;

describe('snpLaunchDigest', () => {
  test('knows the firmware part', () => assert.equal(toHex(firmware.digest), KNOWN.firmware));

  for (const vmm of ['qemu', 'ec2', 'gce'] as const) {
    test(`knows a launch by ${vmm}`, async () => {
      assert.equal(toHex(await snpLaunchDigest(firmware, { ...launch, vmm })), KNOWN[vmm]);
    });
  }

  const changes: [string, Partial<SnpLaunch>][] = [
    ['the kernel', { direct: { ...direct, kernel: sha256('other') } }],
    ['the initrd', { direct: { ...direct, initrd: sha256('other') } }],
    ['the command line', { direct: { ...direct, commandLine: 'console=ttyS0 ' } }],
    ['the number of processors', { vcpus: 4 }],
    ['the processor type', { cpuSignature: 0xa10f10 }],
    ['the features', { features: 1n }],
  ];
  for (const [what, change] of changes) {
    test(`moves with ${what}`, async () => {
      assert.notEqual(toHex(await snpLaunchDigest(firmware, { ...launch, ...change })), KNOWN.qemu);
    });
  }

  test('refuses a kernel that the firmware would not check, and numbers of processors that no guest has', async () => {
    const unchecked = await describeSnpFirmware(fakeFirmware({ sevSections: [[0x80_0000, 0x1000, 1]] }));
    await assert.rejects(() => snpLaunchDigest(unchecked, launch), AppraisalError);
    const unlooked = await describeSnpFirmware(fakeFirmware({ hashesTable: 0 }));
    await assert.rejects(() => snpLaunchDigest(unlooked, launch), AppraisalError);
    const across = await describeSnpFirmware(fakeFirmware({ hashesTable: 0x81_0ff0 }));
    await assert.rejects(() => snpLaunchDigest(across, launch), AppraisalError);
    for (const vcpus of [0, -1, 1.5, Number.NaN, 5000]) {
      await assert.rejects(() => snpLaunchDigest(firmware, { ...launch, vcpus }), AppraisalError);
    }
  });

  test('names processors as QEMU does', () => {
    assert.equal(qemuCpuSignature('EPYC-Milan-v2'), 0xa00f11);
    assert.equal(qemuCpuSignature('EPYC-v4'), 0x800f12);
    assert.equal(qemuCpuSignature('Skylake'), undefined);
    assert.equal(vmsaPage(launch).length, 4096);
  });
});

describe('parseFirmware', () => {
  const bad: [string, DecodeErrorCode, FakeFirmware][] = [
    ['a section type that is not known', 'version', { sevSections: [[0x80_0000, 0x1000, 5]] }],
    ['an address within a page', 'range', { sevSections: [[0x80_0001, 0x1000, 1]] }],
    ['a size that is no whole page', 'range', { sevSections: [[0x80_0000, 0x1001, 1]] }],
    ['a section of 4 GiB', 'range', { sevSections: [[0, 0xffff_f000, 1]] }],
  ];
  for (const [what, code, options] of bad)
    test(`refuses ${what}`, () => undecodable(code, () => sevSections(parseFirmware(fakeFirmware(options)))));

  test('refuses what is no firmware', () => {
    undecodable('magic', () => parseFirmware(new Uint8Array(4096)));
    undecodable('range', () => parseFirmware(new Uint8Array(100)));
    undecodable('truncated', () => parseFirmware(new Uint8Array()));
  });

  test('is total', () => {
    const good = fakeFirmware();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 20 }), fc.nat(600), (noise, back) => {
        const image = Uint8Array.from(good);
        image.set(noise, image.length - 632 + back);
        try {
          sevSections(parseFirmware(image));
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 3000 },
    );
  });
});
