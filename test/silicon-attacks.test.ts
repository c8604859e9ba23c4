/**
 * Attacks on evidence of SEV-SNP and TDX on its way to a client. Each is refused by the layer it names, before a byte of the
 * application leaves; beside it stands the same without the attack.
 */

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { References, Verdict } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { type DeviceName, signDeployment } from '@enclaim/attestation/deployment';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { EvidenceError } from '@enclaim/attestation/errors';
import { type Evidence, EvidenceSchema } from '@enclaim/attestation/evidence';
import { launchCommandLine } from '@enclaim/attestation/measure';
import type { TdxReference } from '@enclaim/attestation/references';
import { ed25519Key } from '@enclaim/attestation/statement';
import { parseQuote } from '@enclaim/attestation/tdx';
import { parseVerdictDocument, verdictDocument } from '@enclaim/attestation/verdict-document';
import { connect, type SavedOptions, verifySaved } from '@enclaim/client';
import type { CollateralSource } from '@enclaim/client/network';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import { EPOCH } from './fakes/certificates.ts';
import { certificateTable, FakeTsmTree } from './fakes/configfs-tsm.ts';
import { FakePsp, type FakeReport } from './fakes/psp.ts';
import { FakeQuotingEnclave, type FakeTd, type QuoteTamper } from './fakes/quoting-enclave.ts';
import { bootEvents, eventReferences, FakeTrustDomain } from './fakes/trust-domain.ts';
import { startInPathProxy, type Tamper } from './support/in-path-proxy.ts';
import { policyOf } from './support/pretend-server.ts';
import { isAlwaysRun, undecodable } from './support/refused.ts';
import { type Booted, boot, failed, intelServices, now, referencesFor, snpLaunch } from './support/silicon.ts';

const DAY = 86_400_000;
const image = { id: digestText('sha256', sha256(utf8('image'))), commandLine: 'quiet panic=-1' };

const owner = generateKeyPairSync('ed25519');
const ownerKey = ed25519Key(owner.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));

