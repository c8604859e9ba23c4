/**
 * From `enclaim image measure` to a verdict: launches on processors in software that measured what the command printed are
 * accepted by references that hold what it printed, and every other launch is refused.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { References } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { parseDigest, sha384 } from '@enclaim/attestation/digest';
import { directRtmr1Events, launchCommandLine, launchRtmrEvents } from '@enclaim/attestation/measure';
import type { RtmrEventReference, SnpReference, TdxReference } from '@enclaim/attestation/references';
import { type BuiltBundle, formatManifest, projectRoot } from '@enclaim/image';
import { SAMPLE } from '../image/test/manifest.ts';
import { certificateTable, FakeTsmTree } from './fakes/configfs-tsm.ts';
import { FakePsp } from './fakes/psp.ts';
import { FakeQuotingEnclave } from './fakes/quoting-enclave.ts';
import { type DomainOptions, FakeTrustDomain } from './fakes/trust-domain.ts';
import { clinicBundle } from './support/app.ts';
import { boot, failed, intelServices, referencesFor } from './support/silicon.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-launch-'));
after(() => rm(scratch, { recursive: true, force: true }));
let bundle: BuiltBundle;
before(async () => {
  bundle = await clinicBundle();
  await mkdir(join(scratch, 'image'));
  await writeFile(join(scratch, 'image/manifest.json'), formatManifest(SAMPLE));
  await writeFile(join(scratch, 'app.enclaim'), bundle.bytes);
});

interface Printed {
  readonly snp: readonly SnpReference[];
  readonly tdx: readonly TdxReference[];
  readonly launchDigests: Readonly<Record<string, string>>;
  readonly commandLine: string;
}

function measured(...options: readonly string[]): Printed {
  const main = [join(projectRoot, 'cli/src/main.ts'), 'image', 'measure', 'image', '--bundle', 'app.enclaim'];
  return JSON.parse(execFileSync(process.execPath, [...main, ...options], { cwd: scratch, encoding: 'utf8' }));
}

describe('SEV-SNP', () => {
  const psp = new FakePsp();
  const aux = certificateTable({ vcek: psp.leaf, ask: psp.ask, ark: psp.ark, crl: psp.crl() });

  /** Checks that fail where a guest with this launch digest and command line meets these references. */
  async function verdictOf(digest: string, commandLine: string, references: References): Promise<string[]> {
    const measurement = parseDigest('sha384', digest);
    const outblob = (reportData: Uint8Array): Uint8Array => psp.report({ reportData, measurement });
    const tree = new FakeTsmTree((data) => ({ provider: 'sev_guest', outblob: outblob(data), auxblob: aux }));
    const server = await boot(bundle, tree, { commandLine });
    try {
      return await failed(server.target, { references });
    } finally {
      await server.stop();
    }
  }

  test('a launch with a number of processors that was measured is accepted, with the word that OVMF adds', async () => {
    const { snp, launchDigests, commandLine } = measured(
      '--platform',
      'snp',
      '--vcpus',
      '2',
      '--vcpus',
      '6',
      '--tcb-floors',
      'any',
    );
    const references = referencesFor(bundle, psp.pins, { snp });
    for (const count of ['2', '6']) {
      assert.deepEqual(await verdictOf(launchDigests[count] ?? '', `initrd=initrd ${commandLine}`, references), []);
    }
    const { launchDigests: other } = measured('--platform', 'snp', '--vcpus', '3');
    assert.deepEqual(await verdictOf(other['3'] ?? '', commandLine, references), ['image']);
    assert.deepEqual(await verdictOf(launchDigests['2'] ?? '', `${commandLine} debug`, references), ['image']);
  });
});

describe('TDX', () => {
  const enclave = new FakeQuotingEnclave();

  /** What a machine measures that is as the reference expects; open events are the machine's own. */
  function eventsOf({ rtmr0, initrd }: TdxReference, line: string): DomainOptions['events'] {
    assert(Array.isArray(rtmr0));
    const own = (rtmr0 as readonly RtmrEventReference[]).map(({ name, digest }) => ({
      name,
      digest: digest === 'any' ? sha384(utf8(`this machine's ${name}`)) : parseDigest('sha384', digest),
    }));
    const kernel = parseDigest('sha384', SAMPLE.references.tdx.kernel);
    return [own, directRtmr1Events(kernel), launchRtmrEvents(line, initrd)].flatMap((events, rtmr) =>
      events.map(({ name, digest }) => ({
        register: rtmr + 1,
        type: 0x8000_000b,
        name,
        data: utf8(name),
        banks: ['sha384'] as const,
        digest,
      })),
    );
  }

  async function verdictOf(
    options: Partial<DomainOptions>,
    line: string,
    tdx: readonly TdxReference[],
  ): Promise<string[]> {
    const [reference] = tdx;
    assert(reference);
    const mrTd = parseDigest('sha384', reference.mrtd);
    const domain = new FakeTrustDomain(enclave, { mrTd, events: eventsOf(reference, line), old: true, ...options });
    const { measurements } = domain;
    const server = await boot(bundle, new FakeTsmTree((data) => domain.report(data)), {
      commandLine: line,
      measurements,
    });
    try {
      const references = referencesFor(bundle, enclave.pins, { tdx });
      return await failed(server.target, { references, collateral: intelServices(enclave) });
    } finally {
      await server.stop();
    }
  }

  test('a launch is accepted whose open events the log shows; without a log, or with another machine, it is not', async () => {
    const { tdx, commandLine } = measured('--platform', 'tdx', '--memory', '2048');
    const [reference] = tdx;
    assert(reference);
    assert.equal(commandLine, `initrd=initrd ${launchCommandLine(reference, bundle.policy)}`);
    assert.deepEqual(await verdictOf({}, commandLine, tdx), []);
    assert.deepEqual(await verdictOf({ logged: null }, commandLine, tdx), ['tdx.rtmr0']);
    const { tdx: larger } = measured('--platform', 'tdx', '--memory', '4096');
    const events = eventsOf(reference, commandLine);
    assert.deepEqual(await verdictOf({ events }, commandLine, larger), ['tdx.rtmr0', 'tdx.rtmr0.event.1']);
    assert.deepEqual(await verdictOf({ mrTd: sha384(utf8('other firmware')) }, commandLine, tdx), ['tdx.mrtd']);
  });

  test('an OVMF that names the initrd elsewhere is another launch', async () => {
    const { tdx, commandLine } = measured('--platform', 'tdx', '--initrd-word', 'last');
    const first = commandLine.replace(/^(.*) initrd=initrd$/, 'initrd=initrd $1');
    assert.deepEqual(await verdictOf({}, commandLine, tdx), []);
    const refused = await verdictOf({}, first, tdx);
    assert.ok(refused.includes('tdx.rtmr2'), refused.join());
  });
});
