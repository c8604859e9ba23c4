/** Which hardware is taken, and what the guest refuses by its own report before anything of a bundle is used. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { concat, fromBase64, toHex, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { policyEvents, rtmrOf } from '@enclaim/attestation/measure';
import { parseReport } from '@enclaim/attestation/snp';
import { parseQuote, quoteLength, replayTdxLog } from '@enclaim/attestation/tdx';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import { FakeTsmTree } from '../../test/fakes/configfs-tsm.ts';
import { FakePsp, type FakeReport } from '../../test/fakes/psp.ts';
import { FakeQuotingEnclave } from '../../test/fakes/quoting-enclave.ts';
import { bootEvents, type DomainOptions, FakeTrustDomain } from '../../test/fakes/trust-domain.ts';
import { measureApp } from '../src/app.ts';
import { parseCommandLine } from '../src/linux/index.ts';
import { type HardwareSources, openPlatform } from '../src/platform/open.ts';
import type { GuestPlatform, Measured } from '../src/platform/platform.ts';
import { openTsmPlatform, type TdxMeasurements } from '../src/platform/tsm.ts';
import { TsmDevice, type TsmTree } from '../src/tsm/index.ts';

const policy = utf8('{"a":"policy"}');
const app: Measured = {
  policy,
  policyDigest: digestOfCanonical(policy),
  digest: digestText('sha384', sha384(utf8('app'))),
};
const NAMED = `quiet enclaim.policy=${app.policyDigest}`;
const NONE: TdxMeasurements = {
  rtmr3: null,
  ownReport: () => Promise.reject(new Error('not a TD')),
  eventLogArea: async () => null,
};
const EXTENDS: TdxMeasurements = { ...NONE, rtmr3: { extend: async () => {} } };

const psp = new FakePsp();
const enclave = new FakeQuotingEnclave();
const snpTree = (fields: FakeReport = {}): TsmTree =>
  new FakeTsmTree((reportData) => ({
    provider: 'sev_guest',
    outblob: psp.report({ reportData, ...fields }),
    auxblob: new Uint8Array(),
  }));
const domain = (options: Partial<DomainOptions> = {}): FakeTrustDomain =>
  new FakeTrustDomain(enclave, {
    mrTd: sha384(utf8('mrtd')),
    events: bootEvents(NAMED, digestText('sha384', sha384(utf8('initrd')))),
    ...options,
  });
const tdxTree = (td: FakeTrustDomain): TsmTree => new FakeTsmTree((data) => td.report(data));

const snp = async (fields?: FakeReport, text = NAMED): Promise<GuestPlatform> =>
  openTsmPlatform(await TsmDevice.open('test', snpTree(fields)), NONE, text);
const tdx = async (td: FakeTrustDomain, measurements = td.measurements): Promise<GuestPlatform> =>
  openTsmPlatform(await TsmDevice.open('test', tdxTree(td)), measurements, NAMED);

describe('the platform that is taken', () => {
  const TPM_TAKEN = /the TPM was taken/;
  const tpm = async (): Promise<never> => {
    throw new Error('the TPM was taken');
  };
  const trees = { snp: () => snpTree(), tdx: () => tdxTree(domain()), none: () => null };
  const table: [
    tsm: keyof typeof trees,
    tpm: boolean,
    line: string,
    tdx: TdxMeasurements,
    taken: 'snp' | 'tdx' | RegExp,
  ][] = [
    ['snp', false, NAMED, NONE, 'snp'],
    ['tdx', false, NAMED, NONE, 'tdx'],
    ['none', true, NAMED, NONE, TPM_TAKEN],
    ['none', true, 'quiet', NONE, TPM_TAKEN],
    // Both: the processor, whose maker is not the host; but a launch that names no policy only a register can mend.
    ['snp', true, NAMED, NONE, 'snp'],
    ['tdx', true, NAMED, NONE, 'tdx'],
    ['tdx', true, 'quiet', EXTENDS, 'tdx'],
    ['snp', true, 'quiet', NONE, TPM_TAKEN],
    ['tdx', true, 'quiet', NONE, TPM_TAKEN],
    ['none', false, NAMED, NONE, /no TPM, and no processor/],
    ['snp', false, 'quiet', NONE, /names no policy/],
    ['tdx', false, 'quiet', NONE, /names no policy/],
  ];
  for (const [tsm, hasTpm, line, measurements, taken] of table) {
    const where = `${tsm}, ${hasTpm ? 'a TPM' : 'no TPM'}, policy ${line === NAMED ? 'named' : 'not named'}`;
    test(`${where}${measurements === EXTENDS ? ', RTMR3' : ''}: ${taken}`, async () => {
      const tree = trees[tsm]();
      const sources: HardwareSources = {
        openTpm: hasTpm ? tpm : async () => null,
        openTsm: async () => (tree === null ? null : TsmDevice.open('test', tree)),
        tdx: measurements,
      };
      const opened = openPlatform(sources, parseCommandLine(line));
      if (taken instanceof RegExp) await assert.rejects(opened, taken);
      else assert.equal((await opened).kind, taken);
    });
  }

  test('what is there and does not work is not passed over', async () => {
    const broken = async (): Promise<never> => {
      throw new Error('the driver refuses');
    };
    const sources: HardwareSources = { openTpm: tpm, openTsm: broken, tdx: NONE };
    await assert.rejects(openPlatform(sources, parseCommandLine(NAMED)), /the driver refuses/);
  });

  test('a tree without a driver is no platform; one that fails otherwise is an error', async () => {
    const failing = (code: string): TsmTree => ({
      ...snpTree(),
      mkdir: async () => Promise.reject(Object.assign(new Error(code), { code })),
    });
    assert.equal(await TsmDevice.openIfProvided('test', failing('ENXIO')), null);
    for (const code of ['ENOENT', 'EEXIST', 'EACCES']) {
      await assert.rejects(TsmDevice.openIfProvided('test', failing(code)), { name: 'TsmError', code: 'unavailable' });
    }
  });
});

test('a processor alone keeps no keys over boots', async () => {
  for (const platform of [await snp(), await tdx(domain())]) assert.equal(platform.keeper, undefined);
});

describe('SEV-SNP', () => {
  test('HOST_DATA is the policy or nothing', async () => {
    await (await snp()).measure(app);
    await (await snp({ hostData: sha256(policy) })).measure(app);
    const other = await snp({ hostData: sha256(utf8('another policy')) });
    await assert.rejects(other.measure(app), { name: 'Refusal', code: 'policy', message: /HOST_DATA names/ });
  });

  test('the command line is what was hashed: what the firmware adds after that is taken off, once', async () => {
    assert.equal((await snp({}, NAMED)).commandLine, NAMED);
    assert.equal((await snp({}, `${NAMED} initrd=initrd`)).commandLine, NAMED);
    assert.equal((await snp({}, `initrd=initrd ${NAMED}`)).commandLine, NAMED);
    assert.equal((await snp({}, `initrd=initrd ${NAMED} initrd=initrd`)).commandLine, `${NAMED} initrd=initrd`);
    assert.equal((await snp({}, `${NAMED} initrd=initrd initrd=initrd`)).commandLine, `${NAMED} initrd=initrd`);
  });

  test('quotes cover the bytes asked for, also at once', async () => {
    const platform = await snp();
    const asked = [1, 2, 3].map((fill) => new Uint8Array(64).fill(fill));
    const answers = await Promise.all(asked.map((data) => platform.quote(data)));
    for (const [index, answer] of answers.entries()) {
      assert(answer.kind === 'snp');
      assert.deepEqual(
        Buffer.from(parseReport(fromBase64(answer.outblob)).reportData),
        Buffer.from(asked[index] ?? []),
      );
    }
    await assert.rejects(platform.activate(policy, policy), { name: 'TsmError' });
  });
});

describe('TDX', () => {
  const registers = async (platform: GuestPlatform): Promise<readonly Uint8Array[]> => {
    const answer = await platform.quote(new Uint8Array(64));
    assert(answer.kind === 'tdx');
    const bytes = fromBase64(answer.outblob);
    return parseQuote(bytes.subarray(0, quoteLength(bytes))).report.rtmrs;
  };

  test('MRCONFIGID is the policy or nothing', async () => {
    const named = domain({ fields: () => ({ mrConfigId: Buffer.from(app.policyDigest.slice(7), 'hex') }) });
    await (await tdx(named)).measure(app);
    const other = domain({ fields: () => ({ mrConfigId: sha384(utf8('another policy')) }) });
    await assert.rejects((await tdx(other)).measure(app), { code: 'policy', message: /MRCONFIGID names/ });
    assert.equal(toHex(other.rtmrs[3] ?? policy), '00'.repeat(48), 'refused before anything was measured');
  });

  test('RTMR3 gets policy and bundle, and the log says so', async () => {
    const td = domain();
    const platform = await tdx(td);
    await platform.measure(app);
    const rtmrs = await registers(platform);
    assert.deepEqual(Buffer.from(rtmrs[3] ?? policy), Buffer.from(rtmrOf(policyEvents(app.policyDigest, app.digest))));
    const told = platform.hardware();
    assert(told.kind === 'tdx' && told.eventLog !== null);
    const [, , , ours] = replayTdxLog(fromBase64(told.eventLog), {
      rtmrs: rtmrs as [Uint8Array, Uint8Array, Uint8Array, Uint8Array],
    });
    const label = (name: string, digest: string) =>
      Buffer.concat([utf8(`${name}\0`), Buffer.from(digest.slice(7), 'hex')]);
    assert.deepEqual(
      ours.map(({ content }) => Buffer.from(content ?? [])),
      [label('enclaim/policy/v1', app.policyDigest), label('enclaim/bundle/v1', app.digest)],
    );
  });

  test('a register that somebody else extended, or that does not take, is refused', async () => {
    const before = domain();
    before.extend(3, sha384(utf8('by the boot loader')));
    await assert.rejects((await tdx(before)).measure(app), { code: 'platform', message: /something else extended it/ });
    const td = domain();
    const deaf = await tdx(td, { ...td.measurements, rtmr3: EXTENDS.rtmr3 });
    await assert.rejects(deaf.measure(app), { code: 'platform' });
    // Where this kernel cannot extend it, it must be zero: a verifier takes it for that.
    const old = domain({ old: true });
    await (await tdx(old)).measure(app);
    old.extend(3, sha384(utf8('by somebody')));
    await assert.rejects((await tdx(old)).measure(app), { code: 'platform' });
  });

  test('a refusal stays in RTMR3', async () => {
    const td = domain();
    const platform = await tdx(td);
    await platform.measure(app);
    await platform.refuse('the bundle does not parse');
    const refused = sha384(utf8('enclaim/refused/v1\0the bundle does not parse'));
    const [, , , rtmr3 = policy] = await registers(platform);
    const measured = rtmrOf(policyEvents(app.policyDigest, app.digest));
    assert.deepEqual(Buffer.from(rtmr3), Buffer.from(sha384(concat(measured, refused))));
  });
});

test('a bundle is measured before anything of it but the policy is looked at', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-app-'));
  try {
    const path = join(folder, 'app.enclaim');
    const bytes = encodeBundle({ policy, descriptors: new Uint8Array(), handlers: new Uint8Array() });
    bytes[bytes.length - 1] = 1; // not padding: the bundle does not parse
    await writeFile(path, bytes);
    const disk = { path, size: bytes.length, readOnly: true };
    const seen: Measured[] = [];
    const measure = async (measured: Measured): Promise<void> => void seen.push(measured);
    await assert.rejects(measureApp(disk, null, { measure }), { name: 'Refusal', code: 'bundle' });
    assert.deepEqual(
      seen.map(({ policyDigest, digest }) => [policyDigest, digest]),
      [[app.policyDigest, digestText('sha384', sha384(bytes))]],
    );
    const other = digestText('sha384', sha384(utf8('another')));
    seen.length = 0;
    await assert.rejects(measureApp(disk, other, { measure }), { code: 'policy' });
    assert.deepEqual(seen, []);
  } finally {
    await rm(folder, { recursive: true });
  }
});
