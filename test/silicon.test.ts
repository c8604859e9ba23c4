/**
 * SEV-SNP and TDX from end to end: the runtime asks configfs-tsm, processors in software sign, the client gets what is
 * missing from the makers' services and verifies. Only silicon and network are pretended.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { References } from '@enclaim/attestation';
import { parseBundle } from '@enclaim/attestation/bundle';
import { utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { launchCommandLine } from '@enclaim/attestation/measure';
import { parseReferences, type SnpReference, type TdxReference } from '@enclaim/attestation/references';
import { parseVerdictDocument, verdictDocument } from '@enclaim/attestation/verdict-document';
import { connect, verifySaved } from '@enclaim/client';
import { describeServices, VendorCollateral } from '@enclaim/client/network';
import type { BuiltBundle } from '@enclaim/image';
import { canonicalPolicy, decodePolicy } from '@enclaim/policy-schema';
import { openTsmPlatform } from '../guest/src/platform/tsm.ts';
import { TsmDevice, type TsmReport } from '../guest/src/tsm/index.ts';
import { EPOCH, pemOf } from './fakes/certificates.ts';
import { certificateTable, FakeTsmTree } from './fakes/configfs-tsm.ts';
import { FakePsp, type FakeReport } from './fakes/psp.ts';
import { type FakeCollateral, FakeQuotingEnclave, type FakeTd } from './fakes/quoting-enclave.ts';
import { bootEvents, eventReferences, FakeTrustDomain } from './fakes/trust-domain.ts';
import { clinicBundle } from './support/app.ts';
import { HANGS_MS } from './support/eventually.ts';
import { needs } from './support/machine-needs.ts';
import { agreeInBrowser, refuseEveryChange, type ShownEvidence } from './support/shown-evidence.ts';
import {
  type Booted,
  boot,
  failed,
  intelServices,
  now,
  referencesFor,
  serviceOf,
  snpLaunch,
} from './support/silicon.ts';
import { endsExactly } from './support/verdict-end.ts';

const DAY = 86_400_000;
const COMMAND_LINE = 'quiet panic=-1';
const id = digestText('sha256', sha256(utf8('image')));

/** Evidence that was accepted on Node, with its verdict there. */
const shown: ShownEvidence[] = [];

