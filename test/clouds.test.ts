/**
 * Azure, GCE and Nitro from end to end: the runtime serves on a cloud in software, the client gets what is missing from the
 * makers' services and verifies. What each attacker holds is real: certified hardware, a genuine report, the cloud's own VM.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { References, Verdict } from '@enclaim/attestation';
import { fromHex, toHex, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { EvidenceSchema } from '@enclaim/attestation/evidence';
import { parseReferences } from '@enclaim/attestation/references';
import { parseVerdictDocument, verdictDocument } from '@enclaim/attestation/verdict-document';
import { connect, verifySaved } from '@enclaim/client';
import { VendorCollateral } from '@enclaim/client/network';
import type { BuiltBundle } from '@enclaim/image';
import { EPOCH, pemOf } from './fakes/certificates.ts';
import { FakeVtpm } from './fakes/vtpm.ts';
import { clinicBundle } from './support/app.ts';
import { PRETEND_IMAGE } from './support/attested-runtime.ts';
import {
  AzureSnpCloud,
  AzureTdxCloud,
  type Cloud,
  type CloudServer,
  FIRMWARE,
  GcpCloud,
  NitroCloud,
  PARAVISOR,
  registersAsBooted,
  serveOn,
} from './support/cloud.ts';
import { startInPathProxy } from './support/in-path-proxy.ts';
import { needs } from './support/machine-needs.ts';
import { isAlwaysRun } from './support/refused.ts';
import { agreeInBrowser, refuseEveryChange, type ShownEvidence } from './support/shown-evidence.ts';
import { failed, intelServices, now, referencesFor, serviceOf } from './support/silicon.ts';
import { endsExactly } from './support/verdict-end.ts';

const DAY = 86_400_000;
const FLOORS = { Milan: { bootloader: 4, tee: 0, snp: 24, microcode: 219 } };
const other = (text: string): Uint8Array => sha384(utf8(text));
const as384 = (digest: Uint8Array) => digestText('sha384', digest as ReturnType<typeof sha384>);

let bundle: BuiltBundle;
before(async () => {
  bundle = await clinicBundle();
});

/** Evidence that was accepted on Node, with its verdict there. */
const shown: ShownEvidence[] = [];

/** It is accepted, online and from a file, its verdict is whole; relayed, or under the makers' own roots, it is refused. */
async function accepts(target: string, references: References, collateral?: VendorCollateral): Promise<Verdict> {
  const channel = await connect(target, { references, now, ...(collateral ? { collateral } : {}) });
  channel.close();
  const { verdict, evidence } = channel.attestation;
  await endsExactly(evidence, references, now);
  parseVerdictDocument(utf8(JSON.stringify(verdictDocument(verdict, { at: now(), asOf: now() }))));
  for (const left of verdict.checks.filter(({ required }) => required)) {
    const others = verdict.checks.filter(({ id }) => id !== left.id);
    const waived = [...others, { ...left, outcome: 'not run', required: false } as const];
    for (const checks of isAlwaysRun(left.id) ? [others, waived] : [others]) {
      const stripped = utf8(JSON.stringify(verdictDocument({ ...verdict, checks }, { at: now(), asOf: now() })));
      assert.throws(() => parseVerdictDocument(stripped), new RegExp(`without its check ${left.id}`), left.id);
    }
  }
  const { unsafeSiliconRoots: _, ...anchors } = references.anchors;
  const production: References = { ...references, anchors: { ...anchors, vendors: ['amd', 'intel', 'aws', 'google'] } };
  await assert.rejects(verifySaved(evidence, { references: production, now }), {
    name: 'EvidenceError',
    code: 'chain',
  });
  await assert.rejects(verifySaved(evidence, { references: { ...references, anchors }, now }), { code: 'platform' });
  await refusesRelay(target, references, collateral);
  shown.push({ evidence, references, verdict });
  return verdict;
}

