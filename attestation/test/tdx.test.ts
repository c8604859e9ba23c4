/** TDX: quotes of an enclave in software, and every way that quote, collateral or platform must not pass. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EPOCH, FakeIdentity } from '../../test/fakes/certificates.ts';
import { type FakeCollateral, FakeQuotingEnclave, type FakeTd, INTEL } from '../../test/fakes/quoting-enclave.ts';
import { coldAndWarm } from '../../test/support/cold-and-warm.ts';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { failing, refused, undecodable } from '../../test/support/refused.ts';
import { VENDOR_ANCHORS } from '../src/anchors.ts';
import { DecodeError, type DecodeErrorCode, type EvidenceErrorCode } from '../src/errors.ts';
import {
  type AuthenticatedTdx,
  appraiseTdx,
  parseQuote,
  quoteLength,
  type TcbStatus,
  TDX_CAREFUL,
  type TdxCollateral,
  type TdxDemands,
  type TdxEvidence,
  type TdxTcb,
  verifyTdx,
} from '../src/tdx/index.ts';

const DAY = 86_400_000;
const now = EPOCH + DAY;
const qe = new FakeQuotingEnclave();

function verify(evidence: TdxEvidence, pins: readonly `sha256:${string}`[] = qe.pins): Promise<AuthenticatedTdx> {
  return coldAndWarm(() => verifyTdx(evidence, pins, { now }));
}

/** Evidence of which one part of the collateral is replaced. */
function withCollateral(change: (good: TdxCollateral) => Partial<TdxCollateral>): TdxEvidence {
  const collateral = qe.collateral();
  return { quote: qe.quote(), collateral: { ...collateral, ...change(collateral) } };
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
}