describe('SEV-SNP', () => {
  const psp = new FakePsp();
  let bundle: BuiltBundle;
  let server: Booted;
  let naming: Booted;
  let references: References;
  let reference: SnpReference;
  let measurement: Uint8Array;
  let measure: (line: string) => Promise<Uint8Array>;
  let fields: FakeReport = {};
  let aux: Uint8Array = new Uint8Array();
  let replayed: Uint8Array | undefined;

  before(async () => {
    bundle = await clinicBundle();
    ({ reference, measure } = await snpLaunch({ id, commandLine: COMMAND_LINE }));
    const commandLine = launchCommandLine(reference, bundle.policy);
    measurement = await measure(commandLine);
    references = referencesFor(bundle, psp.pins, { snp: [reference] });
    aux = certificateTable({ vcek: psp.leaf, ask: psp.ask, ark: psp.ark, crl: psp.crl() });
    const answer = (reportData: Uint8Array): TsmReport => ({
      provider: 'sev_guest',
      outblob: replayed ?? psp.report({ reportData, measurement, ...fields }),
      auxblob: aux,
    });
    server = await boot(bundle, new FakeTsmTree(answer), { commandLine });
    naming = await boot(bundle, new FakeTsmTree(answer), {
      commandLine,
      tamper: (honest) => ({ ...honest, device: { ...honest.device, ak: utf8('a key of some TPM') } }),
    });
  });
  after(async () => {
    await server.stop();
    await naming.stop();
  });

  test('with keys of a TPM in its statement, which nothing proves, is refused', async () => {
    await assert.rejects(connect(naming.target, { references, now }), { name: 'EvidenceError', code: 'binding' });
  });

  /** With these fields in the report, these required checks fail. */
  async function failsWith(changed: FakeReport): Promise<string[]> {
    fields = changed;
    try {
      return await failed(server.target, { references });
    } finally {
      fields = {};
    }
  }

  test('is called over evidence that verifies offline, too', async () => {
    const channel = await connect(server.target, { references, now });
    try {
      assert.deepEqual((await describeServices(channel, { deadline: Date.now() + HANGS_MS })).services, [
        'clinic.v1.Intake',
      ]);
      const { verdict, evidence } = channel.attestation;
      assert.equal(verdict.platform, 'snp');
      parseVerdictDocument(utf8(JSON.stringify(verdictDocument(verdict, { at: now(), asOf: now() }))));
      assert.match(verdict.checks.find((check) => check.id === 'quote.key')?.detail ?? '', /named as unsafe/);
      await endsExactly(evidence, references, now);
      shown.push({ evidence, references, verdict });
    } finally {
      channel.close();
    }
  });

  test('under production anchors is refused', async () => {
    const { unsafeSiliconRoots: _, ...anchors } = references.anchors;
    const production: References = { ...references, anchors: { ...anchors, vendors: ['amd', 'intel'] } };
    await assert.rejects(connect(server.target, { references: production, now }), { code: 'chain' });
    await assert.rejects(connect(server.target, { references: { ...references, anchors }, now }), { code: 'platform' });
  });

  test('with a report that lets the host in is refused', async () => {
    assert.deepEqual(await failsWith({}), []);
    assert.deepEqual(await failsWith({ policy: 0x3_0000n | (1n << 19n) }), ['snp.policy.debug']);
    assert.deepEqual(await failsWith({ policy: 0x3_0000n | (1n << 18n) }), ['snp.policy.migrationAgent']);
    assert.deepEqual(await failsWith({ vmpl: 1 }), ['snp.vmpl']);
    assert.deepEqual(await failsWith({ platformInfo: 0x5n }), ['snp.platform.aliasCheck']);
  });

  test('with firmware below the floor, or that can still be rolled back, is refused', async () => {
    const older = psp.tcb - (1n << 56n);
    assert.deepEqual(await failsWith({ launchTcb: older }), ['snp.tcb.launch']);
    assert.deepEqual(await failsWith({ committedTcb: older }), ['snp.tcb.committed', 'snp.provisional']);
    // The key is derived from the reported TCB: a lower one is another key's.
    fields = { reportedTcb: older };
    await assert.rejects(connect(server.target, { references, now }), { code: 'identity' });
    fields = {};
  });

  test('that launched something else is refused, and the command line is named where it is that', async () => {
    assert.deepEqual(await failsWith({ measurement: sha384(utf8('something')) }), ['image']);
    const line = `${COMMAND_LINE} init=/bin/sh enclaim.policy=${bundle.policy}`;
    const launched = await measure(line);
    const tree = new FakeTsmTree((reportData) => ({
      provider: 'sev_guest',
      outblob: psp.report({ reportData, measurement: launched }),
      auxblob: aux,
    }));
    const other = await boot(bundle, tree, { commandLine: line });
    try {
      await assert.rejects(
        connect(other.target, { references, now }),
        /command line differs: expected .*init=\/bin\/sh/,
      );
    } finally {
      await other.stop();
    }
  });

  test('whose host names another policy is refused, and the right one is shown', async () => {
    assert.deepEqual(await failsWith({ hostData: sha256(utf8('another policy')) }), ['snp.host-data']);
    const policy = sha256(canonicalPolicy(decodePolicy(parseBundle(bundle.bytes).policy)));
    assert.deepEqual(await failsWith({ hostData: policy }), []);
  });

  test('is held to the keys of its ID block where the references name them', async () => {
    const [idKeyDigest, authorKeyDigest] = [sha384(utf8('id key')), sha384(utf8('author key'))];
    const text = (digest: Uint8Array) => [digestText('sha384', digest)];
    const named = { ...reference, idKeys: text(idKeyDigest), authorKeys: text(authorKeyDigest) };
    const open = references;
    references = referencesFor(bundle, psp.pins, { snp: [named] });
    try {
      assert.deepEqual(await failsWith({ idKeyDigest, authorKeyDigest }), []);
      assert.deepEqual(await failsWith({}), ['snp.id-key', 'snp.author-key']);
      assert.deepEqual(await failsWith({ idKeyDigest, authorKeyDigest: idKeyDigest }), ['snp.author-key']);
    } finally {
      references = open;
    }
    const channel = await connect(server.target, { references, now });
    channel.close();
    const keys = channel.attestation.verdict.checks.filter(
      ({ id }) => /key$|host-data$/.test(id) && id.startsWith('snp.'),
    );
    assert.deepEqual(
      keys.map(({ id, outcome }) => [id, outcome]),
      ['snp.id-key', 'snp.author-key', 'snp.host-data'].map((id) => [id, 'not run']),
    );
  });

  test('whose firmware is newer than any text is refused until the references name what it says', async () => {
    const newer = { version: 6, platformInfo: 0x125n };
    assert.deepEqual(await failsWith(newer), ['snp.version', 'snp.platform.known']);
    const open = references;
    const pins = { reportVersions: [5, 6], platformBits: [8] };
    const snp = (open.snp ?? []).map((one) => ({ ...one, ...pins }));
    references = parseReferences(utf8(JSON.stringify({ ...open, snp })));
    try {
      assert.deepEqual(await failsWith(newer), []);
      assert.deepEqual(await failsWith({}), ['snp.version']);
      assert.deepEqual(await failsWith({ ...newer, platformInfo: 0x225n }), ['snp.platform.known']);
    } finally {
      references = open;
    }
  });

  test('that replays a report is refused', async () => {
    replayed = psp.report({ reportData: new Uint8Array(64), measurement });
    try {
      await assert.rejects(connect(server.target, { references, now }), { name: 'EvidenceError', code: 'nonce' });
    } finally {
      replayed = undefined;
    }
  });

  test('with a clock set back or forward is refused', async () => {
    for (const time of [EPOCH - DAY, EPOCH + 400 * DAY, EPOCH + 4000 * DAY]) {
      await assert.rejects(connect(server.target, { references, now: () => time }), { code: 'validity' });
    }
  });

  test('gets from AMD what its host does not give, once; without it, it is refused', async () => {
    const KDS = 'https://kdsintf.amd.com/vcek/v1/Milan';
    const chip = Buffer.from(psp.chipId).toString('hex');
    const levels = { blSPL: '04', teeSPL: '01', snpSPL: '24', ucodeSPL: '219' };
    const bodies = {
      [`${KDS}/${chip}?${new URLSearchParams(levels)}`]: new Response(Buffer.from(psp.leaf)),
      [`${KDS}/cert_chain`]: new Response(pemOf(psp.ask, psp.ark)),
      [`${KDS}/crl`]: new Response(Buffer.from(psp.crl())),
    };
    const given = aux;
    aux = new Uint8Array();
    try {
      const fetch = serviceOf(bodies);
      const collateral = new VendorCollateral({ fetch, now });
      for (let round = 0; round < 2; round++)
        assert.deepEqual(await failed(server.target, { references, collateral }), []);
      assert.deepEqual(fetch.asked.toSorted(), Object.keys(bodies).toSorted());
      const revoked = serviceOf({ ...bodies, [`${KDS}/crl`]: new Response(Buffer.from(psp.crl(0x10001))) });
      await assert.rejects(
        connect(server.target, { references, now, collateral: new VendorCollateral({ fetch: revoked, now }) }),
        { code: 'revoked' },
      );
      await assert.rejects(
        connect(server.target, { references, now, collateral: new VendorCollateral({ fetch: serviceOf({}), now }) }),
        { name: 'CollateralError', code: 'missing' },
      );
    } finally {
      aux = given;
    }
  });
});

