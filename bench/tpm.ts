/**
 * `node bench/tpm.ts [RUNS]`: the TPM binding on swtpm against tpm2-tools, and verification against
 * the bare signature.
 */

import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { toHex } from '../attestation/src/bytes.ts';
import { parsePublic, parseSignature, spkiOf, verifyQuote } from '../attestation/src/tpm/index.ts';
import { makeCredential } from '../client/src/make-credential.ts';
import { openAttester } from '../guest/src/tpm/attester.ts';
import { GET_RANDOM } from '../guest/src/tpm/commands.ts';
import { TpmKeeper } from '../guest/src/tpm/keeper.ts';
import { startSwtpm } from '../test/fakes/swtpm.ts';
import { head, measure } from './measure.ts';

const RUNS = Number(process.argv[2] ?? 500);

/** A clock on which an hour passes at each look: no bound on epochs is met. */
function hours(): () => number {
  let now = 0;
  return () => (now += 3_600_000);
}

head(RUNS);
const swtpm = await startSwtpm();
try {
  const nonce = randomBytes(32);
  await measure('openAttester (RSA EK, P-256 AK) and close', Math.min(RUNS, 20), async () =>
    (await openAttester(await swtpm.connect())).close(),
  );
  const attester = await openAttester(await swtpm.connect());
  const { akPublic, akName, ekPublic, tpm } = attester;
  await measure('GetRandom', RUNS, () => tpm.run(GET_RANDOM, { count: 32 }));
  await measure('extend', RUNS, () => attester.extend(13, nonce));
  await measure('quote, registers unchanged', RUNS, () => attester.quote(nonce));
  await measure('extend and quote', RUNS, async () => {
    await attester.extend(13, nonce);
    await attester.quote(nonce);
  });
  const credential = makeCredential({ ekPublic, akName, secret: nonce });
  await measure('activate (RSA EK)', RUNS, () =>
    attester.activate(credential.credentialBlob, credential.encryptedSecret),
  );
  const keeper = await TpmKeeper.open(tpm, hours());
  let blob = await keeper.seal(nonce, 1);
  await keeper.advance();
  await measure('seal a key to the next epoch', RUNS, async () => keeper.seal(nonce, (await keeper.epoch()) + 1));
  await measure('begin an epoch: seal a key, count', RUNS, async () => {
    blob = await keeper.seal(nonce, (await keeper.epoch()) + 1);
    await keeper.advance();
  });
  await measure('open a key', RUNS, () => keeper.open(blob));
  const quote = await attester.quote(nonce);
  await attester.close();

  const attributes = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign';
  await swtpm.tool('tpm2_createprimary', '-C', 'e', '-G', 'ecc:ecdsa-sha256:null', '-a', attributes, '-c', 'ak.ctx');
  await swtpm.tool('tpm2_evictcontrol', '-c', 'ak.ctx', '0x81018000');
  await swtpm.tool('tpm2_flushcontext', '-t');
  const registers = `sha256:${[...quote.pcrs.keys()].join()}`;
  await measure('tpm2_quote, a process each', Math.min(RUNS, 100), () =>
    swtpm.tool('tpm2_quote', '-c', '0x81018000', '-l', registers, '-q', toHex(nonce), '-m', 'a', '-s', 's', '-o', 'v'),
  );

  await measure('verifyQuote', RUNS, () => verifyQuote({ ...quote, akPublic, expectedExtraData: nonce }));
  const key = createPublicKey({ key: Buffer.from(spkiOf(parsePublic(akPublic))), format: 'der', type: 'spki' });
  const signature = parseSignature(quote.signature);
  const raw = signature.scheme === 'ecdsa' ? Buffer.concat([signature.r, signature.s]) : Buffer.alloc(0);
  await measure('floor: the P-256 signature alone', RUNS, () =>
    verify('sha256', quote.attest, { key, dsaEncoding: 'ieee-p1363' }, raw),
  );
} finally {
  await swtpm.stop();
}