describe('verifyTdx', () => {
  for (const version of [4, 5] as const) {
    test(`accepts version ${version}`, async () => {
      const reportData = new Uint8Array(64).fill(9);
      const found = await verify(qe.evidence({ version, reportData }));
      assert.deepEqual(Uint8Array.from(found.quote.report.reportData), reportData);
      assert.equal(found.quote.report.teeTcbSvn2?.length, version === 5 ? 16 : undefined);
      assert.ok(found.tcb !== 'not checked');
      assert.deepEqual(found.tcb.advisories, ['INTEL-SA-00000', 'INTEL-SA-MODULE']);
      assert.equal(found.tcb.status, 'UpToDate');
      assert.equal(found.tcb.nextUpdate, EPOCH + 30 * DAY);
    });
  }

  test('says so where no collateral was given', async () => {
    assert.equal((await verify({ quote: qe.quote(), collateral: 'none' })).tcb, 'not checked');
  });

  const other = new FakeQuotingEnclave();
  const stranger = new FakeIdentity('Intel SGX PCK Platform CA', 'ecdsa-sha256', INTEL);
  const with32 = (byte: number): Uint8Array => new Uint8Array(64).fill(byte);
  const attacks: [string, EvidenceErrorCode, () => TdxEvidence][] = [
    ['a quote of another maker', 'chain', () => ({ ...qe.evidence(), quote: other.quote() })],
    [
      'a key that the enclave does not vouch for',
      'binding',
      () => ({ ...qe.evidence(), quote: qe.quote({}, { qeReportData: with32(0) }) }),
    ],
    [
      'an attestation key that is no point of its curve',
      'format',
      () => ({ ...qe.evidence(), quote: qe.quote({}, { attestationKey: with32(1) }) }),
    ],
    ['a changed body', 'signature', () => ({ ...qe.evidence(), quote: flipped(qe.quote(), 200) })],
    [
      'a changed enclave report',
      'signature',
      () => ({ ...qe.evidence(), quote: flipped(qe.quote(), 48 + 584 + 4 + 128 + 6 + 20) }),
    ],
    [
      'an enclave of another signer',
      'identity',
      () => ({ ...qe.evidence(), quote: qe.quote({}, { mrSigner: '11'.repeat(32) }) }),
    ],
    ['a TDX module of another signer', 'identity', () => qe.evidence({ mrSignerSeam: new Uint8Array(48).fill(1) })],
    ['a TDX module that is not known', 'identity', () => qe.evidence({ teeTcbSvn: [6, 9, 8] })],
    ['a platform below every level', 'collateral', () => qe.evidence({ teeTcbSvn: [6, 1, 7] })],
    ['a module below every level', 'collateral', () => qe.evidence({ teeTcbSvn: [5, 1, 8] })],
    ['TCB info of another platform', 'collateral', () => qe.evidence({}, { fmspc: '00806f050000' })],
    ['TCB info of the future', 'validity', () => qe.evidence({}, { issueDate: now + DAY })],
    ['TCB info of the past', 'validity', () => qe.evidence({}, { nextUpdate: now - 1000 })],
    ['a revoked PCK', 'revoked', () => qe.evidence({}, { revoked: [3] })],
    ['a revoked platform CA', 'revoked', () => qe.evidence({}, { rootRevoked: [2] })],
    ['a revoked TCB signer', 'revoked', () => qe.evidence({}, { rootRevoked: [4] })],
    [
      'swapped CRLs',
      'collateral',
      () => withCollateral(({ pckCrl, rootCrl }) => ({ pckCrl: rootCrl, rootCrl: pckCrl })),
    ],
    ['a PCK CRL of a namesake', 'collateral', () => withCollateral(() => ({ pckCrl: stranger.crl() }))],
    [
      'a stale PCK CRL',
      'validity',
      () => withCollateral(() => ({ pckCrl: qe.platformCa.crl({ nextUpdate: now - 1000 }) })),
    ],
    ['a CRL that does not parse', 'collateral', () => withCollateral(() => ({ rootCrl: Uint8Array.of(0x30, 0) }))],
    [
      'edited TCB info',
      'collateral',
      () =>
        withCollateral(({ tcbInfo }) => ({
          tcbInfo: Buffer.from(Buffer.from(tcbInfo).toString().replace('UpToDate', 'Revoked')),
        })),
    ],
    [
      'TCB info with a space more',
      'collateral',
      () => withCollateral(({ tcbInfo }) => ({ tcbInfo: Buffer.concat([tcbInfo, Buffer.from(' ')]) })),
    ],
    [
      'an edited QE identity',
      'collateral',
      () => withCollateral(({ qeIdentity }) => ({ qeIdentity: flipped(qeIdentity, 40) })),
    ],
    [
      'a QE identity in the place of TCB info',
      'collateral',
      () =>
        withCollateral(({ qeIdentity, qeIdentitySignature }) => ({
          tcbInfo: qeIdentity,
          tcbInfoSignature: qeIdentitySignature,
        })),
    ],
    [
      'collateral that the PCK chain vouches for',
      'collateral',
      () => withCollateral(() => ({ tcbInfoChain: [qe.pckDer, qe.platformCaDer, qe.rootDer] })),
    ],
    [
      'collateral that the platform CA signed for',
      'collateral',
      () => withCollateral(() => ({ tcbInfoChain: [qe.platformCaDer, qe.rootDer] })),
    ],
    [
      'collateral of another root',
      'chain',
      () => withCollateral(() => ({ tcbInfoChain: [other.tcbSignerDer, other.rootDer] })),
    ],
    ['collateral without a signer', 'collateral', () => withCollateral(() => ({ qeIdentityChain: [] }))],
    ['a quote cut short', 'format', () => ({ ...qe.evidence(), quote: qe.quote().subarray(0, -1) })],
    [
      'a quote with a byte more',
      'format',
      () => ({ ...qe.evidence(), quote: Buffer.concat([qe.quote(), Buffer.alloc(1)]) }),
    ],
  ];
  for (const [what, code, make] of attacks) test(`refuses ${what}`, () => refused(code, () => verify(make())));

  test("refuses collateral under a second pinned root, of which the platform's own root list says nothing", async () => {
    const { tcbInfo, tcbInfoSignature, tcbInfoChain } = other.collateral();
    const evidence = withCollateral(() => ({ tcbInfo, tcbInfoSignature, tcbInfoChain }));
    await refused('collateral', () => verify(evidence, [...qe.pins, ...other.pins]));
  });

  test('refuses the root of fakes under the production anchors, and any root under none', async () => {
    await refused('chain', () => verify(qe.evidence(), VENDOR_ANCHORS.intel));
    await refused('chain', () => verify(qe.evidence(), []));
  });
});

