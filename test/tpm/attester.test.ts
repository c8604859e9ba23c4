/** The attester on a software TPM, against tpm2-tools. */

import assert from 'node:assert/strict';
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { toHex } from '../../attestation/src/bytes.ts';
import {
  decodeWhole,
  encodePublic,
  extendPcr,
  fixed,
  nameOf,
  type PcrSelection,
  parseAttest,
  parsePublic,
  QUOTE_SELECTION,
  spkiOf,
  struct,
  tpm2b,
  verifyQuote,
  verifyQuoteUnderKey,
  zeroPcr,
} from '../../attestation/src/tpm/index.ts';
import { makeCredential } from '../../client/src/make-credential.ts';
import { type Attester, openAttester } from '../../guest/src/tpm/attester.ts';
import { TpmError } from '../../guest/src/tpm/error.ts';
import { readPcrs } from '../../guest/src/tpm/registers.ts';
import { seal, unseal } from '../../guest/src/tpm/sealing.ts';
import { type Swtpm, startSwtpm } from '../fakes/swtpm.ts';

let swtpm: Swtpm;
before(async () => {
  swtpm = await startSwtpm({ certified: true });
});
after(() => swtpm.stop());

/** Runs `use` with an attester; the TPM is free for tpm2-tools before and after. */
async function withAttester<T>(use: (attester: Attester) => Promise<T>, on = swtpm): Promise<T> {
  const attester = await openAttester(await on.connect());
  try {
    return await use(attester);
  } finally {
    await attester.close();
  }
}

const file = (name: string): string => join(swtpm.folder, name);
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

describe('quotes', () => {
  test('cover exactly what was extended, and say when', () =>
    withAttester(async (attester) => {
      const digest = randomBytes(32);
      const before = (await attester.quote(randomBytes(32))).pcrs.get(15) ?? zeroPcr('sha256');
      await attester.extend(15, digest);
      const nonce = randomBytes(32);
      const verified = await verifyQuote({
        ...(await attester.quote(nonce)),
        akPublic: attester.akPublic,
        expectedExtraData: nonce,
      });
      assert.deepEqual(verified.banks.get('sha256')?.get(15), extendPcr('sha256', before, digest));
      assert.deepEqual(verified.akName, attester.akName);
      assert.deepEqual(verified.selection, QUOTE_SELECTION);
      assert.equal(verified.clockInfo.resetCount, 2, 'counters of an endorsement key are not obfuscated');
      assert.equal(verified.scheme, 'ecdsa');
    }));

  test('a hundred at once each carry their own nonce', () =>
    withAttester(async ({ quote }) => {
      const nonces = Array.from({ length: 100 }, () => randomBytes(32));
      const quotes = await Promise.all(nonces.map((nonce) => quote(nonce)));
      assert.deepEqual(
        quotes.map(({ attest }) => toHex(parseAttest(attest).extraData)),
        nonces.map((nonce) => toHex(nonce)),
      );
    }));

  test('stay consistent while registers are extended', () =>
    withAttester(async ({ quote, extend, akPublic }) => {
      const nonce = randomBytes(32);
      const extending = Promise.all(Array.from({ length: 40 }, () => extend(13, randomBytes(32))));
      const quotes = await Promise.all(Array.from({ length: 10 }, () => quote(nonce)));
      await extending;
      for (const one of quotes) await verifyQuote({ ...one, akPublic, expectedExtraData: nonce });
    }));

  test('the attestation key is the same at every opening', async () => {
    const [first, second] = [await withAttester(async (a) => a.akPublic), await withAttester(async (a) => a.akPublic)];
    assert.deepEqual(first, second);
  });
});