describe('TDX', () => {
  const enclave = new FakeQuotingEnclave();
  const mrTd = sha384(utf8('mrtd'));
  const initrd = digestText('sha384', sha384(utf8('initrd')));
  let bundle: BuiltBundle;
  let server: Booted;
  let references: References;
  let domain: FakeTrustDomain;
  let td: FakeTd = {};

  before(async () => {
    bundle = await clinicBundle();
    const image = { commandLine: COMMAND_LINE };
    const line = launchCommandLine(image, bundle.policy);
    const events = bootEvents(line, initrd);
    const rtmr0 = eventReferences(events, 0);
    const rtmr1 = eventReferences(events, 1);
    const reference: TdxReference = {
      id,
      mrtd: digestText('sha384', mrTd),
      rtmr0,
      rtmr1,
      initrd,
      ...image,
      commandLineEnd: '',
      rtmr3: 'policy',
    };
    references = referencesFor(bundle, enclave.pins, { tdx: [reference] });
    // Firmware that keeps no log: what differs is said by registers alone.
    domain = new FakeTrustDomain(enclave, { mrTd, events, logged: null, fields: () => td });
    const tree = new FakeTsmTree((data) => domain.report(data));
    server = await boot(bundle, tree, { commandLine: line, measurements: domain.measurements });
  });
  after(() => server.stop());

  async function failsWith(changed: FakeTd, content: FakeCollateral = {}): Promise<string[]> {
    td = changed;
    try {
      return await failed(server.target, { references, collateral: intelServices(enclave, content) });
    } finally {
      td = {};
    }
  }

  test('is called over evidence that verifies offline, too', async () => {
    const channel = await connect(server.target, { references, now, collateral: intelServices(enclave) });
    channel.close();
    const { verdict, evidence } = channel.attestation;
    assert.equal(verdict.platform, 'tdx');
    parseVerdictDocument(utf8(JSON.stringify(verdictDocument(verdict, { at: now(), asOf: now() }))));
    // The collateral is in the evidence.
    await endsExactly(evidence, references, now);
    shown.push({ evidence, references, verdict });
    await assert.rejects(verifySaved(evidence, { references, now: () => EPOCH + 60 * DAY }), { name: 'EvidenceError' });
  });

  test('in debug mode, with other registers or another configuration is refused', async () => {
    assert.deepEqual(await failsWith({ tdAttributes: (1n << 28n) | 1n }), ['tdx.attributes.debug']);
    assert.deepEqual(await failsWith({ mrTd: sha384(utf8('other firmware')) }), ['tdx.mrtd']);
    for (let index = 0; index < 4; index++) {
      const other = domain.rtmrs.with(index, sha384(utf8('other')));
      assert.deepEqual(await failsWith({ rtmrs: other }), [`tdx.rtmr${index}`]);
    }
    assert.deepEqual(await failsWith({ mrConfigId: sha384(utf8('another policy')) }), ['tdx.mr-config-id']);
    assert.deepEqual(await failsWith({ version: 5 }), []);
  });

  /** The same references, with more said of TDs. */
  async function pinned(pins: Partial<TdxReference>, changed: FakeTd, content: FakeCollateral = {}): Promise<string[]> {
    const open = references;
    const tdx = (open.tdx ?? []).map((one) => ({ ...one, ...pins }));
    references = parseReferences(utf8(JSON.stringify({ ...open, tdx })));
    try {
      return await failsWith(changed, content);
    } finally {
      references = open;
    }
  }

  test('is held to what its host set at launch where the references name it', async () => {
    const [set, other] = [sha384(utf8('set')), sha384(utf8('other'))];
    const pin = digestText('sha384', set);
    const fields = [
      ['mrConfigId', 'tdx.mr-config-id'],
      ['mrOwner', 'tdx.mr-owner'],
      ['mrOwnerConfig', 'tdx.mr-owner-config'],
    ] as const;
    for (const [field, check] of fields) {
      assert.deepEqual(await pinned({ [field]: pin }, { [field]: set }), []);
      assert.deepEqual(await pinned({ [field]: pin }, { [field]: other }), [check]);
      assert.deepEqual(await pinned({ [field]: pin }, {}), [check], 'what was not set is not what was named');
    }
    assert.deepEqual(await failsWith({ mrOwner: other, mrOwnerConfig: other }), [], 'nothing was named');
    assert.deepEqual(await pinned({ mrSeams: [pin] }, {}), ['tdx.mr-seam']);
  });

  test('with a service TD that no reference names is refused', async () => {
    const [migration, other] = [sha384(utf8('migration TD')), sha384(utf8('another'))];
    const serviceTds = [digestText('sha384', migration)];
    assert.deepEqual(await failsWith({ version: 5, mrServiceTd: migration }), ['tdx.service-td']);
    assert.deepEqual(await pinned({ serviceTds }, { version: 5, mrServiceTd: migration }), []);
    assert.deepEqual(await pinned({ serviceTds }, { version: 5, mrServiceTd: other }), ['tdx.service-td']);
    assert.deepEqual(await pinned({ serviceTds }, { version: 5 }), [], 'none needs to be bound');
  });

  test('has a grace on an old platform where the references name the day that it ends, and the verdict ends then', async () => {
    const old: FakeCollateral = { statuses: ['OutOfDate'] };
    const grace = (until: number): Partial<TdxReference> => ({
      tcbGraces: [{ status: 'OutOfDate', until: new Date(until).toISOString() }],
    });
    assert.deepEqual(await pinned(grace(now() + DAY), {}, old), []);
    assert.deepEqual(await pinned(grace(now()), {}, old), []);
    assert.deepEqual(await pinned(grace(now() - 1), {}, old), ['tdx.tcb', 'tdx.tcb.current']);
    const needed: FakeCollateral = { statuses: ['ConfigurationNeeded'] };
    assert.deepEqual(await pinned(grace(now() + DAY), {}, needed), ['tdx.tcb', 'tdx.tcb.current']);
    const tdx = (references.tdx ?? []).map((one) => ({ ...one, ...grace(now() + 1000) }));
    const options = { references: { ...references, tdx }, now };
    const channel = await connect(server.target, { ...options, collateral: intelServices(enclave, old) });
    channel.close();
    assert.deepEqual(channel.attestation.verdict.end, {
      notAfter: new Date(now() + 1000).toISOString(),
      what: 'grace for OutOfDate',
    });
    const fresh = await connect(server.target, { ...options, collateral: intelServices(enclave) });
    fresh.close();
    assert.notEqual(
      fresh.attestation.verdict.end?.what,
      'grace for OutOfDate',
      'a grace that is not used ends nothing',
    );
    for (const status of ['Revoked', 'NotSupported']) {
      const tcbGraces = [{ status, until: '2099-01-01T00:00:00.000Z' }];
      const written = { ...references, tdx: (references.tdx ?? []).map((one) => ({ ...one, tcbGraces })) };
      assert.throws(() => parseReferences(utf8(JSON.stringify(written))), { code: 'references' });
    }
  });

  test('on a platform that Intel calls out of date, or says nothing of, is refused', async () => {
    assert.deepEqual(await failsWith({}, { statuses: ['OutOfDate'] }), ['tdx.tcb', 'tdx.tcb.current']);
    await assert.rejects(
      connect(server.target, { references, now, collateral: intelServices(enclave, { revoked: [3] }) }),
      {
        code: 'revoked',
      },
    );
    await assert.rejects(
      connect(server.target, { references, now, collateral: new VendorCollateral({ fetch: serviceOf({}), now }) }),
      { name: 'CollateralError' },
    );
    const silent = { complete: async () => {} };
    assert.deepEqual(await failed(server.target, { references, collateral: silent }), ['tdx.tcb', 'tdx.tcb.current']);
  });

  test('under production anchors, or with a replayed quote, is refused', async () => {
    const { unsafeSiliconRoots: _, ...anchors } = references.anchors;
    const production: References = { ...references, anchors: { ...anchors, vendors: ['intel'] } };
    await assert.rejects(connect(server.target, { references: production, now, collateral: intelServices(enclave) }), {
      code: 'chain',
    });
    td = { reportData: new Uint8Array(64) };
    await assert.rejects(connect(server.target, { references, now, collateral: intelServices(enclave) }), {
      code: 'nonce',
    });
    td = {};
  });
});

