/** Direct boots under TDX: the firmware's variables, and what the registers measure before Linux runs. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fakeFirmware } from '../../../test/fakes/firmware.ts';
import { fc } from '../../../test/support/properties.ts';
import { undecodable } from '../../../test/support/refused.ts';
import { toHex } from '../../src/bytes.ts';
import { sha384 } from '../../src/digest.ts';
import { DecodeError, type DecodeErrorCode } from '../../src/errors.ts';
import { parseGuid } from '../../src/guid.ts';
import { qemuTdHob } from '../../src/measure/td-hob.ts';
import { describeTdxFirmware, directRtmr0Events, type TdxFirmware } from '../../src/measure/tdx-direct.ts';
import { directRtmr1Events, rtmrOf, secureBootEvents } from '../../src/measure/tdx-events.ts';
import { parseVariables, secureBootVariables, variableRange } from '../../src/measure/variable-store.ts';

const GLOBAL = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
const DATABASE = 'd719b2cb-3d3a-4596-a3bc-dad00e67656f';

interface FakeVariable {
  readonly name: string;
  readonly data: string;
  readonly vendor?: string;
  readonly state?: number;
}

/** A configuration volume with these variables, erased behind them. */
function volume(variables: readonly FakeVariable[], size = 4096): Uint8Array {
  const out = Buffer.alloc(size, 0xff);
  out.fill(0, 0, 0x48);
  out.set(parseGuid('fff12b8d-7696-4c8b-a985-2747075b4f50'), 16);
  out.writeBigUInt64LE(BigInt(size), 32);
  out.write('_FVH', 40);
  out.writeUInt16LE(0x48, 48);
  out.set(parseGuid('aaf32c78-947b-439a-a180-2e144ec37792'), 0x48);
  out.writeUInt32LE(size - 0x48, 0x58);
  out.set([0x5a, 0xfe, 0, 0, 0, 0, 0, 0], 0x5c);
  let at = 0x64;
  for (const { name, data, vendor = GLOBAL, state = 0x3f } of variables) {
    const text = Buffer.from(`${name}\0`, 'utf16le');
    out.fill(0, at, at + 44);
    out.writeUInt16LE(0x55aa, at);
    out.writeUInt8(state, at + 2);
    out.writeUInt32LE(text.length, at + 36);
    out.writeUInt32LE(data.length, at + 40);
    out.set(parseGuid(vendor), at + 44);
    out.set(text, at + 60);
    out.write(data, at + 60 + text.length);
    at = (at + 60 + text.length + data.length + 3) & ~3;
  }
  return out;
}

const ENROLLED: readonly FakeVariable[] = [
  { name: 'KEK', data: 'exchange' },
  { name: 'PK', data: 'platform' },
  { name: 'db', data: 'allowed', vendor: DATABASE },
  { name: 'db', data: 'not of this vendor', vendor: GLOBAL },
  { name: 'PK', data: 'an older one', state: 0x3c },
];