/** Somebody on the path passes all of it on, under a certificate of its own: no byte of the application reaches it. */
async function refusesRelay(target: string, references: References, collateral?: VendorCollateral): Promise<void> {
  let relayed: Uint8Array | undefined;
  const proxy = await startInPathProxy(Number(target.split(':')[1]), ({ step }) => {
    if (step.case === 'evidence') relayed = toBinary(EvidenceSchema, step.value);
  });
  try {
    const options = { references, now, ...(collateral ? { collateral } : {}) };
    await assert.rejects(connect(proxy.target, options), { name: 'EvidenceError', code: 'binding' });
    assert.deepEqual([proxy.steps, proxy.leaked()], [['hello'], 0]);
    assert(relayed !== undefined);
    const evidence = fromBinary(EvidenceSchema, relayed);
    await collateral?.complete(evidence);
    const saved = await verifySaved(toBinary(EvidenceSchema, evidence), { references, now });
    assert.equal(saved.verdict.ok, true, 'what was relayed is good: only the channel is not');
  } finally {
    proxy.close();
  }
}

/** Changes a cloud for as long as `run` takes. */
async function during<C extends Cloud>(cloud: C, changes: Partial<C>, run: () => Promise<unknown>): Promise<void> {
  const before = new Map(Object.keys(changes).map((name) => [name, Object.getOwnPropertyDescriptor(cloud, name)]));
  Object.assign(cloud, changes);
  try {
    await run();
  } finally {
    for (const [name, own] of before) {
      if (own === undefined) Reflect.deleteProperty(cloud, name);
      else Object.defineProperty(cloud, name, own);
    }
  }
}