describe('TCB status', () => {
  async function statusOf(td: FakeTd, content: FakeCollateral): Promise<string> {
    const { tcb } = await verify(qe.evidence(td, content));
    return tcb === 'not checked' ? tcb : tcb.status;
  }
  const table: [platform: TcbStatus, module: TcbStatus, qe: TcbStatus, converged: TcbStatus][] = [
    ['UpToDate', 'UpToDate', 'UpToDate', 'UpToDate'],
    ['UpToDate', 'OutOfDate', 'UpToDate', 'OutOfDate'],
    ['UpToDate', 'UpToDate', 'OutOfDate', 'OutOfDate'],
    ['SWHardeningNeeded', 'OutOfDate', 'UpToDate', 'OutOfDate'],
    ['ConfigurationNeeded', 'OutOfDate', 'UpToDate', 'OutOfDateConfigurationNeeded'],
    ['ConfigurationAndSWHardeningNeeded', 'UpToDate', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['OutOfDate', 'UpToDate', 'UpToDate', 'OutOfDate'],
    ['OutOfDateConfigurationNeeded', 'OutOfDate', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['UpToDate', 'Revoked', 'UpToDate', 'Revoked'],
    ['ConfigurationNeeded', 'UpToDate', 'Revoked', 'Revoked'],
    ['Revoked', 'OutOfDate', 'UpToDate', 'Revoked'],
  ];
  for (const [platform, moduleStatus, qeStatus, converged] of table) {
    test(`${platform}, module ${moduleStatus}, enclave ${qeStatus}: ${converged}`, async () => {
      assert.equal(await statusOf({}, { statuses: [platform], moduleStatus, qeStatus }), converged);
    });
  }

  const old: FakeCollateral = { moduleStatus: 'OutOfDate', newerModule: 7 };
  const relaunch: [what: string, td: FakeTd, content: FakeCollateral, status: string][] = [
    ['a new module in force, an old one at launch', {}, {}, 'TDRelaunchAdvised'],
    [
      'the same, and something to configure',
      {},
      { statuses: ['ConfigurationNeeded'] },
      `TDRelaunchAdvisedConfigurationNeeded`,
    ],
    ['the same, and software to harden', {}, { statuses: ['SWHardeningNeeded'] }, 'TDRelaunchAdvised'],
    ['a module without a major version in force', { teeTcbSvn2: [5, 0, 8] }, {}, 'TDRelaunchAdvised'],
    ['that one, too old', { teeTcbSvn2: [4, 0, 8] }, {}, 'OutOfDate'],
    ['a module in force that is not the newest', { teeTcbSvn2: [6, 1, 8] }, {}, 'OutOfDate'],
    ['one whose third component lags', { teeTcbSvn2: [7, 1, 7] }, {}, 'OutOfDate'],
    ['a report of TDX 1.0, which does not say', { version: 4 }, {}, 'OutOfDate'],
    ['an enclave that lags', {}, { qeStatus: 'OutOfDate' }, 'OutOfDate'],
    ['a revoked enclave', {}, { qeStatus: 'Revoked' }, 'Revoked'],
    ['a processor that lags', {}, { statuses: ['OutOfDate'] }, 'OutOfDate'],
    ['a revoked processor', {}, { statuses: ['Revoked'] }, 'Revoked'],
    ['a module at launch that was not old', {}, { moduleStatus: 'UpToDate' }, 'UpToDate'],
  ];
  for (const [what, td, content, status] of relaunch) {
    test(`${what}: ${status}`, async () => {
      const launched: FakeTd = { version: 5, teeTcbSvn2: [7, 1, 8], ...td };
      assert.equal(await statusOf(launched, { ...old, ...content }), status);
    });
  }

  async function tcbOf(td: FakeTd, content: FakeCollateral): Promise<TdxTcb> {
    const { tcb } = await verify(qe.evidence(td, content));
    assert.ok(tcb !== 'not checked');
    return tcb;
  }

  const currents: [what: string, td: FakeTd, content: FakeCollateral, status: string][] = [
    ['the TCB in force now', { teeTcbSvn2: [6, 1, 8] }, {}, 'UpToDate'],
    ['a newer module in force', { teeTcbSvn2: [7, 1, 8] }, old, 'UpToDate'],
    ['an old module in force', { teeTcbSvn2: [6, 1, 8] }, old, 'OutOfDate'],
    ['a TCB in force that no level describes', { teeTcbSvn2: [6, 1, 7] }, {}, 'NotSupported'],
    ['a module in force that Intel does not know', { teeTcbSvn2: [7, 2, 8] }, old, 'NotSupported'],
    ['a module in force below every level', { teeTcbSvn2: [5, 1, 8] }, {}, 'NotSupported'],
    ['a revoked level in force', { teeTcbSvn2: [6, 1, 7] }, { statuses: ['UpToDate', 'Revoked'] }, 'Revoked'],
    ['an enclave that lags', { teeTcbSvn2: [6, 1, 8] }, { qeStatus: 'OutOfDate' }, 'OutOfDate'],
  ];
  for (const [what, td, content, status] of currents) {
    test(`${what} is ${status} by itself`, async () => {
      const evidence = qe.evidence({ version: 5, ...td }, content);
      const found = await verify(evidence);
      assert.equal(found.tcb !== 'not checked' && found.tcb.current.status, status);
      const failed = failing(appraiseTdx(found, TDX_CAREFUL)).includes('tdx.tcb.current');
      assert.equal(failed, status !== 'UpToDate');
    });
  }

  test('a TDREPORT 1.0 tells one TCB, which is in force', async () => {
    assert.equal((await tcbOf({ version: 4 }, { statuses: ['OutOfDate'] })).current.status, 'OutOfDate');
  });

  test('levels that only advisories are looked up in throw nothing: the lowest that is reached advises', async () => {
    // The module's minor version is below what byte 0 of every level asks; its own identity knows it as out of date.
    const content: FakeCollateral = {
      ...old,
      tcbInfo: (made) => ({
        ...made,
        tdxModuleIdentities: made.tdxModuleIdentities.map((one) => ({
          ...one,
          tcbLevels: [...one.tcbLevels, { tcb: { isvsvn: 3 }, tcbStatus: 'OutOfDate', advisoryIDs: ['INTEL-SA-OLD'] }],
        })),
      }),
    };
    const tcb = await tcbOf({ version: 5, teeTcbSvn: [4, 1, 8], teeTcbSvn2: [7, 1, 8] }, content);
    assert.equal(tcb.status, 'TDRelaunchAdvised');
    assert.deepEqual(tcb.advisories, ['INTEL-SA-00000', 'INTEL-SA-OLD']);
    const lagging = await tcbOf({ version: 5, teeTcbSvn: [4, 1, 8], teeTcbSvn2: [4, 1, 8] }, content);
    assert.equal(lagging.status, 'OutOfDate');
  });

  describe('collateral in another order, or with words of the future', () => {
    const backwards: NonNullable<FakeCollateral['tcbInfo']> = (made) => ({
      ...made,
      tcbLevels: made.tcbLevels.toReversed(),
      tdxModuleIdentities: made.tdxModuleIdentities.map((one) => ({ ...one, tcbLevels: one.tcbLevels.toReversed() })),
    });
    test('a revoked level listed last is revoked all the same', async () => {
      const statuses = ['Revoked', 'UpToDate', 'OutOfDate'] as const;
      assert.equal(await statusOf({}, { statuses }), 'Revoked');
      assert.equal(await statusOf({}, { statuses, tcbInfo: backwards }), 'Revoked');
    });

    test('a revoked module or enclave listed last, too', async () => {
      const two = { moduleStatus: 'UpToDate', newerModule: 7, tcbInfo: backwards } as const;
      assert.equal(await statusOf({ teeTcbSvn: [7, 1, 8] }, two), 'UpToDate');
      const levels = [
        { tcb: { isvsvn: 2 }, tcbStatus: 'UpToDate' },
        { tcb: { isvsvn: 4 }, tcbStatus: 'Revoked' },
      ];
      const revoked: FakeCollateral = { qeIdentity: (made) => ({ ...made, tcbLevels: levels }) };
      assert.equal(await statusOf({}, revoked), 'Revoked');
      const module: FakeCollateral = {
        tcbInfo: (made) => ({
          ...made,
          tdxModuleIdentities: made.tdxModuleIdentities.map((one) => ({
            ...one,
            tcbLevels: [
              { tcb: { isvsvn: 2 }, tcbStatus: 'UpToDate' },
              { tcb: { isvsvn: 6 }, tcbStatus: 'Revoked' },
            ],
          })),
        }),
      };
      assert.equal(await statusOf({}, module), 'Revoked');
    });

    test('a level that stands twice is refused: which of the two counts?', () =>
      refused('collateral', () =>
        verify(
          qe.evidence({}, { tcbInfo: (made) => ({ ...made, tcbLevels: [...made.tcbLevels, ...made.tcbLevels] }) }),
        ),
      ));

    const statusOfLevel =
      (at: number, tcbStatus: string): NonNullable<FakeCollateral['tcbInfo']> =>
      (made) => ({
        ...made,
        tcbLevels: made.tcbLevels.map((level, index) => (index === at ? { ...level, tcbStatus } : level)),
      });
    test('a word that is not known refuses quotes of that level, and no others', async () => {
      const statuses = ['UpToDate', 'OutOfDate'] as const;
      assert.equal(await statusOf({}, { statuses, tcbInfo: statusOfLevel(1, 'SelfDestructAdvised') }), 'UpToDate');
      const content = { statuses, tcbInfo: statusOfLevel(0, 'SelfDestructAdvised') };
      await refused('collateral', () => verify(qe.evidence({}, content)));
      assert.equal(await statusOf({ teeTcbSvn: [6, 1, 7] }, content), 'OutOfDate');
    });

    test('a module identity that is not understood refuses quotes of that module, and no others', async () => {
      const content: FakeCollateral = {
        tcbInfo: (made) => ({
          ...made,
          tdxModuleIdentities: [{ id: 'TDX_FF+', levels: 'elsewhere' }, { id: 'TDX_05' }, ...made.tdxModuleIdentities],
        }),
      };
      assert.equal(await statusOf({}, content), 'UpToDate');
      await refused('collateral', () => verify(qe.evidence({ teeTcbSvn: [6, 5, 8] }, content)));
    });

    test('a module with two identities is refused', () =>
      refused('collateral', () =>
        verify(
          qe.evidence(
            {},
            {
              tcbInfo: (made) => ({
                ...made,
                tdxModuleIdentities: [...made.tdxModuleIdentities, ...made.tdxModuleIdentities],
              }),
            },
          ),
        ),
      ));

    test('an enclave identity of version 3 is refused, as by the library of who would publish it', () =>
      refused('collateral', () => verify(qe.evidence({}, { qeIdentity: (made) => ({ ...made, version: 3 }) }))));
  });

  test('Revoked is not one of any', async () => {
    const revoked = await verify(qe.evidence({}, { statuses: ['Revoked'] }));
    const any = { ...TDX_CAREFUL, tcbStatuses: 'any', currentTcbStatuses: 'any' } as const;
    const failed = failing(appraiseTdx(revoked, any));
    assert.ok(failed.includes('tdx.tcb') && failed.includes('tdx.tcb.current'));
    const named = { ...any, tcbStatuses: ['Revoked'], currentTcbStatuses: ['Revoked'] } as const;
    assert.equal(failing(appraiseTdx(revoked, named)).includes('tdx.tcb'), false);
    const old = await verify(qe.evidence({}, { statuses: ['OutOfDate'] }));
    assert.equal(failing(appraiseTdx(old, any)).includes('tdx.tcb'), false);
  });

  test('a guest to be started again is no better to a careful verifier', async () => {
    const tdx = await verify(qe.evidence({ version: 5, teeTcbSvn2: [7, 1, 8] }, old));
    const careful = appraiseTdx(tdx, TDX_CAREFUL);
    assert.ok(failing(careful).includes('tdx.tcb'));
    const lenient = appraiseTdx(tdx, { ...TDX_CAREFUL, tcbStatuses: ['UpToDate', 'TDRelaunchAdvised'] });
    assert.equal(failing(lenient).includes('tdx.tcb'), false);
  });

  test('takes the first level that is reached in every component', async () => {
    const statuses = ['UpToDate', 'OutOfDate', 'Revoked'] as const;
    assert.equal(await statusOf({ teeTcbSvn: [6, 1, 7] }, { statuses }), 'OutOfDate');
    assert.equal(await statusOf({ teeTcbSvn: [6, 1, 6] }, { statuses }), 'Revoked');
  });

  test('a module with a major version is not compared by its own bytes', async () => {
    // The level asks for 5 at byte 0 and 0 at byte 1; a module of major version 1 is judged by its own identity.
    assert.equal(await statusOf({ teeTcbSvn: [6, 1, 8] }, {}), 'UpToDate');
    await refused('collateral', () => verify(qe.evidence({ teeTcbSvn: [4, 0, 8] })));
    assert.equal(await statusOf({ teeTcbSvn: [5, 0, 8] }, {}), 'UpToDate');
  });
});

describe('parseQuote', () => {
  const good = qe.quote();
  const at = { certification: 48 + 584 + 4 + 128 } as const;
  const bad: [string, DecodeErrorCode, (bytes: Buffer) => void][] = [
    ['version 3', 'version', (bytes) => bytes.writeUInt16LE(3, 0)],
    ['version 6', 'version', (bytes) => bytes.writeUInt16LE(6, 0)],
    ['P-384 keys', 'version', (bytes) => bytes.writeUInt16LE(3, 2)],
    ['an SGX quote', 'version', (bytes) => bytes.writeUInt32LE(0, 4)],
    ['reserved header bytes', 'reserved', (bytes) => bytes.writeUInt32LE(1, 8)],
    ['another vendor', 'version', (bytes) => bytes.writeUInt8(0, 12)],
    ['another certification data', 'version', (bytes) => bytes.writeUInt16LE(5, at.certification)],
    [
      'a certification length beyond the end',
      'truncated',
      (bytes) => bytes.writeUInt32LE(0xffff_ffff, at.certification + 2),
    ],
    ['a signature length beyond the end', 'truncated', (bytes) => bytes.writeUInt32LE(0xffff, 48 + 584)],
  ];
  for (const [what, code, change] of bad) {
    test(`refuses ${what}`, () => {
      const bytes = Buffer.from(good);
      change(bytes);
      undecodable(code, () => parseQuote(bytes));
    });
  }

  test('refuses body types and sizes of version 5 that are not TD 1.0, 1.5 or 1.5ex', () => {
    for (const [type, size] of [
      [1, 384],
      [3, 584],
      [2, 648],
      [4, 648],
      [3, 885],
      [5, 885],
    ] as const) {
      const bytes = Buffer.from(qe.quote({ version: 5 }));
      bytes.writeUInt16LE(type, 48);
      bytes.writeUInt32LE(size, 50);
      undecodable('version', () => parseQuote(bytes));
    }
  });

  test('takes a PCK chain whose lines end in CRLF, and nothing around it', () => {
    const ending = (change: (pem: string) => string): Uint8Array => qe.quote({}, { pckPem: change });
    const count = parseQuote(good).pckChain.length;
    for (const end of ['', '\r\n', '\r\n\0', '\n\0']) {
      const quote = ending((pem) => `${pem.trimEnd().replaceAll('\n', '\r\n')}${end}`);
      assert.equal(parseQuote(quote).pckChain.length, count, JSON.stringify(end));
    }
    for (const around of ['\r', '\n\n', '\r\n\r\n', '\r\n ', '\n\r']) {
      undecodable('syntax', () => parseQuote(ending((pem) => `${pem.trimEnd()}${around}`)));
    }
  });

  test('knows the length that a quote states', () => {
    for (const version of [4, 5] as const) {
      const quote = qe.quote({ version });
      assert.equal(quoteLength(Buffer.concat([quote, Buffer.alloc(99)])), quote.length);
    }
  });

  test('is total', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(good.length), (noise, offset) => {
        const bytes = Buffer.concat([good.subarray(0, offset), noise, good.subarray(offset + noise.length)]);
        for (const parse of [parseQuote, quoteLength]) {
          try {
            parse(bytes);
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error));
          }
        }
      }),
      { numRuns: count(2000, 2000, 200) },
    );
  });
});

