/** Endorsements of GCE firmware by a signer in software. */

import assert from 'node:assert/strict';
import { constants, createHash, sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { authority, EPOCH, FakeIdentity, pinOf } from '../../test/fakes/certificates.ts';
import { failing, refused, refusedSomewhere } from '../../test/support/refused.ts';
import { EvidenceError } from '../src/errors.ts';
import { appraiseGceEndorsement, type EndorsedLaunch, verifyGceEndorsement } from '../src/gcp/index.ts';

const now = EPOCH + 1000;
const root = new FakeIdentity('GCE-cc-tcb-root', 'rsassa-sha256');
const signer = new FakeIdentity('GCE-uefi-signer', 'rsassa-sha256');
const rootDer = root.root({ extensions: authority() });
const signerDer = root.certify({ subject: signer.subject, spki: signer.spki });
const pins = [pinOf(rootDer)];

const firmware = createHash('sha384').update('firmware').digest();
const snp = new Map([
  [1, new Uint8Array(48).fill(1)],
  [4, new Uint8Array(48).fill(4)],
]);
const mrTd = new Uint8Array(48).fill(0xd0);

function golden({ digest = firmware, certificate = signerDer } = {}): Uint8Array {
  const measurements = [...snp].map(([vmsas, value]) =>
    new BinaryWriter().tag(1, 0).uint32(vmsas).tag(2, 2).bytes(value).finish(),
  );
  const sev = new BinaryWriter().tag(1, 0).uint32(7);
  for (const entry of measurements) sev.tag(2, 2).bytes(entry);
  const tdx = new BinaryWriter().tag(2, 2).bytes(new BinaryWriter().tag(3, 2).bytes(mrTd).finish());
  const writer = new BinaryWriter().tag(2, 0).uint64(4242).tag(4, 2).bytes(certificate).tag(5, 2).bytes(digest);
  return writer.tag(7, 2).bytes(sev.finish()).tag(8, 2).bytes(tdx.finish()).tag(99, 0).uint32(1).finish();
}

function endorsement(signed: Uint8Array = golden(), identity: FakeIdentity = signer): Uint8Array {
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const signature = sign('sha256', signed, { key: identity.privateKey, padding, saltLength: 32 });
  return new BinaryWriter().tag(1, 2).bytes(signed).tag(2, 2).bytes(signature).finish();
}

const verify = (bytes: Uint8Array, trusted = pins, at = now) =>
  verifyGceEndorsement(bytes, [rootDer], trusted, { now: at });

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
    await refused('signature', () => verify(endorsement(golden(), root)));
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
