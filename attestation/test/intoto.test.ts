/** Signed in-toto statements: what opens, and what does not. */

import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { test } from 'node:test';
import { FakeIdentity } from '../../test/fakes/certificates.ts';
import { fc } from '../../test/support/properties.ts';
import { refused, undecodable } from '../../test/support/refused.ts';
import { toBase64, utf8 } from '../src/bytes.ts';
import { DecodeError } from '../src/errors.ts';
import { type Envelope, openEnvelope, parseEnvelope, parseVerification, signEnvelope } from '../src/intoto/index.ts';
import { ed25519Key } from '../src/statement.ts';

const auditor = new FakeIdentity('auditor', 'ed25519');
const stranger = new FakeIdentity('stranger', 'ed25519');
const keyOf = (identity: FakeIdentity) => ed25519Key(Uint8Array.from(identity.spki.subarray(-32)));
const by =
  ({ privateKey }: FakeIdentity) =>
  (message: Uint8Array) =>
    sign(null, message, privateKey);

const STATEMENT = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: 'enclaim.efi', digest: { sha256: 'ab'.repeat(32) } }],
  predicateType: 'https://in-toto.io/attestation/svr/v0.1',
  predicate: {
    verifier: { id: 'https://auditor.example/enclaim/v1' },
    timeCreated: '2026-11-20T12:00:00Z',
    properties: ['ENCLAIM_IMAGE_REPRODUCED'],
  },
};
const PAYLOAD = utf8(JSON.stringify(STATEMENT));
const ENVELOPE = signEnvelope(PAYLOAD, keyOf(auditor), by(auditor));

test('a statement opens under the key that signed it, after a round trip as JSON', async () => {
  const envelope = parseEnvelope(utf8(JSON.stringify(ENVELOPE)));
  assert.deepEqual(await openEnvelope(envelope, keyOf(auditor)), PAYLOAD);
  assert.deepEqual(parseVerification(PAYLOAD), STATEMENT);
});

test('what is signed is the pre-authentication encoding of DSSE', () => {
  // The form of the protocol's own example: type and payload, each after its length.
  const signed: Uint8Array[] = [];
  signEnvelope(utf8('hello world'), keyOf(auditor), (message) => {
    signed.push(message);
    return new Uint8Array(64);
  });
  assert.equal(Buffer.from(signed[0] ?? []).toString(), 'DSSEv1 28 application/vnd.in-toto+json 11 hello world');
});

test('another key, another payload, a bare signature of the payload: refused', async () => {
  await refused('signature', () => openEnvelope(ENVELOPE, keyOf(stranger)));
  const other = PAYLOAD.with(5, (PAYLOAD[5] ?? 0) ^ 1);
  await refused('signature', () => openEnvelope({ ...ENVELOPE, payload: toBase64(other) }, keyOf(auditor)));
  const bare = { ...ENVELOPE, signatures: [{ sig: toBase64(by(auditor)(PAYLOAD)) }] };
  await refused('signature', () => openEnvelope(bare, keyOf(auditor)));
  const both = { ...ENVELOPE, signatures: [...bare.signatures, ...ENVELOPE.signatures] };
  assert.deepEqual(await openEnvelope(both, keyOf(auditor)), PAYLOAD, '(control) one of two signatures holds');
});

test('a key id is a hint: a lie about it changes nothing', async () => {
  const [{ sig } = { sig: '' }] = signEnvelope(PAYLOAD, keyOf(auditor), by(stranger)).signatures;
  const lying: Envelope = { ...ENVELOPE, signatures: [{ keyid: ENVELOPE.signatures[0]?.keyid ?? '', sig }] };
  await refused('signature', () => openEnvelope(lying, keyOf(auditor)));
});

const NOT_ENVELOPES: Readonly<Record<string, object>> = {
  'no signature': { ...ENVELOPE, signatures: [] },
  'another type': { ...ENVELOPE, payloadType: 'application/json' },
  'a field more': { ...ENVELOPE, verified: true },
  'no base64': { ...ENVELOPE, payload: '***' },
};
for (const [name, envelope] of Object.entries(NOT_ENVELOPES)) {
  test(`not an envelope: ${name}`, () => undecodable('syntax', () => parseEnvelope(utf8(JSON.stringify(envelope)))));
}

const NOT_RESULTS: Readonly<Record<string, object>> = {
  'another predicate': { ...STATEMENT, predicateType: 'https://slsa.dev/provenance/v1' },
  'another statement': { ...STATEMENT, _type: 'https://in-toto.io/Statement/v0.1' },
  'no subject': { ...STATEMENT, subject: [] },
  'a subject without digest': { ...STATEMENT, subject: [{ name: 'x' }] },
  'no properties': { ...STATEMENT, predicate: { ...STATEMENT.predicate, properties: undefined } },
  'no time': { ...STATEMENT, predicate: { ...STATEMENT.predicate, timeCreated: 'today' } },
  'a verifier without URI': { ...STATEMENT, predicate: { ...STATEMENT.predicate, verifier: { id: 'me' } } },
};
for (const [name, statement] of Object.entries(NOT_RESULTS)) {
  test(`not a verification result: ${name}`, () =>
    undecodable('syntax', () => parseVerification(utf8(JSON.stringify(statement)))));
}

test('any bytes end in a value or a DecodeError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const parse of [parseEnvelope, parseVerification]) {
        try {
          parse(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }
    }),
  );
});