describe('appraiseTdx', () => {
  const measured = new Uint8Array(48).fill(0xd0);
  const zero = new Uint8Array(48);
  const careful: TdxDemands = { ...TDX_CAREFUL, mrTds: [measured], rtmrs: [[zero], [zero], [zero], [zero]] };

  async function checked(td: FakeTd, content: FakeCollateral, demands: Partial<TdxDemands>): Promise<string[]> {
    return failing(appraiseTdx(await verify(qe.evidence(td, content)), { ...careful, ...demands }));
  }

  test('passes what a careful verifier wants', async () => assert.deepEqual(await checked({}, {}, {}), []));

  const safe = 1n << 28n;
  const cases: [string, string, FakeTd, FakeCollateral, Partial<TdxDemands>][] = [
    ['a debug guest', 'tdx.attributes.debug', { tdAttributes: safe | 1n }, {}, {}],
    ['a migratable guest', 'tdx.attributes.migratable', { tdAttributes: safe | (1n << 29n) }, {}, {}],
    ['a provisioning agent', 'tdx.attributes.tpa', { tdAttributes: safe | (1n << 62n) }, {}, {}],
    ['performance monitoring', 'tdx.attributes.perfmon', { tdAttributes: safe | (1n << 63n) }, {}, {}],
    ['an attribute that is not known', 'tdx.attributes.known', { tdAttributes: safe | 2n }, {}, {}],
    ['#VE that the host can provoke', 'tdx.attributes.septVeDisable', { tdAttributes: 0n }, {}, {}],
    ['a feature that is not allowed', 'tdx.xfam', {}, {}, { xfamAllowed: 0xe7n }],
    ['another MRTD', 'tdx.mrtd', { mrTd: zero }, {}, {}],
    ['another RTMR3', 'tdx.rtmr3', { rtmrs: [zero, zero, zero, measured] }, {}, {}],
    ['other report data', 'tdx.report-data', {}, {}, { reportData: new Uint8Array(64).fill(1) }],
    ['another MRCONFIGID', 'tdx.mr-config-id', {}, {}, { mrConfigId: measured }],
    ['another TDX module', 'tdx.mr-seam', {}, {}, { mrSeams: [zero] }],
    ['another MROWNER', 'tdx.mr-owner', {}, {}, { mrOwner: measured }],
    ['another MROWNERCONFIG', 'tdx.mr-owner-config', {}, {}, { mrOwnerConfig: measured }],
    ['a service TD that is not named', 'tdx.service-td', { version: 5, mrServiceTd: measured }, {}, {}],
    [
      'another service TD than the one that is named',
      'tdx.service-td',
      { version: 5, mrServiceTd: zero.with(0, 1) },
      {},
      { serviceTds: [measured] },
    ],
    [
      'a platform that was out of date at launch',
      'tdx.tcb',
      { version: 5, teeTcbSvn: [6, 1, 7], teeTcbSvn2: [6, 1, 8] },
      { statuses: ['UpToDate', 'OutOfDate'] },
      {},
    ],
    [
      'a platform that is out of date now',
      'tdx.tcb.current',
      { version: 5, teeTcbSvn: [6, 1, 8], teeTcbSvn2: [6, 1, 7] },
      { statuses: ['UpToDate', 'OutOfDate'] },
      {},
    ],
    ['an old evaluation', 'tdx.tcb.evaluation', {}, {}, { minimumEvaluation: 20 }],
  ];
  for (const [what, id, td, content, demands] of cases) {
    test(`fails ${what}`, async () => assert.deepEqual(await checked(td, content, demands), [id]));
  }

  test('passes LASS, which is an instruction of the guest, and a service TD that is named', async () => {
    assert.deepEqual(await checked({ tdAttributes: safe | (1n << 27n) }, {}, {}), []);
    const bound: FakeTd = { version: 5, mrServiceTd: measured };
    assert.deepEqual(await checked(bound, {}, { serviceTds: [measured] }), []);
    assert.deepEqual(await checked(bound, {}, { serviceTds: 'any' }), []);
  });

  const extension = new Uint8Array(237);
  const EXTENSION_CASES: [string, string, number][] = [
    ['another VM inside the TD', 'tdx.vm-id', 0],
    ['a device', 'tdx.devices', 33],
    ['a service TD at its beginning', 'tdx.service-td.initial', 81],
    ['attributes of no service TD', 'tdx.service-td.attributes', 129],
    ['another platform at its beginning, by CPU', 'tdx.migrated', 137],
    ['by TDX', 'tdx.migrated', 153],
    ['by family', 'tdx.migrated', 180],
    ['a service TD now', 'tdx.service-td.current', 181],
    ['attributes of no service TD now', 'tdx.service-td.attributes', 236],
  ];
  for (const [what, id, at] of EXTENSION_CASES) {
    test(`of a TDREPORT 1.5ex fails ${what}`, async () =>
      assert.deepEqual(await checked({ version: 5, extension: extension.with(at, 1) }, {}, {}), [id]));
  }
  test('of a TDREPORT 1.5ex passes one that nothing was done to, whatever the TD is called', async () => {
    assert.deepEqual(await checked({ version: 5, extension: extension.with(1, 9) }, {}, {}), []);
  });

  test('fails where the patch level was not checked', async () => {
    const evidence = await verify({ quote: qe.quote(), collateral: 'none' });
    assert.deepEqual(failing(appraiseTdx(evidence, careful)), ['tdx.tcb', 'tdx.tcb.current']);
    assert.deepEqual(failing(appraiseTdx(evidence, { ...careful, tcbStatuses: 'any', currentTcbStatuses: 'any' })), []);
  });
});
