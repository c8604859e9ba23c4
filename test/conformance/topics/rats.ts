/** IETF RATS formats: EAR tokens and claims, CoRIM, CoMID and CoEV. */

import { createPublicKey } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { decodeCbor } from '../../../attestation/src/cbor/index.ts';
import { isTagged } from '../../../attestation/src/cbor/value.ts';
import {
  checkSnpProfile,
  type EarClaims,
  parseCoev,
  parseComid,
  parseCorim,
  parseEarClaims,
  SNP_CORIM_PROFILE,
  verifyCorim,
  verifyEar,
} from '../../../attestation/src/rats/index.ts';
import { atLayer, type LayerRow, layerOf } from '../layer.ts';
import { CannotFeed, type Case, fileOf, type Outcome } from '../topic.ts';

export const topic = 'rats';

interface Expected {
  readonly result: 'accept' | 'reject';
  readonly reject_at?: string;
  readonly peer_error?: string;
  readonly note?: string;
  readonly alg?: string;
  readonly form?: string;
  readonly claims?: unknown;
}

/** Words of the manifests and their peers, and the layers of ours that they mean. */
const LAYERS: readonly LayerRow[] = [
  [/COSE_Sign1 signature/i, ['signature'], /COSE signature does not verify/],
  [/signature verification failed/, ['signature'], /signed with|does not verify/],
  [/mandatory|missing/, ['format'], /EAR claims does not parse/],
  [/profile validation/, ['format'], /measurement is not keyed by number|trust anchor without/],
  [/^claims$/, ['format'], /submods|ear|eat/],
];

const ALGORITHMS = { ES256: -7, ES384: -35, EdDSA: -8 } as const;

/** A time at which the signed example is valid, as its own metadata has it. */
const NOW = Date.UTC(2024, 0, 1);

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  let claims: EarClaims | undefined;
  const got = await layerOf(async () => {
    if (test.files.token) claims = await runToken(test, dir, expected);
    else if (test.files.claims) parseEarClaims(await fileOf(test, 'claims', dir));
    else await runCbor(test, dir);
    return [];
  });
  if (expected.result === 'reject') {
    // A case may say nothing but what was checked, or nothing at all of a claims set that nobody signed.
    const said = expected.reject_at ?? expected.peer_error ?? expected.note;
    return atLayer(said ?? (test.files.claims ? 'claims' : 'nothing'), got, LAYERS);
  }
  const same = expected.claims === undefined || isDeepStrictEqual(claims, expected.claims);
  return { exact: got === expected.result && same, expected: expected.claims ?? expected.result, got: claims ?? got };
}

async function runToken(test: Case, dir: string, expected: Expected): Promise<EarClaims> {
  const token = Buffer.from(await fileOf(test, 'token', dir))
    .toString()
    .trim();
  return verifyEar(token, await keyOf(test, dir), expected.alg as keyof typeof ALGORITHMS);
}

async function keyOf(test: Case, dir: string): Promise<Uint8Array> {
  const jwk = JSON.parse(Buffer.from(await fileOf(test, 'key', dir)).toString());
  return createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'der' });
}

async function runCbor(test: Case, dir: string): Promise<void> {
  if (test.files.corim) {
    // A profile binds the documents that name it, and no others.
    const corim = parseCorim(await fileOf(test, 'corim', dir));
    if (corim.profile === SNP_CORIM_PROFILE) checkSnpProfile(corim);
    else if ((test.expected as Expected).result === 'reject') throw new CannotFeed(`no check of ${corim.profile}`);
    return;
  }
  const bytes = await fileOf(test, 'cbor', dir);
  if (test.files.key) {
    await verifyCorim(bytes, await keyOf(test, dir), ALGORITHMS.ES256, { now: NOW });
    return;
  }
  // What a document is, it says by its tag; a bare map is a CoMID.
  const value = decodeCbor(bytes);
  const tag = isTagged(value) ? value.tag : undefined;
  if (tag === 501) parseCorim(bytes);
  else if (tag === 571) parseCoev(bytes);
  else parseComid(bytes);
}
