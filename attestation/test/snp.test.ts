/** SEV-SNP: reports of a processor in software, and every way that one must not pass. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EPOCH, FakeIdentity } from '../../test/fakes/certificates.ts';
import { der, integer, octets } from '../../test/fakes/der.ts';
import { AMD, FakePsp, type FakeReport } from '../../test/fakes/psp.ts';
import { coldAndWarm } from '../../test/support/cold-and-warm.ts';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { failing, refused, undecodable } from '../../test/support/refused.ts';
import { VENDOR_ANCHORS } from '../src/anchors.ts';
import { DecodeError, type DecodeErrorCode, type EvidenceErrorCode } from '../src/errors.ts';
import {
  type AuthenticatedSnp,
  appraiseSnp,
  parseCertificateTable,
  parseReport,
  SNP_CAREFUL,
  type SnpDemands,
  type SnpEvidence,
  tcbVersion,
  verifySnp,
} from '../src/snp/index.ts';
import { belowFloor, cpuidEax, productOf } from '../src/snp/product.ts';

const now = EPOCH + 86_400_000;
const psp = new FakePsp();
const turin = new FakePsp({ product: 'Turin' });
const genoa = new FakePsp({ product: 'Genoa' });
const vlek = new FakePsp({ signer: 'VLEK' });

function verify(evidence: SnpEvidence, pins: readonly `sha256:${string}`[] = psp.pins): Promise<AuthenticatedSnp> {
  return coldAndWarm(() => verifySnp(evidence, pins, { now }));
}

describe('verifySnp', () => {
  for (const maker of [psp, turin, genoa, vlek]) {
    for (const version of [3, 5]) {
      test(`accepts version ${version} of a ${maker.product} signed by its ${maker.signer}`, async () => {
        const reportData = new Uint8Array(64).fill(7);
        const found = await verify(maker.evidence({ version, reportData }), maker.pins);
        assert.equal(found.product, maker.product);
        assert.equal(found.endorsement.signer, maker.signer);
        assert.deepEqual(Uint8Array.from(found.report.reportData), reportData);
        assert.equal(found.revocation, 'checked');
      });
    }
  }

  test('takes the product of a version 2 report from the key', async () => {
    const found = await verify(psp.evidence({ version: 2, cpu: new Uint8Array(3) }));
    assert.deepEqual([found.product, found.stepping], ['Milan', 1]);
  });

  test('takes a hardware id bare or in an OCTET STRING', async () => {
    const leaf = psp.certifyLeaf({ '4': octets(psp.chipId) });
    await verify({ ...psp.evidence(), leaf });
  });

  const other = new FakePsp();
  const stranger = new FakeIdentity('ARK-Milan', 'pss-sha384', AMD);
  const attacks: [string, EvidenceErrorCode, () => SnpEvidence][] = [
    ['a report of another processor', 'signature', () => ({ ...psp.evidence(), report: other.report() })],
    ['a chain of another maker', 'chain', () => other.evidence()],
    ['a chain without its ASK', 'chain', () => ({ ...psp.evidence(), intermediates: [psp.ark] })],
    ['an ASVK in the place of the ASK', 'chain', () => ({ ...psp.evidence(), intermediates: [vlek.ask, psp.ark] })],
    ['a leaf that does not parse', 'chain', () => ({ ...psp.evidence(), leaf: psp.leaf.subarray(1) })],
    ['an expired leaf', 'validity', () => ({ ...psp.evidence(), leaf: psp.certifyLeaf({}, { notAfter: now - 1000 }) })],
    ['a revoked ASK', 'revoked', () => ({ ...psp.evidence(), crl: psp.crl(0x10001) })],
    ['a CRL of a namesake', 'collateral', () => ({ ...psp.evidence(), crl: stranger.crl() })],
    ['a stale CRL', 'validity', () => ({ ...psp.evidence(), crl: psp.root.crl({ nextUpdate: now - 1000 }) })],
    ['a CRL that does not parse', 'collateral', () => ({ ...psp.evidence(), crl: Uint8Array.of(0x30, 0) })],
    ['another signature algorithm', 'signature', () => psp.evidence({ signatureAlgorithm: 2 })],
    ['a report that nobody signed', 'identity', () => psp.evidence({ signerInfo: 7 << 2 })],
    ['a VLEK report with a VCEK', 'identity', () => psp.evidence({ signerInfo: 1 << 2 })],
    ['a chip id of another chip', 'identity', () => psp.evidence({ chipId: new Uint8Array(64).fill(1) })],
    ['a masked chip id', 'identity', () => psp.evidence({ chipId: new Uint8Array(64) })],
    ['a CPU of another product', 'identity', () => psp.evidence({ cpu: Uint8Array.of(0x19, 0x11, 1) })],
    ['a CPU that is not known', 'identity', () => psp.evidence({ cpu: Uint8Array.of(0x19, 0x50, 1) })],
    ['a TCB that the key is not derived from', 'identity', () => psp.evidence({ reportedTcb: psp.tcb + 1n })],
    [
      'a TCB of which only a reserved byte differs',
      'identity',
      () => psp.evidence({ reportedTcb: psp.tcb | (1n << 16n) }),
    ],
    [
      'a key of an unknown product',
      'identity',
      () => ({ ...psp.evidence(), leaf: psp.certifyLeaf({ '2': der(0x16, Buffer.from('Venice-A0')) }) }),
    ],
    [
      'a key without a TCB extension',
      'identity',
      () => ({ ...psp.evidence(), leaf: psp.certifyLeaf({ '3.1': Buffer.alloc(0) }) }),
    ],
    [
      'a key with a security version above 255',
      'identity',
      () => ({ ...psp.evidence(), leaf: psp.certifyLeaf({ '3.8': integer(256) }) }),
    ],
    [
      'a hardware id of another length',
      'identity',
      () => ({ ...psp.evidence(), leaf: psp.certifyLeaf({ '4': octets(new Uint8Array(63)) }) }),
    ],
    ['a report cut short', 'format', () => ({ ...psp.evidence(), report: psp.report().subarray(0, -1) })],
    [
      'a report with a byte more',
      'format',
      () => ({ ...psp.evidence(), report: Buffer.concat([psp.report(), Buffer.alloc(1)]) }),
    ],
  ];
  for (const [what, code, make] of attacks) test(`refuses ${what}`, () => refused(code, () => verify(make())));

  test('refuses the root of fakes under the production anchors, and any root under none', async () => {
    await refused('chain', () => verify(psp.evidence(), VENDOR_ANCHORS.amd));
    await refused('chain', () => verify(psp.evidence(), []));
  });

  test('says so where no CRL was given', async () => {
    assert.equal((await verify({ ...psp.evidence(), crl: 'none' })).revocation, 'not checked');
  });
});

describe('parseReport', () => {
  const bad: [string, DecodeErrorCode, FakeReport][] = [
    ['version 1', 'version', { version: 1 }],
    ['version 7', 'version', { version: 7 }],
    ['version 6 with a byte where version 5 has zeros', 'reserved', { version: 6, patch: { 520: Uint8Array.of(1) } }],
    ['policy without bit 17', 'reserved', { policy: 0x1_0000n }],
    ['policy with bit 26', 'reserved', { policy: 0x400_0000n | 0x3_0000n }],
    ['VMPL 4', 'range', { vmpl: 4 }],
    ['signing key 2', 'range', { signerInfo: 2 << 2 }],
    ['signer bit 5', 'reserved', { signerInfo: 1 << 5 }],
    ['reserved byte 0x4c', 'reserved', { patch: { 76: Uint8Array.of(1) } }],
    ['reserved byte 0x18b', 'reserved', { patch: { 395: Uint8Array.of(1) } }],
    ['CPU in version 2', 'reserved', { version: 2 }],
    ['mitigations before version 5', 'reserved', { patch: { 504: Uint8Array.of(1) } }],
    ['reserved byte 0x208', 'reserved', { version: 5, patch: { 520: Uint8Array.of(1) } }],
    ['byte after a firmware version', 'reserved', { patch: { 491: Uint8Array.of(1) } }],
  ];
  for (const [what, code, fields] of bad)
    test(`refuses ${what}`, () => undecodable(code, () => parseReport(psp.report(fields))));

  test('refuses an integer of the signature above 384 bits, and bytes after it', () => {
    for (const at of [0x2a0 + 48, 0x2a0 + 72 + 48, 0x2a0 + 144]) {
      const report = psp.report();
      report[at] = 1;
      undecodable('reserved', () => parseReport(report));
    }
  });

  test('is total, with its certificate table', () => {
    const good = psp.report();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(good.length), (noise, at) => {
        const bytes = Buffer.concat([good.subarray(0, at), noise, good.subarray(at + noise.length)]);
        for (const parse of [parseReport, parseCertificateTable]) {
          try {
            parse(bytes);
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error));
          }
        }
      }),
      { numRuns: count(3000, 3000, 300) },
    );
  });
});

describe('parseCertificateTable', () => {
  const entry = (guid: string, offset: number, length: number): Buffer => {
    const bytes = Buffer.alloc(24);
    bytes.write(guid.replaceAll('-', ''), 'hex');
    bytes.writeUInt32LE(offset, 16);
    bytes.writeUInt32LE(length, 20);
    return bytes;
  };
  const vcek = '63da758d-e664-4564-adc5-f4b93be8accd';

  test('reads entries up to the zero one', () => {
    const table = Buffer.concat([entry(vcek, 48, 3), Buffer.alloc(24), Buffer.from('abc'), Buffer.from('padding')]);
    assert.deepEqual(
      parseCertificateTable(table).map(({ kind, data }) => [kind, Buffer.from(data).toString()]),
      [['VCEK', 'abc']],
    );
  });

  const bad: [string, Buffer][] = [
    ['no end', entry(vcek, 24, 0)],
    ['data outside', Buffer.concat([entry(vcek, 48, 4), Buffer.alloc(24), Buffer.from('abc')])],
    ['data over the entries', Buffer.concat([entry(vcek, 0, 3), Buffer.alloc(24)])],
    ['a kind twice', Buffer.concat([entry(vcek, 72, 0), entry(vcek, 72, 0), Buffer.alloc(24)])],
    ['an end with a length', Buffer.concat([entry('00000000-0000-0000-0000-000000000000', 0, 1), Buffer.alloc(8)])],
  ];
  for (const [what, bytes] of bad)
    test(`refuses ${what}`, () => assert.throws(() => parseCertificateTable(bytes), DecodeError));
});

describe('appraiseSnp', () => {
  const measurement = new Uint8Array(48).fill(0x11);
  const careful: SnpDemands = { ...SNP_CAREFUL, measurements: [measurement] };

  async function checked(fields: FakeReport, demands: Partial<SnpDemands> = {}): Promise<string[]> {
    const evidence = await verify(psp.evidence({ measurement, ...fields }));
    return failing(appraiseSnp(evidence, { ...careful, ...demands }));
  }

  test('passes what a careful verifier wants', async () => {
    assert.deepEqual(await checked({}), []);
  });

  const low = psp.tcb - 0x0100_0000_0000_0000n;
  const lenient: Partial<SnpDemands> = { provisionalFirmware: 'permitted' };
  /** Build, minor and major version, of the current firmware and of the committed. */
  const versions = (current: readonly number[], committed: readonly number[]): NonNullable<FakeReport['patch']> => ({
    488: Uint8Array.from([...current, 0, ...committed, 0]),
  });
  const mitigated = (launch: number, current: number): FakeReport => ({
    version: 5,
    patch: { 504: Uint8Array.of(launch), 512: Uint8Array.of(current) },
  });
  const cases: [string, string, FakeReport, Partial<SnpDemands>][] = [
    ['another measurement', 'snp.measurement', { measurement: new Uint8Array(48) }, {}],
    ['no accepted measurement', 'snp.measurement', {}, { measurements: [] }],
    ['a debug guest', 'snp.policy.debug', { policy: 0xb_0000n }, {}],
    ['a migration agent', 'snp.policy.migrationAgent', { policy: 0x7_0000n }, {}],
    ['CXL', 'snp.policy.cxl', { policy: 0x23_0000n }, {}],
    ['SMT where it is not permitted', 'snp.policy.smt', {}, { permitted: [] }],
    ['a missing protection', 'snp.policy.ciphertextHiding', {}, { required: ['ciphertextHiding'] }],
    ['VMPL 2', 'snp.vmpl', { vmpl: 2 }, {}],
    ['no alias check', 'snp.platform.aliasCheck', { platformInfo: 0x5n }, {}],
    ['SMT on the platform', 'snp.platform.smt', {}, { platformSmt: 'refused' }],
    ['an old ABI', 'snp.abi', { policy: 0x3_0133n }, { abi: { major: 1, minor: 52 } }],
    ['a low guest SVN', 'snp.guest-svn', { guestSvn: 3 }, { guestSvn: 4 }],
    ['provisional firmware', 'snp.provisional', { committedTcb: low }, {}],
    ['a build that is not committed', 'snp.provisional', { patch: versions([65, 55, 1], [1, 55, 1]) }, {}],
    ['a minor version that is not', 'snp.provisional', { patch: versions([1, 56, 1], [1, 55, 1]) }, {}],
    ['a major version that is not', 'snp.provisional', { patch: versions([1, 55, 2], [1, 55, 1]) }, {}],
    ['a committed TCB above the current one', 'snp.provisional', { currentTcb: low }, lenient],
    ['a committed build above it', 'snp.provisional', { patch: versions([1, 55, 1], [2, 55, 1]) }, lenient],
    ['a committed minor version above it', 'snp.provisional', { patch: versions([1, 54, 1], [1, 55, 1]) }, lenient],
    ['a committed major version above it', 'snp.provisional', { patch: versions([1, 55, 0], [1, 55, 1]) }, lenient],
    ['a reported TCB above the current one', 'snp.provisional', { currentTcb: low, committedTcb: low }, lenient],
    ['a version without a text', 'snp.version', { version: 6 }, {}],
    ['a version that is not accepted', 'snp.version', { version: 3 }, { versions: [5] }],
    ['platform bit 8', 'snp.platform.known', { platformInfo: 0x125n }, {}],
    ['platform bit 9 where bit 8 may be', 'snp.platform.known', { platformInfo: 0x225n }, { platformBits: [8] }],
    ['trusted I/O', 'snp.platform.tio', { platformInfo: 0xa5n }, { platformTio: 'refused' }],
    ['another family', 'snp.family-id', {}, { familyId: new Uint8Array(16).fill(1) }],
    ['another image', 'snp.image-id', {}, { imageId: new Uint8Array(16).fill(1) }],
    ['a mitigation that was not on', 'snp.mitigations.launch', mitigated(2, 3), { launchMitigations: 1n }],
    ['a mitigation that is off now', 'snp.mitigations.current', mitigated(3, 2), { currentMitigations: 1n }],
    ['a report that tells of none', 'snp.mitigations.current', {}, { currentMitigations: 1n }],
    ['other report data', 'snp.report-data', {}, { reportData: new Uint8Array(64).fill(1) }],
    ['other host data', 'snp.host-data', {}, { hostData: new Uint8Array(32).fill(1) }],
    ['no trusted ID key', 'snp.id-key', {}, { idKeys: [] }],
    ['no trusted author key', 'snp.author-key', {}, { authorKeys: [] }],
    ['another product', 'snp.product', {}, { products: [{ line: 'Genoa', stepping: 'any' }] }],
    ['another stepping', 'snp.product', {}, { products: [{ line: 'Milan', stepping: 12 }] }],
  ];
  for (const [what, id, fields, demands] of cases) {
    test(`fails ${what}`, async () => assert.deepEqual(await checked(fields, demands), [id]));
  }

  for (const which of ['reported', 'committed', 'current', 'launch'] as const) {
    test(`fails a ${which} TCB below its floor, and a product without one`, async () => {
      const { floors } = SNP_CAREFUL;
      const at = { bootloader: 4, tee: 1, snp: 24, microcode: 0xdb };
      assert.deepEqual(await checked({}, { floors: { ...floors, [which]: { Milan: at } } }), []);
      const above = { ...at, microcode: 0xdc };
      assert.deepEqual(await checked({}, { floors: { ...floors, [which]: { Milan: above } } }), [`snp.tcb.${which}`]);
      assert.deepEqual(await checked({}, { floors: { ...floors, [which]: { Genoa: at } } }), [`snp.tcb.${which}`]);
    });
  }

  test('passes what it permits: provisional firmware, version 6 and bit 8 where they are named, mitigations', async () => {
    assert.deepEqual(await checked({ patch: versions([65, 56, 1], [1, 55, 1]) }, lenient), []);
    assert.deepEqual(await checked({ committedTcb: low }, lenient), []);
    const newer: FakeReport = { version: 6, platformInfo: 0x125n };
    assert.deepEqual(await checked(newer, { versions: [6], platformBits: [8] }), []);
    assert.deepEqual(await checked(mitigated(3, 3), { launchMitigations: 3n, currentMitigations: 1n }), []);
  });

  test('fails where revocation was not checked', async () => {
    const evidence = await verify({ ...psp.evidence({ measurement }), crl: 'none' });
    assert.deepEqual(failing(appraiseSnp(evidence, careful)), ['snp.revocation']);
  });

  test('shows "any" as not run and not required', async () => {
    const evidence = await verify(psp.evidence({ measurement }));
    const check = appraiseSnp(evidence, careful).find(({ id }) => id === 'snp.host-data');
    assert.deepEqual([check?.outcome, check?.required], ['not run', false]);
  });
});

