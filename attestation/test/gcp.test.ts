/** Endorsements of GCE firmware by a signer in software. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { EPOCH, pinOf } from '../../test/fakes/certificates.ts';
import { FakeGce, type FakeGolden } from '../../test/fakes/gce.ts';
import { failing, refused, refusedSomewhere } from '../../test/support/refused.ts';
import { EvidenceError } from '../src/errors.ts';
import { appraiseGceEndorsement, type EndorsedLaunch, verifyGceEndorsement } from '../src/gcp/index.ts';

const now = EPOCH + 1000;
const gce = new FakeGce();
const pins = [pinOf(gce.firmwareRootDer)];

const firmware = createHash('sha384').update('firmware').digest();
const snp = new Map([
  [1, new Uint8Array(48).fill(1)],
  [4, new Uint8Array(48).fill(4)],
]);
const mrTd = new Uint8Array(48).fill(0xd0);

const golden = (changes: Partial<FakeGolden> = {}): Uint8Array =>
  gce.golden({ digest: firmware, snp, mrTd, ...changes });
const endorsement = (signed: Uint8Array = golden()): Uint8Array => gce.endorsement(signed);

const verify = (bytes: Uint8Array, trusted = pins, at = now) =>
  verifyGceEndorsement(bytes, [gce.firmwareRootDer], trusted, { now: at });

describe('verifyGceEndorsement', () => {
  test('accepts what the signer endorsed, and skips fields that it does not know', async () => {
    const { golden: found } = await verify(endorsement());
    assert.deepEqual(
      [...(found.snp?.measurements ?? [])].map(([vmsas]) => vmsas),
      [1, 4],
    );
    assert.equal(found.clSpec, 4242n);
  });

  test('refuses who is not the signer, or no longer', async () => {
    await refused('signature', () => verify(gce.endorsement(golden(), gce.firmwareRoot)));
    await refused('chain', () => verify(endorsement(golden({ certificate: new Uint8Array(0) }))));
    await refused('chain', () => verify(endorsement(), []));
    await refused('validity', () => verify(endorsement(), pins, EPOCH + 4000 * 86_400_000));
    await refused('format', () => verify(endorsement(golden({ digest: firmware.subarray(1) }))));
  });

  test('refuses every changed byte of what is signed', async () => {
    const good = endorsement();
    for (let at = 0; at < good.length; at++) {
      const changed = Uint8Array.from(good);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await refusedSomewhere(() => verify(changed), `byte ${at}`);
    }
  });

  test('is total', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        await assert.rejects(() => verify(bytes), EvidenceError);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('appraiseGceEndorsement', () => {
  const any: EndorsedLaunch = { firmware: 'any', snp: 'any', mrTd: 'any' };
  const cases: [Partial<EndorsedLaunch>, string[]][] = [
    [{}, []],
    [{ firmware }, []],
    [{ firmware: mrTd }, ['gce.firmware']],
    [{ snp: { measurement: new Uint8Array(48).fill(4), vcpus: 'any' } }, []],
    [{ snp: { measurement: new Uint8Array(48).fill(4), vcpus: 4 } }, []],
    [{ snp: { measurement: new Uint8Array(48).fill(4), vcpus: 1 } }, ['gce.snp']],
    [{ snp: { measurement: new Uint8Array(48).fill(9), vcpus: 'any' } }, ['gce.snp']],
    [{ mrTd }, []],
    [{ mrTd: new Uint8Array(48) }, ['gce.mrtd']],
  ];
  for (const [launch, expected] of cases) {
    test(`${JSON.stringify(Object.keys(launch))} gives ${JSON.stringify(expected)}`, async () => {
      assert.deepEqual(failing(appraiseGceEndorsement(await verify(endorsement()), { ...any, ...launch })), expected);
    });
  }
});