describe('Azure on SEV-SNP', () => {
  const cloud = new AzureSnpCloud();
  const signer = {
    idKey: as384(PARAVISOR.idKeyDigest),
    familyId: toHex(PARAVISOR.familyId),
    imageId: toHex(PARAVISOR.imageId),
    minimumSvn: 11,
  };
  const named = { measurements: [as384(PARAVISOR.measurement)], signers: [], floors: FLOORS };
  const signed = { measurements: [], signers: [signer], floors: FLOORS };
  let server: CloudServer;
  let references: References;
  const accepting = (azureSnp: References['azureSnp']): References =>
    parseReferences(utf8(JSON.stringify({ ...references, azureSnp })));
  before(async () => {
    cloud.vtpm.registers = registersAsBooted(bundle);
    references = referencesFor(bundle, cloud.pins, { images: [PRETEND_IMAGE], azureSnp: signed });
    server = await serveOn(cloud, bundle);
  });
  after(() => server.stop());
  const refuses = (changes: Partial<AzureSnpCloud>, code: string): Promise<void> =>
    during(cloud, changes, () =>
      assert.rejects(connect(server.target, { references, now }), { name: 'EvidenceError', code }),
    );
  const fails = (changes: Partial<AzureSnpCloud>, ids: string[], held: References = references): Promise<void> =>
    during(cloud, changes, async () => assert.deepEqual(await failed(server.target, { references: held }), ids));

  test('is called where the paravisor is signed as the references say, or is measured as they say', async () => {
    const verdict = await accepts(server.target, references);
    assert.equal(verdict.platform, 'azure-snp');
    await fails({}, [], accepting(named));
  });

  test('with a paravisor that nobody named is refused: whoever launches one names a vTPM key of its own', async () => {
    await fails({ report: { measurement: other('mine') } }, ['azure.paravisor'], accepting(named));
    await fails({ report: { idKeyDigest: other('my key') } }, ['azure.paravisor']);
    await fails({ report: { idKeyDigest: new Uint8Array(48) } }, ['azure.paravisor']);
    await fails({}, ['azure.paravisor'], accepting({ ...named, measurements: [] }));
    const { azureSnp: _, ...without } = references;
    const floors = ['reported', 'committed', 'current', 'launch'].map((which) => `snp.tcb.${which}`);
    await fails({}, ['azure.paravisor', ...floors], without);
  });

  test('with something else that the same maker signed, or an older one, is refused', async () => {
    await fails({ report: { familyId: fromHex('ff232000000000000000000000000000') } }, ['azure.paravisor']);
    await fails({ report: { imageId: fromHex('03000000000000000000000000000000') } }, ['azure.paravisor']);
    await fails({ report: { guestSvn: 10 } }, ['azure.paravisor']);
    await fails({ report: { guestSvn: 12 } }, []);
  });

  test('that nobody signed is refused, also where the references name the digest that stands for nobody', async () => {
    const nobody = { idKey: as384(new Uint8Array(48)), familyId: '00'.repeat(16), imageId: '00'.repeat(16) };
    const blank = { idKeyDigest: new Uint8Array(48), familyId: new Uint8Array(16), imageId: new Uint8Array(16) };
    const held = accepting({ ...signed, signers: [{ ...nobody, minimumSvn: 0 }] });
    await fails({ report: { ...blank, guestSvn: 0 } }, ['azure.paravisor'], held);
  });

  test('with a vTPM that the paravisor does not keep is refused, and so is a report that the guest asked for', async () => {
    const mine = new FakeVtpm();
    mine.registers = registersAsBooted(bundle);
    await refuses({ vtpm: mine }, 'signature');
    await refuses(
      { report: { reportData: cloud.paravisor.reportData(cloud.paravisor.runtimeData({ keys: [] })) } },
      'binding',
    );
    await refuses({ report: { vmpl: 2 } }, 'binding');
  });

  test('that started something else, or measured another policy, is refused', async () => {
    const honest = cloud.vtpm.registers;
    const changed = (register: number): ReadonlyMap<number, Uint8Array> =>
      new Map([...honest, [register, sha256(utf8('other'))]]);
    for (const register of [4, 9, 11, 13]) {
      cloud.vtpm.registers = changed(register);
      await fails({}, [`register.${register}`]);
    }
    for (const register of [12, 14, 15]) {
      cloud.vtpm.registers = changed(register);
      await refuses({}, 'binding');
    }
    cloud.vtpm.registers = new Map([...honest, [7, new Uint8Array(32)]]);
    await fails({}, ['firmware']);
    cloud.vtpm.registers = honest;
    await refuses({ commandLine: 'init=/bin/sh' }, 'binding');
  });

  test('whose report lets the host in, or is of old firmware, is refused', async () => {
    await fails({ report: { policy: 0x3_0000n | (1n << 19n) } }, ['snp.policy.debug']);
    await fails({ report: { platformInfo: 0x5n } }, ['snp.platform.aliasCheck']);
    await fails({ report: { launchTcb: cloud.psp.tcb - (1n << 56n) } }, ['snp.tcb.launch']);
    await refuses({ report: { reportedTcb: cloud.psp.tcb - (1n << 56n) } }, 'identity');
  });

  test('replayed, or with a clock set back or forward, is refused', async () => {
    const stale = await cloud.sign(sha256(utf8('root')), sha256(utf8('boot')));
    await refuses({ sign: async () => stale }, 'nonce');
    for (const time of [EPOCH - DAY, EPOCH + 4000 * DAY]) {
      await assert.rejects(connect(server.target, { references, now: () => time }), { code: 'validity' });
    }
  });

  test('gets certificates and revocation list from AMD; without them it is refused', async () => {
    const KDS = 'https://kdsintf.amd.com/vcek/v1/Milan';
    const chip = toHex(cloud.psp.chipId);
    const bodies = {
      [`${KDS}/${chip}?blSPL=04&teeSPL=01&snpSPL=24&ucodeSPL=219`]: new Response(Buffer.from(cloud.psp.leaf)),
      [`${KDS}/cert_chain`]: new Response(pemOf(cloud.psp.ask, cloud.psp.ark)),
      [`${KDS}/crl`]: new Response(Buffer.from(cloud.psp.crl())),
    };
    await during(cloud, { endorsed: false }, async () => {
      const fetch = serviceOf(bodies);
      assert.deepEqual(
        await failed(server.target, { references, collateral: new VendorCollateral({ fetch, now }) }),
        [],
      );
      assert.deepEqual(fetch.asked.toSorted(), Object.keys(bodies).toSorted());
      const silent = { complete: async () => {} };
      await assert.rejects(connect(server.target, { references, now, collateral: silent }), { code: 'collateral' });
    });
  });

  test('is asked for as one of another cloud, or another platform, is refused', async () => {
    await during(cloud, { sign: async (...both) => new NitroCloud(bundle).sign(...both) }, () =>
      assert.rejects(connect(server.target, { references, now }), { code: 'platform' }),
    );
    const tdx = new AzureTdxCloud();
    await during(cloud, { sign: async (...both) => tdx.sign(...both) }, () =>
      assert.rejects(connect(server.target, { references, now, collateral: intelServices(tdx.enclave) }), {
        code: 'platform',
      }),
    );
  });
});

