/** Topic tpm-quotes: quotes of real and software TPMs, and what must be refused among them. */
import { equalBytes, fromHex, fromUtf8, toHex } from '../../../attestation/src/bytes.ts';
import { importKey } from '../../../attestation/src/crypto/node.ts';
import type { HashName } from '../../../attestation/src/digest.ts';
import { EvidenceError } from '../../../attestation/src/errors.ts';
import { type Attest, parseAttest } from '../../../attestation/src/tpm/attest.ts';
import { type PcrBanks, type PcrSelection, pcrDigest } from '../../../attestation/src/tpm/pcr.ts';
import { parsePublic, spkiOf } from '../../../attestation/src/tpm/public-area.ts';
import { verifyQuoteUnderKey } from '../../../attestation/src/tpm/quote.ts';
import { parseSignature, verifyTpmSignature } from '../../../attestation/src/tpm/signature.ts';
import { publicKeyIn } from '../encoding.ts';
import { type Case, compare, fileOf, type Outcome } from '../topic.ts';

export const topic = 'tpm-quotes';

/** What a manifest says of a case. */
interface Expected {
  readonly result?: 'accept' | 'reject';
  readonly signature_valid?: boolean;
  readonly pcr_digest_matches?: boolean;
  readonly scheme?: string;
  readonly hash?: HashName;
  readonly nonce?: string;
  readonly attest: {
    readonly type: string;
    readonly extra_data: string;
    readonly pcr_selection?: PcrSelection;
  };
}

const TYPES: Readonly<Record<string, string>> = { certify: '8017', quote: '8018', time: '8019' };

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  const bytes = await fileOf(test, 'attest', dir);
  const attest = parseAttest(bytes);
  const parsed = { attest: describe(attest) };
  if (expected.result === undefined) return compare(pick(expected, Object.keys(parsed)), parsed);

  const signature = parseSignature(await fileOf(test, 'sig', dir));
  const spki = await attestationKey(test, dir);
  const banks = 'pcrs' in test.files ? banksOf(await fileOf(test, 'pcrs', dir)) : new Map();
  const got: Record<string, unknown> = {
    ...parsed,
    scheme: signature.scheme,
    hash: signature.hash,
    signature_valid: await verifyTpmSignature(signature, await importKey(spki), bytes),
    pcr_digest_matches:
      attest.type === 'quote' &&
      equalBytes(attest.pcrDigest, pcrDigest(signature.hash, attest.selection, banks) ?? new Uint8Array()),
    refusal: await refusal({
      attest: bytes,
      signature: await fileOf(test, 'sig', dir),
      spki,
      expectedExtraData: fromHex(expected.nonce ?? expected.attest.extra_data),
      selection: expected.attest.pcr_selection ?? [],
      banks,
    }),
  };
  const wanted = { ...pick(expected, Object.keys(got)), refusal: refusalOf(expected) };
  return compare(wanted, pick(got, Object.keys(wanted)));
}

/** The one layer that must refuse, as the manifest's facts have it: signature before type before nonce before values. */
function refusalOf(expected: Expected): string | undefined {
  if (expected.result === 'accept') return undefined;
  if (expected.signature_valid === false) return 'signature';
  if (expected.attest.type !== TYPES.quote) return 'type';
  if (expected.nonce !== expected.attest.extra_data) return 'nonce';
  return 'registers';
}

async function refusal(quote: Parameters<typeof verifyQuoteUnderKey>[0]): Promise<string | undefined> {
  try {
    await verifyQuoteUnderKey(quote);
    return undefined;
  } catch (error) {
    if (error instanceof EvidenceError) return error.code;
    throw error;
  }
}

/** The key of the role ak; where the TPM's own structure is there too, both must be one restricted signing key. */
async function attestationKey(test: Case, dir: string): Promise<Uint8Array> {
  const spki = new Uint8Array(publicKeyIn(await fileOf(test, 'ak', dir)).export({ format: 'der', type: 'spki' }));
  if ('ak_tpmt_public' in test.files) {
    const key = parsePublic(await fileOf(test, 'ak_tpmt_public', dir));
    if (!equalBytes(spkiOf(key), spki)) throw new Error('ak_tpmt_public is another key than ak');
    if (!key.attributes.includes('restricted')) throw new Error('the attestation key is not restricted');
  }
  return spki;
}

function banksOf(json: Uint8Array): PcrBanks {
  const banks = JSON.parse(fromUtf8(json)) as Record<HashName, Record<string, string>>;
  return new Map(
    Object.entries(banks).map(([bank, values]) => [
      bank as HashName,
      new Map(Object.entries(values).map(([pcr, hex]) => [Number(pcr), fromHex(hex)])),
    ]),
  );
}

function describe(attest: Attest): Record<string, unknown> {
  const { clockInfo } = attest;
  return {
    magic: 'ff544347',
    type: TYPES[attest.type] ?? attest.type,
    qualified_signer: toHex(attest.qualifiedSigner),
    extra_data: toHex(attest.extraData),
    clock_info: {
      clock: Number(clockInfo.clock),
      reset_count: clockInfo.resetCount,
      restart_count: clockInfo.restartCount,
      safe: clockInfo.safe,
    },
    firmware_version: attest.firmwareVersion.toString(16).padStart(16, '0'),
    ...(attest.type === 'quote' && { pcr_selection: attest.selection, pcr_digest: toHex(attest.pcrDigest) }),
  };
}

function pick(from: object, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(from).filter(([key]) => keys.includes(key)));
}
