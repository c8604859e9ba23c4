/** A TPM whose attestation key is trusted by its certificates: what they must say, and by whom. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { References } from '@enclaim/attestation';
import { spkiOf } from '@enclaim/attestation/tpm';
import { connect, verifySaved } from '@enclaim/client';
import { fakeAttestationKey } from './fakes/attestation-key.ts';
import { authority, EPOCH, FakeIdentity, pinOf } from './fakes/certificates.ts';
import { bits, oid, sequence } from './fakes/der.ts';
import { type PretendServer, startPretendServer } from './support/pretend-server.ts';

const AIK = '2.23.133.8.3';
const EK = '2.23.133.8.1';
const SIGNS = 0x80;
const now = (): number => EPOCH + 1000;

const key = fakeAttestationKey();
const root = new FakeIdentity('TPM maker', 'ecdsa-sha256');
const issuer = new FakeIdentity('TPM maker, keys', 'ecdsa-sha256');
const rootDer = root.root();
const issuerDer = root.certify({ subject: issuer.subject, spki: issuer.spki, extensions: authority(0) });

/** A certificate of the key, but for the changes. */
function certificate(
  changes: {
    readonly spki?: Uint8Array;
    readonly purposes?: readonly string[];
    readonly usage?: number | null;
    readonly authority?: boolean;
    readonly notAfter?: number;
    readonly by?: FakeIdentity;
  } = {},
): Uint8Array {
  const { spki = spkiOf(key.publicArea), purposes = [AIK], usage = SIGNS, by = issuer, notAfter } = changes;
  const ca = changes.authority === true ? authority() : [];
  const usages =
    usage === null || ca.length > 0 ? [] : [{ oid: '2.5.29.15', critical: true, value: bits(Uint8Array.of(usage)) }];
  return by.certify({
    subject: sequence(),
    spki,
    ...(notAfter === undefined ? {} : { notAfter }),
    extensions: [...ca, ...usages, { oid: '2.5.29.37', value: sequence(...purposes.map(oid)) }],
  });
}

let server: PretendServer;
let certificates: Uint8Array[];
let certified: References;
before(async () => {
  server = await startPretendServer({
    key,
    forge: ({ hardware }) => {
      assert(hardware.case === 'tpm');
      hardware.value.akCertificates = certificates;
    },
  });
  const { references } = server;
  const anchors = { ...references.anchors, attestationKeys: [], attestationRoots: [pinOf(rootDer)] };
  certified = { ...references, anchors };
});
after(() => server.stop());

const chainOf = (leaf: Uint8Array): Uint8Array[] => [leaf, issuerDer, rootDer];

async function refuses(given: Uint8Array[], code: string, references: References = certified): Promise<void> {
  certificates = given;
  await assert.rejects(connect(server.target, { references, now }), { name: 'EvidenceError', code });
}

test('is accepted without a credential, and offline as well; the verdict says on whose word', async () => {
  certificates = chainOf(certificate());
  const channel = await connect(server.target, { references: certified, now });
  channel.close();
  const { evidence, verdict } = channel.attestation;
  assert.match(verdict.checks.find(({ id }) => id === 'quote.key')?.detail ?? '', /on whose word it is restricted/);
  assert.equal((await verifySaved(evidence, { references: certified, now })).verdict.ok, true);
});

test('may bring its own certificate alone, where the references have those above it', async () => {
  certificates = [certificate()];
  const path = [rootDer, issuerDer].map((der) => Buffer.from(der).toString('base64'));
  const references = { ...certified, anchors: { ...certified.anchors, certificates: path } };
  (await connect(server.target, { references, now })).close();
  await refuses([certificate()], 'chain');
});

test('with a certificate of another key is refused', () =>
  refuses(chainOf(certificate({ spki: fakeSpki() })), 'identity'));

test('with a certificate that does not call it an attestation key is refused', async () => {
  await refuses(chainOf(certificate({ purposes: [EK] })), 'key');
  await refuses(chainOf(certificate({ purposes: [] })), 'key');
  await refuses(chainOf(certificate({ purposes: ['1.3.6.1.5.5.7.3.1'] })), 'key');
  for (const usage of [null, 0x20, 0x80 | 0x20, 0x80 | 0x08, 0x80 | 0x04]) {
    await refuses(chainOf(certificate({ usage })), 'key');
  }
  await refuses(chainOf(certificate({ authority: true })), 'key');
});

test('under a root that nobody named, outside its dates or with a gap is refused', async () => {
  const mine = new FakeIdentity('TPM maker', 'ecdsa-sha256');
  await refuses([certificate({ by: mine }), mine.root()], 'chain');
  await refuses([certificate(), rootDer], 'chain');
  await refuses(chainOf(certificate({ notAfter: EPOCH + 1 })), 'validity');
  const other = pinOf(issuerDer).replace(/.$/, (last) => (last === '0' ? '1' : '0')) as `sha256:${string}`;
  const anchors = { ...certified.anchors, attestationRoots: [other] };
  await refuses(chainOf(certificate()), 'chain', { ...certified, anchors });
});

test('a root for endorsement keys certifies no attestation key, and certificates that fail are not passed over', async () => {
  certificates = chainOf(certificate());
  const { attestationRoots: _, ...anchors } = certified.anchors;
  const endorsing: References = { ...certified, anchors: { ...anchors, endorsementRoots: [pinOf(rootDer)] } };
  await assert.rejects(connect(server.target, { references: endorsing, now }));
  await assert.rejects(verifySaved((await accepted()).evidence, { references: endorsing, now }), { code: 'chain' });
  await refuses(chainOf(certificate({ purposes: [EK] })), 'key', {
    ...endorsing,
    anchors: { ...endorsing.anchors, attestationRoots: [pinOf(rootDer)] },
  });
});

async function accepted(): Promise<{ evidence: Uint8Array }> {
  certificates = chainOf(certificate());
  const channel = await connect(server.target, { references: certified, now });
  channel.close();
  return channel.attestation;
}

function fakeSpki(): Uint8Array {
  return spkiOf(fakeAttestationKey().publicArea);
}