describe('Azure on TDX', () => {
  const cloud = new AzureTdxCloud();
  const collateral = intelServices(cloud.enclave);
  let server: CloudServer;
  let references: References;
  before(async () => {
    cloud.paravisor.vtpm.registers = registersAsBooted(bundle);
    references = referencesFor(bundle, cloud.pins, {
      images: [PRETEND_IMAGE],
      azureTdx: { measurements: [as384(PARAVISOR.measurement)] },
    });
    server = await serveOn(cloud, bundle);
  });
  after(() => server.stop());
  const fails = (changes: Partial<AzureTdxCloud>, ids: string[], held: References = references): Promise<void> =>
    during(cloud, changes, async () =>
      assert.deepEqual(await failed(server.target, { references: held, collateral }), ids),
    );

  test('is called', async () => {
    assert.equal((await accepts(server.target, references, collateral)).platform, 'azure-tdx');
  });

  test('with another paravisor, in debug mode or without collateral is refused', async () => {
    await fails({ td: { mrTd: other('mine') } }, ['azure.paravisor']);
    await fails({}, ['azure.paravisor'], { ...references, azureTdx: { measurements: [] } });
    await fails({ td: { tdAttributes: 1n } }, ['tdx.attributes.debug']);
    const serviceTd = other('service TD');
    const bound = { td: { version: 5, mrServiceTd: serviceTd } } as const;
    const named = { measurements: [as384(PARAVISOR.measurement)], serviceTds: [as384(serviceTd)] };
    await fails(bound, ['tdx.service-td']);
    await fails(bound, [], { ...references, azureTdx: named });
    const owned = { measurements: [as384(PARAVISOR.measurement)], mrOwner: as384(other('owner')) };
    await fails({}, ['tdx.mr-owner'], { ...references, azureTdx: owned });
    const silent = { complete: async () => {} };
    assert.deepEqual(await failed(server.target, { references, collateral: silent }), ['tdx.tcb', 'tdx.tcb.current']);
    await during(cloud, { td: { reportData: new Uint8Array(64) } }, () =>
      assert.rejects(connect(server.target, { references, now, collateral }), { code: 'binding' }),
    );
  });
});