describe('against tpm2-tools', () => {
  /** Makes an attestation key with the tools: ak.ctx, ak.pub. */
  const toolAk = async (algorithm: string, scheme: string): Promise<void> => {
    await swtpm.tool('tpm2_createek', '-G', 'rsa', '-c', 'ek.ctx');
    await swtpm.tool('tpm2_flushcontext', '-t');
    await swtpm.tool(
      'tpm2_createak',
      ...['-C', 'ek.ctx', '-c', 'ak.ctx', '-G', algorithm, '-g', 'sha256', '-s', scheme, '-u', 'ak.pub'],
    );
    await swtpm.tool('tpm2_flushcontext', '-t');
  };

  test('tpm2_checkquote verifies our quote', async () => {
    const nonce = randomBytes(32);
    const { akPublic, quote } = await withAttester(async (attester) => ({
      akPublic: attester.akPublic,
      quote: await attester.quote(nonce),
    }));
    const spki = Buffer.from(spkiOf(parsePublic(akPublic)));
    const pem = `-----BEGIN PUBLIC KEY-----\n${spki.toString('base64')}\n-----END PUBLIC KEY-----\n`;
    await writeFile(file('ours.pem'), pem);
    await writeFile(file('ours.attest'), quote.attest);
    await writeFile(file('ours.sig'), quote.signature);
    // Register values in the tool's own format are written by a quote of its own over the same registers.
    const registers = `sha256:${[...quote.pcrs.keys()].join()}`;
    await toolAk('ecc', 'ecdsa');
    await swtpm.tool('tpm2_quote', ...['-c', 'ak.ctx', '-l', registers, '-o', 'ours.pcrs']);
    await swtpm.tool('tpm2_flushcontext', '-t');
    const check = (qualification: string): Promise<string> =>
      swtpm.tool(
        'tpm2_checkquote',
        ...['-u', 'ours.pem', '-m', 'ours.attest', '-s', 'ours.sig', '-g', 'sha256', '-q', qualification],
        ...['-f', 'ours.pcrs'],
      );
    await check(toHex(nonce));
    await assert.rejects(check(toHex(randomBytes(32))), /nonce/);
    await withAttester(({ extend }) => extend(11, randomBytes(32)));
    await swtpm.tool('tpm2_quote', ...['-c', 'ak.ctx', '-l', registers, '-o', 'ours.pcrs']);
    await swtpm.tool('tpm2_flushcontext', '-t');
    await assert.rejects(check(toHex(nonce)), /PCR/);
  });

  for (const [algorithm, scheme] of [
    ['ecc', 'ecdsa'],
    ['rsa', 'rsassa'],
    ['rsa', 'rsapss'],
  ] as const) {
    test(`tpm2_quote under ${scheme} is verified by us`, async () => {
      const nonce = randomBytes(20);
      await toolAk(algorithm, scheme);
      await swtpm.tool(
        'tpm2_quote',
        ...['-c', 'ak.ctx', '-l', 'sha256:0,7,15+sha384:3', '-q', toHex(nonce), '-m', 'q.attest', '-s', 'q.sig'],
        ...['--scheme', scheme],
      );
      await swtpm.tool('tpm2_flushcontext', '-t');
      const selection: PcrSelection = [
        { bank: 'sha256', pcrs: [0, 7, 15] },
        { bank: 'sha384', pcrs: [3] },
      ];
      const verified = await verifyQuoteUnderKey({
        attest: await readFile(file('q.attest')),
        signature: await readFile(file('q.sig')),
        spki: spkiOf(parsePublic((await readFile(file('ak.pub'))).subarray(2))),
        expectedExtraData: nonce,
        selection,
        banks: await withAttester(({ tpm }) => readPcrs(tpm, selection)),
      });
      assert.equal(verified.scheme, scheme);
    });
  }

  test('names and public areas are the ones that the tool computes', async () => {
    const { akPublic, akName } = await withAttester(async (attester) => attester);
    await writeFile(file('ak.tpmt'), tpm2b(512).encode(akPublic));
    await swtpm.tool('tpm2_loadexternal', '-C', 'n', '-u', 'ak.tpmt', '-n', 'ak.name', '-c', 'ext.ctx');
    await swtpm.tool('tpm2_flushcontext', '-t');
    assert.deepEqual(new Uint8Array(await readFile(file('ak.name'))), akName);
    assert.deepEqual(encodePublic(parsePublic(akPublic)), akPublic);
    assert.deepEqual(nameOf(parsePublic(akPublic)), akName);
  });
});