/** The clinic's app under a policy with an owner. */
async function ownedBundle(): Promise<BuiltBundle> {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-owned-'));
  try {
    const policyFile = join(folder, 'policy.yaml');
    await writeFile(policyFile, policyOf(ownerKey));
    const app = join(import.meta.dirname, '../examples/clinic');
    return await buildBundle({
      policyFile,
      protoDir: join(app, 'proto'),
      handlersEntry: join(app, 'handlers/index.ts'),
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A guest on one processor of a maker, and what clients hold it against. */
interface Guest {
  readonly server: Booted;
  readonly device: DeviceName;
}

/** A kind of processor. */
interface Kind {
  readonly first: Guest;
  /** Another processor that the references accept as well. */
  readonly second: Guest;
  readonly references: References;
  readonly collateral?: CollateralSource;
  /** What the first one is made to say, and the layer that refuses it. */
  readonly lies: readonly (readonly [what: string, code: string, lie: object])[];
  /** Makes the first one lie from now on; null for the truth. */
  lie(what: object | null): void;
}

let bundle: BuiltBundle;
before(async () => {
  bundle = await ownedBundle();
});

async function snpKind(): Promise<Kind> {
  const psp = new FakePsp();
  const other = new FakePsp({ sibling: psp, chip: 0x40 });
  const { reference, measure } = await snpLaunch(image);
  const commandLine = launchCommandLine(image, bundle.policy);
  const measurement = await measure(commandLine);
  let lie: { readonly fields?: FakeReport; readonly certificates?: FakePsp } = {};
  const start = async (processor: FakePsp, said: () => typeof lie): Promise<Guest> => {
    const tree = new FakeTsmTree((reportData) => {
      const { fields, certificates: { leaf: vcek, ask, ark } = processor } = said();
      const auxblob = certificateTable({ vcek, ask, ark, crl: processor.crl() });
      return { provider: 'sev_guest', outblob: processor.report({ reportData, measurement, ...fields }), auxblob };
    });
    const server = await boot(bundle, tree, { commandLine });
    return { server, device: `chip:${Buffer.from(processor.chipId).toString('hex')}` };
  };
  return {
    first: await start(psp, () => lie),
    second: await start(other, () => ({})),
    references: referencesFor(bundle, psp.pins, { snp: [reference] }),
    lie: (what) => {
      lie = what ?? {};
    },
    lies: [
      ['the certificate of another processor', 'signature', { certificates: other }],
      ["another processor's id under its own certificate", 'identity', { fields: { chipId: other.chipId } }],
      ['a TCB that the key was not derived from', 'identity', { fields: { reportedTcb: psp.tcb - (1n << 56n) } }],
      ['a report for nobody', 'nonce', { fields: { reportData: new Uint8Array(64) } }],
      ['a report that says who signed it, wrongly', 'identity', { fields: { signerInfo: 1 << 2 } }],
    ],
  };
}

async function tdxKind(): Promise<Kind> {
  const enclave = new FakeQuotingEnclave();
  const other = new FakeQuotingEnclave();
  const mrTd = sha384(utf8('mrtd'));
  const initrd = digestText('sha384', sha384(utf8('initrd')));
  const commandLine = launchCommandLine(image, bundle.policy);
  const events = bootEvents(commandLine, initrd);
  const reference: TdxReference = {
    ...image,
    mrtd: digestText('sha384', mrTd),
    rtmr0: eventReferences(events, 0),
    rtmr1: eventReferences(events, 1),
    initrd,
    commandLineEnd: '',
    rtmr3: 'policy',
  };
  let lie: { readonly fields?: FakeTd; readonly tamper?: QuoteTamper } = {};
  const start = async (platform: FakeQuotingEnclave, said: () => typeof lie): Promise<Guest> => {
    const [fields, tamper] = [() => said().fields ?? {}, () => said().tamper ?? {}];
    const td = new FakeTrustDomain(platform, { mrTd, events, fields, tamper });
    const tree = new FakeTsmTree((data) => td.report(data));
    const server = await boot(bundle, tree, { commandLine, measurements: td.measurements });
    return { server, device: `pck:${digestText('sha256', sha256(platform.pck.spki))}` };
  };
  const services = new Map([enclave, other].map((each) => [each.pckDer.toHex(), intelServices(each)]));
  return {
    first: await start(enclave, () => lie),
    second: await start(other, () => ({})),
    references: referencesFor(bundle, [...enclave.pins, ...other.pins], { tdx: [reference] }),
    // Intel's services know both platforms.
    collateral: {
      complete: async (evidence) => {
        assert(evidence.hardware.case === 'tdx');
        const [leaf = new Uint8Array()] = parseQuote(evidence.hardware.value.quote).pckChain;
        await services.get(leaf.toHex())?.complete(evidence);
      },
    },
    lie: (what) => {
      lie = what ?? {};
    },
    lies: [
      ['the certificates of another platform', 'signature', { tamper: { platform: other } }],
      ['a key that the enclave does not vouch for', 'binding', { tamper: { qeReportData: new Uint8Array(64) } }],
      ["a signing enclave that is not Intel's", 'identity', { tamper: { mrSigner: '00'.repeat(32) } }],
      ["a TDX module that is not Intel's", 'identity', { fields: { mrSignerSeam: new Uint8Array(48).fill(1) } }],
      ['a platform below every level', 'collateral', { fields: { teeTcbSvn: [4, 0, 8] } }],
      ['a quote for nobody', 'nonce', { fields: { reportData: new Uint8Array(64) } }],
    ],
  };
}

for (const [name, make] of [
  ['snp', snpKind],
  ['tdx', tdxKind],
] as const) {
  describe(name, () => {
    let kind: Kind;
    before(async () => {
      kind = await make();
    });
    after(async () => {
      await kind.first.server.stop();
      await kind.second.server.stop();
    });
    const options = (changed: Partial<SavedOptions> = {}): SavedOptions & { collateral?: CollateralSource } => ({
      references: kind.references,
      now,
      ...(kind.collateral === undefined ? {} : { collateral: kind.collateral }),
      ...changed,
    });
    const honest = async (target = kind.first.server.target): Promise<{ verdict: Verdict; evidence: Uint8Array }> => {
      const channel = await connect(target, options());
      channel.close();
      return channel.attestation;
    };
    const accepted = async (evidence: Uint8Array): Promise<boolean> =>
      (await verifySaved(evidence, options())).verdict.ok;
    const onPath = async (tamper: Tamper, code: string): Promise<void> => {
      const proxy = await startInPathProxy(Number(kind.first.server.target.split(':')[1]), tamper);
      try {
        await assert.rejects(connect(proxy.target, options()), { name: 'EvidenceError', code });
        assert.deepEqual(proxy.steps, ['hello']);
        assert.equal(proxy.leaked(), 0);
      } finally {
        proxy.close();
      }
    };

    test('what the processor or its host says wrongly is refused, and the truth is not', async () => {
      for (const [what, code, lie] of kind.lies) {
        kind.lie(lie);
        await assert.rejects(honest(), { name: 'EvidenceError', code }, what);
      }
      kind.lie(null);
      assert.equal((await honest()).verdict.ok, true);
    });

    test('replayed on the path', async () => {
      const { evidence } = await honest();
      await onPath(({ step }) => {
        if (step.case === 'evidence') step.value = fromBinary(EvidenceSchema, evidence);
      }, 'nonce');
      assert.ok(await accepted(evidence), 'it is good but for its age');
    });

    test('relayed from a genuine instance, under the certificate of whoever relays', async () => {
      let relayed: Uint8Array | undefined;
      await onPath(({ step }) => {
        if (step.case === 'evidence') relayed = toBinary(EvidenceSchema, step.value);
      }, 'binding');
      assert(relayed !== undefined);
      const message = fromBinary(EvidenceSchema, relayed);
      if (kind.collateral !== undefined) await kind.collateral.complete(message);
      assert.ok(await accepted(toBinary(EvidenceSchema, message)), 'it is good: only the channel is not');
    });

    test('put together from two boots', async () => {
      const [ours, theirs] = [(await honest()).evidence, (await honest(kind.second.server.target)).evidence];
      const mixed = (mix: (into: Evidence, from: Evidence) => void): Uint8Array => {
        const into = fromBinary(EvidenceSchema, ours);
        mix(into, fromBinary(EvidenceSchema, theirs));
        return toBinary(EvidenceSchema, into);
      };
      const refused = (code: string, mix: (into: Evidence, from: Evidence) => void): Promise<void> =>
        assert.rejects(verifySaved(mixed(mix), options()), { name: 'EvidenceError', code });
      assert.ok((await accepted(ours)) && (await accepted(theirs)));
      // The statement of one names another TLS key than the leaf of the other.
      await refused('binding', (into, from) => {
        into.statement = from.statement;
      });
      await refused('nonce', (into, from) => {
        into.hardware = from.hardware;
      });
      await refused('nonce', (into, from) => {
        into.statement = from.statement;
        if (from.leaf !== undefined) into.leaf = from.leaf;
      });
      await refused('platform', (into) => {
        into.platform = name === 'snp' ? 'tdx' : 'snp';
      });
      await refused('platform', (into) => {
        into.hardware = { case: undefined };
      });
      await refused('platform', (into) => {
        into.platform = 'simulated';
      });
    });

    test('of another genuine processor than the owner deployed', async () => {
      const deployment = {
        policy: bundle.policy,
        devices: [kind.first.device],
        notBefore: new Date(EPOCH).toISOString(),
        notAfter: new Date(EPOCH + 30 * DAY).toISOString(),
      };
      const signed = signDeployment(deployment, (message) => sign(null, message, owner.privateKey));
      const references: References = { ...kind.references, owner: ownerKey, deployments: [signed] };
      assert.deepEqual(await failed(kind.first.server.target, options({ references })), []);
      assert.deepEqual(await failed(kind.second.server.target, options({ references })), ['deployment']);
      assert.deepEqual(await failed(kind.second.server.target, options()), []);
    });

    test('under a clock set back or forward', async () => {
      for (const time of [EPOCH - DAY, EPOCH + 400 * DAY, EPOCH + 4000 * DAY]) {
        const error = await connect(kind.first.server.target, options({ now: () => time })).then(
          () => assert.fail('was accepted'),
          (reason: unknown) => reason,
        );
        assert(error instanceof EvidenceError && error.code === 'validity', String(error));
      }
    });

    test('no check can be left out of its verdict', async () => {
      const { verdict } = await honest();
      const parse = (checks: Verdict['checks']) => () =>
        parseVerdictDocument(utf8(JSON.stringify(verdictDocument({ ...verdict, checks }, { at: now(), asOf: now() }))));
      parse(verdict.checks)();
      const stripped = verdict.checks.filter(({ outcome }) => outcome !== 'not run');
      assert.ok(stripped.length < verdict.checks.length);
      undecodable('syntax', parse(stripped));
      const green = verdict.checks.map((check) => ({ ...check, outcome: 'failed' as const }));
      undecodable('syntax', parse(green));
      // A line about an event only explains that of its register, which says itself what was not compared.
      for (const { id } of verdict.checks.filter((check) => !check.id.includes('.event.')))
        undecodable('syntax', parse(verdict.checks.filter((each) => each.id !== id)));
      for (const { id } of verdict.checks.filter(
        ({ required, id }) => required && isAlwaysRun(id) && !id.includes('.event.'),
      )) {
        const waived = { outcome: 'not run', required: false } as const;
        undecodable('syntax', parse(verdict.checks.map((each) => (each.id === id ? { ...each, ...waived } : each))));
      }
    });
  });
}