describe('GCE', () => {
  const cloud = new GcpCloud();
  const { gce } = cloud;
  const endorsed = (fields: Partial<Parameters<typeof gce.golden>[0]> = {}): Uint8Array =>
    gce.endorsement(
      gce.golden({
        digest: FIRMWARE.digest,
        snp: new Map([[2, FIRMWARE.launch]]),
        mrTd: FIRMWARE.mrTd,
        timestamp: EPOCH,
        ...fields,
      }),
    );
  const since = (time: number) => ({ endorsedSince: new Date(time).toISOString() });
  let server: CloudServer;
  let references: References;
  before(async () => {
    cloud.vtpm.registers = registersAsBooted(bundle);
    references = referencesFor(bundle, cloud.pins, {
      images: [PRETEND_IMAGE],
      gcp: {
        snp: { firmware: { measurements: [as384(FIRMWARE.launch)] }, floors: FLOORS },
        tdx: { firmware: { measurements: [as384(FIRMWARE.mrTd)] } },
      },
    });
    server = await serveOn(cloud, bundle);
  });
  after(() => server.stop());
  const byWord = (time: number): References => ({
    ...references,
    gcp: { snp: { firmware: since(time), floors: FLOORS } },
  });
  const silent = { complete: async () => {} };
  const refuses = (changes: Partial<GcpCloud>, code: string): Promise<void> =>
    during(cloud, changes, () =>
      assert.rejects(connect(server.target, { references, now, collateral: silent }), { name: 'EvidenceError', code }),
    );
  const fails = (changes: Partial<GcpCloud>, ids: string[], held: References = references): Promise<void> =>
    during(cloud, changes, async () =>
      assert.deepEqual(await failed(server.target, { references: held, collateral: silent }), ids),
    );

  test('is called on either processor, and says that the registers are the word of Google', async () => {
    const verdict = await accepts(server.target, references);
    const strengths = new Map(verdict.checks.map(({ id, strength }) => [id, strength]));
    assert.deepEqual(
      ['quote.key', 'register.4', 'register.15'].map((id) => strengths.get(id)),
      ['asserted', 'asserted', 'asserted'],
    );
    const device = verdict.checks.find(({ id }) => id === 'deployment')?.detail ?? '';
    assert.match(device, /ak:sha256:[0-9a-f]{64}, gce:116000000105\/6800000000000000001$/);
    await during(cloud, { silicon: 'tdx' }, () => accepts(server.target, references));
  });

  test('is called on firmware that Google endorsed lately enough', async () => {
    await fails({ endorsement: endorsed() }, [], byWord(EPOCH));
    await fails({ endorsement: endorsed() }, ['gcp.firmware'], byWord(EPOCH + 1000));
    await fails({ endorsement: endorsed({ snp: new Map([[2, other('another')]]) }) }, ['gcp.firmware'], byWord(EPOCH));
    await fails({ endorsement: endorsed({ snp: new Map() }) }, ['gcp.firmware'], byWord(EPOCH));
    await fails({}, ['gcp.firmware'], byWord(EPOCH));
  });

  test('gets the endorsement from Google by what was measured', async () => {
    const address = `https://storage.googleapis.com/gce_tcb_integrity/ovmf_x64_csm/sevsnp/${toHex(FIRMWARE.launch)}.binarypb`;
    const fetch = serviceOf({
      [address]: new Response(Buffer.from(endorsed())),
      'https://pki.goog/cloud_integrity/GCE-cc-tcb-root_1.crt': new Response(Buffer.from(gce.firmwareRootDer)),
    });
    const collateral = new VendorCollateral({ fetch, now });
    assert.deepEqual(await failed(server.target, { references: byWord(EPOCH), collateral }), []);
    const none = new VendorCollateral({ fetch: serviceOf({}), now });
    assert.deepEqual(await failed(server.target, { references: byWord(EPOCH), collateral: none }), ['gcp.firmware']);
    assert.deepEqual(await failed(server.target, { references, collateral: none }), []);
  });

  test('with an endorsement by somebody else, or other firmware, is refused', async () => {
    const golden = gce.golden({ digest: FIRMWARE.digest, snp: new Map([[2, FIRMWARE.launch]]) });
    await refuses({ endorsement: gce.endorsement(golden, gce.firmwareRoot) }, 'signature');
    await refuses({ endorsement: Uint8Array.of(1) }, 'format');
    await fails({ report: { measurement: other('mine') } }, ['gcp.firmware']);
    const { gcp: _, ...without } = references;
    const floors = ['reported', 'committed', 'current', 'launch'].map((which) => `snp.tcb.${which}`);
    await fails({}, ['gcp.firmware', ...floors], without);
  });

  test('with a key that Google did not certify, or not as an attestation key of a VM of production, is refused', async () => {
    const mine = new FakeVtpm();
    mine.registers = cloud.vtpm.registers;
    await refuses({ certified: mine.spki }, 'signature');
    await refuses({ vtpm: mine }, 'signature');
    await refuses({ certified: mine.spki, vtpm: mine }, 'binding');
    await refuses({ certificate: { usage: 0x20 } }, 'key');
    await refuses({ certificate: { usage: 0xa0 } }, 'key');
    await refuses({ certificate: { purposes: ['1.3.6.1.5.5.7.3.2'] } }, 'key');
    await refuses({ certificate: { production: false } }, 'chain');
    await refuses({ certificate: { extensions: [] } }, 'key');
  });

  test('whose processor and vTPM do not speak of the same boot is refused', async () => {
    await refuses({ reportData: new Uint8Array(64) }, 'nonce');
    await refuses({ silicon: 'tdx', reportData: new Uint8Array(64) }, 'nonce');
    const stale = await cloud.sign(sha256(utf8('root')), sha256(utf8('boot')));
    const fresh = cloud.sign.bind(cloud);
    const mixed: Cloud['sign'] = async (...both) => {
      const honest = await fresh(...both);
      assert(honest.case === 'gcp' && stale.case === 'gcp');
      assert(stale.value.vtpm !== undefined);
      honest.value.vtpm = stale.value.vtpm;
      return honest;
    };
    await refuses({ sign: mixed }, 'nonce');
  });
});