describe('products and TCBs', () => {
  test('orders processors into lines', () => {
    const lines: [number, number, string | undefined][] = [
      [0x19, 0x01, 'Milan'],
      [0x19, 0x11, 'Genoa'],
      [0x19, 0xa0, 'Genoa'],
      [0x1a, 0x02, 'Turin'],
      [0x1a, 0x11, 'Turin'],
      [0x17, 0x31, undefined],
      [0x19, 0x44, undefined],
    ];
    for (const [family, model, product] of lines) assert.equal(productOf({ family, model, stepping: 0 }), product);
    assert.equal(cpuidEax({ family: 0x19, model: 0xa0, stepping: 2 }), 0xaa0f02);
  });

  test('reads the layout of each line, and nothing in reserved bytes', () => {
    assert.deepEqual(tcbVersion('Milan', 0xdb18_0000_0000_0104n), {
      bootloader: 4,
      tee: 1,
      snp: 0x18,
      microcode: 0xdb,
    });
    assert.deepEqual(tcbVersion('Turin', 0x4700_0000_0201_0103n), {
      fmc: 3,
      bootloader: 1,
      tee: 1,
      snp: 2,
      microcode: 0x47,
    });
    undecodable('reserved', () => tcbVersion('Milan', 1n << 16n));
    undecodable('reserved', () => tcbVersion('Turin', 1n << 48n));
  });

  test('a floor is met in every component or not at all', () => {
    fc.assert(
      fc.property(
        fc.record({ snp: fc.nat(255), microcode: fc.nat(255) }),
        fc.record({ snp: fc.nat(255), microcode: fc.nat(255) }),
        (version, floor) => {
          const met = version.snp >= floor.snp && version.microcode >= floor.microcode;
          assert.equal(belowFloor(version, floor).length === 0, met);
        },
      ),
    );
    assert.deepEqual(belowFloor({ snp: 9 }, { fmc: 0 }), ['fmc']);
  });
});