describe('credential activation', () => {
  test('opens what tpm2_makecredential made', async () => {
    const secret = randomBytes(32);
    const { ekPublic, akName } = await withAttester(async (attester) => attester);
    await writeFile(file('ek.tpmt'), tpm2b(512).encode(ekPublic));
    await writeFile(file('secret'), secret);
    await swtpm.tool(
      'tpm2_makecredential',
      ...['-u', 'ek.tpmt', '-s', 'secret', '-n', toHex(akName), '-o', 'credential'],
    );
    // The tool's file: magic and version, then TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.
    const parts = struct({ head: fixed(8), blob: tpm2b(512), secret: tpm2b(512) });
    const { blob, secret: seed } = decodeWhole(parts, await readFile(file('credential')), 'a credential file');
    assert.deepEqual(Buffer.from(await withAttester(({ activate }) => activate(blob, seed))), secret);
  });

  for (const [name, index, curve] of [
    ['L-2', 0x01c0_000a, 'P-256'],
    ['H-3', 0x01c0_0016, 'P-384'],
  ] as const) {
    test(`works with the ECC endorsement key of template ${name}`, async () => {
      const other = await startSwtpm();
      try {
        // Any certificate makes the attester take the key of its template.
        const certificate = await withAttester(async ({ ekCertificate }) => ekCertificate ?? new Uint8Array());
        await writeFile(join(other.folder, 'certificate'), Buffer.concat([certificate, Buffer.alloc(100, 0xff)]));
        await other.tool('tpm2_nvdefine', String(index), '-C', 'o', '-s', String(certificate.length + 100));
        await other.tool('tpm2_nvwrite', String(index), '-C', 'o', '-i', 'certificate');
        await withAttester(async ({ ekCertificate, ekPublic, akName, activate }) => {
          assert.deepEqual(Buffer.from(ekCertificate ?? []), Buffer.from(certificate), 'the padding is cut off');
          const ek = parsePublic(ekPublic);
          assert.equal(ek.type === 'ecc' && ek.curve, curve);
          const secret = randomBytes(20);
          const { credentialBlob, encryptedSecret } = makeCredential({ ekPublic, akName, secret });
          assert.deepEqual(Buffer.from(await activate(credentialBlob, encryptedSecret)), secret);
        }, other);
      } finally {
        await other.stop();
      }
    });
  }

  test('the endorsement certificate is for the endorsement key, under the authority of the TPM', () =>
    withAttester(async ({ ekCertificate, ekPublic }) => {
      assert.ok(ekCertificate);
      const certificate = new X509Certificate(ekCertificate);
      const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
      assert.deepEqual(Buffer.from(spkiOf(parsePublic(ekPublic))), spki);
      const issuer = new X509Certificate(await readFile(file('issuercert.pem')));
      assert.ok(
        certificate.verify(issuer.publicKey) && issuer.verify(new X509Certificate(swtpm.authority ?? '').publicKey),
      );
    }));

  test('gives the secret back to the TPM that holds both keys', () =>
    withAttester(async ({ ekPublic, akName, activate }) => {
      const secret = randomBytes(32);
      const { credentialBlob, encryptedSecret } = makeCredential({ ekPublic, akName, secret });
      assert.deepEqual(Buffer.from(await activate(credentialBlob, encryptedSecret)), secret);
    }));

  test('activations, seals and quotes at once do not run out of room', () =>
    withAttester(async ({ ekPublic, akName, activate, quote, tpm }) => {
      const selection: PcrSelection = [{ bank: 'sha256', pcrs: [0] }];
      const banks = await readPcrs(tpm, selection);
      await Promise.all(
        Array.from({ length: 10 }, async () => {
          const secret = randomBytes(32);
          const { credentialBlob, encryptedSecret } = makeCredential({ ekPublic, akName, secret });
          const unsealed = seal(tpm, secret, selection, banks).then((blob) => unseal(tpm, blob, selection, banks));
          assert.deepEqual(Buffer.from(await activate(credentialBlob, encryptedSecret)), secret);
          assert.deepEqual(Buffer.from(await unsealed), secret);
          await quote(secret);
        }),
      );
    }));

  test('refuses a credential to another key, of another TPM, or with any byte changed', async () => {
    const other = await startSwtpm();
    const foreign = await withAttester(async ({ ekPublic }) => ekPublic, other).finally(() => other.stop());
    await withAttester(async ({ ekPublic, akName, activate }) => {
      const secret = randomBytes(32);
      const refused = (error: unknown): boolean => error instanceof TpmError && error.rc !== 0;
      const otherName = new Uint8Array([0, 0x0b, ...sha256(akName)]);
      const toOther = makeCredential({ ekPublic, akName: otherName, secret });
      await assert.rejects(activate(toOther.credentialBlob, toOther.encryptedSecret), refused);
      const toForeign = makeCredential({ ekPublic: foreign, akName, secret });
      await assert.rejects(activate(toForeign.credentialBlob, toForeign.encryptedSecret), refused);
      const good = makeCredential({ ekPublic, akName, secret });
      for (let i = 0; i < good.credentialBlob.length; i++) {
        const blob = good.credentialBlob.with(i, (good.credentialBlob[i] ?? 0) ^ 1);
        await assert.rejects(activate(blob, good.encryptedSecret), refused, `byte ${i}`);
      }
      assert.deepEqual(Buffer.from(await activate(good.credentialBlob, good.encryptedSecret)), secret);
    });
  });

  test('without an RSA certificate, the P-384 key of the profile is the one that was certified', async () => {
    await swtpm.tool('tpm2_nvundefine', '-C', 'p', '0x1c00002');
    await withAttester(async ({ ekCertificate, ekPublic }) => {
      const { publicKey } = new X509Certificate(ekCertificate ?? assert.fail());
      assert.deepEqual(Buffer.from(spkiOf(parsePublic(ekPublic))), publicKey.export({ type: 'spki', format: 'der' }));
      assert.equal(publicKey.asymmetricKeyDetails?.namedCurve, 'secp384r1');
    });
  });
});