describe('Nitro', () => {
  let cloud: NitroCloud;
  let server: CloudServer;
  let references: References;
  before(async () => {
    cloud = new NitroCloud(bundle);
    const pcr = (index: number) => as384(cloud.registers.get(index) ?? new Uint8Array());
    references = referencesFor(bundle, cloud.pins, { nitro: [{ pcr0: pcr(0), pcr1: pcr(1), pcr2: pcr(2) }] });
    server = await serveOn(cloud, bundle);
  });
  after(() => server.stop());
  const refuses = (changes: Partial<NitroCloud>, code: string): Promise<void> =>
    during(cloud, changes, () =>
      assert.rejects(connect(server.target, { references, now }), { name: 'EvidenceError', code }),
    );
  const fails = (changes: Partial<NitroCloud>, ids: string[], held: References = references): Promise<void> =>
    during(cloud, changes, async () => assert.deepEqual(await failed(server.target, { references: held }), ids));
  const changed = (...entries: [number, Uint8Array][]): Map<number, Uint8Array> =>
    new Map([...cloud.registers, ...entries]);

  test('is called', async () => {
    const { checks } = await accepts(server.target, references);
    assert.ok(checks.some(({ id, outcome }) => id === 'nitro.pcr4' && outcome === 'not run'));
    assert.match(checks.find(({ id }) => id === 'deployment')?.detail ?? '', /nitro:i-0123456789abcdef0/);
  });

  test('of another image, or in debug mode, is refused', async () => {
    for (const index of [0, 1, 2]) {
      await fails({ registers: changed([index, other('image')]) }, [`nitro.pcr${index}`]);
    }
    const zero = as384(new Uint8Array(48));
    const debug = changed([0, new Uint8Array(48)], [1, new Uint8Array(48)], [2, new Uint8Array(48)]);
    await fails({ registers: debug }, ['nitro.pcr0', 'nitro.pcr1', 'nitro.pcr2', 'nitro.debug']);
    await fails({ registers: debug }, ['nitro.debug'], {
      ...references,
      nitro: [{ pcr0: zero, pcr1: zero, pcr2: zero }],
    });
    await fails({}, ['image'], { ...references, nitro: [] });
  });

  test('whose registers carry another policy or bundle is refused', async () => {
    for (const register of [16, 17]) {
      await refuses({ registers: changed([register, other('policy')]) }, 'binding');
      await refuses({ registers: changed([register, new Uint8Array(48)]) }, 'binding');
    }
  });

  test('with a document for somebody else, or with something beside the statement, is refused', async () => {
    await refuses({ fields: { user_data: new Uint8Array(64) } }, 'nonce');
    await refuses({ fields: { user_data: null } }, 'nonce');
    await refuses({ fields: { nonce: new Uint8Array(32) } }, 'binding');
    await refuses({ fields: { public_key: new Uint8Array(32) } }, 'binding');
  });

  test('is refused three hours later', async () => {
    await assert.rejects(connect(server.target, { references, now: () => now() + 10_800_001 }), { code: 'validity' });
  });
});

test('no byte of the evidence of any can be changed', async () => {
  assert.equal(shown.length, 5);
  for (const each of shown) await refuseEveryChange(each, 11);
});

test('all verify in a browser as they do here', needs('browser'), async () => {
  assert.equal(shown.length, 5);
  await agreeInBrowser(shown);
});
