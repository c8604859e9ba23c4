/** MRTD and RTMRs of small images, against values that another implementation computed. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type FakeFirmware, fakeFirmware } from '../../../test/fakes/firmware.ts';
import { fc } from '../../../test/support/properties.ts';
import { undecodable } from '../../../test/support/refused.ts';
import { toHex, utf8 } from '../../src/bytes.ts';
import { sha384 } from '../../src/digest.ts';
import { AppraisalError, DecodeError, type DecodeErrorCode } from '../../src/errors.ts';
import { qemuAcpiBlobs } from '../../src/measure/acpi.ts';
import { parseFirmware, sevSections } from '../../src/measure/ovmf.ts';
import { gceTdHob, qemuTdHob } from '../../src/measure/td-hob.ts';
import { mrtdOf, parseTdvf } from '../../src/measure/tdvf.ts';
import { commandLineEvent, dstackEvent, rtmr1Events, rtmrOf, uiAppOption } from '../../src/measure/tdx-events.ts';

const firmware = parseFirmware(fakeFirmware({ pages: 3 }));

describe('mrtdOf', () => {
  test('knows both orders, computed with Python from the same image', async () => {
    assert.equal(
      toHex(await mrtdOf(firmware)),
      '26b8252223495c3396ccce595d069d2333058d8e442dbc43e041d5ad87a696c2702b279e090537cad2c30588b5389874',
    );
    assert.equal(
      toHex(await mrtdOf(firmware, 'two-pass')),
      'f464b111f95f8bb1a5bc6ed3fd29666ba5d5fe09f4b636f051e6b2727eccd8ad554720fa58b7047542cb148be98dc184',
    );
  });

  test('moves with every measured byte, and with no other', async () => {
    const known = toHex(await mrtdOf(firmware));
    for (const [at, moves] of [
      [0, false],
      [4095, false],
      [4096, true],
      [8191, true],
    ] as const) {
      const image = Uint8Array.from(firmware.bytes);
      image[at] = (image[at] ?? 0) ^ 1;
      assert.equal(toHex(await mrtdOf(parseFirmware(image))) !== known, moves, `byte ${at}`);
    }
  });
});

describe('parseTdvf', () => {
  test('reads its metadata beside SEV metadata that no parser reads', () => {
    const image = fakeFirmware({ sevSections: [[0, 4096, 77]] });
    assert.deepEqual(parseTdvf(parseFirmware(image)), parseTdvf(parseFirmware(fakeFirmware())));
    undecodable('version', () => sevSections(parseFirmware(image)));
  });

  type Section = NonNullable<FakeFirmware['tdxSections']>[number];
  const bad: [string, DecodeErrorCode, Section][] = [
    ['a type that is not known', 'version', [0, 0, 0, 4096, 9, 0]],
    ['an attribute that is not known', 'version', [0, 0, 0, 4096, 3, 4]],
    ['an address within a page', 'range', [0, 0, 1, 4096, 3, 0]],
    ['more data than memory', 'range', [0, 8192, 0, 4096, 0, 0]],
    ['data outside the image', 'range', [8192, 8192, 0, 8192, 0, 0]],
    ['measured memory without data', 'range', [0, 0, 0, 4096, 0, 1]],
    ['a section of 4 GiB', 'range', [0, 0, 0, 2 ** 32, 3, 0]],
  ];
  for (const [what, code, section] of bad) {
    test(`refuses ${what}`, () =>
      undecodable(code, () => parseTdvf(parseFirmware(fakeFirmware({ tdxSections: [section] })))));
  }

  test('is total', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(150), (noise, at) => {
        const image = Uint8Array.from(firmware.bytes);
        image.set(noise, image.length - 1200 + at);
        try {
          parseTdvf(parseFirmware(image));
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('TD HOBs', () => {
  const sections = parseTdvf(firmware);
  const view = (hob: Uint8Array): DataView => new DataView(hob.buffer, hob.byteOffset);

  test('cover all of memory once, whatever its size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 128, max: 65_536 }), (mebibytes) => {
        const memory = mebibytes * 2 ** 20;
        const hob = view(qemuTdHob(sections, memory));
        let total = 0;
        for (let at = 56; at < hob.byteLength; at += 48) total += Number(hob.getBigUint64(at + 40, true));
        assert.equal(total, memory);
      }),
    );
  });

  test('refuse firmware regions that overlap, or lie outside memory', () => {
    const twice = [...sections, ...sections];
    assert.throws(() => qemuTdHob(twice, 2 ** 31), AppraisalError);
    assert.throws(() => qemuTdHob(sections, 2 ** 20), AppraisalError);
    assert.throws(() => qemuTdHob([], 2 ** 31), AppraisalError);
    assert.equal(gceTdHob(sections, 2 ** 34).length % 48, 56 % 48);
  });
});

describe('events', () => {
  test('are what firmware measures', () => {
    // Digests that event logs of real machines show.
    assert.equal(toHex(sha384(uiAppOption())).slice(0, 16), '23ada07f5261f12f');
    assert.equal(toHex(sha384(commandLineEvent('console=ttyS0'))).slice(0, 16), '0c55ff8ce3ea9389');
    const names = rtmr1Events({ gpt: new Uint8Array(48), images: [] }).map(({ digest }) => toHex(digest).slice(0, 8));
    assert.deepEqual(names, ['77a0dab2', '394341b7', '00000000', '214b0bef', '0a2e01c8']);
    assert.equal(toHex(rtmrOf([])), '00'.repeat(48));
    assert.notDeepEqual(dstackEvent(1, 'a', utf8('b')), dstackEvent(1, 'a:b', utf8('')));
  });
});

describe('qemuAcpiBlobs', () => {
  const table = (signature: string, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    bytes.write(signature);
    bytes.writeUInt32LE(length, 4);
    return bytes;
  };
  const tables = Buffer.concat([
    table('FACS', 64),
    table('DSDT', 100),
    table('FACP', 244),
    table('APIC', 50),
    table('RSDT', 44),
    Buffer.alloc(64),
  ]);

  test('one command for each pointer and checksum', () => {
    const { rsdp, loader } = qemuAcpiBlobs(tables);
    assert.equal(Buffer.from(rsdp).toString('latin1', 0, 8), 'RSD PTR ');
    assert.equal(Buffer.from(rsdp).readUInt32LE(16), 64 + 100 + 244 + 50);
    const commands = Array.from({ length: 32 }, (_, i) => Buffer.from(loader).readUInt32LE(128 * i)).filter(
      (one) => one !== 0,
    );
    assert.deepEqual(commands, [1, 1, 3, 2, 2, 2, 3, 3, 2, 2, 3, 2, 3]);
  });

  test('refuses tables that are not', () => {
    assert.throws(() => qemuAcpiBlobs(new Uint8Array()), DecodeError);
    assert.throws(() => qemuAcpiBlobs(table('RSDT', 44).subarray(0, 20)), DecodeError);
  });
});
