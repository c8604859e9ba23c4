/** Forged quotes: what an attacker with a genuine TPM can sign, and what stops it. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { EvidenceError } from '../../attestation/src/errors.ts';
import { TPM_GENERATED } from '../../attestation/src/tpm/attest.ts';
import {
  encodePublic,
  HIERARCHY,
  nameOf,
  type PcrValues,
  pcrDigest,
  pcrSelection,
  QUOTE_SELECTION,
  qualifiedNameOfPrimary,
  rest,
  sized,
  spkiOf,
  struct,
  type TpmPublic,
  tpm2b,
  tpmPublic,
  u16,
  u32,
  verifyQuote,
  verifyQuoteUnderKey,
} from '../../attestation/src/tpm/index.ts';
import { type Credential, makeCredential } from '../../client/src/make-credential.ts';
import { type Command, QUOTE } from '../../guest/src/tpm/commands.ts';
import { openEndorsement } from '../../guest/src/tpm/endorsement.ts';
import { AK_TEMPLATE, createPrimary } from '../../guest/src/tpm/primary.ts';
import { readPcrs } from '../../guest/src/tpm/registers.ts';
import { Tpm } from '../../guest/src/tpm/tpm.ts';
import { type Swtpm, startSwtpm } from '../fakes/swtpm.ts';

/** Commands that only an attacker needs. */
const SIGN: Command<
  { key: number; digest: Uint8Array; scheme: number; ticket: Uint8Array },
  { signature: Uint8Array }
> = {
  name: 'Sign',
  code: 0x15d,
  authorised: ['key'],
  handles: [],
  parameters: struct({ digest: tpm2b(64), scheme: u16, ticket: rest }),
  returnsHandle: false,
  response: struct({ signature: rest }),
};
const LOAD_EXTERNAL: Command<
  { secret: Uint8Array; publicArea: TpmPublic; hierarchy: number },
  { handle: number; name: Uint8Array }
> = {
  name: 'LoadExternal',
  code: 0x167,
  authorised: [],
  handles: [],
  parameters: struct({ secret: tpm2b(0), publicArea: sized(tpmPublic), hierarchy: u32 }),
  returnsHandle: true,
  response: struct({ name: tpm2b(66) }),
};
const NULL_TICKET = Buffer.from('802440000007' + '0000', 'hex');
const ALG_NULL = 0x10;

const UNRESTRICTED: TpmPublic = {
  ...AK_TEMPLATE,
  attributes: AK_TEMPLATE.attributes.filter((name) => name !== 'restricted'),
};

let swtpm: Swtpm;
let tpm: Tpm;
before(async () => {
  swtpm = await startSwtpm();
  tpm = new Tpm(await swtpm.connect());
});
after(async () => {
  await tpm.close();
  await swtpm.stop();
});

const nonce = randomBytes(32);
/** The values of a machine that booted something else. */
const pcrs: PcrValues = new Map(Array.from({ length: 16 }, (_, pcr) => [pcr, randomBytes(32)]));

/** A TPMS_ATTEST of the attacker's own making, perfect in form. */
function forge(qualifiedSigner: Uint8Array): Uint8Array {
  const banks = new Map([['sha256', pcrs]] as const);
  return struct({ head: u32, type: u16, signer: tpm2b(66), extra: tpm2b(64), clock: rest }).encode({
    head: TPM_GENERATED,
    type: 0x8018,
    signer: qualifiedSigner,
    extra: nonce,
    clock: Buffer.concat([
      Buffer.alloc(8 + 4 + 4),
      Buffer.of(1),
      Buffer.alloc(8),
      pcrSelection.encode(QUOTE_SELECTION),
      tpm2b(64).encode(pcrDigest('sha256', QUOTE_SELECTION, banks) ?? assert.fail()),
    ]),
  });
}

const sign = (key: number, attest: Uint8Array): Promise<{ signature: Uint8Array }> =>
  tpm.run(SIGN, { key, digest: createHash('sha256').update(attest).digest(), scheme: ALG_NULL, ticket: NULL_TICKET });

/** A forged quote under a key of the TPM that signs anything. */
async function forgedQuote(
  claim: (genuine: TpmPublic) => TpmPublic,
): Promise<{ attest: Uint8Array; signature: Uint8Array; claimed: TpmPublic }> {
  const { handle, publicArea } = await createPrimary(tpm, 'endorsement', UNRESTRICTED);
  return tpm.using(handle, async (key) => {
    const claimed = claim(publicArea);
    const attest = forge(qualifiedNameOfPrimary(claimed, 'endorsement'));
    return { attest, ...(await sign(key, attest)), claimed };
  });
}

