/** Who may vouch for an attestation key: a software key under a maker's root, with each lie about what it is. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { appraise, type Context, type References, verifyEvidence } from '@enclaim/attestation';
import { batchRoot, encodeNonceLeaf, tpmExtraData } from '@enclaim/attestation/batch';
import { parseBundle } from '@enclaim/attestation/bundle';
import { fromBase64Url, toBase64, utf8 } from '@enclaim/attestation/bytes';
import { type DigestText, digestText, sha256 } from '@enclaim/attestation/digest';
import { launchCommandLine, predictPcrs, registerOf } from '@enclaim/attestation/measure';
import { EvidenceSchema } from '@enclaim/attestation/messages';
import { bootDigest, encodeStatement } from '@enclaim/attestation/statement';
import { encodePublic, nameOf } from '@enclaim/attestation/tpm';
import { fakeAttestationKey, fakeQuote } from '../fakes/attestation-key.ts';
import { FakeIdentity } from '../fakes/certificates.ts';
import { bits, oid, sequence } from '../fakes/der.ts';
import { clinicBundle } from '../support/app.ts';
import { PRETEND_IMAGE, SEPARATOR } from '../support/attested-runtime.ts';

const NOW = Date.UTC(2026, 5, 1);
const EK_USAGE = '2.23.133.8.1';
/** KeyUsage as a BIT STRING: its byte and its unused bits. */
const KEY_AGREEMENT = bits(Uint8Array.of(0x08), 3);
const DIGITAL_SIGNATURE = bits(Uint8Array.of(0x80), 7);

const text = (bytes: Uint8Array): DigestText<'sha256'> => digestText('sha256', sha256(bytes));
const bundle = await clinicBundle();
const root = new FakeIdentity('TPM maker root', 'ecdsa-sha256');
const rootCertificate = root.root();
const holder = new FakeIdentity('whoever holds this key', 'ecdsa-sha256');
const ak = fakeAttestationKey();
const akPublic = encodePublic(ak.publicArea);

/** TPMT_PUBLIC that calls the holder's key an endorsement key. */
function endorsementKey(): Uint8Array {
  const { x = '', y = '' } = holder.publicKey.export({ format: 'jwk' });
  return encodePublic({
    type: 'ecc',
    nameAlg: 'sha256',
    attributes: ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'adminWithPolicy', 'restricted', 'decrypt'],
    authPolicy: new Uint8Array(32),
    symmetric: { algorithm: 'aes', keyBits: 128, mode: 'cfb' },
    scheme: { scheme: 'none' },
    curve: 'P-256',
    kdf: 'none',
    x: fromBase64Url(x),
    y: fromBase64Url(y),
  });
}

/** Evidence made without any TPM, vouched for by a certificate with these usages; and what accepts it but for them. */
function forged(usage: string | null, keyUsage: Uint8Array | null, firmware = registerOf(SEPARATOR)) {
  const leaf = root.certify({
    subject: holder.subject,
    spki: holder.spki,
    serial: 7,
    extensions: [
      ...(usage === null ? [] : [{ oid: '2.5.29.37', critical: true, value: sequence(oid(usage)) }]),
      ...(keyUsage === null ? [] : [{ oid: '2.5.29.15', critical: true, value: keyUsage }]),
    ],
  });
  const { policy } = parseBundle(bundle.bytes);
  const ekPublic = endorsementKey();
  const spki = sha256(utf8('a TLS key'));
  const nonce = new Uint8Array(32).fill(7);
  const statement = encodeStatement({
    version: 2,
    platform: 'tpm',
    bootId: '00'.repeat(16),
    policy: bundle.policy,
    bundle: bundle.digest,
    image: 'enclaim-test',
    device: { ak: text(akPublic), ek: text(ekPublic), ekCertificate: text(leaf) },
    keys: { tls: digestText('sha256', spki), receipt: `ed25519:${'A'.repeat(43)}` },
    log: { origin: 'x', size: 0, head: text(utf8('')) },
    unconfined: [],
    owner: null,
    started: { at: '2026-06-01T00:00:00.000Z', strength: 'host' },
  });
  const commandLine = launchCommandLine(PRETEND_IMAGE, bundle.policy);
  const launch = { boot: 'kernel', commandLine, policy: bundle.policy, bundle: bundle.digest } as const;
  const predicted = predictPcrs(PRETEND_IMAGE, launch);
  const pcrs = new Map(Array.from({ length: 16 }, (_, index) => [index, predicted.get(index) ?? firmware]));
  const path = { data: encodeNonceLeaf({ nonce, spki, exporter: null }), index: 0, size: 1, path: [] };
  const extraData = tpmExtraData(batchRoot(path), bootDigest(statement));
  const { attest, signature } = fakeQuote({ key: ak, pcrs, nonce: extraData });
  const values = [...pcrs].map(([index, value]) => ({ index, sha256: value }));
  const tpm = { attest, signature, akPublic, ekPublic, ekCertificate: leaf, pcrs: values, commandLine };
  const hardware = { case: 'tpm' as const, value: tpm };
  const message = create(EvidenceSchema, { platform: 'tpm', statement, policy, leaf: path, hardware });
  const references: References = {
    enclaim: 'references/1',
    images: [PRETEND_IMAGE],
    policy: bundle.policy,
    bundles: 'any',
    owner: 'any',
    anchors: {
      attestationKeys: [],
      endorsementRoots: [text(rootCertificate)],
      unsafeSwtpmRoots: [],
      certificates: [toBase64(rootCertificate)],
    },
  };
  const context: Context = {
    now: NOW,
    channel: { nonce, spki, exporter: null },
    activation: { akName: nameOf(ak.publicArea), ekPublic },
  };
  return { evidence: toBinary(EvidenceSchema, message), references, context };
}

async function verdictOf({ evidence, references, context }: ReturnType<typeof forged>) {
  return appraise(await verifyEvidence(evidence, references.anchors, context), references, []);
}

test('control: whoever a maker certifies as an endorsement key is believed', async () => {
  assert.equal((await verdictOf(forged(EK_USAGE, KEY_AGREEMENT))).ok, true);
});

for (const [name, usage, keyUsage] of [
  ['of a web server', '1.3.6.1.5.5.7.3.1', DIGITAL_SIGNATURE],
  ['of nothing in particular', null, KEY_AGREEMENT],
  ['for signatures', EK_USAGE, DIGITAL_SIGNATURE],
  ['without a key usage', EK_USAGE, null],
] as const) {
  test(`a certificate ${name} under the same root is refused`, async () => {
    await assert.rejects(verdictOf(forged(usage, keyUsage)), { name: 'EvidenceError', code: 'chain' });
  });
}

test('registers that no firmware touched fail the verdict, whatever the others hold', async () => {
  const verdict = await verdictOf(forged(EK_USAGE, KEY_AGREEMENT, new Uint8Array(32)));
  assert.equal(verdict.ok, false);
  const failed = verdict.checks.filter(({ outcome }) => outcome === 'failed');
  assert.deepEqual(
    failed.map(({ id }) => id),
    ['firmware'],
  );
  assert.match(failed[0]?.detail ?? '', /left registers 0, 1, 2, 3, 5, 6, 7 at zero/);
});