test('no byte of the evidence of either can be changed', async () => {
  assert.equal(shown.length, 2);
  for (const each of shown) await refuseEveryChange(each, 5);
});

test('both verify in a browser as they do here', needs('browser'), async () => {
  assert.equal(shown.length, 2);
  await agreeInBrowser(shown);
});

describe('configfs-tsm', () => {
  const report = (provider: string): TsmReport => ({ provider, outblob: Uint8Array.of(1), auxblob: new Uint8Array() });

  test('answers that somebody else asked for are not taken', async () => {
    const tree = new FakeTsmTree(() => report('sev_guest'));
    const device = await TsmDevice.open('mine', tree);
    await device.report(new Uint8Array(64));
    tree.interfere = (write) => write();
    await assert.rejects(device.report(new Uint8Array(64)), { name: 'TsmError', code: 'interfered' });
  });

  test('drivers that are not known, and trees that are not there, end in an error', async () => {
    const device = await TsmDevice.open('mine', new FakeTsmTree(() => report('arm_cca_guest')));
    const none = { rtmr3: null, ownReport: async () => new Uint8Array(), eventLogArea: async () => null };
    await assert.rejects(openTsmPlatform(device, none, ''), { name: 'TsmError', code: 'unavailable' });
    await assert.rejects(TsmDevice.open('enclaim-test-no-such-tree'), { name: 'TsmError', code: 'unavailable' });
    await assert.rejects(device.report(new Uint8Array(63)), RangeError);
  });
});