test('control: with no demand on the key, a quote forged with an unrestricted one passes for genuine', async () => {
  const { attest, signature, claimed } = await forgedQuote((genuine) => genuine);
  const banks = new Map([['sha256', pcrs]] as const);
  const spki = spkiOf(claimed);
  const quote = { attest, signature, spki, expectedExtraData: nonce, selection: QUOTE_SELECTION, banks };
  assert.deepEqual((await verifyQuoteUnderKey(quote)).banks, banks);
});

test('an unrestricted key is refused', async () => {
  const { attest, signature, claimed } = await forgedQuote((genuine) => genuine);
  await assert.rejects(
    verifyQuote({ attest, signature, akPublic: encodePublic(claimed), expectedExtraData: nonce, pcrs }),
    (error) => error instanceof EvidenceError && error.code === 'key',
  );
});

test('a restricted key does not sign what the TPM did not make', async () => {
  const { handle, publicArea } = await createPrimary(tpm, 'endorsement', AK_TEMPLATE);
  await tpm.using(handle, async (key) => {
    const attest = forge(qualifiedNameOfPrimary(publicArea, 'endorsement'));
    await assert.rejects(sign(key, attest), { code: 'ticket' });
  });
});

test('attributes that are lied about have another name, which no TPM activates', async () => {
  const lie = (genuine: TpmPublic): TpmPublic => ({ ...genuine, attributes: AK_TEMPLATE.attributes });
  const { attest, signature, claimed } = await forgedQuote(lie);
  const akPublic = encodePublic(claimed);
  // Form alone cannot tell: the attacker wrote the signer's name, too. The trust in the name must.
  const verified = await verifyQuote({ attest, signature, akPublic, expectedExtraData: nonce, pcrs });
  assert.deepEqual(verified.akName, nameOf(claimed));

  const { ekPublic, activate } = await openEndorsement(tpm);
  const credentialTo = (akName: Uint8Array): Credential =>
    makeCredential({ ekPublic: encodePublic(ekPublic), akName, secret: nonce });

  // The key itself has its true name, and a credential to that works: it is the name that refuses.
  const { handle, publicArea } = await createPrimary(tpm, 'endorsement', UNRESTRICTED);
  await tpm.using(handle, async (ak) => {
    assert.deepEqual(Buffer.from(await activate(ak, credentialTo(nameOf(publicArea)))), nonce);
    await assert.rejects(activate(ak, credentialTo(verified.akName)), { code: 'integrity' });
  });
  // The lie, loaded as a public key, has the name, but nothing that could authorise its use.
  const lying = { secret: new Uint8Array(), publicArea: claimed, hierarchy: HIERARCHY.null };
  const external = await tpm.run(LOAD_EXTERNAL, lying);
  assert.deepEqual(external.name, verified.akName);
  await tpm.using(external.handle, (ak) =>
    assert.rejects(activate(ak, credentialTo(verified.akName)), { code: 'auth-unavailable' }),
  );
});

test('a genuine quote beside a public area of the same key with other attributes or policy is refused', async () => {
  const { handle, publicArea } = await createPrimary(tpm, 'endorsement', AK_TEMPLATE);
  await tpm.using(handle, async (ak) => {
    const quote = await tpm.run(QUOTE, { sign: ak, qualifyingData: nonce, selection: QUOTE_SELECTION });
    const genuine = (await readPcrs(tpm, QUOTE_SELECTION)).get('sha256') ?? assert.fail();
    const verify = (ak: TpmPublic): Promise<unknown> =>
      verifyQuote({ ...quote, akPublic: encodePublic(ak), expectedExtraData: nonce, pcrs: genuine });
    await verify(publicArea);
    const refused = (error: unknown): boolean => error instanceof EvidenceError && error.code === 'key';
    await assert.rejects(verify({ ...publicArea, authPolicy: new Uint8Array(32) }), refused);
    await assert.rejects(verify({ ...publicArea, attributes: [...publicArea.attributes, 'stClear'] }), refused);
  });
});

test('a restricted key outside the endorsement hierarchy is refused: its counters are obfuscated', async () => {
  const { handle, publicArea } = await createPrimary(tpm, 'owner', AK_TEMPLATE);
  await tpm.using(handle, async (ak) => {
    const quote = await tpm.run(QUOTE, { sign: ak, qualifyingData: nonce, selection: QUOTE_SELECTION });
    const genuine = (await readPcrs(tpm, QUOTE_SELECTION)).get('sha256') ?? assert.fail();
    await assert.rejects(
      verifyQuote({ ...quote, akPublic: encodePublic(publicArea), expectedExtraData: nonce, pcrs: genuine }),
      (error) => error instanceof EvidenceError && error.code === 'key',
    );
  });
});