describe('variables of a firmware image', () => {
  test('those in force are found, of whatever length; deleted ones are not', () => {
    const found = parseVariables(volume(ENROLLED)).map(({ name, vendor, data }) => [
      name,
      vendor,
      String(Buffer.from(data)),
    ]);
    assert.deepEqual(found, [
      ['KEK', GLOBAL, 'exchange'],
      ['PK', GLOBAL, 'platform'],
      ['db', DATABASE, 'allowed'],
      ['db', GLOBAL, 'not of this vendor'],
    ]);
    assert.deepEqual(parseVariables(volume([])), []);
  });

  test('a platform key turns Secure Boot on; the event is that of a machine’s log (Trustee, CCEL_data_grub)', () => {
    const [first] = secureBootEvents(secureBootVariables(volume(ENROLLED)));
    assert.equal(
      toHex(first?.digest ?? new Uint8Array()),
      '2cded0c6f453d4c6f59c5e14ec61abc6b018314540a2367cba326a52aa2b315ccc08ce68a816ce09c6ef2ac7e514ae1f',
    );
    const { SecureBoot, dbx } = secureBootVariables(volume([]));
    assert.deepEqual(
      [SecureBoot, dbx].map(({ length }) => length),
      [0, 0],
    );
  });

  const change = (at: number, value: number): Uint8Array => Uint8Array.from(volume(ENROLLED)).with(at, value);
  const bad: readonly (readonly [string, DecodeErrorCode, () => Uint8Array])[] = [
    ['not a volume', 'magic', () => change(40, 0)],
    ['a volume of something else', 'magic', () => change(16, 0)],
    ['bytes before the header', 'reserved', () => change(3, 1)],
    ['a length that is not the image’s', 'range', () => volume(ENROLLED).subarray(0, 4000)],
    ['a store of another format', 'magic', () => change(0x48, 0)],
    ['a store that is being reclaimed', 'version', () => change(0x5d, 0xfa)],
    ['a store longer than its volume', 'truncated', () => change(0x5a, 1)],
    ['a store shorter than its header', 'range', () => change(0x59, 0).with(0x58, 9)],
    ['something between variables', 'syntax', () => change(0x64, 0)],
    ['a variable that is half written', 'version', () => change(0x66, 0x7f)],
    ['a variable of more than there is', 'truncated', () => change(0x64 + 42, 1)],
    ['a name without its NUL', 'syntax', () => change(0x64 + 60 + 6, 1)],
    ['a name of half a character', 'range', () => change(0x64 + 36, 7)],
    ['a name that never ends', 'range', () => change(0x64 + 38, 1)],
    ['a variable twice', 'syntax', () => volume([...ENROLLED, { name: 'PK', data: 'second' }])],
    ['257 variables', 'syntax', () => volume(Array(257).fill({ name: 'x', data: '' }), 1 << 16)],
  ];
  for (const [what, code, make] of bad) {
    test(`refused: ${what}`, () => undecodable(code, () => secureBootVariables(make())));
  }

  test('any bytes end in variables or a DecodeError', () => {
    const whole = volume(ENROLLED);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(600), fc.nat(255)), { maxLength: 6 }), fc.nat(4096), (edits, length) => {
        const bytes = Uint8Array.from(whole).subarray(0, length % 3 === 0 ? length : whole.length);
        for (const [at, value] of edits) bytes[at] = value;
        try {
          parseVariables(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

const digest = (text: string): Uint8Array => sha384(Buffer.from(text));
const FIRMWARE: TdxFirmware = {
  mrtd: digest('mrtd'),
  cfv: digest('cfv'),
  edition: '202502',
  secureBoot: secureBootEvents(secureBootVariables(volume([]))),
  regions: [
    { kind: 'tdHob', gpa: 0x80_9000, size: 0x2000 },
    { kind: 'tempMem', gpa: 0x81_0000, size: 0x1_0000 },
  ],
};

describe('registers of a direct boot', () => {
  test('firmware is described by what is measured of it; one without variables is refused', async () => {
    const size = 4096 * 3;
    const sections = [
      [4096, 8192, 2 ** 32 - 8192, 8192, 0, 1],
      [0, 4096, 2 ** 32 - size, 4096, 1, 0],
      [0, 0, 0x80_9000, 0x2000, 2, 0],
      [0, 0, 0x81_0000, 0x4000, 3, 0],
    ] as const;
    const image = fakeFirmware({ pages: 3, tdxSections: sections });
    await assert.rejects(describeTdxFirmware(image), { name: 'DecodeError' });
    image.set(volume(ENROLLED));
    const { cfv, edition, regions, secureBoot } = await describeTdxFirmware(image);
    assert.equal(edition, '202502');
    assert.equal(toHex(cfv), toHex(sha384(image.subarray(0, 4096))));
    assert.deepEqual(
      regions.map(({ kind }) => kind),
      ['tdHob', 'tempMem'],
    );
    assert.deepEqual(secureBoot, secureBootEvents(secureBootVariables(volume(ENROLLED))));
  });

  test('without keys, what is measured of Secure Boot being off is open; with a platform key nothing is', async () => {
    const image = fakeFirmware({ pages: 2 });
    for (const [variables, open] of [
      [[], ['variable SecureBoot']],
      [ENROLLED, []],
    ] as const) {
      image.set(volume(variables));
      const { secureBoot } = await describeTdxFirmware(image);
      assert.deepEqual(
        secureBoot.filter((event) => event.digest === null).map(({ name }) => name),
        open,
      );
    }
  });

  test('variables stand in the range that is told, and nothing else of the volume', () => {
    const whole = volume(ENROLLED);
    const [from, to] = variableRange(whole);
    assert.deepEqual([from, to], [0x64, whole.length]);
    assert.deepEqual(parseVariables(Uint8Array.from(whole).fill(0xff, from, to)), []);
  });

  test('without ACPI tables their three events are open, and no other', () => {
    const events = directRtmr0Events(FIRMWARE, { memory: 2 ** 30, acpiTables: null });
    const open = events.filter((event) => event.digest === null).map(({ name }) => name);
    assert.deepEqual(open, ['ACPI loader', 'ACPI RSDP', 'ACPI tables']);
    assert.equal(events.length, 13);
    assert.deepEqual(events[0]?.digest, sha384(qemuTdHob(FIRMWARE.regions, 2 ** 30)));
  });

  test('a build that measures what QEMU tells it has four events more, of which one is open', async () => {
    const image = fakeFirmware({ pages: 2 });
    image.set(volume(ENROLLED));
    image.set(Buffer.from('QEMU FW CFG\0'), 4096 + 100);
    assert.equal((await describeTdxFirmware(image)).edition, '202505');
    const [older, newer] = (['202502', '202505'] as const).map((edition) =>
      directRtmr0Events({ ...FIRMWARE, edition }, { memory: 2 ** 30, acpiTables: null }),
    );
    const names = (newer ?? []).map(({ name }) => name);
    assert.equal(names.length, 17);
    assert.deepEqual(names.slice(2, 4), ['fw_cfg BootMenu', 'fw_cfg bootorder']);
    assert.deepEqual(names.slice(-4), ['SMBIOS', 'BootOrder', 'Boot0000', 'Boot0001']);
    assert.deepEqual(newer?.filter((event) => event.digest === null).at(-1)?.name, 'SMBIOS');
    assert.deepEqual(newer?.slice(4, 13), older?.slice(2, 11));
  });

  test('memory moves the first event alone', () => {
    const [one, two] = [2 ** 30, 2 ** 31].map((memory) => directRtmr0Events(FIRMWARE, { memory, acpiTables: null }));
    const moved = one?.filter(({ digest: value }, index) => String(value) !== String(two?.[index]?.digest));
    assert.deepEqual(
      moved?.map(({ name }) => name),
      ['TD HOB'],
    );
  });

  test('RTMR1: the kernel comes first, for QEMU loads it before the boot manager starts', () => {
    const events = directRtmr1Events(digest('kernel'));
    assert.deepEqual(
      events.map(({ name }) => name),
      ['kernel', 'calling EFI app', 'separator', 'EBS', 'EBS ok'],
    );
    assert.notDeepEqual(rtmrOf(events), rtmrOf(directRtmr1Events(digest('another'))));
  });
});
