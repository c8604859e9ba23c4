/** Each reason for which a quote is refused, alone; and every byte changed. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { test } from 'node:test';
import { fakeAttestationKey, fakeQuote, signAttest } from '../../../test/fakes/attestation-key.ts';
import { DecodeError, EvidenceError, type EvidenceErrorCode } from '../../src/errors.ts';
import {
  encodePublic,
  nameOf,
  type ObjectAttribute,
  type PcrSelection,
  parsePublic,
  QUOTE_SELECTION,
  qualifiedNameOfPrimary,
  type RsaPublic,
  spkiOf,
  verifyQuote,
  verifyQuoteUnderKey,
} from '../../src/tpm/index.ts';
import { tpmSignature } from '../../src/tpm/signature.ts';

const refused =
  (code: EvidenceErrorCode) =>
  (error: unknown): boolean =>
    error instanceof EvidenceError && error.code === code;

test('a good quote: values, name, counters', async () => {
  const quote = fakeQuote();
  const verified = await verifyQuote(quote);
  assert.deepEqual(verified.banks, new Map([['sha256', quote.pcrs]]));
  assert.deepEqual(verified.akName, nameOf(parsePublic(quote.akPublic)));
  assert.deepEqual(verified.clockInfo, { clock: 1_000_000n, resetCount: 7, restartCount: 1, safe: true });
  assert.equal(verified.firmwareVersion, 0x2019_1023_0016_3636n);
});

test('a bank without registers, signed or asked for, selects nothing', async () => {
  const selection: PcrSelection = [{ bank: 'sha1', pcrs: [] }, ...QUOTE_SELECTION, { bank: 'sha384', pcrs: [] }];
  const quote = fakeQuote({ change: { selection } });
  assert.deepEqual((await verifyQuote(quote)).banks, new Map([['sha256', quote.pcrs]]));
  const plain = fakeQuote();
  const spki = spkiOf(parsePublic(plain.akPublic));
  const banks = new Map([['sha256', plain.pcrs]] as const);
  await verifyQuoteUnderKey({ ...plain, spki, selection, banks });
  const beside = new Map([...banks, ['sha1', new Map<number, Uint8Array>()] as const]);
  await assert.rejects(verifyQuoteUnderKey({ ...plain, spki, selection, banks: beside }), refused('registers'));
});

const sha256 = (pcrs: readonly number[]): PcrSelection => [{ bank: 'sha256', pcrs }];
const sixteen = QUOTE_SELECTION[0]?.pcrs ?? [];
const key = fakeAttestationKey();
const good = fakeQuote({ key });

for (const [what, code, quote] of [
  ['another key', 'signature', { ...good, signature: signAttest(good.attest, fakeAttestationKey().privateKey) }],
  ['another nonce', 'nonce', { ...good, expectedExtraData: randomBytes(32) }],
  ['a prefix of the nonce', 'nonce', { ...good, expectedExtraData: good.expectedExtraData.subarray(0, 31) }],
  ['no nonce', 'nonce', { ...good, expectedExtraData: new Uint8Array() }],
  ['a structure that no TPM made', 'magic', fakeQuote({ transform: (bytes) => bytes.with(0, 0) })],
  ['a certification', 'format', fakeQuote({ transform: (bytes) => bytes.with(5, 0x17) })],
  ['a time stamp', 'type', fakeQuote({ transform: (bytes) => bytes.with(5, 0x19) })],
  ['an unknown type', 'format', fakeQuote({ transform: (bytes) => bytes.with(5, 0x42) })],
  ['bytes after it', 'format', fakeQuote({ transform: (bytes) => new Uint8Array([...bytes, 0]) })],
  ['fewer registers', 'selection', fakeQuote({ change: { selection: sha256(sixteen.slice(1)) } })],
  ['more registers', 'selection', fakeQuote({ change: { selection: sha256([...sixteen, 16]) } })],
  ['no registers', 'selection', fakeQuote({ change: { selection: [] } })],
  ['another bank', 'selection', fakeQuote({ change: { selection: [{ bank: 'sha1', pcrs: sixteen }] } })],
  [
    'a second bank',
    'selection',
    fakeQuote({ change: { selection: [...QUOTE_SELECTION, { bank: 'sha1', pcrs: [0] }] } }),
  ],
  ['a bank twice', 'format', fakeQuote({ change: { selection: [...QUOTE_SELECTION, ...QUOTE_SELECTION] } })],
  ['another value', 'registers', { ...good, pcrs: new Map([...good.pcrs, [4, randomBytes(32)]]) }],
  ['a value missing', 'registers', { ...good, pcrs: new Map([...good.pcrs].slice(1)) }],
  ['a value beside the selection', 'registers', { ...good, pcrs: new Map([...good.pcrs, [16, randomBytes(32)]]) }],
  ['a value of another length', 'registers', { ...good, pcrs: new Map([...good.pcrs, [4, randomBytes(31)]]) }],
  ['another signer', 'key', fakeQuote({ change: { qualifiedSigner: randomBytes(34) } })],
  [
    'a signer outside the endorsement hierarchy',
    'key',
    fakeQuote({ key, change: { qualifiedSigner: qualifiedNameOfPrimary(key.publicArea, 'owner') } }),
  ],
  ['P-384', 'key', fakeQuote({ key: fakeAttestationKey({ curve: 'P-384' }) })],
  ['no scheme', 'key', fakeQuote({ key: fakeAttestationKey({ scheme: { scheme: 'none' } }) })],
  [
    'a point off the curve',
    'format',
    fakeQuote({ key: { ...key, publicArea: { ...key.publicArea, y: randomBytes(32) } } }),
  ],
  ['no key', 'format', { ...good, akPublic: new Uint8Array() }],
  ['no signature', 'format', { ...good, signature: new Uint8Array() }],
  ['no attest', 'signature', { ...good, attest: new Uint8Array() }],
] as const) {
  test(`refused with ${code}: ${what}`, () => assert.rejects(verifyQuote(quote), refused(code)));
}

test('refused with key: any attribute that makes it no attestation key', async () => {
  const { attributes } = key.publicArea;
  const without = (name: ObjectAttribute): ObjectAttribute[] => attributes.filter((one) => one !== name);
  for (const changed of [
    ...(['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'sign', 'noDA'] as const).map(without),
    [...attributes, 'decrypt' as const],
    [...attributes, 'encryptedDuplication' as const],
  ]) {
    const quote = fakeQuote({ key: fakeAttestationKey({ attributes: changed }) });
    await assert.rejects(verifyQuote(quote), refused('key'), changed.join());
    // Without that demand it would pass.
    const [spki, banks] = [spkiOf(parsePublic(quote.akPublic)), new Map([['sha256', quote.pcrs]] as const)];
    await verifyQuoteUnderKey({ ...quote, spki, selection: QUOTE_SELECTION, banks });
  }
});

test('a key whose name is a SHA-1 is refused: two public areas can be made to have one', async () => {
  for (const nameAlg of ['sha1', 'sha384'] as const) {
    await assert.rejects(verifyQuote(fakeQuote({ key: fakeAttestationKey({ nameAlg }) })), refused('key'), nameAlg);
  }
});

test('every bit of attest, signature, key and register values counts', async (t) => {
  let count = 0;
  for (const part of ['attest', 'signature', 'akPublic'] as const) {
    for (let bit = 0; bit < good[part].length * 8; bit++) {
      const changed = good[part].with(bit >> 3, (good[part][bit >> 3] ?? 0) ^ (1 << (bit & 7)));
      await assert.rejects(verifyQuote({ ...good, [part]: changed }), EvidenceError, `${part}, bit ${bit}`);
      count++;
    }
    for (let length = 0; length < good[part].length; length++) {
      await assert.rejects(verifyQuote({ ...good, [part]: good[part].subarray(0, length) }), EvidenceError);
      count++;
    }
    for (const more of [1, 16, 4096]) {
      const longer = new Uint8Array([...good[part], ...new Uint8Array(more)]);
      await assert.rejects(verifyQuote({ ...good, [part]: longer }), EvidenceError, `${part} and ${more} bytes`);
      count++;
    }
  }
  for (const [pcr, value] of good.pcrs) {
    for (let i = 0; i < value.length; i++) {
      const pcrs = new Map([...good.pcrs, [pcr, value.with(i, (value[i] ?? 0) ^ 0x80)] as const]);
      await assert.rejects(verifyQuote({ ...good, pcrs }), refused('registers'));
      count++;
    }
  }
  t.diagnostic(`${count} mutations refused`);
});

test('under a bare key: RSA-PSS with both salt lengths, RSASSA; not SHA-1, not 1024 bits, not Ed25519', async () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const spki = rsa.publicKey.export({ format: 'der', type: 'spki' });
  const banks = new Map([['sha256', good.pcrs]] as const);
  const under = (signature: Uint8Array, key = spki): Promise<unknown> =>
    verifyQuoteUnderKey({ ...good, signature, spki: key, selection: QUOTE_SELECTION, banks });
  const pss = (saltLength: number): Uint8Array =>
    tpmSignature.encode({
      scheme: 'rsapss',
      hash: 'sha256',
      signature: sign('sha256', good.attest, { key: rsa.privateKey, padding: 6, saltLength }),
    });
  await under(pss(32));
  await under(pss(256 - 32 - 2));
  await assert.rejects(under(pss(20)), refused('signature'));
  const rsassa = (hash: 'sha1' | 'sha256'): Uint8Array =>
    tpmSignature.encode({ scheme: 'rsassa', hash, signature: sign(hash, good.attest, rsa.privateKey) });
  await under(rsassa('sha256'));
  await assert.rejects(under(rsassa('sha1')), refused('signature'));
  for (const weak of [generateKeyPairSync('rsa', { modulusLength: 1024 }), generateKeyPairSync('ed25519')]) {
    await assert.rejects(under(pss(32), weak.publicKey.export({ format: 'der', type: 'spki' })), refused('key'));
  }
  await assert.rejects(under(pss(32), Buffer.from('no key')), refused('format'));
});

test('SubjectPublicKeyInfo: only of keys that fit their own description', () => {
  const rsa: RsaPublic = {
    type: 'rsa',
    nameAlg: 'sha256',
    attributes: [],
    authPolicy: new Uint8Array(),
    symmetric: { algorithm: 'none' },
    scheme: { scheme: 'none' },
    keyBits: 2048,
    exponent: 0,
    modulus: new Uint8Array(256).fill(0xff),
  };
  assert.deepEqual(parsePublic(encodePublic(rsa)), rsa);
  spkiOf(rsa);
  for (const wrong of [{ exponent: 3 }, { keyBits: 1024 }, { modulus: new Uint8Array(256) }]) {
    assert.throws(() => spkiOf({ ...rsa, ...wrong }), DecodeError);
  }
  assert.throws(() => spkiOf({ ...key.publicArea, x: randomBytes(33) }), DecodeError);
  assert.throws(
    () =>
      spkiOf({
        ...{ type: 'keyedhash', nameAlg: 'sha256', attributes: [], scheme: 'none' },
        ...{ authPolicy: new Uint8Array(), unique: new Uint8Array() },
      }),
    DecodeError,
  );
});
