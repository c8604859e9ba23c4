/** Endorsements of GCE firmware by a signer in software. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { EPOCH, pinOf } from '../../test/fakes/certificates.ts';
import { der, integer, sequence } from '../../test/fakes/der.ts';
import { FakeGce, type FakeGolden } from '../../test/fakes/gce.ts';
import { coldAndWarm } from '../../test/support/cold-and-warm.ts';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { failing, refused, refusedSomewhere, undecodable } from '../../test/support/refused.ts';
import { VENDOR_ANCHORS } from '../src/anchors.ts';
import { fromHex } from '../src/bytes.ts';
import { DecodeError, EvidenceError } from '../src/errors.ts';
import { AK_CERTIFICATE, EK_CERTIFICATE, verifyKeyCertificate } from '../src/evidence/certified-key.ts';
import {
  appraiseGceEndorsement,
  type EndorsedLaunch,
  readGceInstance,
  verifyGceEndorsement,
} from '../src/gcp/index.ts';
import { type Certificate, type Pin, parseCertificate } from '../src/x509/index.ts';

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
  coldAndWarm(() => verifyGceEndorsement(bytes, [gce.firmwareRootDer], trusted, { now: at }));

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
      { numRuns: count(2000, 2000, 200) },
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

describe('a certificate of a real vTPM', () => {
  const vector = JSON.parse(readFileSync(join(import.meta.dirname, '../../test/vectors/gce-ak/cos-85.json'), 'utf8'));
  const certificates: Uint8Array[] = vector.certificates.map(fromHex);
  const at = Date.UTC(2026, 0, 1);
  const verifyAk = (given = certificates, trusted: readonly Pin[] = VENDOR_ANCHORS.gceTpm) =>
    verifyKeyCertificate(given, [EK_CERTIFICATE], trusted, { now: at });

  test('is of an attestation key, and names its instance', async () => {
    const { leaf } = await verifyAk();
    const { projectNumber, instanceId, ...texts } = readGceInstance(leaf);
    const found = { ...texts, projectNumber: String(projectNumber), instanceId: String(instanceId) };
    assert.deepEqual(found, vector.instance);
  });

  test('is no other key’s, and of no other purpose', async () => {
    const [, ...above] = certificates;
    await refused('chain', () => verifyAk(certificates, VENDOR_ANCHORS.gceFirmware));
    await refused('key', () => verifyAk(above));
    await refused('key', () =>
      verifyKeyCertificate(certificates, [AK_CERTIFICATE], VENDOR_ANCHORS.gceTpm, { now: at }),
    );
  });

  test('is refused with any byte changed', async () => {
    const [leaf = new Uint8Array(), ...above] = certificates;
    for (let byte = 0; byte < leaf.length; byte++) {
      const changed = Uint8Array.from(leaf);
      changed[byte] = (changed[byte] ?? 0) ^ (1 << (byte % 8));
      await refusedSomewhere(() => verifyAk([changed, ...above]), `byte ${byte}`);
    }
  });
});

describe('readGceInstance', () => {
  const extension = (value: Uint8Array): Certificate => {
    const [leaf = new Uint8Array()] = gce.certificates(gce.signer.spki);
    return {
      ...parseCertificate(leaf),
      extensions: new Map([['1.3.6.1.4.1.11129.2.1.21', { critical: false, value }]]),
    };
  };
  const [good = new Uint8Array()] = gce.certificates(gce.signer.spki);
  const value = parseCertificate(good).extensions.get('1.3.6.1.4.1.11129.2.1.21')?.value ?? new Uint8Array();

  test('is total', () => {
    assert.equal(readGceInstance(extension(value)).instanceName, 'intake-1');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.nat(value.length), (noise, at) => {
        try {
          readGceInstance(extension(Buffer.concat([value.subarray(0, at), noise, value.subarray(at + noise.length)])));
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: count(2000, 2000, 200) },
    );
  });

  test('refuses instances that are not of production, and numbers that are none', () => {
    const [other = new Uint8Array()] = gce.certificates(gce.signer.spki, { production: false });
    undecodable('range', () => readGceInstance(parseCertificate(other)));
    undecodable('syntax', () => readGceInstance({ ...parseCertificate(good), extensions: new Map() }));
    const [number, long] = [integer(116_000_000_105), integer(1n << 80n)];
    const at = Buffer.from(value).indexOf(number);
    const parts = [value.subarray(2, at), value.subarray(at + number.length)];
    for (const wrong of [long, der(0x02, Uint8Array.of(0xff))]) {
      const [before = new Uint8Array(), after = new Uint8Array()] = parts;
      undecodable('range', () => readGceInstance(extension(sequence(before, wrong, after))));
    }
  });
});
